package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

const usage = `Bench compares session stores: the same requests on the same values, in turn,
on one server that it starts itself. It needs a mongod or a Docker engine, as
the tests do; Redis and Node take part if they are installed.

  bench                        all, about ten minutes
  bench -payloads 1 -concurrency 8 -topologies standalone
                               one table, half a minute
  bench -contestants gob,bson,gin -ops load,change -rounds 20
                               a few of them, more exactly
  bench -scale                 the store alone: size, removal, contention
  bench -soak 10m              the store alone: what it holds under load for long
  bench -readme ../README.md   write the README's section from results/readme.json

`

// arguments are what the command line asks for.
type arguments struct {
	settings
	scaling
	scale  bool
	out    string
	readme string
	from   string
}

// lists are the flags that are lists, as they were given.
type lists struct {
	ops, payloads, concurrency, topologies, contestants, sizes string
}

// parse reads the command line. The error is flag.ErrHelp for -h.
func parse(args []string, log io.Writer) (*arguments, error) {
	var a arguments
	var l lists
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Usage = func() {
		_, _ = io.WriteString(log, usage)
		flags.PrintDefaults()
		_, _ = fmt.Fprintf(log, "\nContestants: %s\n", strings.Join(keys(contestants()), " "))
	}
	a.define(flags, &l)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%s: bench takes flags only", flags.Arg(0))
	}
	progress := func(format string, args ...any) { _, _ = fmt.Fprintf(log, format+"\n", args...) }
	a.settings.progress, a.scaling.progress = progress, progress
	a.scaling.rounds, a.requests = a.settings.rounds, a.visitors
	return &a, errors.Join(
		a.setOps(l.ops),
		a.setTopologies(l.topologies),
		a.setContestants(l.contestants),
		positive("rounds", a.settings.rounds),
		positive("n", a.visitors),
		positive("expired", a.expired),
		positive("owned", a.owned),
		positive("clashes", a.clashes),
		numbers(&a.payloads, "payloads", l.payloads, 1024),
		numbers(&a.concurrency, "concurrency", l.concurrency, 1),
		numbers(&a.sizes, "sizes", l.sizes, 1))
}

func (a *arguments) define(flags *flag.FlagSet, l *lists) {
	flags.IntVar(&a.settings.rounds, "rounds", 4, "how often each contestant has its turn; the tables have medians of the rounds")
	flags.IntVar(&a.visitors, "n", 300, "sessions of a contestant, and so `requests` in one turn, at most")
	flags.DurationVar(&a.duration, "duration", 60*time.Millisecond, "how long one turn takes, at most")
	flags.StringVar(&l.ops, "ops", "load,unchanged,change,new,regenerate", "`list` of operations")
	flags.StringVar(&l.payloads, "payloads", "1,4,64", "`list` of the sizes of a session, in KB")
	flags.StringVar(&l.concurrency, "concurrency", "1,8,64", "`list` of how many requests at once")
	flags.StringVar(&l.topologies, "topologies", "standalone,replicaset", "`list` of servers; the replica set has three members, and writes go to a majority")
	flags.StringVar(&l.contestants, "contestants", "*", "`list` of contestants, with * for any letters; the floor always takes part")
	flags.BoolVar(&a.install, "npm", true, "install the packages that Node needs, if they are missing")
	flags.StringVar(&a.out, "out", "", "write `file`.md, .svg and .json (with -scale and -soak .md only) instead of printing")
	flags.BoolVar(&a.scale, "scale", false, "run the store alone, at scale; of the flags above, -rounds, -n and -out count")
	flags.StringVar(&l.sizes, "sizes", "10000,100000,1000000,5000000", "-scale: `list` of the sizes of collections")
	flags.IntVar(&a.expired, "expired", 500000, "-scale: `sessions` to remove while requests run")
	flags.IntVar(&a.owned, "owned", 10000, "-scale: `sessions` of one user")
	flags.IntVar(&a.clashes, "clashes", 50, "-scale: `rounds` of 32 requests at once on one session")
	flags.DurationVar(&a.soak, "soak", 0, "run the store alone, under full load for this long")
	flags.StringVar(&a.readme, "readme", "", "run nothing: write the section of this `README` from the results of -from")
	flags.StringVar(&a.from, "from", "results/readme.json", "the `file` that -readme is written from")
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
