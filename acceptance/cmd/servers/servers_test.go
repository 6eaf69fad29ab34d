package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mongostore/mongostore/acceptance/readme"
)

// readFile returns a text.
func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // ours
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestREADMEHasTheCommittedResult(t *testing.T) {
	t.Parallel()
	r, err := load("../../results/servers.json")
	if err != nil {
		t.Fatal(err)
	}
	if want := readme.Section("servers", r.section()); !strings.Contains(readFile(t, "../../../README.md"), want) {
		t.Errorf("the README has not this section; make servers-readme writes it:\n%s", want)
	}
	for _, s := range r.Setups {
		if s.Failed > 0 || s.Passed == 0 {
			t.Errorf("%s: %d passed, %d failed", s.Key, s.Passed, s.Failed)
		}
	}
}

func TestOnlySubtestsOfATestAreCounted(t *testing.T) {
	t.Parallel()
	stream := strings.Join([]string{
		`{"Action":"pass","Package":"p","Test":"A/one"}`,
		`{"Action":"output","Package":"p","Test":"A/two","Output":"    a_test.go:7: why: not\n"}`,
		`{"Action":"skip","Package":"p","Test":"A/two"}`,
		`{"Action":"pass","Package":"p","Test":"A"}`,
		`{"Action":"pass","Package":"q","Test":"A"}`,
		`{"Action":"output","Package":"q","Test":"B","Output":"B is broken\n"}`,
		`{"Action":"fail","Package":"q","Test":"B"}`,
		`{"Action":"fail","Package":"q"}`,
	}, "\n")
	var r result
	var out strings.Builder
	if err := r.count(strings.NewReader(stream), &out); err != nil {
		t.Fatal(err)
	}
	if r.Passed != 2 || r.Failed != 1 || r.Skipped != 1 || r.Reasons["why: not"] != 1 {
		t.Errorf("it counts %+v", r)
	}
	if out.String() != "B is broken\n" {
		t.Errorf("it passes on %q", out.String())
	}
}

func TestASuiteThatRanElsewhereOrFailedIsAnError(t *testing.T) {
	t.Parallel()
	report := filepath.Join(t.TempDir(), "report")
	line := "mongostore ran on mongod 6.0.5, standalone (the mongod binary)\n"
	if err := os.WriteFile(report, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		key string
		r   result
		ok  bool
	}{
		"as it should":    {"6.0.5-standalone", result{Passed: 1}, true},
		"another version": {"6.0.27-standalone", result{Passed: 1}, false},
		"another kind":    {"tls", result{Passed: 1}, false},
		"a failure":       {"6.0.5-standalone", result{Passed: 1, Failed: 1}, false},
		"nothing":         {"6.0.5-standalone", result{Skipped: 1}, false},
	} {
		chosen, err := choose(test.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := chosen[0].verify(report, test.r); (err == nil) != test.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}
