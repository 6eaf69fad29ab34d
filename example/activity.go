package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mongostore/mongostore"
)

const (
	sampleEvery = 2 * time.Second
	maxSamples  = 150 // five minutes
	maxEvents   = 50
)

// activity remembers what the store did lately: the operator's page shows it.
// An application would rather count in its metrics system; the way in, observe,
// is the same.
type activity struct {
	mu      sync.Mutex
	events  []observed // newest last
	totals  map[mongostore.Op]total
	current sample
	samples []sample // oldest first
}

// observed is an event and when it happened.
type observed struct {
	mongostore.Event
	At time.Time
}

// Failed and Took are for the page.
func (o observed) Failed() bool { return failed(o.Event) }
func (o observed) Took() string { return fmt.Sprintf("%.1f ms", o.Elapsed.Seconds()*1000) }

// total counts the operations of one kind since the start.
type total struct{ Done, Failed int }

// sample is what happened between two ticks, and how many sessions were live at
// the second.
type sample struct {
	At                          time.Time
	Loads, Writes, Ends, Failed int
	Sessions                    int64 // -1: the database did not answer
}

func newActivity() *activity {
	return &activity{totals: make(map[mongostore.Op]total)}
}

// observe is the store's Config.Observe. It must not block, and does not.
func (a *activity) observe(_ context.Context, event mongostore.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = last(append(a.events, observed{event, time.Now()}), maxEvents)
	count := a.totals[event.Op]
	if failed(event) {
		count.Failed++
		a.current.Failed++
	} else {
		count.Done++
	}
	a.totals[event.Op] = count
	switch event.Op {
	case mongostore.OpLoad:
		a.current.Loads++
	case mongostore.OpDestroy, mongostore.OpRemoveExpired:
		a.current.Ends++
	default:
		a.current.Writes++
	}
}

// failed is about the store. That a visitor's session has ended, or that a
// cookie does not verify, is everyday life.
func failed(event mongostore.Event) bool {
	return event.Err != nil &&
		!errors.Is(event.Err, mongostore.ErrNotFound) && !errors.Is(event.Err, mongostore.ErrInvalidCookie)
}

// run takes a sample at each tick until ctx ends. count is Store.Count.
func (a *activity) run(ctx context.Context, count func(context.Context) (int64, error)) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			limited, cancel := context.WithTimeout(ctx, sampleEvery)
			sessions, err := count(limited)
			cancel()
			if err != nil {
				sessions = -1
			}
			a.sample(now, sessions)
		}
	}
}

func (a *activity) sample(now time.Time, sessions int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current.At, a.current.Sessions = now, sessions
	a.samples = last(append(a.samples, a.current), maxSamples)
	a.current = sample{}
}

// snapshot returns copies, with the newest event first.
func (a *activity) snapshot() (events []observed, totals map[mongostore.Op]total, samples []sample) {
	a.mu.Lock()
	defer a.mu.Unlock()
	events = slices.Clone(a.events)
	slices.Reverse(events)
	return events, maps.Clone(a.totals), slices.Clone(a.samples)
}

// last keeps the n youngest entries.
func last[T any](entries []T, n int) []T {
	return slices.Delete(entries, 0, max(0, len(entries)-n))
}
