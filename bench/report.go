package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
)

// results are what a run leaves in a .json, and what all else is written from.
type results struct {
	Environment environment
	Rounds      int
	Cells       []cell
}

// save writes the results as path.json, path.md and path.svg.
func (r *results) save(path string) error {
	raw, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	var tables strings.Builder
	if err := r.write(&tables); err != nil {
		return err
	}
	for extension, text := range map[string]string{
		".json": string(raw) + "\n", ".md": tables.String(), ".svg": plot(r.main()),
	} {
		if err := os.WriteFile(path+extension, []byte(text), 0o644); err != nil { //nolint:gosec // for everybody to read
			return err
		}
	}
	return nil
}

func readResults(path string) (*results, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // a path its user chose
	if err != nil {
		return nil, err
	}
	r := new(results)
	return r, json.Unmarshal(raw, r)
}

// main is the cell that stands for all: small sessions, 8 requests at once, on
// a standalone, or the first if that was not run.
func (r *results) main() cell {
	for _, c := range r.Cells {
		if c.Topology == standalone && c.Payload == 1024 && c.Concurrency == 8 {
			return c
		}
	}
	return r.Cells[0]
}

const method = `Each table is one situation: all contestants in turn, in an order drawn anew in each of %d rounds, on one server.
A number is the median over the rounds of the quotient of the contestant's latency and the floor's in the same round.
The floor is the bare driver with the same payload, cookie and commands, without what makes them a session.
In-process contestants are called by net/http/httptest; those on Node over HTTP, on connections that stay open.
How to read it, and what distorts it: [README](../README.md).
`

// write writes all tables as Markdown.
func (r *results) write(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Session stores side by side\n\n")
	r.Environment.write(&b)
	fmt.Fprintf(&b, "\n"+method+"\n", r.Rounds)
	for _, c := range r.Cells {
		c.write(&b)
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func (c cell) write(b *strings.Builder) {
	fmt.Fprintf(b, "## %s\n\nMedian latency / p99, as multiples of the floor's.\n\n", c.title())
	c.table(b, c.names(), row.latency)
	fmt.Fprintf(b, "\n%s\n", c.noise())
	b.WriteString("\nCommands per request · allocations, kB allocated per request · µs of processor time per request, without the database's.\n\n")
	c.table(b, c.names(), row.cost)
	for _, name := range slices.Sorted(maps.Keys(c.NotRun)) {
		fmt.Fprintf(b, "\nNot run: %s: %s.\n", name, c.NotRun[name])
	}
	var told []string
	for _, r := range c.Rows {
		if r.Cannot != "" {
			told = append(told, fmt.Sprintf("\n–: %s, %s: %s.\n", r.Name, opTitle[r.Op], r.Cannot))
		}
	}
	b.WriteString(strings.Join(told, "") + "\n")
}

// noise says how far apart the rounds of a cell were.
func (c cell) noise() string {
	var spreads []float64
	for _, r := range c.Rows {
		if r.Key != floorKey && r.Cannot == "" {
			spreads = append(spreads, r.Spread)
		}
	}
	return fmt.Sprintf("From its lowest round to its highest, a ratio of medians moved by a factor of %.1f (the median of this table).", median(spreads))
}

var topologyTitle = map[string]string{standalone: "standalone", replicaSet: "replica set of three, majority"}

func (c cell) title() string {
	at := fmt.Sprintf("%d requests at once", c.Concurrency)
	if c.Concurrency == 1 {
		at = "one request at a time"
	}
	return fmt.Sprintf("%s, %s, %s", kilobytes(c.Payload), at, topologyTitle[c.Topology])
}

func (r row) latency() string { return ratio(r.Median) + " / " + ratio(r.P99) }

func (r row) cost() string {
	memory := "n/a"
	if r.Allocations >= 0 {
		memory = fmt.Sprintf("%.0f, %.0f", r.Allocations, r.Allocated/1000)
	}
	return fmt.Sprintf("%.1f · %s · %.0f", r.Commands, memory, r.CPUMicros)
}

// table writes a line for each contestant and a column for each operation; the
// floor's line also has what a request took.
func (c cell) table(b *strings.Builder, names []string, format func(row) string) {
	ops := c.ops()
	b.WriteString("| |")
	for _, o := range ops {
		fmt.Fprintf(b, " %s |", opTitle[o])
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(ops)) + "\n")
	for _, name := range names {
		fmt.Fprintf(b, "| %s |", name)
		for _, o := range ops {
			switch r := c.row(name, o); {
			case r == nil:
				b.WriteString(" |")
			case r.Cannot != "":
				b.WriteString(" – |")
			default:
				b.WriteString(" " + format(*r) + " |")
			}
		}
		b.WriteString("\n")
	}
}

var opTitle = map[op]string{
	load: "load", unchanged: "load, unchanged Save", change: "load, changed Save", create: "new session", regenerate: "load, regenerate",
}

// ops returns the operations of a cell, and names its contestants, in order.
func (c cell) ops() (ops []op) {
	for _, r := range c.Rows {
		if !slices.Contains(ops, r.Op) {
			ops = append(ops, r.Op)
		}
	}
	return ops
}

func (c cell) names() (names []string) {
	for _, k := range contestants() {
		if slices.ContainsFunc(c.Rows, func(r row) bool { return r.Key == k.key }) {
			names = append(names, k.name)
		}
	}
	return names
}

func (c cell) row(name string, o op) *row {
	for i, r := range c.Rows {
		if r.Name == name && r.Op == o {
			return &c.Rows[i]
		}
	}
	return nil
}

// ratio writes two digits or three: the numbers have no more.
func ratio(x float64) string {
	switch {
	case math.IsNaN(x):
		return "–"
	case x >= 9.95:
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
