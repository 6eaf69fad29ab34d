package main

import (
	"context"
	"fmt"
	"time"

	"github.com/mongostore/mongostore"
)

// removal measures requests while RemoveExpired deletes very many sessions, and
// before that.
func (sc scaling) removal(ctx context.Context, b *bed) error {
	// Interval makes an index to remove by, and the server does not remove.
	cfg := &mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval, RemoveInterval: 24 * time.Hour}
	o, err := newOurs(ctx, b.database.Collection("expired"), cfg, newValues(scaledPayload))
	if err != nil {
		return err
	}
	defer o.close()
	live, err := newPopulation(ctx, o, 'l')
	if err != nil {
		return err
	}
	dead := &population{live.template, 'd'}
	n := sc.sizes[0]
	now := time.Now()
	if err := live.fill(ctx, o.store.Collection(), 0, n, evenly(now.Add(24*time.Hour), lifetime, n)); err != nil {
		return err
	}
	if err := dead.fill(ctx, o.store.Collection(), 0, sc.expired, evenly(now.Add(-48*time.Hour), 40*time.Hour, sc.expired)); err != nil {
		return err
	}
	sc.progress("%s expired sessions stored", grouped(sc.expired))

	g := &grown{o, live, make([]uint8, n), 0, nil}
	without, err := g.until(ctx, sc.requests, func() bool { return true })
	if err != nil {
		return err
	}
	took, removed, during, err := g.whileRemoving(ctx, sc.requests)
	if err != nil {
		return err
	}
	if removed != int64(sc.expired) {
		return fmt.Errorf("RemoveExpired removed %d sessions, and %d had expired", removed, sc.expired)
	}
	b.printf("## Removing what has expired\n\nStore.RemoveExpired deleted %s sessions in %.1f s, %s in a second, while requests (load, changed Save) ran on %s live sessions, 8 at once.\n\n",
		grouped(sc.expired), took.Seconds(), grouped(int(float64(sc.expired)/took.Seconds())), grouped(n))
	b.printf("| | median | p99 | requests |\n|---|---|---|---|\n")
	for _, line := range []struct {
		name string
		took latencies
	}{{"before", without}, {"during the removal", during}} {
		b.printf("| %s | %.2f ms | %.2f ms | %s |\n", line.name, line.took.at(0.5)/1000, line.took.at(0.99)/1000, grouped(len(line.took)))
	}
	return nil
}

// until sends requests in turns of n until done says so, one turn at least.
func (g *grown) until(ctx context.Context, n int, done func() bool) (latencies, error) {
	var all latencies
	for {
		took, err := g.turn(ctx, change, min(n, len(g.counts)))
		if err != nil {
			return nil, err
		}
		if all = append(all, took...); done() {
			return all, nil
		}
	}
}

// whileRemoving sends requests for as long as RemoveExpired takes.
func (g *grown) whileRemoving(ctx context.Context, n int) (took time.Duration, removed int64, during latencies, err error) {
	finished := make(chan error, 1)
	go func() {
		start := time.Now()
		var err error
		removed, err = g.store.RemoveExpired(ctx)
		took = time.Since(start)
		finished <- err
	}()
	during, err = g.until(ctx, n, func() bool { return len(finished) > 0 })
	if removal := <-finished; removal != nil {
		err = removal
	}
	return took, removed, during, err
}
