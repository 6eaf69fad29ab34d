// Servers runs the store's whole suite on each kind of server and client that
// can be had without Docker, and prints a table.
//
//	go run ./cmd/servers                        all set-ups
//	go run ./cmd/servers -only tls,strict       these
//	go run ./cmd/servers -only tls -short       a part of the suite
//	go run ./cmd/servers -out results/servers.json
//	go run ./cmd/servers -readme ../README.md   run nothing: write the README's table
//
// It runs in the folder acceptance, and without the race detector.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/mongostore/mongostore/acceptance/readme"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "servers:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("servers", flag.ContinueOnError)
	only := flags.String("only", "", "run these `setups` alone, as tls,strict")
	short := flags.Bool("short", false, "run a part of the suite")
	save := flags.String("out", "", "put good results into this `file`, over those of the same set-ups")
	from := flags.String("from", "results/servers.json", "the `file` that -readme is written from")
	path := flags.String("readme", "", "run nothing: write the section of this `README`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *path != "" {
		r, err := load(*from)
		if err != nil {
			return err
		}
		return readme.Update(*path, "servers", r.section())
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if *save != "" && *short {
		return errors.New("-short is no result to keep")
	}
	return runAll(ctx, chosen, *short, *save, out)
}

// choose returns the set-ups of these keys; none means all.
func choose(keys string) ([]setup, error) {
	if keys == "" {
		return setups(), nil
	}
	var chosen []setup
	for key := range strings.SplitSeq(keys, ",") {
		i := slices.IndexFunc(setups(), func(s setup) bool { return s.key == key })
		if i < 0 {
			return nil, fmt.Errorf("there is no set-up %q: %s", key, strings.Join(names(), ", "))
		}
		chosen = append(chosen, setups()[i])
	}
	return chosen, nil
}

// runAll runs the set-ups one after the other, prints their table, and fails
// when one of them did.
func runAll(ctx context.Context, chosen []setup, short bool, save string, out io.Writer) error {
	var all results
	var failures error
	for _, s := range chosen {
		_, _ = fmt.Fprintf(out, "== %s: %s, %s\n", s.key, s.Server, s.Client)
		r, err := s.run(ctx, short, out)
		if err != nil {
			failures = errors.Join(failures, fmt.Errorf("%s: %w", s.key, err))
		}
		_, _ = fmt.Fprintf(out, "%d passed, %d failed, %d skipped, %d s\n", r.Passed, r.Failed, r.Skipped, r.Seconds)
		all.put(r)
		if ctx.Err() != nil {
			break
		}
		if save != "" && err == nil {
			if err := keep(save, r); err != nil {
				return errors.Join(failures, err)
			}
		}
	}
	_, _ = fmt.Fprintf(out, "\n%s", all.table())
	return failures
}

// load reads results.
func load(path string) (*results, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a path its user chose
	if err != nil {
		return nil, err
	}
	var r results
	return &r, json.Unmarshal(text, &r)
}

// keep puts one result into a file, in place of that of the same set-up.
func keep(path string, r result) error {
	all, err := load(path)
	if errors.Is(err, os.ErrNotExist) {
		all, err = &results{}, nil
	}
	if err != nil {
		return err
	}
	all.put(r)
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // for everybody to read
}
