package mongostore_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestR12RemovalLeavesAMinuteForClocksThatDiffer(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		v.Options.MaxAge = 10
		v.saved(t)
		v.arrive()
		live := start(t, store, nil)

		p.clock.Advance(70*time.Second - time.Millisecond)
		wantRemoved(t, store, 0)
		v.browser.wantGone(t, store)
		if _, ok := p.document(v.ID); !ok {
			t.Fatal("removed before the minute was over")
		}
		p.clock.Advance(time.Millisecond)
		wantRemoved(t, store, 1)
		if _, ok := p.document(v.ID); ok {
			t.Error("the record is still there")
		}
		wantRemoved(t, store, 0)
		if live.load(t, store).IsNew {
			t.Error("a live session was removed")
		}
	})
}

func TestR18RemovalGoesInBatches(t *testing.T) {
	t.Parallel()
	p, sent := watched(t, mongotest.Shared(t))
	store := p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	live := start(t, store, map[any]any{"live": true})
	insertExpired(t, p.coll, 2*mongostore.RemovalBatch+1, p.clock.Now().Add(-2*time.Minute))
	insertExpired(t, p.coll, 2, p.clock.Now().Add(-30*time.Second))
	sent.Take()
	wantRemoved(t, store, 2*mongostore.RemovalBatch+1)
	var batches []int
	for _, c := range sent.Take() {
		if ids, ok := c.Body.Lookup("deletes", "0", "q", "_id", "$in").ArrayOK(); ok {
			values, _ := ids.Values()
			batches = append(batches, len(values))
		}
	}
	if want := []int{mongostore.RemovalBatch, mongostore.RemovalBatch, 1}; !slices.Equal(batches, want) {
		t.Errorf("batches of %d, want %d", batches, want)
	}
	if n := documents(t, p.coll); n != 3 {
		t.Errorf("%d documents are left, want 3", n)
	}
	live.wantValues(t, store, map[any]any{"live": true})
}

func TestR18RemovalOfAFullBatchEnds(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	insertExpired(t, p.coll, mongostore.RemovalBatch, p.clock.Now().Add(-2*time.Minute))
	wantRemoved(t, store, mongostore.RemovalBatch)
}

func TestR18RemovalTakesWhatHasAnIDOfAnotherKind(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	for _, id := range []any{bson.NewObjectID(), int32(7), bson.D{{Key: "$a", Value: 1}}} {
		if _, err := p.coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "expires", Value: p.clock.Now().Add(-time.Hour)}}); err != nil {
			t.Logf("%s takes no _id %v: %v", mongotest.Shared(t), id, err)
		}
	}
	if _, err := store.RemoveExpired(t.Context()); err != nil {
		t.Error(err)
	}
	if n := documents(t, p.coll); n != 0 {
		t.Errorf("%d documents are left", n)
	}
}

func TestR18SessionProlongedDuringARemovalStays(t *testing.T) {
	t.Parallel()
	p, _ := meddling(t, mongotest.Shared(t), "delete", func(coll *mongo.Collection, c mongotest.Command) error {
		_, err := coll.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: c.Body.Lookup("deletes", "0", "q", "_id", "$in", "1")}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "expires", Value: time.Now().Add(time.Hour)}}}})
		return err
	})
	store := p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	insertExpired(t, p.coll, 3, p.clock.Now().Add(-time.Hour))
	wantRemoved(t, store, 2)
	if n := documents(t, p.coll); n != 1 {
		t.Errorf("%d documents are left, want the one prolonged", n)
	}
}

func TestR18SeveralProcessesMayRemoveAtOnce(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	const expired = 2500
	insertExpired(t, p.coll, expired, p.clock.Now().Add(-time.Hour))
	removed := make(chan int64, 8)
	for range cap(removed) {
		store := p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
		go func() {
			n, err := store.RemoveExpired(t.Context())
			if err != nil {
				t.Error(err)
			}
			removed <- n
		}()
	}
	var total int64
	for range cap(removed) {
		total += <-removed
	}
	if n := documents(t, p.coll); n != 0 || total != expired {
		t.Errorf("%d removed, %d left; want all of %d", total, n, expired)
	}
}

func TestR18RemoveExpiredEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.RemoveExpired(ctx)
	wantIs(t, err, context.Canceled)
	wantIs(t, err, mongostore.ErrUnavailable)
}

func TestR18RemoveExpiredTellsWhatItRemovedBeforeAnError(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	insertExpired(t, f.coll, mongostore.RemovalBatch+1, f.clock.Now().Add(-time.Hour))
	f.fail(mongotest.Fail{Commands: []string{"delete"}, ErrorCode: 50, Skip: 1})
	n, err := store.RemoveExpired(t.Context())
	wantIs(t, err, mongostore.ErrUnavailable)
	if n != mongostore.RemovalBatch {
		t.Errorf("%d removed, want the first batch", n)
	}
	f.mend()
	wantRemoved(t, store, 1)
}

func TestR18IntervalRemovesEachTimeItsIntervalHasPassed(t *testing.T) {
	t.Parallel()
	const interval = 10 * time.Minute
	var first []time.Duration
	for range 12 {
		synctest.Test(t, func(t *testing.T) {
			store, err := mongostore.NewMemory(&mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval, RemoveInterval: interval})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = store.Close() }()
			began := time.Now()
			first = append(first, untilRemoved(t, store))
			for range 5 {
				untilRemoved(t, store)
			}
			if all := time.Since(began); all < 6*interval*9/10 || all > 6*interval*11/10 {
				t.Errorf("six removals took %v", all)
			}
		})
	}
	slices.Sort(first)
	if first[0] < interval*9/10 || first[len(first)-1] > interval*11/10+time.Second {
		t.Errorf("the first removals came after %v, want them within a tenth of %v", first, interval)
	}
	if len(slices.Compact(first)) == 1 {
		t.Errorf("all removals come after %v: there is no jitter", first[0])
	}
}

// untilRemoved stores a session that expires at once, and returns when its record goes.
func untilRemoved(t *testing.T, store *mongostore.Store) time.Duration {
	t.Helper()
	began := time.Now()
	v := new(browser).load(t, store)
	v.Options.MaxAge = 1
	v.saved(t)
	for range 3600 {
		if _, ok := mongostore.Document(store, v.ID); !ok {
			return time.Since(began)
		}
		<-time.After(time.Second)
		synctest.Wait()
	}
	t.Fatal("an hour without a removal")
	return 0
}

func TestR18IntervalInMemoryLeavesLiveSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, err := mongostore.NewMemory(&mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval})
		if err != nil {
			t.Fatal(err)
		}
		live := start(t, store, map[any]any{"live": true})
		<-time.After(24 * time.Hour)
		live.wantValues(t, store, map[any]any{"live": true})
		for range 2 {
			if err := store.Close(); err != nil { // the bubble fails if it leaves the goroutine behind
				t.Error(err)
			}
		}
	})
}

func TestR18IntervalRemovesOnMongoDBUntilClose(t *testing.T) {
	t.Parallel()
	p, sent := watched(t, mongotest.Shared(t))
	store := open(t, p.coll, everySecond(nil))
	live := start(t, store, map[any]any{"live": true})
	for range 2 {
		insertExpired(t, p.coll, 3, time.Now().Add(-2*time.Minute))
		eventually(t, "the expired sessions are removed", func() bool { return documents(t, p.coll) == 1 })
	}
	live.wantValues(t, store, map[any]any{"live": true})
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() { _ = store.Close() })
	}
	closing.Wait()
	sent.Take()
	live.wantValues(t, store, map[any]any{"live": true}) // only the removal stops
	if got := shapes(sent.Take()); !slices.Equal(got, []string{load}) {
		t.Errorf("after Close: %q", got)
	}
}

func TestR18CloseOfAStoreThatRemovesNothingIsFine(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
		for range 2 {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}
		start(t, store, map[any]any{"n": 1}).wantValues(t, store, map[any]any{"n": 1})
	})
}

func TestR18FailedRemovalIsLoggedAndTriedAgain(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	log := new(journal)
	open(t, f.coll, everySecond(log))
	insertExpired(t, f.coll, 1, time.Now().Add(-2*time.Minute))
	f.fail(mongotest.Fail{Commands: []string{"find", "delete"}, ErrorCode: 50})
	eventually(t, "the failure is logged", func() bool { return strings.Contains(log.String(), "level=WARN") })
	if text := log.String(); !strings.Contains(text, "tried again") || !strings.Contains(text, "error=") {
		t.Errorf("logged %q", text)
	}
	f.mend()
	insertExpired(t, f.coll, 1, time.Now().Add(-2*time.Minute))
	eventually(t, "the expired sessions are removed", func() bool { return documents(t, f.coll) == 0 })
}

func TestR18RequestsGoOnWhileARemovalHangs(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := open(t, f.coll, everySecond(nil))
	b := start(t, store, map[any]any{"n": 0})
	insertExpired(t, f.coll, 1, time.Now().Add(-2*time.Minute))
	f.sent.Take()
	f.fail(mongotest.Fail{Commands: []string{"delete"}, Block: 5 * time.Second, Times: 1})
	eventually(t, "a removal begins", func() bool { return slices.Contains(f.sent.Names(), "delete") })
	mongotest.NewYardstick(t).Within(t, "a request and Close beside a removal that hangs", 0, func() {
		v := b.load(t, store)
		v.Values["n"] = 1
		v.saved(t)
		b.wantValues(t, store, map[any]any{"n": 1})
		if err := store.Close(); err != nil { // must not wait for the answer
			t.Error(err)
		}
	})
}

func TestR12CountIsOfLiveSessionsOnly(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for _, age := range []int{10, 20, 0} {
			v := new(browser).load(t, store)
			v.Options.MaxAge = age
			v.saved(t)
		}
		capped := p.store(&mongostore.Config{MaxLifetime: 15 * time.Second})
		for _, row := range []struct {
			passed        time.Duration
			live, younger int64
		}{
			{0, 3, 3},
			{10*time.Second - time.Millisecond, 3, 3},
			{time.Millisecond, 2, 2},
			{5*time.Second - time.Millisecond, 2, 2},
			{time.Millisecond, 2, 0}, // the limit that came later holds for them too
			{5 * time.Second, 1, 0},
			{14 * 24 * time.Hour, 0, 0},
		} {
			p.clock.Advance(row.passed)
			wantCount(t, store, row.live)
			wantCount(t, capped, row.younger)
		}
	})
}

func TestR10DestroyEndsASessionForGood(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b, other := start(t, store, map[any]any{"n": 1}), start(t, store, map[any]any{"n": 2})
		changed, unchanged := b.load(t, store), b.load(t, store)
		for range 2 { // one that is absent is no error
			if err := store.Destroy(t.Context(), changed.ID); err != nil {
				t.Fatal(err)
			}
		}
		b.wantGone(t, store)
		changed.Values["n"] = 3
		wantIs(t, changed.save(), mongostore.ErrNotFound)
		p.clock.Advance(time.Hour)
		unchanged.saved(t)
		if changed.cookie(t) != nil || unchanged.cookie(t) != nil {
			t.Error("a late Save sets a cookie")
		}
		b.wantGone(t, store)
		if _, ok := p.document(changed.ID); ok {
			t.Error("a late Save brought the record back")
		}
		other.wantValues(t, store, map[any]any{"n": 2})
	})
}

func TestR10DestroyTakesAnyID(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		for _, id := range []string{"", "$ne", "{}", "a.b", "\x00", "\xff", strings.Repeat("x", 5000)} {
			if err := store.Destroy(t.Context(), id); err != nil {
				t.Errorf("Destroy(%.10q): %v", id, err)
			}
		}
		b.wantValues(t, store, map[any]any{"n": 1})
	})
}

func everySecond(log *journal) *mongostore.Config {
	if log == nil {
		log = new(journal)
	}
	return &mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval, RemoveInterval: time.Second, Logger: log.logger()}
}

func wantRemoved(t *testing.T, store *mongostore.Store, want int64) {
	t.Helper()
	n, err := store.RemoveExpired(t.Context())
	if err != nil || n != want {
		t.Errorf("RemoveExpired: %d, %v; want %d", n, err, want)
	}
}

func wantCount(t *testing.T, store *mongostore.Store, want int64) {
	t.Helper()
	n, err := store.Count(t.Context())
	if err != nil || n != want {
		t.Errorf("Count: %d, %v; want %d", n, err, want)
	}
}

// insertExpired stores records without more than removal looks at.
func insertExpired(t *testing.T, coll *mongo.Collection, n int, expires time.Time) {
	t.Helper()
	docs := make([]bson.D, n)
	for i := range docs {
		docs[i] = bson.D{{Key: "_id", Value: bson.NewObjectID().Hex()}, {Key: "expires", Value: expires}}
	}
	if _, err := coll.InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

// documents counts all records, dead ones too.
func documents(t *testing.T, coll *mongo.Collection) int64 {
	t.Helper()
	n, err := coll.CountDocuments(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestR18RemovalRestsForLongerThanItWorks(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Private(t))
	store := f.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	insertExpired(t, f.coll, 2*mongostore.RemovalBatch+1, f.clock.Now().Add(-time.Hour))
	const work = 50 * time.Millisecond
	f.fail(mongotest.Fail{Commands: []string{"delete"}, Block: work})
	began := time.Now()
	wantRemoved(t, store, 2*mongostore.RemovalBatch+1)
	if took := time.Since(began); took < 3*work+2*4*work {
		t.Errorf("three batches of %v took %v, want two rests of four times that between them", work, took)
	}
}
