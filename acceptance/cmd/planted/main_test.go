package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// With MONGOSTORE_LONG=1 it compiles the store with each defect, too.
func TestAllDefectsCanBePlanted(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range defects {
		files, err := d.plant(root)
		if err != nil {
			t.Errorf("%s: %v", d.name, err)
			continue
		}
		if os.Getenv("MONGOSTORE_LONG") != "" {
			compile(t, root, d.name, files)
		}
	}
}

// compile builds the store with other texts in place of its files.
func compile(t *testing.T, root, name string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	for file, text := range files {
		path := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "./...") //nolint:gosec // a file of this test
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}
