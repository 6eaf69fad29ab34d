package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// grown is a collection of some size with a store on it.
type grown struct {
	*ourApp
	people *population
	counts []uint8 // what each session's count is, modulo 256
	heap   uint64  // of the process, when it had served some requests
	took   map[op][]latencies
}

// growth measures requests on collections of several sizes, in turn.
func (sc scaling) growth(ctx context.Context, b *bed) error {
	var all []*grown
	defer func() {
		for _, g := range all {
			g.close()
		}
	}()
	for i, size := range sc.sizes {
		start := time.Now()
		g, err := grow(ctx, b, byte(i), size)
		if err != nil {
			return err
		}
		all = append(all, g)
		sc.progress("%s sessions stored in %v", grouped(size), time.Since(start).Round(time.Second))
		if _, err := g.turn(ctx, load, min(sc.requests, size)); err != nil {
			return err
		}
		g.heap = heap()
	}
	for round := range sc.rounds + 1 {
		if err := sc.round(ctx, all, round > 0); err != nil {
			return err
		}
	}
	sc.reportGrowth(b, all)
	return nil
}

// round measures each operation once on each collection, in an order drawn at random.
func (sc scaling) round(ctx context.Context, all []*grown, counts bool) error {
	for _, o := range []op{load, change} {
		for _, i := range rand.Perm(len(all)) { //nolint:gosec // no secret
			g := all[i]
			took, err := g.turn(ctx, o, min(sc.requests, len(g.counts)))
			if err != nil {
				return fmt.Errorf("%s sessions: %w", grouped(len(g.counts)), err)
			}
			if counts {
				g.took[o] = append(g.took[o], took)
			}
		}
	}
	return nil
}

// grow fills a collection before it has indexes, which is faster.
func grow(ctx context.Context, b *bed, name byte, size int) (*grown, error) {
	coll := b.database.Collection(fmt.Sprintf("size%d", size))
	vs := newValues(scaledPayload)
	unindexed, err := newOurs(ctx, coll, &mongostore.Config{NoIndexes: true}, vs)
	if err != nil {
		return nil, err
	}
	defer unindexed.close()
	people, err := newPopulation(ctx, unindexed, name)
	if err != nil {
		return nil, err
	}
	if err := people.fill(ctx, coll, 0, size, evenly(time.Now().Add(24*time.Hour), lifetime, size)); err != nil {
		return nil, err
	}
	o, err := newOurs(ctx, coll, nil, vs)
	if err != nil {
		return nil, err
	}
	return &grown{o, people, make([]uint8, size), 0, make(map[op][]latencies)}, nil
}

// turn sends some requests, eight at once, each with the cookie of another
// session drawn at random.
func (g *grown) turn(ctx context.Context, o op, n int) (latencies, error) {
	chosen := make([]int, 0, n)
	visitors := make([]*visitor, 0, n)
	for i := range distinct(n, len(g.counts)) {
		v, err := g.people.visitor(g.ourApp, i, int(g.counts[i]))
		if err != nil {
			return nil, err
		}
		chosen, visitors = append(chosen, i), append(visitors, v)
	}
	runtime.GC()
	took, err := runAll(ctx, g.ourApp, o, 8, time.Hour, visitors)
	for i, v := range visitors {
		g.counts[chosen[i]] = uint8(v.count) //nolint:gosec // there are fewer rounds
	}
	return took, err
}

// distinct yields n different numbers below limit, drawn at random.
func distinct(n, limit int) iter.Seq[int] {
	return func(yield func(int) bool) {
		seen := make(map[int]bool, n)
		for len(seen) < n {
			i := rand.IntN(limit) //nolint:gosec // no secret
			if seen[i] {
				continue
			}
			seen[i] = true
			if !yield(i) {
				return
			}
		}
	}
}

// heap returns the bytes that are in use in this process.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // a second time for what the first one's clean-ups have let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (sc scaling) reportGrowth(b *bed, all []*grown) {
	b.printf("## Growing collections\n\n")
	b.printf("Sessions of %d bytes, inserted directly; requests with the cookies of sessions drawn at random, 8 at once, in %d rounds of %s on each collection in turn. "+
		"The numbers are multiples of the smallest collection's in the same round, and the heap is that of this process, with all stores up to this one, less the benchmark's notes.\n\n",
		scaledPayload, sc.rounds, grouped(sc.requests))
	b.printf("| sessions | load, median / p99 | load, changed Save, median / p99 | heap |\n|---|---|---|---|\n")
	notes := 0
	for _, g := range all {
		notes += len(g.counts)
		b.printf("| %s | %s | %s | %.1f MB |\n", grouped(len(g.counts)),
			beside(g, all[0], load), beside(g, all[0], change), (float64(g.heap)-float64(notes))/1e6)
	}
}

// beside writes how the latencies of one collection relate to another's.
func beside(g, base *grown, o op) string {
	of := func(g *grown, q float64) []float64 {
		return each(g.took[o], func(l latencies) float64 { return l.at(q) })
	}
	return fmt.Sprintf("%s / %s (%.0f / %.0f µs)",
		ratio(median(perRound(of(g, 0.5), of(base, 0.5)))), ratio(median(perRound(of(g, 0.99), of(base, 0.99)))),
		median(of(g, 0.5)), median(of(g, 0.99)))
}

// byUser measures the list of a user's sessions, of one with a single session
// and of one with very many, in a collection of other users' sessions.
func (sc scaling) byUser(ctx context.Context, b *bed) error {
	cfg := &mongostore.Config{UserID: func(s *sessions.Session) string {
		user, _ := s.Values["user"].(string)
		return user
	}}
	o, err := newOurs(ctx, b.database.Collection("users"), cfg, newValues(scaledPayload))
	if err != nil {
		return err
	}
	defer o.close()
	people, err := newPopulation(ctx, o, 'u')
	if err != nil {
		return err
	}
	users := []struct {
		name string
		n    int
	}{{"", sc.sizes[0]}, {"one", 1}, {"many", sc.owned}}
	from := 0
	for _, u := range users {
		name := u.name
		err := people.fill(ctx, o.store.Collection(), from, from+u.n, func(i int) map[string]any {
			if name == "" {
				return map[string]any{"user": fmt.Sprint("user", i)}
			}
			return map[string]any{"user": name, "updatedAt": time.Now().Add(-time.Duration(i) * time.Second)}
		})
		if err != nil {
			return err
		}
		from += u.n
	}
	b.printf("## ByUser\n\nAmong %s sessions of other users; the median of %d lists.\n\n| sessions of the user | the first record | all |\n|---|---|---|\n",
		grouped(sc.sizes[0]), listRounds)
	for _, u := range users[1:] {
		first, whole, err := listTimes(ctx, o.store, u.name, u.n)
		if err != nil {
			return err
		}
		b.printf("| %s | %.3g ms | %.3g ms |\n", grouped(u.n), first, whole)
	}
	return nil
}

const listRounds = 11

// listTimes returns how long it took to the first record of a user and to the
// end, in milliseconds.
func listTimes(ctx context.Context, store *mongostore.Store, user string, want int) (first, whole float64, err error) {
	var firsts, wholes []float64
	for range listRounds {
		start, n := time.Now(), 0
		for _, err := range store.ByUser(ctx, user) {
			if err != nil {
				return 0, 0, err
			}
			if n++; n == 1 {
				firsts = append(firsts, milliseconds(time.Since(start)))
			}
		}
		if n != want {
			return 0, 0, errors.New("ByUser: not the sessions that were stored")
		}
		wholes = append(wholes, milliseconds(time.Since(start)))
	}
	return median(firsts), median(wholes), nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
