package wire

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/error-codes.md; needs MONGOSTORE_LONG=1")

const golden = "testdata/error-codes.md"

const preface = `# What becomes of an error of the server

Each command of each operation is made to fail with each error code that matters: *once*, so that a repetition
succeeds, and *always*. A cell says what the caller gets, what the record is afterwards (*old*: as before, *new*: as
after a success; *pending*: a plain id was renewed, but its new record is activated only by the browser's next request),
and what the answer does to the browser's cookie. In each case, once the fault is gone, the same session object is saved
again, or the call made again, and the browser's next request finds its session; no error tells a secret.

"wc" is a write concern error: the primary has written, so state and cookie are as after a success, and the error is returned. The
driver repeats reads everywhere and writes on a replica set only; while a command that it repeats always fails, until
Config.Timeout ends.

This file is written by ` + "`MONGOSTORE_LONG=1 go test ./wire -run TestErrorCodes -update`" + ` in the folder acceptance, and compared with at each run.

`

// compare fails unless the cells are those of the golden file.
func (m *matrix) compare(t *testing.T) {
	t.Helper()
	if *update {
		if !long {
			t.Fatal("-update needs MONGOSTORE_LONG=1")
		}
		if err := os.WriteFile(golden, []byte(m.render()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if long && string(text) != m.render() {
		t.Errorf("%s is another one now; -update writes it", golden)
	}
	known := parse(string(text))
	for c, got := range m.cells {
		if known[c] != got {
			t.Errorf("%s, %s fails with %s, %s: %s; the table says %s", c.operation, c.command, c.fault, c.variant, got, known[c])
		}
	}
}

// render returns the table in Markdown: for each command, the faults with the
// same outcomes in one row.
func (m *matrix) render() string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| code | name |\n|--:|---|\n")
	for _, f := range faults {
		fmt.Fprintf(&b, "| %s | %s |\n", f.label, f.name)
	}
	for _, op := range slices.Concat(requests, calls) {
		fmt.Fprintf(&b, "\n## %s\n", op.name)
		for _, command := range op.commands {
			fmt.Fprintf(&b, "\n| `%s` fails with | %s |\n|%s\n", command, strings.Join(variants, " | "), strings.Repeat("---|", 1+len(variants)))
			m.renderRows(&b, op.name, command)
		}
	}
	return b.String()
}

const (
	others = "any other"
	every  = "any"
)

func (m *matrix) renderRows(b *strings.Builder, op, command string) {
	var order []string
	rows := make(map[string][]string) // labels, by outcomes
	for _, f := range faults {
		if !f.concerns(command) {
			continue
		}
		outcomes := make([]string, len(variants))
		for i, variant := range variants {
			outcomes[i] = m.cells[cell{op, command, f.label, variant}]
		}
		row := strings.Join(outcomes, " | ")
		if rows[row] == nil {
			order = append(order, row)
		}
		rows[row] = append(rows[row], f.label)
	}
	most := slices.MaxFunc(order, func(a, b string) int { return len(rows[a]) - len(rows[b]) })
	for _, row := range order {
		if row != most {
			fmt.Fprintf(b, "| %s | %s |\n", strings.Join(rows[row], ", "), row)
		}
	}
	label := others
	if len(order) == 1 {
		label = every
	}
	fmt.Fprintf(b, "| %s | %s |\n", label, most)
}

// parse returns the cells of a table that render wrote.
func parse(text string) map[cell]string {
	cells := make(map[cell]string)
	var op, command string
	var left []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		columns := strings.Split(strings.Trim(line, "| "), " | ")
		switch {
		case strings.HasPrefix(line, "## "):
			op = strings.TrimPrefix(line, "## ")
		case strings.Contains(line, "` fails with | "):
			command, _, _ = strings.Cut(strings.TrimPrefix(line, "| `"), "`")
			left = nil
			for _, f := range faults {
				left = append(left, f.label)
			}
		case op != "" && len(columns) == 1+len(variants):
			labels := strings.Split(columns[0], ", ")
			if columns[0] == others || columns[0] == every {
				labels = left
			}
			left = slices.DeleteFunc(slices.Clone(left), func(label string) bool { return slices.Contains(labels, label) })
			for _, label := range labels {
				for i, variant := range variants {
					cells[cell{op, command, label, variant}] = columns[i+1]
				}
			}
		}
	}
	return cells
}
