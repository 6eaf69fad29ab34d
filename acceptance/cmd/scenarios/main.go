// Scenarios prints the table of what the acceptance tests did, and fails unless
// all of them ran without a violation.
//
//	go run ./cmd/scenarios FILE    in the folder acceptance
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/mongostore/mongostore/acceptance/scenario"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: scenarios FILE")
	}
	f, err := os.Open(args[0]) //nolint:gosec // the file that the user names
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	rows, err := scenario.Read(f)
	if err != nil {
		return err
	}
	fmt.Print(scenario.Table(rows))
	return scenario.Verdict(rows)
}
