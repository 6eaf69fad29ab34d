package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// The section of the README that is written from results.
const (
	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
)

// inReadme are the contestants of its table.
var inReadme = []string{floorKey, "upserts", "gob", "bson", "sealed", "touchafter", "gin", "scs", "connectmongo", "express", redisKey}

// updateReadme writes the section of the README at path anew.
func updateReadme(path string, r *results) error {
	text, err := os.ReadFile(path) //nolint:gosec // a path its user chose
	if err != nil {
		return err
	}
	changed, err := splice(string(text), r.summary())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(changed), 0o644) //nolint:gosec // for everybody to read
}

// splice puts section between the marks.
func splice(text, section string) (string, error) {
	before, rest, begun := strings.Cut(text, beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !begun || !ended {
		return "", errors.New("it has no " + beginMark + " and " + endMark)
	}
	return before + beginMark + "\n" + section + endMark + after, nil
}

// summary is one small table, without what the full one has to say.
func (r *results) summary() string {
	c := r.main()
	var names []string
	for _, k := range contestants() {
		if slices.Contains(inReadme, k.key) && slices.Contains(c.names(), k.name) {
			names = append(names, k.name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Median / p99 of the latency, as multiples of the bare driver's; %s; %d cores, %s.\n\n", c.title(), r.Environment.Cores, r.Environment.Date)
	c.table(&b, names, row.latency)
	fmt.Fprintf(&b, "\n%s\n", c.noise())
	return b.String()
}
