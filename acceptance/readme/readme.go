// Package readme writes what the programs of this module found out into the
// README, between the marks of a section.
package readme

import (
	"fmt"
	"os"
	"strings"
)

// Section returns a section with its marks: <!-- NAME:begin --> and <!-- NAME:end -->.
func Section(name, text string) string {
	return "<!-- " + name + ":begin -->\n" + text + "<!-- " + name + ":end -->"
}

// Update writes a section of the file at path anew.
func Update(path, name, text string) error {
	old, err := os.ReadFile(path) //nolint:gosec // a path its user chose
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+":begin -->", "<!-- "+name+":end -->"
	before, rest, begun := strings.Cut(string(old), begin)
	_, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		return fmt.Errorf("%s has no %s and %s", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+Section(name, text)+after), 0o644) //nolint:gosec // for everybody to read
}
