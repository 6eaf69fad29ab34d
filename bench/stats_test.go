package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
		{[]float64{math.NaN(), 5, 7}, 6},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestQuantileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	hundred := make(latencies, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * time.Microsecond
	}
	for q, want := range map[float64]float64{0: 1, 0.01: 1, 0.5: 50, 0.99: 99, 0.995: 100, 1: 100} {
		if got := hundred.at(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := (latencies{7 * time.Microsecond}).at(0.99); got != 7 {
		t.Errorf("of one request: %v", got)
	}
	if !math.IsNaN(latencies{}.at(0.5)) {
		t.Error("the quantile of nothing is a number")
	}
}

func TestRatiosAreWithinTheRound(t *testing.T) {
	t.Parallel()
	// The second round was disturbed, by a factor of ten, for both.
	got := perRound([]float64{20, 200, 30}, []float64{10, 100, 10})
	if !slices.Equal(got, []float64{2, 2, 3}) {
		t.Errorf("%v", got)
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	if got := spread([]float64{2, 1, 3}); got != 3 {
		t.Errorf("%v", got)
	}
	if !math.IsNaN(spread(nil)) {
		t.Error("nothing has a spread")
	}
}

func TestRowIsTheMedianOfTheRounds(t *testing.T) {
	t.Parallel()
	of := func(micros ...int) []slice {
		var all []slice
		for _, m := range micros {
			took := time.Duration(m) * time.Microsecond
			all = append(all, slice{latencies: latencies{took, took}, cpu: 10 * time.Microsecond, commands: 4})
		}
		return all
	}
	floor := &entrant{contestant: &contestant{}, slices: map[op][]slice{load: of(10, 100, 10)}}
	e := &entrant{contestant: &contestant{}, slices: map[op][]slice{load: of(20, 200, 50)}}
	r := e.row(load, 1024, floor)
	if r.Median != 2 || r.P99 != 2 || r.Spread != 2.5 || r.MedianMicros != 50 || r.Commands != 2 || r.CPUMicros != 5 || r.Requests != 6 {
		t.Errorf("%+v", r)
	}
}
