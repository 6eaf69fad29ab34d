package main

import (
	"os"
	"strings"
	"testing"

	"github.com/mongostore/mongostore/acceptance/readme"
	"github.com/mongostore/mongostore/acceptance/scenario"
)

func TestREADMEHasTheCommittedScenarios(t *testing.T) {
	t.Parallel()
	rows, err := load("../../results/scenarios.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := scenario.Verdict(rows); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), readme.Section(section, scenario.Table(rows))) {
		t.Error("the README has not this table; make acceptance-readme writes it")
	}
}
