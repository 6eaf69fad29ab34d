// Scenarios prints the table of what the acceptance tests did, and fails unless
// all of them ran without a violation.
//
//	go run ./cmd/scenarios FILE                        in the folder acceptance
//	go run ./cmd/scenarios -readme ../README.md FILE   writes the README's section instead
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/mongostore/mongostore/acceptance/readme"
	"github.com/mongostore/mongostore/acceptance/scenario"
)

// section is what the table is called in the README.
const section = "scenarios"

func main() {
	path := flag.String("readme", "", "write the section of this `file`")
	flag.Parse()
	if err := run(*path, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: scenarios [-readme README.md] FILE")
	}
	rows, err := load(args[0])
	if err != nil {
		return err
	}
	if path != "" {
		return errors.Join(scenario.Verdict(rows), readme.Update(path, section, scenario.Table(rows)))
	}
	fmt.Print(scenario.Table(rows))
	return scenario.Verdict(rows)
}

// load reads the rows of a file.
func load(path string) ([]scenario.Row, error) {
	f, err := os.Open(path) //nolint:gosec // the file that the user names
	if err != nil {
		return nil, err
	}
	rows, err := scenario.Read(f)
	return rows, errors.Join(err, f.Close())
}
