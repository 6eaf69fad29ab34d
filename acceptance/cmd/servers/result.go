package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// results are those of all set-ups, in the order of setups.
type results struct {
	Setups []result `json:"setups"`
}

// result is what the suite did on one set-up. Tests with subtests are not
// counted, their subtests are.
type result struct {
	Key     string         `json:"key"`
	Server  string         `json:"server"`
	Client  string         `json:"client"`
	Date    string         `json:"date"`
	Passed  int            `json:"passed"`
	Failed  int            `json:"failed"`
	Skipped int            `json:"skipped"`
	Reasons map[string]int `json:"reasons,omitempty"` // of the skipped ones
	Seconds int            `json:"seconds"`
}

// notTested is what could not be had where the table was made.
const notTested = "Not tested here: MongoDB 5.0, 7.0 and 8.0 (the workflow on GitHub runs the suite on 4.4, 5.0, 6.0, 7.0 and 8.0, in Docker), " +
	"sharded clusters, Atlas, Azure Cosmos DB, Amazon DocumentDB, FerretDB 2."

// put adds a result, in place of that of the same set-up.
func (r *results) put(one result) {
	r.Setups = slices.DeleteFunc(r.Setups, func(old result) bool { return old.Key == one.Key })
	r.Setups = append(r.Setups, one)
	order := names()
	slices.SortFunc(r.Setups, func(a, b result) int {
		return cmp.Compare(slices.Index(order, a.Key), slices.Index(order, b.Key))
	})
}

// event is a line of go test -json.
type event struct{ Action, Package, Test, Output string }

// count reads what go test -json prints, and passes on what failed tests said.
func (r *result) count(stream io.Reader, out io.Writer) error {
	run := testRun{ended: map[testName]string{}, said: map[testName][]string{}, parents: map[testName]bool{}}
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			_, _ = fmt.Fprintln(out, lines.Text()) // of the build
			continue
		}
		run.note(e)
		if e.Action == "fail" {
			_, _ = fmt.Fprint(out, strings.Join(run.said[e.name()], ""))
		}
	}
	r.Reasons = map[string]int{}
	for test, action := range run.ended {
		if !run.parents[test] {
			r.add(action, run.said[test])
		}
	}
	return lines.Err()
}

// testName is a package, and a test in it.
type testName [2]string

func (e event) name() testName { return testName{e.Package, e.Test} }

// testRun is what is known of the tests so far: how they ended, what they said, and which of them have others
// in them, which are counted in their place.
type testRun struct {
	ended   map[testName]string
	said    map[testName][]string
	parents map[testName]bool
}

func (run testRun) note(e event) {
	switch e.Action {
	case "output":
		run.said[e.name()] = append(run.said[e.name()], e.Output)
	case "pass", "fail", "skip":
		if i := strings.LastIndex(e.Test, "/"); i > 0 {
			run.parents[testName{e.Package, e.Test[:i]}] = true
		}
		if e.Test != "" {
			run.ended[e.name()] = e.Action
		}
	}
}

func (r *result) add(action string, said []string) {
	switch action {
	case "pass":
		r.Passed++
	case "fail":
		r.Failed++
	case "skip":
		r.Skipped++
		r.Reasons[reason(said)]++
	}
}

var where = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// reason is what a test that was skipped said last.
func reason(said []string) string {
	for _, line := range slices.Backward(said) {
		if at := where.FindString(line); at != "" {
			return strings.TrimSpace(line[len(at):])
		}
	}
	return "no reason"
}

// table is one row for each set-up that ran.
func (r *results) table() string {
	var b strings.Builder
	b.WriteString("| server | the store's client | tests passed | failed | skipped | seconds |\n|---|---|---|---|---|---|\n")
	for _, s := range r.Setups {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d |\n", s.Server, s.Client, s.Passed, s.Failed, s.Skipped, s.Seconds)
	}
	return b.String()
}

// skips is a list of why tests were skipped, and where.
func (r *results) skips() string {
	places := map[string][]string{}
	for _, s := range r.Setups {
		for reason, n := range s.Reasons {
			places[reason] = append(places[reason], fmt.Sprintf("%d on `%s`", n, s.Key))
		}
	}
	reasons := make([]string, 0, len(places))
	for reason, on := range places {
		reasons = append(reasons, fmt.Sprintf("- %s: %s\n", reason, strings.Join(on, ", ")))
	}
	slices.Sort(reasons)
	return strings.Join(reasons, "")
}

// section is what the README has between the marks.
func (r *results) section() string {
	dates := make([]string, 0, len(r.Setups))
	for _, s := range r.Setups {
		dates = append(dates, s.Date)
	}
	text := "The whole suite, without the race detector, " + slices.Max(append(dates, "")) + ":\n\n" + r.table()
	if skips := r.skips(); skips != "" {
		text += "\nSkipped tests, and why:\n\n" + skips
	}
	missing := names()
	for _, s := range r.Setups {
		missing = slices.DeleteFunc(missing, func(key string) bool { return key == s.Key })
	}
	if len(missing) > 0 {
		text += "\nNot run: " + strings.Join(missing, ", ") + ".\n"
	}
	return text + "\n" + notTested + "\n"
}
