package mongotest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// Not parallel, as they change the environment.

// barren leaves nothing to start a server with, and returns a working directory.
func barren(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"MONGODB_URI", "MONGOSTORE_TEST_SERVER", "MONGOSTORE_TEST_TOPOLOGY", "MONGOSTORE_TEST_IMAGE", "MONGOD", "PATH"} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "no-engine"))
	t.Chdir(dir)
	return dir
}

func program(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o700); err != nil { //nolint:gosec // a program is executable
		t.Fatal(err)
	}
	return path
}

func TestWithoutAnyServerTheMessageSaysWhatToDo(t *testing.T) {
	barren(t)
	_, err := mongotest.FindRunner(t.Context())
	if err == nil {
		t.Fatal("found a server")
	}
	for _, want := range []string{"MONGODB_URI", "Docker engine", "mongod on PATH", "MONGOD", "make test"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestBinaryIsFoundByItsVariableOnPathAndInTheCheckout(t *testing.T) {
	for name, place := range map[string]func(dir string){
		"MONGOD": func(dir string) { t.Setenv("MONGOD", program(t, filepath.Join(dir, "any"))) },
		"PATH":   func(dir string) { t.Setenv("PATH", filepath.Dir(program(t, filepath.Join(dir, "bin", "mongod")))) },
		"checkout": func(dir string) {
			program(t, filepath.Join(dir, ".cache", "mongod", "mongod"))
			program(t, filepath.Join(dir, "internal", "x"))
			t.Chdir(filepath.Join(dir, "internal"))
		},
	} {
		place(barren(t))
		if got, err := mongotest.FindRunner(t.Context()); err != nil || got != "the mongod binary" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestSettingsThatCannotBeMetFail(t *testing.T) {
	for _, set := range [][2]string{
		{"MONGOSTORE_TEST_SERVER", "docker"},
		{"MONGOSTORE_TEST_SERVER", "uri"},
		{"MONGOSTORE_TEST_SERVER", "other"},
		{"MONGOSTORE_TEST_TOPOLOGY", "sharded"},
		{"MONGOSTORE_TEST_IMAGE", "mongo:8.0"},
		{"MONGOD", "no/such/file"},
	} {
		dir := barren(t)
		if set[0] != "MONGOD" {
			t.Setenv("MONGOD", program(t, filepath.Join(dir, "mongod")))
		}
		t.Setenv(set[0], set[1])
		if got, err := mongotest.FindRunner(t.Context()); err == nil {
			t.Errorf("%s=%s: %s", set[0], set[1], got)
		}
	}
}
