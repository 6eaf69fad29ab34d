package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// settings are what is run.
type settings struct {
	rounds      int
	visitors    int           // and so requests, at most, of a slice
	duration    time.Duration // of a slice, at most
	ops         []op
	payloads    []int
	concurrency []int
	topologies  []string
	contestants []*contestant
	install     bool // npm may
	progress    func(format string, args ...any)
}

// cell is one table: all contestants in the same situation.
type cell struct {
	Topology    string
	Payload     int
	Concurrency int
	Rows        []row
	NotRun      map[string]string // by name: why
}

// row is one contestant at one operation.
type row struct {
	Key, Name string
	Op        op
	Cannot    string `json:",omitempty"` // why there are no numbers

	Spread                 float64 // of the quotients of the medians: the highest by the lowest
	Median, P99            float64 // to the floor; medians of the rounds
	MedianMicros           float64
	P99Micros              float64
	Commands               float64 // per request
	CPUMicros              float64 // per request
	Allocations, Allocated float64 // per request, one at a time; negative: not known
	Requests               int
}

// entrant is a contestant on a stage.
type entrant struct {
	*contestant
	app      app
	visitors []*visitor
	written  time.Time // the last write to any of its sessions
	commands func(context.Context) (int64, error)

	memory map[op][2]float64
	slices map[op][]slice // of one cell, by rounds
}

// compare runs all cells, those of a topology and a payload on one stage.
func compare(ctx context.Context, set settings) ([]cell, []string, error) {
	var cells []cell
	var servers []string
	for _, topology := range set.topologies {
		server, err := startMongo(ctx, topology)
		if err != nil {
			return nil, nil, err
		}
		servers = append(servers, server.String())
		more, err := set.onServer(ctx, server, topology)
		if err != nil {
			return nil, nil, fmt.Errorf("%s, %w", topology, err)
		}
		cells = append(cells, more...)
	}
	return cells, servers, nil
}

func (set settings) onServer(ctx context.Context, server *mongotest.Server, topology string) ([]cell, error) {
	defer server.Remove() //nolint:contextcheck // that ctx is done is no reason to leave it
	var cells []cell
	for _, size := range set.payloads {
		more, err := set.onStage(ctx, server, topology, size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kilobytes(size), err)
		}
		cells = append(cells, more...)
	}
	return cells, nil
}

func (set settings) onStage(ctx context.Context, server *mongotest.Server, topology string, size int) ([]cell, error) {
	s, err := newStage(ctx, server, topology, size)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.install = set.install
	entrants, notRun, err := set.enter(ctx, s)
	defer func() {
		for _, e := range entrants {
			e.app.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var cells []cell
	for _, concurrency := range set.concurrency {
		set.progress("%s, %s, %d at once", topology, kilobytes(size), concurrency)
		if err := set.fight(ctx, s, entrants, concurrency); err != nil {
			return nil, fmt.Errorf("%d at once: %w", concurrency, err)
		}
		cells = append(cells, cell{topology, size, concurrency, set.rows(entrants, size), notRun})
	}
	return cells, nil
}

// enter opens the contestants and gives each its visitors.
func (set settings) enter(ctx context.Context, s *scene) (entrants []*entrant, notRun map[string]string, err error) {
	notRun = make(map[string]string)
	for _, c := range set.contestants {
		if reason := c.cannot(s.size, create); reason != "" {
			notRun[c.name] = reason
			if err := c.provesLimit(ctx, s, create); err != nil {
				return entrants, nil, fmt.Errorf("%s: %w", c.name, err)
			}
			continue
		}
		a, err := c.open(ctx, &s.stage)
		var missing errNotRun
		if errors.As(err, &missing) {
			notRun[c.name] = string(missing)
			continue
		}
		if err != nil {
			return entrants, nil, fmt.Errorf("%s: %w", c.name, err)
		}
		e := &entrant{contestant: c, app: a, commands: s.commandsOf(c), memory: make(map[op][2]float64)}
		entrants = append(entrants, e)
		if err := e.prepare(ctx, set, s); err != nil {
			return entrants, nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return entrants, notRun, set.weighAll(ctx, s, entrants)
}

// prepare makes the sessions of the visitors, and proves that all operations do
// their work before any is measured.
func (e *entrant) prepare(ctx context.Context, set settings, s *scene) error {
	e.visitors = newVisitors(set.visitors)
	if _, err := runAll(ctx, e.app, create, 8, time.Minute, e.visitors); err != nil {
		return err
	}
	e.written = time.Now()
	for _, o := range set.ops {
		var err error
		switch {
		case e.does(o, s.size):
			err = prove(ctx, e.app, o, s.values)
		case e.takesPart(o):
			err = e.provesLimit(ctx, s, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// weighAll measures what the entrants allocate, while nothing else runs.
func (set settings) weighAll(ctx context.Context, s *scene, entrants []*entrant) error {
	for _, o := range set.ops {
		for _, e := range entrants {
			if !e.does(o, s.size) {
				continue
			}
			if err := e.weigh(ctx, o); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
		}
	}
	return nil
}

// weigh measures the allocations of an operation, where they are this process's.
func (e *entrant) weigh(ctx context.Context, o op) error {
	if _, elsewhere := e.app.(process); elsewhere {
		return e.warmUp(ctx, o)
	}
	visitors := e.visitors[:min(40, len(e.visitors))]
	if o == create {
		visitors = newVisitors(len(visitors))
	}
	if o == unchanged {
		if err := e.settle(ctx); err != nil {
			return err
		}
	}
	count, size, err := allocations(ctx, e.app, o, visitors)
	e.memory[o] = [2]float64{count, size}
	e.written = time.Now()
	return err
}

// warmUp gives a process of Node, whose memory is not ours to measure, the time
// to compile what it is going to run.
func (e *entrant) warmUp(ctx context.Context, o op) error {
	e.memory[o] = [2]float64{-1, -1}
	visitors := e.visitors
	if o == create {
		visitors = newVisitors(len(visitors))
	}
	_, err := cut(ctx, e, o, 8, 300*time.Millisecond, visitors)
	e.written = time.Now()
	return err
}

// settle waits until no session was written in the last second: mongostore
// leaves out a write that moves the deadline by less, and connect-mongo too.
func (e *entrant) settle(ctx context.Context) error {
	wait := time.NewTimer(1100*time.Millisecond - time.Since(e.written))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newVisitors(n int) []*visitor {
	visitors := make([]*visitor, n)
	for i := range visitors {
		visitors[i] = &visitor{count: i}
	}
	return visitors
}

// fight runs the rounds of one cell, after one that only opens connections.
func (set settings) fight(ctx context.Context, s *scene, entrants []*entrant, concurrency int) error {
	for _, e := range entrants {
		e.slices = make(map[op][]slice)
	}
	for round := range set.rounds + 1 {
		if err := set.round(ctx, s, entrants, concurrency, round > 0); err != nil {
			return err
		}
	}
	return nil
}

// round lets each do each operation once, in an order drawn at random.
func (set settings) round(ctx context.Context, s *scene, entrants []*entrant, concurrency int, counts bool) error {
	for _, o := range set.ops {
		for _, i := range rand.Perm(len(entrants)) { //nolint:gosec // no secret
			e := entrants[i]
			if !e.does(o, s.size) {
				continue
			}
			got, err := e.slice(ctx, set, s, o, concurrency)
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			if counts {
				e.slices[o] = append(e.slices[o], got)
			}
		}
	}
	return nil
}

// slice runs one slice and reads back some of what it did.
func (e *entrant) slice(ctx context.Context, set settings, s *scene, o op, concurrency int) (slice, error) {
	visitors := e.visitors
	switch o {
	case create:
		visitors = newVisitors(len(visitors))
	case unchanged:
		if err := e.settle(ctx); err != nil {
			return slice{}, err
		}
	}
	before := make([]string, len(visitors))
	for i, v := range visitors {
		before[i] = v.cookie
	}
	latest, err := e.latest(ctx, s)
	if err != nil {
		return slice{}, err
	}
	got, err := cut(ctx, e, o, concurrency, set.duration, visitors)
	if err != nil {
		return slice{}, err
	}
	if o != load {
		e.written = time.Now()
	}
	if err := e.check(ctx, s, o, visitors[:len(got.latencies)], before, latest); err != nil {
		return slice{}, fmt.Errorf("%s: %w", o, err)
	}
	return got, nil
}

// rows turns the slices of one cell into its table.
func (set settings) rows(entrants []*entrant, size int) []row {
	floor := entrants[slices.IndexFunc(entrants, func(e *entrant) bool { return e.key == floorKey })]
	var rows []row
	for _, o := range set.ops {
		for _, e := range entrants {
			if e.takesPart(o) {
				rows = append(rows, e.row(o, size, floor))
			}
		}
	}
	return rows
}

func (e *entrant) row(o op, size int, floor *entrant) row {
	r := row{Key: e.key, Name: e.name, Op: o, Cannot: e.cannot(size, o)}
	if r.Cannot != "" {
		return r
	}
	at := func(e *entrant, q float64) []float64 {
		return each(e.slices[o], func(s slice) float64 { return s.latencies.at(q) })
	}
	medians := perRound(at(e, 0.5), at(floor, 0.5))
	r.Median, r.Spread = median(medians), spread(medians)
	r.P99 = median(perRound(at(e, 0.99), at(floor, 0.99)))
	r.MedianMicros, r.P99Micros = median(at(e, 0.5)), median(at(e, 0.99))
	r.Commands = median(each(e.slices[o], func(s slice) float64 {
		return float64(s.commands) / float64(len(s.latencies))
	}))
	var cpu time.Duration
	for _, s := range e.slices[o] {
		r.Requests += len(s.latencies)
		cpu += s.cpu
	}
	r.CPUMicros = float64(cpu.Microseconds()) / float64(r.Requests)
	r.Allocations, r.Allocated = e.memory[o][0], e.memory[o][1]
	return r
}

func each[T any](values []T, f func(T) float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = f(v)
	}
	return out
}

func kilobytes(size int) string { return fmt.Sprintf("%d KB", size/1024) }

// matches tells whether a pattern of -contestants is for this key.
func matches(pattern, key string) bool {
	ok, _ := path.Match(pattern, key)
	return ok
}
