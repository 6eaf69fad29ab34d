package failover

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// world is what the browsers share.
type world struct {
	row       *scenario.Scenario
	set       *mongotest.Set
	addresses []string
	site      *url.URL
	transport *http.Transport
	probes    *mongo.Collection // of the bare driver
	yardstick *mongotest.Yardstick

	// divided is when the last time ended, or will, that two members could take
	// themselves for the primary: an answer to a request that began before that
	// may be from one that was deposed.
	divided                                   atomic.Int64
	errors, stale, acknowledged, tried, stuck atomic.Int64
	mu                                        sync.Mutex
	longest                                   time.Duration
	slowestElection, slowestSet               time.Duration
	slowestApp, outage                        time.Duration
	revived                                   int
}

func TestFailover(t *testing.T) {
	set := mongotest.PrivateReplicaSet(t)
	addresses := startApps(t, set.URI("failover"))
	site, err := url.Parse(addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		row: scenario.New(t, "failover of a replica set", "32 browsers, 3 app processes"),
		set: set, addresses: addresses, site: site,
		transport: &http.Transport{MaxIdleConnsPerHost: 2 * browsers}, probes: set.Collection(t, "failover", "probes"),
		yardstick: mongotest.NewYardstick(t),
	}
	all := make([]*browser, browsers)
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	end := func() { cancel(); working.Wait() }
	defer end() // also where a fault cannot be injected: nobody is at work when the test is over
	for i := range all {
		all[i] = newBrowser(w, i)
		working.Go(func() { all[i].work(ctx) })
	}
	w.inject(t)
	end()
	w.verify(all)
	w.report(t)
}

// verify asks every app, after all, for every session that lives, and tries
// every cookie of one that does not.
func (w *world) verify(all []*browser) {
	var verifying sync.WaitGroup
	for _, b := range all {
		verifying.Go(func() {
			for app := range apps {
				if !b.in {
					b.login()
				}
				if r := b.read(app); r.status != http.StatusOK {
					w.row.Violation("app %d answers %d when all is well again", app, r.status)
				}
			}
			for _, value := range b.ended {
				b.tryEnded(value)
			}
		})
	}
	verifying.Wait()
}

func (w *world) report(t *testing.T) {
	t.Helper()
	if w.acknowledged.Load() == 0 || w.tried.Load() == 0 {
		t.Error("no change was acknowledged, or no ended session tried: nothing was shown")
	}
	const ms = time.Millisecond
	w.row.Note("errors seen by users %d", w.errors.Load())
	w.row.Note("longest response %v", w.longest.Round(ms))
	w.row.Note("slowest election %v after the fault", w.slowestElection.Round(ms))
	w.row.Note("slowest write of the bare driver with majority %v after it", w.slowestSet.Round(ms))
	w.row.Note("slowest app served %v after that", max(w.slowestApp, 0).Round(ms))
	w.row.Note("longest outage %v", w.outage.Round(ms))
	w.row.Note("acknowledged changes %d", w.acknowledged.Load())
	w.row.Note("ended cookies tried %d times", w.tried.Load())
	w.row.Note("answers of a deposed primary %d", w.stale.Load())
	w.row.Note("faults undone early, as the set itself took no writes, %d; members started again, as they hung, %d", w.stuck.Load(), w.revived)
}

// took notes how long an answer took.
func (w *world) took(path string, r *response, d time.Duration) {
	if d > 2*timeout+w.yardstick.Margin() {
		w.row.Violation("%s at app %d took %v", path, r.app, d)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest = max(w.longest, d)
}

// fault is something that is done to the primary.
type fault struct {
	kind    string
	divides bool // the old primary may take itself for one after the election
	do      func(context.Context, *mongotest.Member) error
	undo    func(context.Context, *mongotest.Member) error
}

func (w *world) faults() []fault {
	start := func(ctx context.Context, m *mongotest.Member) error { return m.Start(ctx) }
	thaw := func(_ context.Context, m *mongotest.Member) error { return m.Thaw() }
	heal := func(context.Context, *mongotest.Member) error { w.set.Heal(); return nil }
	return []fault{
		{"primary killed", false, func(ctx context.Context, m *mongotest.Member) error { return m.Kill(ctx) }, start},
		{"primary restarted", false, func(ctx context.Context, m *mongotest.Member) error { return m.Stop(ctx) }, start},
		{"primary stepped down", false, func(ctx context.Context, m *mongotest.Member) error { return m.StepDown(ctx) }, heal},
		{"primary frozen", true, func(_ context.Context, m *mongotest.Member) error { return m.Freeze() }, thaw},
		{"primary cut off from the members", true, func(_ context.Context, m *mongotest.Member) error { w.set.CutOff(m, false); return nil }, heal},
		{"primary cut off from members and apps", true, func(_ context.Context, m *mongotest.Member) error { w.set.CutOff(m, true); return nil }, heal},
	}
}

// inject does one fault after the other, each kind once and then as long as
// the test shall last.
func (w *world) inject(t *testing.T) {
	t.Helper()
	end := time.Now().Add(length())
	for first := true; first || time.Now().Before(end); first = false {
		faults := w.faults()
		rand.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] }) //nolint:gosec // no secret
		for _, f := range faults {
			if !first && time.Now().After(end) {
				return
			}
			w.round(t, f)
		}
	}
}

const (
	// calm is how long the browsers work in peace between two faults.
	calm = time.Second
	// patience is how long a fault goes on if the set takes no writes after the
	// election, since a member waits for one that is silent.
	patience = 30 * time.Second
)

// round does one fault, waits until the apps serve again, and undoes it.
func (w *world) round(t *testing.T, f fault) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	old, err := w.set.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.row.Fault(f.kind)
	if f.divides {
		w.divided.Store(math.MaxInt64)
	}
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- f.do(ctx, old) }()
	if _, err := w.set.Primary(ctx, old); err != nil {
		t.Fatalf("%s: %v", f.kind, err)
	}
	elected := time.Now()
	undo := sync.OnceValue(func() error { return f.undo(ctx, old) })
	early := time.AfterFunc(patience, func() { w.stuck.Add(1); _ = undo() })
	able := make(chan time.Time, 1)
	go func() { able <- w.writes(ctx) }()
	first, last := w.served(ctx)
	early.Stop()
	w.note(t, f, elected.Sub(began), (<-able).Sub(elected), last.Sub(elected), first.Sub(began))
	if err := <-done; err != nil {
		t.Fatalf("%s: %v", f.kind, err)
	}
	if err := undo(); err != nil {
		t.Fatalf("%s, undone: %v", f.kind, err)
	}
	if err := w.settle(ctx); err != nil {
		t.Fatalf("%s, undone: %v", f.kind, err)
	}
	if f.divides {
		w.divided.Store(time.Now().UnixNano())
	}
	<-time.After(calm)
}

// settle waits until the members are as they were. One that is cut off or frozen
// can keep another waiting for minutes: that one is started again.
func (w *world) settle(ctx context.Context) error {
	patient, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if w.set.Calm(patient) == nil {
		return nil
	}
	revived, err := w.set.Revive(ctx)
	w.revived += revived
	if err != nil {
		return err
	}
	return w.set.Calm(ctx)
}

// note notes how long it took until there was a primary, and then until it took
// writes with majority, and until all apps served.
func (w *world) note(t *testing.T, f fault, election, set, app, outage time.Duration) {
	t.Helper()
	const ms = time.Millisecond
	if app > set+recovery+w.yardstick.Margin() {
		w.row.Violation("%s: the set took writes %v after the election, an app served no sooner than %v after it", f.kind, set, app)
	}
	t.Logf("%s: a primary after %v; %v later it took writes with majority, and %v later all apps served", f.kind, election.Round(ms), set.Round(ms), app.Round(ms))
	w.slowestElection, w.slowestSet = max(w.slowestElection, election), max(w.slowestSet, set)
	w.slowestApp, w.outage = max(w.slowestApp, app-set), max(w.outage, outage)
}

// writes returns when the bare driver could write with majority: a follower of a
// member that hangs may not notice that for half a minute, and nobody can until then.
func (w *world) writes(ctx context.Context) time.Time {
	return w.soonest(ctx, func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		_, err := w.probes.InsertOne(ctx, bson.D{})
		return err == nil
	})
}

// served waits until each app has stored a session, and returns when the first
// and the last one had.
func (w *world) served(ctx context.Context) (first, last time.Time) {
	times := make([]time.Time, apps)
	var probing sync.WaitGroup
	for app := range apps {
		probing.Go(func() { times[app] = w.probe(ctx, app) })
	}
	probing.Wait()
	first, last = times[0], times[0]
	for _, at := range times {
		if at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	return first, last
}

// probe sends logins of new visitors and returns when the first was answered
// with success.
func (w *world) probe(ctx context.Context, app int) time.Time {
	return w.soonest(ctx, func(context.Context) bool {
		return w.post(nil, app, "/"+majority+"/login", url.Values{"user": {"visitor"}}).status == http.StatusOK
	})
}

// soonest tries something again and again, no try waiting for the one before,
// and returns when one succeeded.
func (w *world) soonest(ctx context.Context, try func(context.Context) bool) time.Time {
	succeeded := make(chan time.Time, 1)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		go func() {
			if try(ctx) {
				select {
				case succeeded <- time.Now():
				default:
				}
			}
		}()
		select {
		case at := <-succeeded:
			return at
		case <-ctx.Done():
			return time.Now()
		case <-tick.C:
		}
	}
}
