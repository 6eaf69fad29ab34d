package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// environment is where numbers come from.
type environment struct {
	Date     string
	System   string
	Cores    int
	Go       string
	Servers  []string
	Versions []string // of the packages that are compared
}

// compared are the modules whose versions decide the numbers.
var compared = []string{
	"go.mongodb.org/mongo-driver/v2", "go.mongodb.org/mongo-driver", "github.com/gorilla/sessions", "github.com/gorilla/securecookie",
	"github.com/gin-contrib/sessions", "github.com/laziness-coders/mongostore", "github.com/alexedwards/scs/v2", "github.com/boj/redistore",
}

func newEnvironment(ctx context.Context, servers []string) environment {
	env := environment{
		Date:   time.Now().UTC().Format("2006-01-02"),
		System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(), Servers: servers,
	}
	info, _ := debug.ReadBuildInfo()
	for _, path := range compared {
		for _, m := range info.Deps {
			if m.Path == path {
				env.Versions = append(env.Versions, path+" "+m.Version)
			}
		}
	}
	_ = ctx
	return env
}

// writeTables writes all cells as Markdown.
func writeTables(w io.Writer, cells []cell, env environment) error {
	var b strings.Builder
	for _, c := range cells {
		c.write(&b)
	}
	env.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (c cell) write(b *strings.Builder) {
	fmt.Fprintf(b, "## %s, %s, %d at once\n\n", c.Topology, kilobytes(c.Payload), c.Concurrency)
	b.WriteString("Median latency / p99, as multiples of the floor's in the same round.\n\n")
	c.table(b, func(r row) string { return fmt.Sprintf("%s / %s", ratio(r.Median), ratio(r.P99)) })
	b.WriteString("\nCommands per request · allocations and kB of them per request · µs of the client's processor per request.\n\n")
	c.table(b, row.cost)
	names := slices.Sorted(maps.Keys(c.NotRun))
	for _, name := range names {
		fmt.Fprintf(b, "\n%s: not run: %s\n", name, c.NotRun[name])
	}
	b.WriteString("\n")
}

func (r row) cost() string {
	memory := "n/a"
	if r.Allocations >= 0 {
		memory = fmt.Sprintf("%.0f, %.0f", r.Allocations, r.Allocated/1000)
	}
	return fmt.Sprintf("%.1f · %s · %.0f", r.Commands, memory, r.CPUMicros)
}

// table writes a line for each contestant and a column for each operation.
func (c cell) table(b *strings.Builder, format func(row) string) {
	ops, names := c.axes()
	b.WriteString("| |")
	for _, o := range ops {
		fmt.Fprintf(b, " %s |", opTitle[o])
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(ops)) + "\n")
	for _, name := range names {
		fmt.Fprintf(b, "| %s |", name)
		for _, o := range ops {
			text := " |"
			if r := c.row(name, o); r != nil {
				text = " – |"
				if r.Cannot == "" {
					text = " " + format(*r) + " |"
				}
			}
			b.WriteString(text)
		}
		b.WriteString("\n")
	}
}

var opTitle = map[op]string{
	load: "load", unchanged: "load, unchanged Save", change: "load, changed Save", create: "new session", regenerate: "load, regenerate",
}

// axes returns the operations and the contestants of a cell, in order.
func (c cell) axes() (ops []op, names []string) {
	for _, r := range c.Rows {
		if !slices.Contains(ops, r.Op) {
			ops = append(ops, r.Op)
		}
	}
	for _, k := range contestants() {
		if slices.ContainsFunc(c.Rows, func(r row) bool { return r.Key == k.key }) {
			names = append(names, k.name)
		}
	}
	return ops, names
}

func (c cell) row(name string, o op) *row {
	for i, r := range c.Rows {
		if r.Name == name && r.Op == o {
			return &c.Rows[i]
		}
	}
	return nil
}

// ratio writes two digits: the numbers have no more.
func ratio(x float64) string {
	switch {
	case math.IsNaN(x):
		return "–"
	case x >= 9.95:
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

func (env environment) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s, %d cores, %s, %s, %s. %s.\n", env.Date, env.Cores, env.System, env.Go,
		strings.Join(env.Servers, "; "), strings.Join(env.Versions, ", "))
}
