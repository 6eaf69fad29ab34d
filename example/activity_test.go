package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mongostore/mongostore"
)

func TestActivityCountsByKindAndResult(t *testing.T) {
	t.Parallel()
	seen := newActivity()
	for _, event := range []mongostore.Event{
		{Op: mongostore.OpLoad},
		{Op: mongostore.OpLoad, Err: fmt.Errorf("a guest: %w", mongostore.ErrNotFound)},
		{Op: mongostore.OpLoad, Err: mongostore.ErrInvalidCookie},
		{Op: mongostore.OpUpdate, Err: mongostore.ErrUnavailable},
		{Op: mongostore.OpCreate},
		{Op: mongostore.OpDestroy},
	} {
		seen.observe(t.Context(), event)
	}
	seen.sample(time.Now(), 7)
	events, totals, samples := seen.snapshot()
	if len(events) != 6 || events[0].Op != mongostore.OpDestroy {
		t.Errorf("events %v, want six, the newest first", events)
	}
	if totals[mongostore.OpLoad] != (total{3, 0}) || totals[mongostore.OpUpdate] != (total{0, 1}) {
		t.Errorf("totals %v", totals)
	}
	want := sample{At: samples[0].At, Loads: 3, Writes: 2, Ends: 1, Failed: 1, Sessions: 7}
	if len(samples) != 1 || samples[0] != want {
		t.Errorf("samples %+v, want %+v", samples, want)
	}
}

func TestActivityForgetsWhatIsOld(t *testing.T) {
	t.Parallel()
	seen := newActivity()
	for i := range 2 * maxSamples {
		seen.observe(t.Context(), mongostore.Event{Op: mongostore.OpLoad, Size: i})
		seen.sample(time.Now(), int64(i))
	}
	events, totals, samples := seen.snapshot()
	if len(events) != maxEvents || events[0].Size != 2*maxSamples-1 {
		t.Errorf("%d events, the first %+v", len(events), events[0])
	}
	if len(samples) != maxSamples || samples[maxSamples-1].Sessions != 2*maxSamples-1 {
		t.Errorf("%d samples", len(samples))
	}
	if totals[mongostore.OpLoad].Done != 2*maxSamples {
		t.Errorf("totals %v", totals)
	}
}

func TestActivitySamplesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := newActivity()
		counts := 0
		stop := alongside(t.Context(), func(ctx context.Context) {
			seen.run(ctx, func(context.Context) (int64, error) {
				counts++
				if counts == 2 {
					return 0, errors.New("no answer")
				}
				return 5, nil
			})
		})
		time.Sleep(3*sampleEvery + time.Millisecond) //nolint:forbidigo // the clock is the bubble's
		stop()
		_, _, samples := seen.snapshot()
		if len(samples) != 3 || samples[0].Sessions != 5 || samples[1].Sessions != -1 || samples[2].Sessions != 5 {
			t.Errorf("samples %+v", samples)
		}
	})
}

func TestPlotsFitTheirBox(t *testing.T) {
	t.Parallel()
	now := time.Now()
	samples := []sample{
		{At: now, Loads: 1, Writes: 2, Ends: 1, Sessions: 3},
		{At: now.Add(sampleEvery), Sessions: -1},
		{At: now.Add(2 * sampleEvery), Loads: 8, Sessions: 4},
	}
	sessions := plotSessions(samples)
	if sessions.Line != "560.0,48.0 600.0,24.0" || sessions.Max != 5 {
		t.Errorf("line %q up to %d, want two points that end at the right", sessions.Line, sessions.Max)
	}
	if !strings.Contains(sessions.Summary, "at most 4, 4 at the end") {
		t.Errorf("summary %q", sessions.Summary)
	}
	operations := plotOperations(samples)
	if len(operations.Bars) != 4 || operations.Max != 10 || !strings.Contains(operations.Summary, "12, at most 8") {
		t.Errorf("bars %v up to %d: %s", operations.Bars, operations.Max, operations.Summary)
	}
	if top := operations.Bars[2]; top.Kind != "ends" || top.Y != "72.0" || top.Height != "12.0" {
		t.Errorf("the part on top is %+v", top)
	}
	for _, empty := range []plot{plotSessions(nil), plotOperations(nil), plotSessions(samples[1:2])} {
		if empty.Line != "" || len(empty.Bars) > 0 || empty.Max != 5 {
			t.Errorf("of nothing: %+v", empty)
		}
	}
}

func TestRoundUp(t *testing.T) {
	t.Parallel()
	for value, want := range map[int]int{0: 5, 5: 5, 6: 10, 11: 20, 21: 50, 120: 200, 501: 1000} {
		if got := roundUp(value); got != want {
			t.Errorf("%d: %d, want %d", value, got, want)
		}
	}
}
