package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
)

const (
	waiting     = 1000             // requests that wait for a slow MongoDB
	recovery    = 15 * time.Second // the longest time to recover, and for a round of all in it
	forever     = time.Minute      // a request that is not answered by then waits for the end of the trouble
	perRequest  = 10               // goroutines of a waiting request and its connection, both sides
	perRequestM = 0.25             // MB of them
)

// TestSlowMongoDB has many requests wait for a MongoDB that is slow or hangs:
// each is answered in time, and afterwards all is as before.
func TestSlowMongoDB(t *testing.T) {
	timeout := 3 * time.Second
	if long {
		timeout = 5 * time.Second
	}
	server := mongotest.Standalone(t)
	proxy := server.Proxy(t)
	var slowest longest // of the store's operations
	observe := func(_ context.Context, e mongostore.Event) { slowest.add(e.Elapsed) }
	row := scenario.New(t, "slow MongoDB", fmt.Sprintf("%d requests at once, Timeout %v", waiting, timeout))
	calm := newCrowd(t, newSite(t, server, server.Proxy(t).URI(), mongostore.Config{}), row, timeout)
	c := newCrowd(t, newSite(t, server, proxy.URI(), mongostore.Config{Timeout: timeout, Observe: observe}), row, timeout)
	c.rested = c.site.sample()
	for _, trouble := range []struct {
		name       string
		begin, end func()
		dead       bool // nobody can be served
	}{
		{"latency of Timeout/50", func() { proxy.Delay(timeout / 50) }, func() { proxy.Delay(0) }, false},
		{"latency of Timeout/10", func() { proxy.Delay(timeout / 10) }, func() { proxy.Delay(0) }, false},
		{"latency of Timeout", func() { proxy.Delay(timeout) }, func() { proxy.Delay(0) }, true},
		{"hang", func() { proxy.Hang(true) }, func() { proxy.Hang(false) }, true},
	} {
		row.Fault(trouble.name)
		_, pace := calm.atOnce(waiting, (*crowd).put)
		margin := time.Second + 3*pace // how busy this machine is just now
		slowest.take()
		trouble.begin()
		if served := c.wait(trouble.name, margin); served > 0 && trouble.dead {
			t.Errorf("%s: %d requests were served: it is none", trouble.name, served)
		}
		if took := slowest.take(); took > timeout+margin {
			row.Violation("%s: an operation took %v, Timeout is %v", trouble.name, took, timeout)
		}
		trouble.end()
		c.recover(trouble.name, calm)
	}
}

// longest is the longest of some times.
type longest struct {
	mu   sync.Mutex
	time time.Duration
}

func (l *longest) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.time = max(l.time, d)
}

// take returns the longest since the last take.
func (l *longest) take() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.time
	l.time = 0
	return d
}

// crowd are visitors of a site, each with a session.
type crowd struct {
	t        *testing.T
	site     *site
	row      *scenario.Scenario
	timeout  time.Duration
	visitors []*visitor
	rested   sample // what is held after requests of all at once
}

// visitor stores one number after the other.
type visitor struct {
	browser
	sent, acknowledged int
}

func newCrowd(t *testing.T, s *site, row *scenario.Scenario, timeout time.Duration) *crowd {
	t.Helper()
	c := &crowd{t: t, site: s, row: row, timeout: timeout}
	for range waiting {
		c.visitors = append(c.visitors, &visitor{browser: browser{site: s}})
	}
	if _, err := c.round(); err != nil {
		t.Fatal(err)
	}
	c.atOnce(waiting, (*crowd).put) // fills the pool of connections
	return c
}

// atOnce has each visitor do something, so many of them at a time, and returns
// how many were served, and how long the longest took.
func (c *crowd) atOnce(limit int, do func(*crowd, *visitor) (served bool)) (int, time.Duration) {
	places := make(chan struct{}, limit)
	var all sync.WaitGroup
	var served atomic.Int64
	var slowest longest
	for _, v := range c.visitors {
		places <- struct{}{}
		all.Go(func() {
			start := time.Now()
			if do(c, v) {
				served.Add(1)
			}
			slowest.add(time.Since(start))
			<-places
		})
	}
	all.Wait()
	c.site.client.CloseIdleConnections()
	return int(served.Load()), slowest.take()
}

// put stores a visitor's next number, or is told that MongoDB does not answer.
func (c *crowd) put(v *visitor) bool {
	c.row.Requests.Add(1)
	v.sent++
	ctx, cancel := context.WithTimeout(c.t.Context(), forever)
	defer cancel()
	status, answer, err := v.visit(ctx, "/put", "number", strconv.Itoa(v.sent))
	switch {
	case err == nil && status == http.StatusOK:
		v.acknowledged = v.sent
		return true
	case err != nil || status != http.StatusServiceUnavailable:
		c.row.Violation("put: %d %q %v, want 200 or 503", status, answer, err)
	}
	return false
}

// get looks whether the visitor is logged in, with the last number that was
// acknowledged, or one after it.
func (c *crowd) get(v *visitor) bool {
	c.row.Requests.Add(1)
	status, answer, err := v.visit(c.t.Context(), "/get", "number", "")
	if err == nil && status == http.StatusServiceUnavailable {
		return false
	}
	number, _ := strconv.Atoi(answer)
	switch {
	case err != nil || status != http.StatusOK:
		c.row.Violation("get: %d %q %v, want 200", status, answer, err)
	case number < v.acknowledged || number > v.sent:
		c.row.Violation("stored is %d, acknowledged %d, sent %d", number, v.acknowledged, v.sent)
	}
	return true
}

// round is a request of each visitor, a few at a time. It returns how long they
// took all together.
func (c *crowd) round() (time.Duration, error) {
	start := time.Now()
	if served, _ := c.atOnce(50, (*crowd).put); served < waiting {
		return 0, fmt.Errorf("%d of %d are served", served, waiting)
	}
	return time.Since(start), nil
}

// wait sends a request of each visitor at once, looks at what is held while they
// wait, and wants all answers in time: a request has a load and a Save, each of
// which has the Timeout.
func (c *crowd) wait(trouble string, margin time.Duration) (served int) {
	looked := make(chan sample, 1)
	timer := time.AfterFunc(c.timeout/2, func() { looked <- c.site.held() })
	defer timer.Stop()
	served, longest := c.atOnce(waiting, (*crowd).put)
	held := <-looked
	if limit := 2*c.timeout + margin; longest > limit {
		c.row.Violation("%s: an answer took %v, want it within %v", trouble, longest, limit)
	}
	if held.goroutines > c.rested.goroutines+waiting*perRequest || held.heap > c.rested.heap+waiting*perRequestM {
		c.row.Violation("%s: %.0f goroutines and %.1f MB are held", trouble, held.goroutines, held.heap)
	}
	c.row.Note("%s: %d requests served, %d answered 503, longest response %.1f s, meanwhile %.0f goroutines, %.0f MB, %.0f connections",
		trouble, served, waiting-served, longest.Seconds(), held.goroutines, held.heap, held.connections)
	return served
}

// recover wants the site to serve all soon, as quickly as one that had no
// trouble, with all that was acknowledged, and to hold no more than before.
func (c *crowd) recover(trouble string, calm *crowd) {
	start := time.Now()
	var begin time.Time // of the last try
	err := c.eventually(func() error {
		begin = time.Now()
		took, err := c.round()
		if err != nil {
			return err
		}
		usual, err := calm.round()
		if took > 2*usual+time.Second {
			err = fmt.Errorf("%d requests take %v, on a site without trouble %v", waiting, took, usual)
		}
		return err
	})
	quick := begin.Sub(start)
	if err != nil {
		c.row.Violation("%s: not recovered after %v: %v", trouble, quick, err)
	}
	if served, _ := c.atOnce(50, (*crowd).get); served < waiting {
		c.row.Violation("%s: %d of %d are served after it", trouble, served, waiting)
	}
	var now sample
	err = c.eventually(func() error {
		now = c.site.sample()
		for _, m := range measures {
			if !m.flat(growth{m.of(c.rested), m.of(now)}) {
				return fmt.Errorf("%s: %.4g, before %.4g", m.name, m.of(now), m.of(c.rested))
			}
		}
		return nil
	})
	if err != nil {
		c.row.Violation("%s: %v", trouble, err)
	}
	c.row.Note("then as quick as before within %.1f s, %.0f goroutines (before %.0f), %.0f connections (before %.0f)",
		quick.Seconds(), now.goroutines, c.rested.goroutines, now.connections, c.rested.connections)
}

// eventually tries until there is no error, a few times at least: a round of all
// takes long on a busy machine.
func (c *crowd) eventually(try func() error) error {
	const least = 5
	ctx, cancel := context.WithTimeout(c.t.Context(), recovery)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for tries := 1; ; tries++ {
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && tries >= least:
			return errors.Join(ctx.Err(), err)
		}
		<-tick.C
	}
}
