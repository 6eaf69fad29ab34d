package readme

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUpdate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "README.md")
	for _, test := range []struct{ before, after string }{
		{"nothing", ""},
		{"a <!-- x:begin --> old", ""},
		{"a <!-- x:begin --> old <!-- x:end --> z", "a <!-- x:begin -->\nnew\n<!-- x:end --> z"},
	} {
		if err := os.WriteFile(path, []byte(test.before), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Update(path, "x", "new\n")
		if (err == nil) != (test.after != "") {
			t.Errorf("%q: error %v", test.before, err)
		}
		got, readErr := os.ReadFile(path) //nolint:gosec // in a folder of the test's own
		if readErr != nil {
			t.Fatal(readErr)
		}
		if want := test.after; err == nil && string(got) != want || err != nil && string(got) != test.before {
			t.Errorf("%q became %q", test.before, got)
		}
	}
}
