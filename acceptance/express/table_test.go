package express

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// tableVariable names the file to which the table of the cases is written.
const tableVariable = "MONGOSTORE_EXPRESS_TABLE"

// table is of the cases.
type table struct {
	mu      sync.Mutex
	columns []string
	rows    []string
	cells   map[string]bool // by row, column and way
}

// newTable returns one of these rows that is written when the test has ended.
func newTable(t *testing.T, server *mongotest.Server, rows ...string) *table {
	t.Helper()
	tab := &table{rows: rows, cells: make(map[string]bool)}
	t.Cleanup(func() {
		if path := os.Getenv(tableVariable); path != "" {
			if err := os.WriteFile(path, []byte(versions(t)+", "+server.String()+"\n\n"+tab.text()), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	return tab
}

// note takes the result of a step of a variant that begins at one side.
func (tab *table) note(row string, way sides, column string, ok bool) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.rows, tab.columns = once(tab.rows, row), once(tab.columns, column)
	tab.cells[row+column+way.from] = ok
}

func once(list []string, item string) []string {
	for _, other := range list {
		if other == item {
			return list
		}
	}
	return append(list, item)
}

func (tab *table) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "Express and Go\t%s\n", strings.Join(tab.columns, "\t"))
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
	return b.String() + fmt.Sprintf("\n%d of %d pass; in each cell, the session that Express began, then that of Go\n", passed, all)
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
		text, err := os.ReadFile(filepath.Join("node_modules", name, "package.json"))
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
