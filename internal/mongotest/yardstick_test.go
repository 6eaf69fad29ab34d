package mongotest_test

import (
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestYardstickFailsWhatTakesLongerThanABusyMachineExplains(t *testing.T) {
	t.Parallel()
	y := mongotest.NewYardstick(t)
	took := func(d time.Duration) bool {
		tb := new(errored)
		y.Within(tb, "a wait", time.Millisecond, func() { <-time.After(d) })
		return tb.failed
	}
	if took(time.Millisecond) {
		t.Error("a wait as long as its limit failed")
	}
	if !took(2*y.Margin() + time.Second) {
		t.Error("a wait of twice the margin passed")
	}
}

// errored is a test that notes an error.
type errored struct {
	testing.TB
	failed bool
}

func (e *errored) Helper()               {}
func (e *errored) Errorf(string, ...any) { e.failed = true }
