package mongostore_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// unreliable is a place whose server fails as the test wants.
type unreliable struct {
	*place
	server *mongotest.Server
	sent   *mongotest.Commands
	app    string
	off    func()
}

func newUnreliable(t *testing.T, server *mongotest.Server, opts ...*options.ClientOptions) *unreliable {
	t.Helper()
	app := bson.NewObjectID().Hex()
	opts = append(opts, options.Client().SetAppName(app).SetHeartbeatInterval(500*time.Millisecond))
	p, sent := watched(t, server, opts...)
	return &unreliable{p, server, sent, app, func() {}}
}

func (f *unreliable) fail(how mongotest.Fail) {
	f.t.Helper()
	how.AppName = f.app
	f.off = f.server.FailCommand(f.t, how)
}

func (f *unreliable) mend() {
	f.off()
	if f.first != nil {
		mongostore.SetTimeout(f.first, ample)
	}
}

// patient is a configuration for tests in which MongoDB does not answer.
func patient() *mongostore.Config {
	return &mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled, Timeout: ample}
}

// The Config.Timeout of requests that shall be served, on a busy machine too, and of those that run into it.
const (
	ample = time.Minute
	scant = time.Second
)

// failures are what a server does when it cannot do what it is told.
var failures = map[string]mongotest.Fail{
	"it shuts down":         {ErrorCode: 91},
	"interrupted":           {ErrorCode: 11600},
	"no longer the primary": {ErrorCode: 10107},
	"time is up":            {ErrorCode: 50},
	"no permission":         {ErrorCode: 13},
	"closed connection":     {CloseConnection: true},
}

// eachFailure runs a test once for each failure of these commands. It has a server of its own, since a server
// fails in one way at a time.
func eachFailure(t *testing.T, commands []string, test func(t *testing.T, f *unreliable, fail func())) {
	t.Helper()
	server := mongotest.Private(t)
	for what, failure := range failures {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newUnreliable(t, server)
			failure.Commands = commands
			test(t, f, func() {
				mongostore.SetTimeout(f.first, scant)
				f.fail(failure)
			})
		})
	}
}

func TestR03AnOutageDuringALoadLogsNobodyOut(t *testing.T) {
	t.Parallel()
	eachFailure(t, []string{"find"}, func(t *testing.T, f *unreliable, fail func()) {
		store := f.store(patient())
		b := start(t, store, map[any]any{"n": 1})
		before := rawDocuments(t, f.coll)

		fail()
		v := b.load(t, store)
		wantStandIn(t, v, mongostore.ErrUnavailable)
		if again, err := store.Get(v.r, name); again != v.Session || err == nil {
			t.Errorf("the second Get: another session or no error (%v)", err)
		}
		for _, values := range []map[any]any{{}, {"n": 2}} {
			maps.Copy(v.Values, values)
			wantIs(t, v.save(), mongostore.ErrUnavailable)
		}
		store.Regenerate(v.Session)
		wantIs(t, v.save(), mongostore.ErrUnavailable)
		wantNoCookie(t, v)

		f.mend()
		wantIs(t, v.save(), mongostore.ErrUnavailable) // it still knows nothing of the session
		wantSameDocuments(t, f.coll, before)
		again, err := store.New(v.r, name)
		if err != nil || again.IsNew || again.Values["n"] != 1 {
			t.Errorf("New after the outage: %v, new %v, %v", again.Values, again.IsNew, err)
		}
	})
}

func TestR03LogoutOfASessionThatCouldNotBeLoadedWorks(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b, other := start(t, store, map[any]any{"n": 1}), start(t, store, nil)
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 50})
	v := b.load(t, store)
	wantStandIn(t, v, mongostore.ErrUnavailable)
	v.Options.MaxAge = -1
	v.saved(t)
	wantExpired(t, v)
	f.mend()
	b.wantGone(t, store)
	if n := documents(t, f.coll); n != 1 || other.load(t, store).IsNew {
		t.Errorf("%d documents are left, want the other visitor's", n)
	}
}

func TestR03LogoutOfAnOldSecretThatCouldNotBeLoadedEndsNothing(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b := start(t, store, map[any]any{"n": 1})
	old := &browser{cookies: slices.Clone(b.cookies)}
	login := b.load(t, store)
	store.Regenerate(login.Session)
	login.saved(t)
	login.arrive()
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 50})
	v := old.load(t, store)
	v.Options.MaxAge = -1
	v.saved(t)
	wantExpired(t, v)
	f.mend()
	b.wantValues(t, store, map[any]any{"n": 1})
}

func TestR05LogoutOfSeveralCookiesThatCouldNotBeLoadedEndsWhatAnyOfThemProves(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b := start(t, store, map[any]any{"n": 1})
	both := slices.Clone(b.cookies)
	login := b.load(t, store)
	store.Regenerate(login.Session)
	login.saved(t)
	login.arrive()
	both = append(both, b.cookies...) // of one handle: the old secret, then the new one
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 50})
	v := (&browser{cookies: both}).load(t, store)
	v.Options.MaxAge = -1
	v.saved(t)
	f.mend()
	b.wantGone(t, store)
}

func TestR03OutageBesideADamagedSessionProvesNothing(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	damaged, b := start(t, store, nil), start(t, store, map[any]any{"n": 1})
	edit(t, f.coll, damaged.load(t, store).ID, set("session", "damaged"))
	old := &browser{cookies: slices.Clone(b.cookies)}
	login := b.load(t, store)
	store.Regenerate(login.Session)
	login.saved(t)
	login.arrive()

	both := &browser{cookies: append(damaged.cookies, old.cookies...)}
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 50})
	v := both.load(t, store)
	wantStandIn(t, v, mongostore.ErrUnavailable)
	v.Options.MaxAge = -1
	v.saved(t)
	f.mend()
	b.wantValues(t, store, map[any]any{"n": 1})
}

func TestR05LogoutDuringAnOutageExpiresTheCookieAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	eachFailure(t, []string{"find", "delete"}, func(t *testing.T, f *unreliable, fail func()) {
		store := f.store(patient())
		b := start(t, store, map[any]any{"n": 1})
		loaded := b.load(t, store)
		fail()
		unloaded := b.load(t, store)
		for _, v := range []*visit{loaded, unloaded} {
			v.Options.MaxAge = -1
			wantIs(t, v.save(), mongostore.ErrUnavailable)
			wantExpired(t, v)
		}
		f.mend()
		b.wantValues(t, store, map[any]any{"n": 1})
		unloaded.saved(t)
		b.wantGone(t, store)
		loaded.saved(t)
	})
}

func TestR03AFailedSaveKeepsTheValuesAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	eachFailure(t, []string{"insert", "update"}, func(t *testing.T, f *unreliable, fail func()) {
		store := f.store(patient())
		b := start(t, store, map[any]any{"n": 1})
		changed, renewed, first := b.load(t, store), b.load(t, store), new(browser).load(t, store)
		touched := start(t, store, map[any]any{"n": 1}).load(t, store)
		id, before := changed.ID, rawDocuments(t, f.coll)
		changed.Values["n"], first.Values["n"] = 2, 3
		store.Regenerate(renewed.Session)
		f.clock.Advance(time.Hour)

		fail()
		for _, v := range []*visit{changed, renewed, first, touched} {
			wantIs(t, v.save(), mongostore.ErrUnavailable)
			wantNoCookie(t, v)
		}
		if changed.Values["n"] != 2 || changed.ID != id || first.Values["n"] != 3 || first.ID != "" {
			t.Errorf("after the error: %v of %q, %v of %q", changed.Values, changed.ID, first.Values, first.ID)
		}
		wantSameDocuments(t, f.coll, before)

		f.mend()
		for _, v := range []*visit{changed, renewed, first, touched} {
			v.saved(t)
			v.arrive()
		}
		b.wantValues(t, store, map[any]any{"n": 2})
		first.browser.wantValues(t, store, map[any]any{"n": 3})
		touched.browser.wantValues(t, store, map[any]any{"n": 1})
		if n := f.count(); n != 3 {
			t.Errorf("%d sessions, want 3", n)
		}
	})
}

func TestR03ASaveWhoseConflictCannotBeReadCanBeRepeated(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b := start(t, store, map[any]any{"n": 1})
	mine, theirs := b.load(t, store), b.load(t, store)
	theirs.Values["theirs"] = 1
	theirs.saved(t)
	mine.Values["mine"] = 1
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 50})
	wantIs(t, mine.save(), mongostore.ErrUnavailable)
	wantNoCookie(t, mine)
	f.mend()
	mine.saved(t)
	b.wantValues(t, store, map[any]any{"n": 1, "mine": 1, "theirs": 1})
}

func TestR03ErrorsOfTheDriverStayInTheChain(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b := start(t, store, nil)
	v := b.load(t, store)
	v.Values["n"] = 1
	f.fail(mongotest.Fail{Commands: []string{"find", "update"}, ErrorCode: 50})
	for what, err := range map[string]error{"load": b.load(t, store).err, "Save": v.save()} {
		if !mongo.IsTimeout(err) || !mongoCode(err, 50) {
			t.Errorf("%s: %v, want the driver's time-out in the chain", what, err)
		}
	}
	mongostore.SetTimeout(store, scant) // the driver tries again until then
	f.fail(mongotest.Fail{Commands: []string{"find", "update"}, CloseConnection: true})
	for what, err := range map[string]error{"load": b.load(t, store).err, "Save": v.save()} {
		if !mongo.IsNetworkError(err) && !mongo.IsTimeout(err) {
			t.Errorf("%s: %v, want the driver's network error in the chain", what, err)
		}
	}
}

func TestR13WriteConcernErrorIsReturnedBesideWhatASuccessDoes(t *testing.T) {
	t.Parallel()
	server := mongotest.Private(t)
	for what, code := range map[string]int32{"write concern failed": 64, "it shuts down": 91, "too few members": 100} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newUnreliable(t, server)
			store := f.store(nil)
			wantWrittenWithError(t, f, store, mongotest.Fail{WriteConcernError: bson.D{{Key: "code", Value: code}, {Key: "errmsg", Value: what}}})
		})
	}
}

func wantWrittenWithError(t *testing.T, f *unreliable, store *mongostore.Store, fail mongotest.Fail) {
	t.Helper()
	failing := func(command string, v *visit) {
		t.Helper()
		fail.Commands, fail.Times = []string{command}, 1
		f.fail(fail)
		wantIs(t, v.save(), mongostore.ErrUnavailable)
		f.mend()
	}
	v := new(browser).load(t, store)
	v.Values["n"] = 1
	failing("insert", v)
	v.arrive()
	v.browser.wantValues(t, store, map[any]any{"n": 1})

	id := v.ID
	v = v.browser.load(t, store)
	v.Values["n"] = 2
	failing("update", v)
	f.sent.Take()
	v.saved(t) // which finds nothing left to do
	if sent := f.sent.Names(); len(sent) > 0 {
		t.Errorf("the Save after a write concern error sent %q", sent)
	}
	old := &browser{cookies: slices.Clone(v.browser.cookies)}
	store.Regenerate(v.Session)
	failing("update", v)
	v.arrive()
	v.browser.wantValues(t, store, map[any]any{"n": 2})
	old.wantGone(t, store)

	f.clock.Advance(time.Hour)
	v = v.browser.load(t, store)
	failing("update", v) // of the deadline
	if v.cookie(t) == nil || v.ID != id {
		t.Errorf("cookie %v, id %q after the deadline was moved", v.cookie(t), v.ID)
	}
	v.arrive()

	v = v.browser.load(t, store)
	v.Options.MaxAge = -1
	failing("delete", v)
	wantExpired(t, v)
	if v.ID != "" || len(v.Values) > 0 || !v.IsNew {
		t.Errorf("after the logout: id %q, values %v, new %v", v.ID, v.Values, v.IsNew)
	}
	v.browser.wantGone(t, store)
}

func TestR13WriteConcernErrorOfAnUpdateThatMatchedNothingWroteNothing(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(nil)
	b := start(t, store, map[any]any{"n": 1})
	v := b.load(t, store)
	if err := store.Destroy(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	v.Values["n"] = 2
	f.fail(mongotest.Fail{Commands: []string{"update"}, WriteConcernError: bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "late"}}})
	if err := v.save(); err == nil {
		t.Error("Save of a session that was destroyed: no error")
	}
	wantNoCookie(t, v)
	b.wantGone(t, store)
}

func TestR03StoppedServerCostsEachRequestTimeoutAtMostAndLosesNothing(t *testing.T) {
	t.Parallel()
	server := mongotest.Private(t)
	p := onMongoDB(t, server)
	outage(t, p, func() { server.Stop(t) }, func() { server.Start(t) })
}

func TestR14FrozenServerCostsEachRequestTimeoutAtMostAndLosesNothing(t *testing.T) {
	t.Parallel()
	server := mongotest.Private(t)
	p := onMongoDB(t, server)
	outage(t, p, func() { server.Freeze(t) }, func() { server.Thaw(t) })
}

func TestR14CutNetworkCostsEachRequestTimeoutAtMostAndLosesNothing(t *testing.T) {
	t.Parallel()
	p, proxy := behindProxy(t)
	outage(t, p, proxy.Cut, func() { proxy.Restore(t) })
}

func TestR14HangingNetworkCostsEachRequestTimeoutAtMostAndLosesNothing(t *testing.T) {
	t.Parallel()
	p, proxy := behindProxy(t)
	outage(t, p, func() { proxy.Hang(true) }, func() { proxy.Hang(false) })
}

// behindProxy returns a place whose client's traffic goes through a proxy.
func behindProxy(t *testing.T) (*place, *mongotest.Proxy) {
	t.Helper()
	server := mongotest.Standalone(t)
	proxy := server.Proxy(t)
	p := onMongoDB(t, server)
	client := server.Client(t, options.Client().ApplyURI(proxy.URI()).SetHeartbeatInterval(500*time.Millisecond))
	p.coll = client.Database(p.coll.Database().Name()).Collection(p.coll.Name())
	return p, proxy
}

// outage runs many requests, each in another stage, while the server is down, and again when it is back.
func outage(t *testing.T, p *place, down, up func()) {
	t.Helper()
	store := p.store(patient())
	visitors := make([]*browser, 8)
	for i := range visitors {
		visitors[i] = start(t, store, map[any]any{"n": i})
	}
	pending := make([]*visit, len(visitors))
	for i, b := range visitors {
		pending[i] = b.load(t, store)
		pending[i].Values["pending"] = true
	}
	leaving := start(t, store, nil).load(t, store)
	leaving.Options.MaxAge = -1

	yardstick := mongotest.NewYardstick(t)
	mongostore.SetTimeout(store, scant)
	down()
	up = sync.OnceFunc(up)
	defer time.AfterFunc(ample, up).Stop() // a request that waits for ever fails the test then
	var requests sync.WaitGroup
	for i, b := range visitors {
		requests.Go(func() { inTime(t, yardstick, "Save", func() error { return pending[i].save() }) })
		requests.Go(func() { inTime(t, yardstick, "Get", func() error { return b.load(t, store).err }) })
	}
	requests.Go(func() { inTime(t, yardstick, "logout", leaving.save) })
	requests.Wait()
	wantExpired(t, leaving)
	up()
	mongostore.SetTimeout(store, ample)

	eventually(t, "the store finds MongoDB again", func() bool { return visitors[0].load(t, store).err == nil })
	for i, b := range visitors {
		wantNoCookie(t, pending[i])
		pending[i].saved(t)
		pending[i].arrive()
		b.wantValues(t, store, map[any]any{"n": i, "pending": true})
	}
	leaving.saved(t)
	leaving.browser.wantGone(t, store)
	wantCount(t, store, int64(len(visitors)))
}

// inTime fails unless do answers ErrUnavailable within a scant Config.Timeout.
func inTime(t *testing.T, yardstick *mongotest.Yardstick, what string, do func() error) {
	t.Helper()
	yardstick.Within(t, what, scant, func() { wantIs(t, do(), mongostore.ErrUnavailable) })
}

func TestR17NewWhileMongoDBIsDownEndsWithItsContextAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	server := mongotest.Private(t)
	p := onMongoDB(t, server)
	server.Stop(t)
	const allowed = 300 * time.Millisecond
	mongotest.NewYardstick(t).Within(t, "New", allowed, func() {
		ctx, cancel := context.WithTimeout(t.Context(), allowed)
		defer cancel()
		_, err := mongostore.New(ctx, p.coll, nil, key)
		wantIs(t, err, mongostore.ErrUnavailable)
	})

	store := p.store(&mongostore.Config{NoIndexes: true, Timeout: scant})
	wantIs(t, new(browser).load(t, store).save(), mongostore.ErrUnavailable)
	mongostore.SetTimeout(store, ample)
	server.Start(t)
	start(t, store, map[any]any{"n": 1}).wantValues(t, store, map[any]any{"n": 1})
	p.store(nil)
	wantTTL(t, p.coll, "expires_1")
}

func TestR03VisitorsWithoutACookieAreServedWhileMongoDBIsDown(t *testing.T) {
	t.Parallel()
	server := mongotest.Private(t)
	p := onMongoDB(t, server)
	store := p.store(&mongostore.Config{SkipEmpty: true})
	server.Stop(t)
	v := new(browser).load(t, store)
	if v.err != nil || !v.IsNew {
		t.Errorf("Get: %v", v.err)
	}
	v.saved(t)
	v = sending("handle.secret").load(t, store)
	wantIs(t, v.err, mongostore.ErrInvalidCookie)
	v.saved(t)
	server.Start(t)
}

func TestR14AClosedTabLosesNoSaveAndNoLogout(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		gone := func() *visit {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			v := b.load(t, store)
			v.r = v.r.WithContext(ctx)
			return v
		}
		v := gone()
		v.Values["n"] = 2
		v.saved(t)
		b.wantValues(t, store, map[any]any{"n": 2})
		if again, err := store.New(v.r, name); err != nil || again.IsNew {
			t.Errorf("a load: new %v, %v", again.IsNew, err)
		}
		v = gone()
		v.Options.MaxAge = -1
		v.saved(t)
		b.wantGone(t, store)
	})
}

func TestR14EarlierDeadlineOfTheRequestIsThatOfItsLoadButNotOfItsSave(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b := start(t, store, map[any]any{"n": 1})
	late := b.load(t, store)
	f.fail(mongotest.Fail{Commands: []string{"find"}, Block: 2 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	session, err := store.New(b.request(t).WithContext(ctx), name) // without its deadline it would be served
	wantIs(t, err, mongostore.ErrUnavailable)
	wantIs(t, err, context.DeadlineExceeded)
	if !session.IsNew {
		t.Error("the load found the session")
	}
	f.mend()
	<-ctx.Done()
	late.r = late.r.WithContext(ctx)
	late.Values["n"] = 2
	late.saved(t)
	b.wantValues(t, store, map[any]any{"n": 2})
}

func TestR14ClosedTabsCostNoPooledConnection(t *testing.T) {
	t.Parallel()
	var closed atomic.Int64
	f := newUnreliable(t, mongotest.Standalone(t), options.Client().SetPoolMonitor(&event.PoolMonitor{Event: func(e *event.PoolEvent) {
		if e.Type == event.ConnectionClosed {
			closed.Add(1)
		}
	}}))
	store := f.store(nil)
	b := start(t, store, map[any]any{"n": 1})
	f.fail(mongotest.Fail{Commands: []string{"find"}, Block: 100 * time.Millisecond})
	f.sent.Take()
	var requests sync.WaitGroup
	ctx, closeTabs := context.WithCancel(t.Context())
	const tabs = 10
	for range tabs {
		r := b.request(t).WithContext(ctx)
		requests.Go(func() {
			if session, err := store.New(r, name); err != nil || session.IsNew {
				t.Errorf("New: new %v, %v", session.IsNew, err)
			}
		})
	}
	eventually(t, "the loads are on their way", func() bool { return len(f.sent.Names()) == tabs })
	closeTabs()
	requests.Wait()
	if n := closed.Load(); n > 0 {
		t.Errorf("%d connections were closed", n)
	}
}

func TestR14SaveAndLoadEndWithTimeoutWhileRepetitionsGoOn(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b := start(t, store, nil)
	v := b.load(t, store)
	v.Values["n"] = 1
	f.fail(mongotest.Fail{Commands: []string{"find", "update"}, Block: 600 * time.Millisecond, CloseConnection: true})
	mongostore.SetTimeout(store, scant)
	yardstick := mongotest.NewYardstick(t)
	inTime(t, yardstick, "Save", v.save)
	inTime(t, yardstick, "Get", func() error { return b.load(t, store).err })
}

// wantStandIn fails unless the load gave a new session beside this error.
func wantStandIn(t *testing.T, v *visit, err error) {
	t.Helper()
	wantIs(t, v.err, err)
	if v.Session == nil || !v.IsNew || v.ID != "" || len(v.Values) > 0 || v.Values == nil {
		t.Fatalf("the session beside the error is %+v", v.Session)
	}
}

func wantNoCookie(t *testing.T, v *visit) {
	t.Helper()
	if c := v.cookie(t); c != nil {
		t.Errorf("sets the cookie %v", c)
	}
}

// wantExpired fails unless the answer takes the cookie from the browser.
func wantExpired(t *testing.T, v *visit) {
	t.Helper()
	if c := v.cookie(t); c == nil || c.MaxAge >= 0 || c.Value != "" || c.Path != "/" {
		t.Errorf("the cookie is %v, want it expired", c)
	}
}

func rawDocuments(t *testing.T, coll *mongo.Collection) map[string]string {
	t.Helper()
	cursor, err := coll.Find(t.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	var docs []bson.Raw
	if err := cursor.All(t.Context(), &docs); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string, len(docs))
	for _, doc := range docs {
		all[doc.Lookup("_id").String()] = doc.String()
	}
	return all
}

// wantSameDocuments fails unless the collection holds exactly this.
func wantSameDocuments(t *testing.T, coll *mongo.Collection, want map[string]string) {
	t.Helper()
	if got := rawDocuments(t, coll); !maps.Equal(got, want) {
		t.Errorf("the collection holds\n%v\nwant\n%v", got, want)
	}
}

// edit changes a document as an administrator would, by hand.
func edit(t *testing.T, coll *mongo.Collection, id string, update bson.D) {
	t.Helper()
	res, err := coll.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, update)
	if err != nil || res.MatchedCount != 1 {
		t.Fatalf("edit %q: %v", id, err)
	}
}

func set(field string, value any) bson.D {
	return bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}}
}

func TestR14ALoadWaitsForAServerOnce(t *testing.T) {
	t.Parallel()
	const patience = 2 * time.Second // twice that is more than the yardstick grants an idle machine
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1").SetServerSelectionTimeout(patience))
	wantErr(t, err, nil)
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	store, err := mongostore.New(t.Context(), client.Database("none").Collection("sessions"), &mongostore.Config{NoIndexes: true}, key)
	wantErr(t, err, nil)
	mongotest.NewYardstick(t).Within(t, "Find", patience, func() {
		_, err := store.Find(t.Context(), "id")
		wantErr(t, err, mongostore.ErrUnavailable)
	})
}

func TestR14AnAdministratorsCallIsPartOfTheTransactionInItsContext(t *testing.T) {
	t.Parallel()
	p, sent := watched(t, mongotest.ReplicaSet(t))
	store := p.store(nil)
	id := start(t, store, map[any]any{"n": 1}).load(t, store).ID
	tx, err := store.Collection().Database().Client().StartSession()
	wantErr(t, err, nil)
	defer tx.EndSession(t.Context())
	wantErr(t, tx.StartTransaction(options.Transaction().SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary())), nil)
	sent.Take()
	_, err = store.Find(mongo.NewSessionContext(t.Context(), tx), id)
	wantErr(t, err, nil)
	if commands := sent.Take(); len(commands) != 1 || !commands[0].Body.Lookup("startTransaction").Boolean() {
		t.Errorf("it sent %v, want one find that begins the transaction", commands)
	}
	wantErr(t, tx.CommitTransaction(t.Context()), nil)
}

func TestR13ALoadThatFailsOnceIsRepeated(t *testing.T) {
	t.Parallel()
	for what, failure := range map[string]mongotest.Fail{
		"closed connection":     {CloseConnection: true},
		"no longer the primary": {ErrorCode: 10107},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newUnreliable(t, mongotest.Private(t))
			store := f.store(nil)
			b := start(t, store, map[any]any{"n": 1})
			failure.Commands, failure.Times = []string{"find"}, 1
			f.fail(failure)
			b.wantValues(t, store, map[any]any{"n": 1})
		})
	}
}

func TestR21ADocumentThatTheServerFindsTooLargeIsErrTooLargeAlone(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(patient())
	b := start(t, store, map[any]any{"n": 1})
	first, changed := new(browser).load(t, store), b.load(t, store)
	first.Values["n"], changed.Values["n"] = 1, 2
	f.fail(mongotest.Fail{Commands: []string{"insert", "update"}, ErrorCode: 10334})
	for what, err := range map[string]error{
		"first Save": first.save(), "Save": changed.save(),
		"Update": store.Update(t.Context(), changed.ID, func(values map[any]any) error { values["n"] = 3; return nil }),
	} {
		wantOnly(t, what, err, mongostore.ErrTooLarge)
	}
	f.mend()
	b.wantValues(t, store, map[any]any{"n": 1})
}

func TestR17IndexesDuringAnElectionAreUnavailableAndNotWrong(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(&mongostore.Config{NoIndexes: true})
	for _, code := range []int32{10107, 11600, 189, 91} {
		f.fail(mongotest.Fail{Commands: []string{"createIndexes"}, ErrorCode: code})
		wantOnly(t, "EnsureIndexes", store.EnsureIndexes(t.Context()), mongostore.ErrUnavailable)
		f.mend()
	}
	if err := store.EnsureIndexes(t.Context()); err != nil {
		t.Error(err)
	}
}

// A write that timed out may have landed, also after conflicts: then nobody can say that nothing was stored.
func TestR13AWriteThatTimesOutAfterConflictsIsNoConflict(t *testing.T) { // P8
	t.Parallel()
	for _, first := range []bool{true, false} { // the write that times out is stored, or not
		f := newUnreliable(t, mongotest.Private(t))
		others := f.store(patient())
		b := start(t, others, map[any]any{"n": 0})
		rounds := 0
		cfg := patient()
		cfg.UserID = func(*sessions.Session) string {
			if rounds++; rounds <= 3 {
				v := b.load(t, others)
				v.Values["n"] = rounds
				v.saved(t)
			}
			if rounds == 4 {
				f.fail(mongotest.Fail{Commands: []string{"update"}, Block: 2 * scant, CloseConnection: !first})
			}
			return ""
		}
		store := f.store(cfg)
		v := b.load(t, store)
		v.Values["mine"] = 1
		mongostore.SetTimeout(store, scant)
		wantOnly(t, "Save", v.save(), mongostore.ErrUnavailable)
		v.wantNoCookie(t)
		if n := mongostore.UnknownWrites(store, v.Session); n == 0 || rounds < 4 {
			t.Errorf("in round %d the outcome of %d writes is unknown", rounds, n)
		}
		f.mend()
		v.saved(t)
		b.wantValues(t, others, map[any]any{"n": 3, "mine": 1})
	}
}

// Of two writes whose answers were lost the first one is stored: it is still one's own, and no conflict.
func TestR13TheFirstOfTwoLostWritesIsKnownAgain(t *testing.T) {
	t.Parallel()
	server := mongotest.Private(t)
	app := bson.NewObjectID().Hex()
	proxy := server.Proxy(t)
	p := onMongoDB(t, server)
	sure := p.store(nil)
	client := mongoClient(t, proxy.URI(), options.Client().SetAppName(app))
	p.coll = client.Database(p.coll.Database().Name()).Collection(p.coll.Name())
	store := p.store(&mongostore.Config{OnConflict: mongostore.OnConflictFail})
	b := start(t, store, map[any]any{"stock": 10})
	v := b.load(t, store)
	v.Values["stock"] = 5
	proxy.DropReplies("update", 2)
	wantErr(t, v.save(), mongostore.ErrUnavailable)

	v.Values["more"] = 1
	off := server.FailCommand(t, mongotest.Fail{ // not the first update, which confirms the one before
		AppName: app, Commands: []string{"update"}, Skip: 1, CloseConnection: true,
	})
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	off()
	b.wantValues(t, sure, map[any]any{"stock": 5})
	if n := mongostore.UnknownWrites(store, v.Session); n != 2 {
		t.Errorf("the outcome of %d writes is unknown", n)
	}

	v.saved(t)
	b.wantValues(t, sure, map[any]any{"stock": 5, "more": 1})
}

// A write that was found and has now been confirmed, but not replicated, is written like any other.
func TestR13AWriteConcernErrorOfALostWriteThatIsFoundIsReturnedBesideItsCookie(t *testing.T) { // P9
	t.Parallel()
	notReplicated := bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"}}
	for kind, cfg := range map[string]func() *mongostore.Config{
		"split": func() *mongostore.Config { return new(mongostore.Config) }, "plain": connectMongoLike,
	} {
		for what, renew := range map[string]bool{"a change": false, "a renewal": true} {
			for _, more := range []bool{false, true} {
				t.Run(fmt.Sprint(kind, ", ", what, ", more ", more), func(t *testing.T) {
					t.Parallel()
					server := mongotest.Private(t)
					app := bson.NewObjectID().Hex()
					proxy := server.Proxy(t)
					p := onMongoDB(t, server)
					sure := p.store(cfg())
					client := mongoClient(t, proxy.URI(), options.Client().SetAppName(app))
					p.coll = client.Database(p.coll.Database().Name()).Collection(p.coll.Name())
					store := p.store(cfg())
					b := start(t, store, map[any]any{"n": "0"})
					v := b.load(t, store)
					v.Values["n"] = "1"
					if renew {
						store.Regenerate(v.Session)
					}
					proxy.DropReplies("update", 2)
					wantErr(t, v.save(), mongostore.ErrUnavailable)
					v.wantNoCookie(t)
					if more {
						v.Values["more"] = "x"
					}
					off := server.FailCommand(t, mongotest.Fail{AppName: app, Commands: []string{"update"}, Times: 1, WriteConcernError: notReplicated})
					wantOnly(t, "Save", v.save(), mongostore.ErrUnavailable)
					off()
					v.wantCookie(t)
					v.arrive()
					b.wantValues(t, sure, v.Values)
					v.saved(t) // the state is that of a success
					b.wantValues(t, sure, v.Values)
					p.wantCount(1)
				})
			}
		}
	}
}
