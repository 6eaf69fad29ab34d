package mongotest

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Yardstick measures how busy the machine is while a test runs, by how late its
// timers fire. A bound in time that goes by it is tight on an idle machine and
// holds on a busy one.
type Yardstick struct {
	mu   sync.Mutex
	late []time.Duration // the worst, in order
}

// What is measured may need this much of a processor, and may have to wait so
// many times until it has one.
const (
	work  = 500 * time.Millisecond
	turns = 20
)

// NewYardstick begins to measure, until the test ends.
func NewYardstick(tb testing.TB) *Yardstick {
	tb.Helper()
	y := new(Yardstick)
	done := make(chan struct{})
	var measuring sync.WaitGroup
	measuring.Go(func() { y.measure(done) })
	tb.Cleanup(func() { close(done); measuring.Wait() })
	return y
}

func (y *Yardstick) measure(done <-chan struct{}) {
	const pause = 10 * time.Millisecond
	for {
		began := time.Now()
		select {
		case <-time.After(pause):
		case <-done:
			return
		}
		y.note(time.Since(began) - pause)
	}
}

func (y *Yardstick) note(late time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	i, _ := slices.BinarySearch(y.late, late)
	y.late = slices.Insert(y.late, i, late)
	y.late = y.late[max(0, len(y.late)-turns):]
}

// Margin returns what a thing may take beyond its limit on this machine: half a
// second, and as long as the 20 latest timers since the start were late together.
func (y *Yardstick) Margin() time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	margin := work
	for _, late := range y.late {
		margin += late
	}
	return margin
}

// Within fails the test if do takes longer than limit and the margin.
func (y *Yardstick) Within(tb testing.TB, what string, limit time.Duration, do func()) {
	tb.Helper()
	began := time.Now()
	do()
	took := time.Since(began)
	margin := y.Margin()
	if took > limit+margin {
		tb.Errorf("%s took %v, want %v at most, and %v more on a machine this busy", what, took, limit, margin)
	}
}
