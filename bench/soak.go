package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// soakSample is what is looked at now and then during a soak.
type soakSample struct {
	at         time.Duration
	goroutines int
	heap       uint64
	requests   int64
}

// soaking keeps the store under full load and watches what the process holds.
func (sc scaling) soaking(ctx context.Context, b *bed) error {
	coll := b.database.Collection("soak")
	o, err := newOurs(ctx, coll, nil, newValues(1024))
	if err != nil {
		return err
	}
	defer o.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var requests atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			if err := visitOn(ctx, o, &requests); err != nil {
				failed.Store(&err)
				cancel()
			}
		})
	}
	samples := sc.watch(ctx, &requests)
	cancel()
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	reportSoak(b, samples)
	return nil
}

// visitOn lives the lives of visitors, one after the other: a new session, some
// requests of each kind, and a logout.
func visitOn(ctx context.Context, a app, requests *atomic.Int64) error {
	life := []op{create, load, change, unchanged, regenerate, change, load, change, end}
	for ctx.Err() == nil {
		v := &visitor{}
		for _, o := range life { // to its end, also when ctx is over
			if err := v.visit(context.WithoutCancel(ctx), a, o); err != nil {
				return err
			}
			requests.Add(1)
		}
	}
	return nil
}

const soakSamples = 40

// watch takes samples at intervals until the soak is over.
func (sc scaling) watch(ctx context.Context, requests *atomic.Int64) []soakSample {
	tick := time.NewTicker(sc.soak / soakSamples)
	defer tick.Stop()
	var samples []soakSample
	start := time.Now()
	for len(samples) < soakSamples {
		select {
		case <-ctx.Done():
			return samples
		case <-tick.C:
		}
		s := soakSample{time.Since(start), runtime.NumGoroutine(), heap(), requests.Load()}
		samples = append(samples, s)
		sc.progress("%6s  %4d goroutines  %6.2f MB  %d requests", s.at.Round(time.Second), s.goroutines, float64(s.heap)/1e6, s.requests)
	}
	return samples
}

func reportSoak(b *bed, samples []soakSample) {
	last := samples[len(samples)-1]
	b.printf("16 visitors without a pause for %v, %s requests. Goroutines: %s. Heap after a collection: %s.\n\n",
		last.at.Round(time.Second), grouped(int(last.requests)),
		verdict(samples, func(s soakSample) float64 { return float64(s.goroutines) }, 2),
		verdict(samples, func(s soakSample) float64 { return float64(s.heap) / 1e6 }, 1))
	b.printf("| after | goroutines | heap | requests |\n|---|---|---|---|\n")
	for _, s := range samples {
		b.printf("| %v | %d | %.2f MB | %s |\n", s.at.Round(time.Second), s.goroutines, float64(s.heap)/1e6, grouped(int(s.requests)))
	}
}

// verdict compares the second quarter of the samples with the last: the first
// quarter is for pools and caches to fill. It is flat if the median has grown
// by no more than a tenth, and this much.
func verdict(samples []soakSample, of func(soakSample) float64, slack float64) string {
	quarter := len(samples) / 4
	values := each(samples, of)
	early, late := median(values[quarter:2*quarter]), median(values[len(values)-quarter:])
	word := "flat"
	if late > early*1.1+slack || math.IsNaN(late) {
		word = "not flat"
	}
	return fmt.Sprintf("%s (median of the second quarter %.4g, of the last %.4g, most %.4g)", word, early, late, slices.Max(values))
}
