package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder is a test that may fail without harm.
type recorder struct {
	testing.TB
	failed  bool
	cleanup []func()
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Helper()               {}
func (r *recorder) Failed() bool          { return r.failed }
func (r *recorder) Skipped() bool         { return false }
func (r *recorder) Cleanup(f func())      { r.cleanup = append(r.cleanup, f) }

// play runs scenarios as tests would and returns the rows in the file.
func play(t *testing.T, scenarios ...func(*recorder)) []Row {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows")
	t.Setenv(FileVariable, path)
	for _, run := range scenarios {
		r := &recorder{TB: t}
		run(r)
		for _, f := range r.cleanup {
			f()
		}
	}
	f, err := os.Open(path) //nolint:gosec // in a folder of the test's own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func good(r *recorder) {
	s := New(r, "calm", "2 browsers")
	s.Requests.Add(7)
	s.Fault("primary killed")
	s.Fault("primary killed")
	s.Note("longest response %d ms", 12)
}

func TestTable(t *testing.T) {
	rows := play(t, good)
	if err := Verdict(rows); err != nil {
		t.Error(err)
	}
	table := Table(rows)
	for _, want := range []string{"| calm | 2 browsers | primary killed 2× | 7 | 0 |\n", "- calm: longest response 12 ms\n"} {
		if !strings.Contains(table, want) {
			t.Errorf("got\n%s want the line\n%s", table, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for name, test := range map[string]struct {
		run  func(*recorder)
		want string
	}{
		"violations": {func(r *recorder) {
			s := New(r, "stormy", "")
			s.Requests.Add(1)
			for range shown + 5 {
				s.Violation("a value is lost")
			}
		}, "stormy: 25 violations"},
		"a failure that is none": {func(r *recorder) { New(r, "broken", "").Requests.Add(1); r.Errorf("") }, "broken: not completed"},
		"no requests":            {func(r *recorder) { New(r, "idle", "") }, "idle: no request was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Verdict(play(t, good, test.run)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("verdict %v, want %s", err, test.want)
			}
		})
	}
	if Verdict(nil) == nil {
		t.Error("no scenarios are fine")
	}
}
