// Planted shows that the scenarios would notice: it plants defects in a copy of
// the store, one by one, and runs scenarios of the acceptance tests on each. It
// prints which of them saw a violation, and fails if a defect goes unnoticed, or
// can no longer be planted because the code has changed.
//
//	go run ./cmd/planted        in the folder acceptance; some minutes
//	go run ./cmd/planted -root  also names the tests of the store itself that catch it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mongostore/mongostore/acceptance/scenario"
)

var (
	from   = flag.String("from", "..", "the folder of the store's source")
	checks = flag.Int("checks", 250, "how many histories of each kind")
	root   = flag.Bool("root", false, "run the store's own tests too")
	only   = flag.String("only", "", "plant only defects whose names contain this")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "planted:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "planted-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := copySource(*from, dir); err != nil {
		return err
	}
	findServer(*from)

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	defer func() { _ = table.Flush() }()
	found, err := failures(ctx, dir, "none")
	if err != nil {
		return err
	}
	if text := found.String(); text != "" {
		return fmt.Errorf("without a defect these fail: %s", text)
	}
	missed := 0
	_, _ = fmt.Fprintln(table, "defect\t| violations in")
	for _, d := range defects {
		if !strings.Contains(d.name, *only) {
			continue
		}
		found, err := d.tryOut(ctx, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		verdict := found.String()
		if !found.noticed() {
			missed++
			verdict = strings.TrimSuffix("NO SCENARIO; "+verdict, "; ")
		}
		_, _ = fmt.Fprintf(table, "%s\t| %s\n", d.name, verdict)
	}
	if missed > 0 {
		return fmt.Errorf("%d defects were not caught", missed)
	}
	return nil
}

// caught is what failed on a defect.
type caught struct {
	violations []scenario.Row
	checked    []string // tests that check every order of the commands
	tests      []string // others of the store's own
}

func (c caught) noticed() bool { return len(c.violations)+len(c.checked) > 0 }

func (c caught) String() string {
	var parts []string
	for _, row := range c.violations {
		parts = append(parts, fmt.Sprintf("%s (%d)", row.Scenario, row.Violations))
	}
	return strings.Join(slices.Concat(parts, c.checked, c.tests), ", ")
}

// copySource copies the modules of the store and of its acceptance tests.
func copySource(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case entry.IsDir() && relative != "." && (strings.HasPrefix(entry.Name(), ".") || relative == "example" || relative == "bench"):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // the source of this program
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o600) //nolint:gosec // in the copy
	})
}

// findServer lets the tests in the copy find the mongod of the original.
func findServer(from string) {
	path, err := filepath.Abs(filepath.Join(from, ".cache", "mongod", "mongod"))
	if _, missing := os.Stat(path); err == nil && missing == nil && os.Getenv("MONGOD") == "" {
		_ = os.Setenv("MONGOD", path)
	}
}

// tryOut plants a defect, runs the tests and takes it out again.
func (d defect) tryOut(ctx context.Context, dir string) (found caught, err error) {
	planted, err := d.plant(dir)
	if err != nil {
		return caught{}, err
	}
	originals := make(map[string]string)
	defer func() {
		for file, text := range originals {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
		}
	}()
	for file, text := range planted {
		path := filepath.Join(dir, file)
		original, err := os.ReadFile(path) //nolint:gosec // in the copy
		if err != nil {
			return caught{}, err
		}
		originals[file] = string(original)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return caught{}, err
		}
	}
	return failures(ctx, dir, d.name)
}

// plant returns the files in dir as they are with the defect.
func (d defect) plant(dir string) (map[string]string, error) {
	files := make(map[string]string)
	for _, e := range d.edits {
		text, ok := files[e.file]
		if !ok {
			original, err := os.ReadFile(filepath.Join(dir, e.file)) //nolint:gosec // the source of this program
			if err != nil {
				return nil, err
			}
			text = string(original)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("cannot be planted any more: %s has %q %d times, not once", e.file, e.old, n)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}

// scenarios are what runs on each defect, by package, until one sees a violation.
var scenarios = []struct{ folder, tests string }{
	{"acceptance", "^TestHistories|^TestAPendingRecord"},
	{".", "^TestChecker$"},
	{"acceptance/wire", "^TestErrorCodes$"},
}

// failures runs scenarios and returns what is wrong.
func failures(ctx context.Context, dir, name string) (found caught, err error) {
	start := time.Now()
	rows := filepath.Join(dir, "rows")
	if err := os.RemoveAll(rows); err != nil {
		return caught{}, err
	}
	for _, s := range scenarios {
		args := []string{"-run", s.tests}
		if s.folder == "acceptance" {
			args = append(args, fmt.Sprintf("-rapid.checks=%d", *checks), "-rapid.shrinktime=0s")
		}
		failed, err := test(ctx, filepath.Join(dir, s.folder), rows, args...)
		if err != nil {
			return caught{}, err
		}
		if s.folder == "." { // it has no rows
			found.checked = failed
		} else if found.violations, err = violated(rows); err != nil {
			return caught{}, err
		}
		if found.noticed() {
			break
		}
	}
	if *root {
		found.tests, err = test(ctx, dir, rows, "-run", "^TestR(0[2-69]|1[0-3])")
	}
	fmt.Fprintf(os.Stderr, "planted: %s (%v): %v\n", name, time.Since(start).Round(time.Second), found)
	return found, err
}

// violated returns the rows of a file that have violations, or did not end.
func violated(path string) ([]scenario.Row, error) {
	f, err := os.Open(path) //nolint:gosec // beside the copy
	if err != nil {
		return nil, err
	}
	rows, err := scenario.Read(f)
	return slices.DeleteFunc(rows, func(r scenario.Row) bool { return r.Violations == 0 && !r.Incomplete }), errors.Join(err, f.Close())
}

var failure = regexp.MustCompile(`(?m)^--- FAIL: ([^ ]+) `)

// test runs the tests of a folder, which append to a file of rows, and returns
// the names of those that fail.
func test(ctx context.Context, folder, rows string, args ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-timeout=4m"}, append(args, ".")...)...) //nolint:gosec // the arguments are above
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), scenario.FileVariable+"="+rows)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var names []string
	for _, match := range failure.FindAllStringSubmatch(out.String(), -1) {
		names = append(names, match[1])
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) && len(names) > 0 {
		return names, nil
	}
	if err != nil {
		_, _ = io.WriteString(os.Stderr, out.String())
	}
	return names, err
}
