package wire

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// cuts are how many bytes of a reply arrive before the connection ends: none, a
// part of the header, the header, parts of the body, all of most replies.
func cuts(once bool) []int {
	switch {
	case long:
		return []int{0, 1, 15, 16, 17, 30, 45, 60, 100, 200, 400, 700, 1000}
	case once:
		return []int{0, 45}
	}
	return []int{16}
}

// TestCutReplies ends the connection in the middle of a reply, by reset or
// orderly, at the first command or at all that follow too. What is done is not
// known then: but the next Save of the same session finds out.
func TestCutReplies(t *testing.T) {
	t.Parallel()
	s := scenario.New(t, "connection ends in the middle of a reply", "one browser per case")
	var outcomes sync.Map // how often each came
	t.Cleanup(func() {
		outcomes.Range(func(what, count any) bool {
			s.Note("%v: %d", what, count.(*atomic.Int64).Load())
			return true
		})
	})
	for _, reset := range []bool{false, true} {
		for _, once := range []bool{false, true} {
			t.Run(fmt.Sprintf("reset %v, once %v", reset, once), func(t *testing.T) {
				t.Parallel()
				c := newCutter(t, s, reset, once)
				for _, op := range requests {
					for _, n := range cuts(once) {
						o := c.examine(t, op, n)
						count, _ := outcomes.LoadOrStore(o.answer+" with the record "+o.record, new(atomic.Int64))
						count.(*atomic.Int64).Add(1)
					}
				}
			})
		}
	}
}

// cutter is a store behind a network that cuts replies.
type cutter struct {
	*site
	*network
	s           *scenario.Scenario
	reset, once bool
	mend        atomic.Pointer[func()] // called when a connection has ended; nil: nothing is
}

func newCutter(t *testing.T, s *scenario.Scenario, reset, once bool) *cutter {
	t.Helper()
	server := mongotest.Standalone(t)
	c := &cutter{network: newNetwork(t, server), s: s, reset: reset, once: once}
	if reset { // from the first connection on, so that each ends with a reset; it never does by itself
		c.add(toxic{"linger", "reset_peer", "upstream", 0, map[string]any{"timeout": 0}})
	}
	pool := &event.PoolMonitor{Event: func(e *event.PoolEvent) {
		if mend := c.mend.Load(); e.Type == event.ConnectionClosed && mend != nil {
			(*mend)()
		}
	}}
	c.site = newSite(t, server, c.uri(), options.Client().SetPoolMonitor(pool).SetHeartbeatInterval(500*time.Millisecond))
	return c
}

// examine cuts the replies of an operation after so many bytes.
func (c *cutter) examine(t *testing.T, op operation, bytes int) outcome {
	t.Helper()
	v := &visit{site: c.site, t: t, kind: kind{impatient: true}}
	x := &examination{visit: v, operation: op, expected: outcome{"success", "old", c.cookieOf(op)}, unknown: true}
	if op.done != nil {
		x.expected.record = "new"
	}
	cut := downstream("limit_data", map[string]any{"bytes": bytes})
	o := x.examine(func() func() {
		mend := sync.OnceFunc(func() {
			if err := c.proxy.Toxics.RemoveToxic(t.Context(), cut.Name); err != nil {
				t.Errorf("toxiproxy: %v", err)
			}
		})
		c.add(cut)
		if c.once {
			c.mend.Store(&mend)
		}
		return func() {
			c.mend.Store(nil)
			mend()
		}
	})
	c.s.Requests.Add(1)
	c.s.Fault(map[bool]string{true: "reset", false: "end"}[c.reset])
	for _, problem := range x.problems {
		c.s.Violation("%s, replies cut after %d bytes, reset %v, once %v: %s", op.name, bytes, c.reset, c.once, problem)
	}
	return o
}

// cookieOf is what an operation that succeeds does to the cookie.
func (c *cutter) cookieOf(op operation) string {
	switch {
	case op.logout:
		return "expired"
	case op.done == nil:
		return "none"
	}
	return "set"
}
