// Package scenario collects what the acceptance tests did, and what went wrong,
// in one table: a row for each scenario.
package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// FileVariable names the file to which the rows are appended, as lines of JSON.
// Without it they are only logged.
const FileVariable = "MONGOSTORE_SCENARIOS"

// shown is how many violations a scenario prints; it counts all.
const shown = 20

// A Scenario is a row of the table under way. Its methods may be called by
// several goroutines.
type Scenario struct {
	Requests atomic.Int64 // that were sent, whatever came of them

	tb         testing.TB
	name, load string
	violations atomic.Int64
	mu         sync.Mutex
	faults     map[string]int
	notes      []string
}

// New begins a scenario, which ends with the test. The load says who sends the
// requests, as "32 browsers, 3 processes".
func New(tb testing.TB, name, load string) *Scenario {
	tb.Helper()
	s := &Scenario{tb: tb, name: name, load: load, faults: make(map[string]int)}
	tb.Cleanup(s.report)
	return s
}

// Fault counts a fault that was injected, by its kind: "primary killed".
func (s *Scenario) Fault(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[kind]++
}

// Violation fails the test: a promise of the store was broken.
func (s *Scenario) Violation(format string, args ...any) {
	s.tb.Helper()
	switch n := s.violations.Add(1); {
	case n <= shown:
		s.tb.Errorf("violation: "+format, args...)
	case n == shown+1:
		s.tb.Errorf("and more violations, which are only counted")
	}
}

// Note adds what was measured to the row, as "longest response 2.1 s".
func (s *Scenario) Note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

func (s *Scenario) report() {
	s.tb.Helper()
	row := s.row()
	s.tb.Logf("%s: %d requests, %s, %d violations; %s", row.Scenario, row.Requests, row.faults(), row.Violations, strings.Join(row.Notes, ", "))
	path := os.Getenv(FileVariable)
	if path == "" {
		return
	}
	if err := row.appendTo(path); err != nil {
		s.tb.Error(err)
	}
}

// row returns the scenario as it is in the table. A test that failed without a
// violation did not show that there are none.
func (s *Scenario) row() Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := Row{
		Scenario: s.name, Load: s.load, Faults: s.faults, Requests: s.Requests.Load(), Violations: s.violations.Load(), Notes: s.notes,
		Incomplete: s.violations.Load() == 0 && (s.tb.Failed() || s.tb.Skipped()),
	}
	return row
}

// Row is a scenario that has ended.
type Row struct {
	Scenario   string
	Load       string
	Faults     map[string]int
	Requests   int64
	Violations int64
	Incomplete bool     `json:",omitempty"` // the test failed otherwise, or was skipped
	Notes      []string `json:",omitempty"`
}

// appendTo adds the row to a file that other processes may be adding to.
func (r Row) appendTo(path string) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // a path that its user chose
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func (r Row) faults() string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		parts = append(parts, fmt.Sprintf("%s %d×", kind, r.Faults[kind]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Read returns the rows of a file.
func Read(in io.Reader) ([]Row, error) {
	var rows []Row
	for decoder := json.NewDecoder(in); ; {
		var row Row
		err := decoder.Decode(&row)
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
}

// Table returns the rows in Markdown, and below them what was measured.
func Table(rows []Row) string {
	var table, notes strings.Builder
	table.WriteString("| scenario | load | faults injected | requests | violations |\n|---|---|---|--:|--:|\n")
	for _, r := range rows {
		violations := fmt.Sprint(r.Violations)
		if r.Incomplete {
			violations = "not completed"
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %d | %s |\n", r.Scenario, r.Load, r.faults(), r.Requests, violations)
		if len(r.Notes) > 0 {
			fmt.Fprintf(&notes, "- %s: %s\n", r.Scenario, strings.Join(r.Notes, "; "))
		}
	}
	return table.String() + "\nMeasured in them:\n\n" + notes.String()
}

// Verdict returns an error unless there are rows and all are without violations.
func Verdict(rows []Row) error {
	if len(rows) == 0 {
		return errors.New("no scenario was run")
	}
	var errs []error
	for _, r := range rows {
		switch {
		case r.Violations > 0:
			errs = append(errs, fmt.Errorf("%s: %d violations", r.Scenario, r.Violations))
		case r.Incomplete:
			errs = append(errs, fmt.Errorf("%s: not completed", r.Scenario))
		case r.Requests == 0:
			errs = append(errs, fmt.Errorf("%s: no request was sent, so nothing was shown", r.Scenario))
		}
	}
	return errors.Join(errs...)
}
