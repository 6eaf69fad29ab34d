// Planted shows that the tests would notice: it plants defects in a copy of the
// store, one by one, and runs the histories of package acceptance on each. It
// prints what caught which, and fails if a defect goes unnoticed, or can no
// longer be planted because the code has changed.
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
	known, err := failures(ctx, dir, "none")
	if err != nil {
		return err
	}
	if slices.ContainsFunc(known, ofModel) {
		return fmt.Errorf("without a defect these fail: %s", strings.Join(known, ", "))
	}
	missed := 0
	_, _ = fmt.Fprintln(table, "defect\t| caught by")
	for _, d := range defects {
		if !strings.Contains(d.name, *only) {
			continue
		}
		caught, err := d.tryOut(ctx, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		caught = slices.DeleteFunc(caught, func(name string) bool { return slices.Contains(known, name) })
		noticed := slices.ContainsFunc(caught, ofModel)
		verdict := summary(caught)
		if !noticed {
			missed++
			verdict = strings.TrimPrefix(verdict+", NOT by the histories", ", ")
		}
		_, _ = fmt.Fprintf(table, "%s\t| %s\n", d.name, verdict)
	}
	if missed > 0 {
		return fmt.Errorf("%d defects were not caught", missed)
	}
	return nil
}

// summary counts the kinds of histories, and names the other tests.
func summary(caught []string) string {
	var parts []string
	for _, group := range []struct{ prefix, name string }{{"TestHistories/", "histories"}, {"TestHistoriesOverTime/", "histories over time"}} {
		n := len(caught)
		caught = slices.DeleteFunc(caught, func(name string) bool { return strings.HasPrefix(name, group.prefix) })
		if n -= len(caught); n > 0 {
			parts = append(parts, fmt.Sprintf("%s of %d kinds", group.name, n))
		}
	}
	return strings.Join(append(parts, caught...), ", ")
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
func (d defect) tryOut(ctx context.Context, dir string) (caught []string, err error) {
	originals := make(map[string][]byte)
	defer func() {
		for file, text := range originals {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, file), text, 0o600))
		}
	}()
	for _, e := range d.edits {
		path := filepath.Join(dir, e.file)
		text, err := os.ReadFile(path) //nolint:gosec // in the copy
		if err != nil {
			return nil, err
		}
		if _, ok := originals[e.file]; !ok {
			originals[e.file] = text
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			return nil, fmt.Errorf("cannot be planted any more: %s has %q %d times, not once", e.file, e.old, n)
		}
		planted := strings.Replace(string(text), e.old, e.new, 1)
		if err := os.WriteFile(path, []byte(planted), 0o600); err != nil { //nolint:gosec // in the copy
			return nil, err
		}
	}
	return failures(ctx, dir, d.name)
}

// failures runs the tests and returns the names of those that fail.
func failures(ctx context.Context, dir, name string) (failed []string, err error) {
	start := time.Now()
	failed, err = test(ctx, filepath.Join(dir, "acceptance"), "-run", "^TestHistories",
		fmt.Sprintf("-rapid.checks=%d", *checks), "-rapid.shrinktime=0s")
	if err == nil && *root {
		var more []string
		more, err = test(ctx, dir, "-run", "^TestR(0[2-69]|1[0-3])")
		failed = append(failed, more...)
	}
	fmt.Fprintf(os.Stderr, "planted: %s: %d tests fail (%v)\n", name, len(failed), time.Since(start).Round(time.Second))
	return failed, err
}

var failure = regexp.MustCompile(`(?m)^ *--- FAIL: ([^ ]+) `)

func test(ctx context.Context, dir string, args ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-timeout=4m"}, append(args, ".")...)...) //nolint:gosec // the arguments are above
	cmd.Dir = dir
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var names []string
	for _, match := range failure.FindAllStringSubmatch(out.String(), -1) {
		if name := match[1]; ofModel(name) == strings.Contains(name, "/") { // of the others, not each case
			names = append(names, name)
		}
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) && len(names) > 0 {
		return names, nil
	}
	if err != nil {
		_, _ = io.WriteString(os.Stderr, out.String())
	}
	return names, err
}

// ofModel tells whether a test is one of the histories.
func ofModel(name string) bool { return strings.HasPrefix(name, "TestHistories") }
