package main

import (
	"math"
	"slices"
	"time"
)

// quantile returns the value below which a share q of the sorted values lies,
// by the nearest rank, and NaN for none.
func quantile[T ~int64 | ~float64](sorted []T, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return float64(sorted[min(max(rank, 0), len(sorted)-1)])
}

// median returns the middle of the values, or the mean of the two in the
// middle; those that are NaN do not count.
func median(values []float64) float64 {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(values)
	half := len(values) / 2
	switch {
	case len(values) == 0:
		return math.NaN()
	case len(values)%2 == 0:
		return (values[half-1] + values[half]) / 2
	}
	return values[half]
}

// spread returns how many times the lowest of the values the highest is.
func spread(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return slices.Max(values) / slices.Min(values)
}

// latencies are what the requests of one slice took.
type latencies []time.Duration

// at returns the latency below which a share q of the requests stayed, in
// microseconds.
func (l latencies) at(q float64) float64 {
	sorted := slices.Sorted(slices.Values(l))
	return quantile(sorted, q) / float64(time.Microsecond)
}

// perRound divides each round's value by the floor's in the same round: what
// disturbs a round disturbs both.
func perRound(values, floor []float64) []float64 {
	ratios := make([]float64, min(len(values), len(floor)))
	for i := range ratios {
		ratios[i] = values[i] / floor[i]
	}
	return ratios
}
