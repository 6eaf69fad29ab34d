package express

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// tableVariable names the file to which the table of the cases is written.
const tableVariable = "MONGOSTORE_EXPRESS_TABLE"

// table is of the cases of one test.
type table struct {
	mu      sync.Mutex
	title   string
	legend  string
	columns []string
	rows    []string
	cells   map[string]bool // by row, column and way
}

// newTable returns one of these rows that is added to the file when the test
// has ended.
func newTable(t *testing.T, title, legend string, rows ...string) *table {
	t.Helper()
	tab := &table{title: title, legend: legend, rows: rows, cells: make(map[string]bool)}
	t.Cleanup(func() {
		if path := os.Getenv(tableVariable); path != "" {
			tab.write(t, path)
		}
	})
	return tab
}

// writing lets one test at a time add to the file.
var writing sync.Mutex

func (tab *table) write(t *testing.T, path string) {
	t.Helper()
	writing.Lock()
	defer writing.Unlock()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // a path that its user chose
	if err != nil {
		t.Error(err)
		return
	}
	_, err = f.WriteString(tab.text() + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Error(err)
	}
}

// note takes the result of a step of a variant that begins at one side.
func (tab *table) note(row string, way sides, column string, ok bool) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.rows, tab.columns = once(tab.rows, row), once(tab.columns, column)
	tab.cells[row+column+way.from] = ok
}

func once(list []string, item string) []string {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

func (tab *table) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s\t%s\n", tab.title, strings.Join(tab.columns, "\t"))
	passed, all := 0, 0
	for _, row := range tab.rows {
		_, _ = fmt.Fprint(w, row)
		for _, column := range tab.columns {
			_, _ = fmt.Fprint(w, "\t")
			for _, from := range []string{expressSide, goSide} {
				ok, known := tab.cells[row+column+from]
				switch {
				case !known:
					continue
				case ok:
					passed++
					_, _ = fmt.Fprint(w, "ok ")
				default:
					_, _ = fmt.Fprint(w, "FAILED ")
				}
				all++
			}
		}
		_, _ = fmt.Fprintln(w)
	}
	_ = w.Flush()
	return fmt.Sprintf("%s%d of %d pass%s\n", b.String(), passed, all, tab.legend)
}

// versions tells of Node.js, the packages and Go.
func versions(t *testing.T) string {
	t.Helper()
	node, err := exec.Command("node", "--version").Output() //nolint:noctx // the test has ended
	if err != nil {
		t.Error(err)
	}
	list := []string{"Node.js " + strings.TrimSpace(string(node))}
	for _, name := range []string{"express", "express-session", "connect-mongo", "connect-mongo-5", "connect-mongodb-session", "kruptein", "mongodb"} {
		var about struct{ Name, Version string }
		text, err := os.ReadFile(filepath.Join("node_modules", name, "package.json")) //nolint:gosec // a path of ours
		if err == nil {
			err = json.Unmarshal(text, &about)
		}
		if err != nil {
			t.Error(err)
		}
		list = append(list, about.Name+" "+about.Version)
	}
	return strings.Join(append(list, runtime.Version()), ", ")
}
