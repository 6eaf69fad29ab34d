package wire

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// trouble is a fault of the network. begin makes it, anew each time.
type trouble struct {
	kind    string
	begin   func() []toxic // nil: connections are refused
	padding int            // of the sessions, in bytes
	felt    bool           // some requests cannot be served
}

const large = 64 << 10

var troubles = []trouble{
	{kind: "latency and jitter", begin: func() []toxic {
		slow := map[string]any{"latency": 60, "jitter": 50}
		return []toxic{upstream("latency", slow), downstream("latency", slow)}
	}},
	{kind: "narrow bandwidth", padding: large, begin: func() []toxic {
		rate := map[string]any{"rate": 600} // KB a second
		return []toxic{upstream("bandwidth", rate), downstream("bandwidth", rate)}
	}},
	{kind: "bandwidth too narrow", padding: large, felt: true, begin: func() []toxic {
		return []toxic{downstream("bandwidth", map[string]any{"rate": 8})}
	}},
	{kind: "packets sliced", begin: func() []toxic {
		slices := map[string]any{"average_size": 40, "size_variation": 20, "delay": 300}
		return []toxic{upstream("slicer", slices), downstream("slicer", slices)}
	}},
	{kind: "connections reset", begin: func() []toxic {
		reset := downstream("reset_peer", map[string]any{"timeout": 0})
		reset.Toxicity = .4
		return []toxic{reset}
	}},
	{kind: "replies cut", begin: func() []toxic {
		return []toxic{downstream("limit_data", map[string]any{"bytes": roll(4000)})}
	}},
	{kind: "requests cut", begin: func() []toxic {
		return []toxic{upstream("limit_data", map[string]any{"bytes": roll(4000)})}
	}},
	{kind: "half-open, requests lost", felt: true, begin: func() []toxic {
		return []toxic{upstream("timeout", map[string]any{"timeout": 0})}
	}},
	{kind: "half-open, replies lost", felt: true, begin: func() []toxic {
		return []toxic{downstream("timeout", map[string]any{"timeout": 0})}
	}},
	{kind: "silence, then closed", felt: true, begin: func() []toxic {
		return []toxic{downstream("timeout", map[string]any{"timeout": 300})}
	}},
	{kind: "connections refused", felt: true},
	{kind: "slow close", begin: func() []toxic {
		return []toxic{
			upstream("limit_data", map[string]any{"bytes": roll(4000)}),
			downstream("slow_close", map[string]any{"delay": 1500}),
		}
	}},
}

// TestWire lets browsers go on while the network between the store and its
// server fails in one way, again and again, and holds what they see against
// what was acknowledged.
func TestWire(t *testing.T) {
	t.Parallel()
	const browsers = 4
	s := scenario.New(t, "faults on the wire", fmt.Sprintf("%d browsers for each kind of fault", browsers))
	var slowest struct {
		sync.Mutex
		call, recovery time.Duration
	}
	t.Cleanup(func() {
		s.Note("longest call of the store %.1f s with a Timeout of %v", slowest.call.Seconds(), timeout)
		s.Note("all browsers served again within %.1f s", slowest.recovery.Seconds())
	})
	for _, trouble := range troubles {
		t.Run(trouble.kind, func(t *testing.T) {
			t.Parallel()
			call, recovery := endure(t, s, trouble, browsers)
			slowest.Lock()
			defer slowest.Unlock()
			slowest.call, slowest.recovery = max(slowest.call, call), max(slowest.recovery, recovery)
		})
	}
}

// endure returns the longest call of the store, and how long after the fault
// the last browser was served again.
func endure(t *testing.T, s *scenario.Scenario, trouble trouble, browsers int) (call, recovery time.Duration) {
	t.Helper()
	server := mongotest.Standalone(t)
	n := newNetwork(t, server)
	a := &application{store: newStore(t, server, n), s: s, yardstick: mongotest.NewYardstick(t)}
	web := httptest.NewTLSServer(a)
	t.Cleanup(web.Close)
	visitors := make([]*visitor, browsers)
	for i := range visitors {
		visitors[i] = newVisitor(t, s, web, trouble.padding)
		visitors[i].served() // which begins a session
	}

	periods := 1
	if long {
		periods = 15
	}
	var mended time.Time
	stop := make(chan struct{})
	recoveries := make(chan time.Duration, browsers)
	for _, v := range visitors {
		go func() {
			v.traffic(stop)
			v.served()
			recoveries <- time.Since(mended)
		}()
	}
	for i := range periods {
		if i > 0 {
			time.Sleep(timeout / 3) //nolint:forbidigo // so long all is well
		}
		n.spoil(trouble)
		s.Fault(trouble.kind)
		refused := a.refused.Load()
		time.Sleep(3 * timeout / 2) //nolint:forbidigo // the fault goes on so long
		for end := time.Now().Add(patience); trouble.felt && a.refused.Load() == refused && time.Now().Before(end); {
			time.Sleep(timeout / 10) //nolint:forbidigo // and on a busy machine until it is felt
		}
		n.repair(trouble)
	}
	mended = time.Now()
	close(stop)
	for range visitors {
		recovery = max(recovery, <-recoveries)
	}
	if trouble.felt && a.refused.Load() == 0 {
		t.Error("no request failed: the fault was not felt")
	}
	for _, v := range visitors {
		v.checkAll()
	}
	return time.Duration(a.slowest.Load()), recovery
}

func newStore(t *testing.T, server *mongotest.Server, n *network) *mongostore.Store {
	t.Helper()
	db := server.Database(t).Name()
	store, err := mongostore.Open(t.Context(), n.uri(), &mongostore.Config{
		Database: db, AutoRemove: mongostore.AutoRemoveDisabled, Timeout: timeout,
		ClientOptions: options.Client().SetHeartbeatInterval(500 * time.Millisecond),
	}, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func (n *network) spoil(trouble trouble) {
	n.t.Helper()
	if trouble.begin == nil {
		n.proxy.Stop()
		return
	}
	n.add(trouble.begin()...)
}

func (n *network) repair(trouble trouble) {
	n.t.Helper()
	if trouble.begin != nil {
		n.clear()
	} else if err := n.proxy.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// traffic makes requests until stop is closed.
func (v *visitor) traffic(stop <-chan struct{}) {
	for {
		v.step()
		select {
		case <-stop:
			return
		default:
		}
	}
}

// checkAll looks whether all is as it was acknowledged, and goes on for a while.
func (v *visitor) checkAll() {
	for range 5 {
		v.served()
	}
	for range v.dead {
		v.knock()
	}
}

// served makes requests until one is answered.
func (v *visitor) served() {
	for end := time.Now().Add(patience); v.step() == http.StatusServiceUnavailable; {
		if time.Now().After(end) {
			v.s.Violation("not served %v after the fault", patience)
			return
		}
	}
}
