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
	"syscall"

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
		{key: floorKey, name: "floor: bare driver v2, the same commands", open: openFloor, deadline: deadline{floorKey, "expires"}},
		{key: "upserts", name: "bare driver v2, upserts by _id", open: openUpserts, deadline: deadline{"upserts", "expires"}},
	}
	return slices.Concat(all, ours(), peers(), onNode())
}

func main() {
	os.Exit(mongotest.Program(func() int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
		err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return 0
		case ctx.Err() != nil: // what failed did so for that
			fmt.Fprintln(os.Stderr, "bench: interrupted")
			return 1
		case err != nil:
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	}))
}

// command runs the program with these arguments.
func command(ctx context.Context, args []string, out, log io.Writer) error {
	a, err := parse(args, log)
	if err != nil {
		return err
	}
	switch {
	case a.readme != "":
		r, err := readResults(a.from)
		if err != nil {
			return err
		}
		return updateReadme(a.readme, r)
	case a.scale || a.scaling.soak > 0:
		report, err := a.scaling.run(ctx)
		if err != nil {
			return err
		}
		return deliver(out, a.out, report)
	}
	before := loadAverage()
	cells, servers, err := compare(ctx, a.settings)
	if err != nil {
		return err
	}
	r := results{newEnvironment(ctx, before, servers), a.settings.rounds, cells}
	if a.out != "" {
		return r.save(a.out)
	}
	return r.write(out)
}
