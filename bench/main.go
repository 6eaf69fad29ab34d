// Bench runs mongostore side by side with the session stores it is compared
// with, on servers that it starts itself; README.md says how and why.
//
//	go run . -h
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// The keys that the code goes by.
const (
	floorKey = "floor"
	redisKey = "redis"
)

// contestants are all of them, in the order of the tables.
func contestants() []*contestant {
	all := []*contestant{
		{key: floorKey, name: "floor: bare driver v2", open: openFloor},
		{key: "own", name: "floor of our own commands", open: openOwn},
	}
	return slices.Concat(all, ours(), peers(), onNode())
}

func main() {
	os.Exit(mongotest.Program(func() int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return 0
		case err != nil:
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	}))
}

const usage = `Bench compares session stores: the same requests on the same values, in turn,
on one server that it starts itself. It needs a mongod or a Docker engine, as
the tests do; Redis and Node take part if they are installed.

	bench [flags]

`

// command runs the program with these arguments.
func command(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() {
		_, _ = io.WriteString(log, usage)
		flags.PrintDefaults()
		_, _ = fmt.Fprintf(log, "\nContestants: %s\n", strings.Join(keys(contestants()), " "))
	}
	var (
		rounds      = flags.Int("rounds", 5, "how often each contestant has its turn; the tables have medians of the rounds")
		n           = flags.Int("n", 300, "sessions, and so `requests` in one turn, at most")
		duration    = flags.Duration("duration", 60*time.Millisecond, "how long one turn takes, at most")
		operations  = flags.String("ops", "load,unchanged,change,new,regenerate", "`list` of operations")
		payloads    = flags.String("payloads", "1,4,64", "`list` of the sizes of a session, in KB")
		concurrency = flags.String("concurrency", "1,8,64", "`list` of how many requests at once")
		topologies  = flags.String("topologies", "standalone,replicaset", "`list` of servers; the replica set has three members, and writes go to a majority")
		chosen      = flags.String("contestants", "*", "`list` of contestants, with * for any letters; the floor always takes part")
	)
	npm := flags.Bool("npm", true, "install the packages that Node needs, if they are missing")
	var (
		file   = flags.String("out", "", "write `file`.md, .svg and .json instead of printing the tables")
		readme = flags.String("readme", "", "run nothing: write the section of this `README` from the results of -from")
		from   = flags.String("from", "results/full.json", "what -readme is written from")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *readme != "" {
		r, err := readResults(*from)
		if err != nil {
			return err
		}
		return updateReadme(*readme, r)
	}
	set := settings{
		rounds: *rounds, visitors: *n, duration: *duration, install: *npm,
		progress: func(format string, args ...any) { _, _ = fmt.Fprintf(log, format+"\n", args...) },
	}
	err := errors.Join(
		set.setOps(*operations),
		set.setTopologies(*topologies),
		set.setContestants(*chosen),
		positive("rounds", *rounds),
		positive("n", *n),
		numbers(&set.payloads, "payloads", *payloads, 1024),
		numbers(&set.concurrency, "concurrency", *concurrency, 1))
	if err != nil {
		return err
	}
	cells, servers, err := compare(ctx, set)
	if err != nil {
		return err
	}
	r := results{newEnvironment(ctx, servers), set.rounds, cells}
	if *file != "" {
		return r.save(*file)
	}
	return r.write(out)
}

func (set *settings) setOps(list string) error {
	known := make(map[string]bool)
	for _, o := range measured {
		known[string(o)] = true
	}
	for name := range strings.SplitSeq(list, ",") {
		if !known[name] {
			return fmt.Errorf("-ops %s: want some of %v", name, measured)
		}
		set.ops = append(set.ops, op(name))
	}
	return nil
}

func (set *settings) setTopologies(list string) error {
	set.topologies = strings.Split(list, ",")
	for _, name := range set.topologies {
		if name != standalone && name != replicaSet {
			return fmt.Errorf("-topologies %s: want %s or %s", name, standalone, replicaSet)
		}
	}
	return nil
}

func positive(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("-%s %d: want at least 1", name, n)
	}
	return nil
}

func (set *settings) setContestants(list string) error {
	patterns := strings.Split(list, ",")
	all := contestants()
	for _, p := range patterns {
		if !slices.ContainsFunc(all, func(c *contestant) bool { return matches(p, c.key) }) {
			return fmt.Errorf("-contestants %s: want some of %s", p, strings.Join(keys(all), " "))
		}
	}
	for _, c := range all {
		if c.key == floorKey || slices.ContainsFunc(patterns, func(p string) bool { return matches(p, c.key) }) {
			set.contestants = append(set.contestants, c)
		}
	}
	return nil
}

func numbers(to *[]int, name, list string, unit int) error {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-%s %s: want numbers, as in 1,8", name, text)
		}
		*to = append(*to, n*unit)
	}
	return nil
}

func keys(all []*contestant) []string {
	var keys []string
	for _, c := range all {
		keys = append(keys, c.key)
	}
	return keys
}
