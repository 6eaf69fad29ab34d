package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// wantErr fails unless err is target; nil wants no error.
func wantErr(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

// wantNoCookie fails if the answer sets one.
func (v *visit) wantNoCookie(t *testing.T) {
	t.Helper()
	if c := v.cookie(t); c != nil {
		t.Errorf("the answer sets a cookie with MaxAge %d", c.MaxAge)
	}
}

// userID is Config.UserID in these tests.
func userID(s *sessions.Session) string {
	user, _ := s.Values["user"].(string)
	return user
}

func TestR09ChangesOfDifferentKeysAllSurvive(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["b"] = "from b"
		second.saved(t)
		first.Values["a"] = "from a"
		first.saved(t)
		b.wantValues(t, store, map[any]any{"n": 0, "a": "from a", "b": "from b"})
	})
}

func TestR09OfTheSameKeyTheLaterSaveWins(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0, "other": 1})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["n"] = 2
		delete(second.Values, "other")
		second.saved(t)
		first.Values["n"] = 1
		first.saved(t)
		b.wantValues(t, store, map[any]any{"n": 1})
	})
}

func TestR09OnConflictFailReportsTheKeyAndStoresNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{OnConflict: mongostore.OnConflictFail})
		b := start(t, store, map[any]any{"n": 0})
		first, second, third := b.load(t, store), b.load(t, store), b.load(t, store)
		second.Values["n"] = 2
		second.saved(t)
		first.Values["n"], first.Values["x"] = 1, 1
		wantErr(t, first.save(), mongostore.ErrConflict)
		first.wantNoCookie(t)
		if want := (map[any]any{"n": 1, "x": 1}); !maps.Equal(first.Values, want) {
			t.Errorf("the values became %v, want them as they were: %v", first.Values, want)
		}
		third.Values["y"] = 3
		third.saved(t)
		b.wantValues(t, store, map[any]any{"n": 2, "y": 3})
	})
}

func TestR09OnConflictFailReportsTheSameChangeOfBoth(t *testing.T) { // P3
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.OnConflict = mongostore.OnConflictFail
		store := p.store(cfg)
		for what, change := range map[string]func(values map[any]any){
			"counted down": func(values map[any]any) { values["stock"] = 5.0 },
			"used":         func(values map[any]any) { values["used"] = true },
			"taken":        func(values map[any]any) { delete(values, "coupon") },
			"emptied":      func(values map[any]any) { clear(values) },
		} {
			b := start(t, store, map[any]any{"stock": 10.0, "coupon": "x"})
			first, second, third := b.load(t, store), b.load(t, store), b.load(t, store)
			change(first.Values)
			first.saved(t)
			change(second.Values)
			if err := second.save(); !errors.Is(err, mongostore.ErrConflict) {
				t.Errorf("%s: Save: %v, want %v", what, err, mongostore.ErrConflict)
			}
			second.wantNoCookie(t)
			p.clock.Advance(time.Hour)
			third.saved(t) // unchanged
			b.wantValues(t, store, first.Values)
		}
	})
}

func TestR13ALostWriteOfOnesOwnIsNoConflict(t *testing.T) { // P3
	t.Parallel()
	l := onLossy(t)
	store := l.place.store(&mongostore.Config{OnConflict: mongostore.OnConflictFail})
	for _, more := range []bool{false, true} {
		b := start(t, store, map[any]any{"stock": 10})
		v := b.load(t, store)
		v.Values["stock"] = 5
		l.proxy.DropReplies("update", 2)
		wantErr(t, v.save(), mongostore.ErrUnavailable)
		if more {
			v.Values["stock"] = 4
		}
		v.saved(t)
		b.wantValues(t, l.sure, v.Values)
	}
}

func TestR09OnConflictOverwriteStoresTheLaterValuesWhole(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{OnConflict: mongostore.OnConflictOverwrite})
		b := start(t, store, map[any]any{"n": 0})
		first, second, late := b.load(t, store), b.load(t, store), b.load(t, store)
		second.Values["b"] = 2
		second.saved(t)
		first.Values["a"] = 1
		first.saved(t)
		b.wantValues(t, store, map[any]any{"n": 0, "a": 1})

		logout := b.load(t, store)
		logout.Options.MaxAge = -1
		logout.saved(t)
		late.Values["c"] = 3
		wantErr(t, late.save(), mongostore.ErrNotFound)
	})
}

func TestR09FlashesOfBothRequestsAreKeptAndShownOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"_flash": []any{"old"}})
		reads, adds, addsToo := b.load(t, store), b.load(t, store), b.load(t, store)
		adds.AddFlash("one")
		adds.saved(t)
		if got := reads.Flashes(); len(got) != 1 {
			t.Fatalf("flashes %v", got)
		}
		reads.saved(t)
		b.wantValues(t, store, map[any]any{"_flash": []any{"one"}})
		addsToo.AddFlash("two")
		addsToo.saved(t)
		b.wantValues(t, store, map[any]any{"_flash": []any{"one", "two"}})
	})
}

func TestR09AFlashAddedBetweenTwoReadersIsShownOnce(t *testing.T) { // P10
	t.Parallel()
	onConflicts := []mongostore.OnConflict{mongostore.OnConflictMerge, mongostore.OnConflictFail}
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		for _, on := range onConflicts {
			cfg.OnConflict = on
			store := p.store(cfg)
			for _, order := range []string{"rar", "rra", "arr"} { // readers and the adder, as they save
				b := start(t, store, map[any]any{"_flash": []any{"old"}, "n": "0"})
				adder, readers := b.load(t, store), []*visit{b.load(t, store), b.load(t, store)}
				adder.AddFlash("new")
				for _, reader := range readers {
					reader.Flashes()
				}
				for _, who := range order {
					v := adder
					if who == 'r' {
						v, readers = readers[0], readers[1:]
					}
					if err := v.save(); err != nil && on == mongostore.OnConflictMerge {
						t.Errorf("%s: Save: %v", order, err)
					}
				}
				b.wantValues(t, store, map[any]any{"_flash": []any{"new"}, "n": "0"})
			}
		}
	})
}

func TestR09TypedSlicesAreSingleValues(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["at"], second.Values["raw"] = []float64{1, 2}, []byte("b")
		second.saved(t)
		first.Values["at"], first.Values["raw"] = []float64{3, 4}, []byte("a")
		first.saved(t)
		b.wantValues(t, store, map[any]any{"n": 0, "at": []float64{3, 4}, "raw": []byte("a")})
	})
}

func TestR09EmptiedValuesStayEmpty(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{SkipEmpty: true})
		b := start(t, store, map[any]any{"user": "ada", "cart": 1})
		empties, changes := b.load(t, store), b.load(t, store)
		changes.Values["cart"] = 2
		changes.saved(t)
		clear(empties.Values)
		empties.saved(t)
		b.wantValues(t, store, map[any]any{})
	})
}

func TestR09ShowingTheLastFlashLosesNothingOfOtherRequests(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"_flash": []any{"only"}})
		shows, login := b.load(t, store), b.load(t, store)
		login.Values["user"] = "ada"
		login.saved(t)
		shows.Flashes()
		shows.saved(t)
		b.wantValues(t, store, map[any]any{"user": "ada"})
	})
}

func TestR09AChangeInsideAValueCounts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"list": []any{1, []any{2}}})
		v := b.load(t, store)
		v.Values["list"].([]any)[1].([]any)[0] = 3
		v.saved(t)
		b.wantValues(t, store, map[any]any{"list": []any{1, []any{3}}})
	})
}

func TestR09EqualValuesAreNoChangeHoweverTheyAreEncoded(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		values := map[any]any{"nan": math.NaN(), "empty": []string{}, "zero": []any{}}
		for i := range 20 {
			values[i] = i
		}
		b := start(t, store, values)
		v := b.load(t, store)
		before, _ := p.document(v.ID)
		for range 5 {
			p.clock.Advance(time.Minute)
			v.saved(t)
		}
		after, _ := p.document(v.ID)
		if before["version"] != after["version"] {
			t.Error("an unchanged session was written as a changed one")
		}
		if before["expires"] == after["expires"] {
			t.Error("its deadline was not moved")
		}
	})
}

func TestR09ASecondSaveAfterAMergeChangesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0, "gone": 1})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["b"] = 2
		delete(second.Values, "gone")
		second.saved(t)
		held := first.Values
		first.Values["a"] = 1
		first.saved(t)
		want := map[any]any{"n": 0, "a": 1, "b": 2}
		if !maps.Equal(held, want) {
			t.Errorf("after the Save the same map holds %v, want %v", held, want)
		}
		before, _ := p.document(first.ID)
		first.saved(t)
		after, _ := p.document(first.ID)
		if before["version"] != after["version"] {
			t.Error("the second Save wrote the payload again")
		}
		b.wantValues(t, store, want)
	})
}

func TestR09UserIDSeesTheMergedValues(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{UserID: userID})
		b := start(t, store, map[any]any{"n": 0})
		first, login := b.load(t, store), b.load(t, store)
		login.Values["user"] = "ada"
		login.saved(t)
		first.Values["n"] = 1
		first.saved(t)
		if doc, _ := p.document(first.ID); doc["user"] != "ada" {
			t.Errorf("the record's user is %v", doc["user"])
		}
	})
}

func TestR09AUserThatDiffersFromTheRecordsIsAChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"user": "ada"})
		v := b.load(t, p.store(&mongostore.Config{UserID: userID}))
		v.saved(t)
		if doc, _ := p.document(v.ID); doc["user"] != "ada" {
			t.Errorf("the record's user is %v", doc["user"])
		}
	})
}

func TestR09MaxAgeIsMergedLikeAKey(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		ajax, login := b.load(t, store), b.load(t, store)
		login.Options.MaxAge = 90 * 86400
		login.saved(t)
		ajax.Values["n"] = 1
		ajax.saved(t)
		doc, _ := p.document(ajax.ID)
		if doc["maxAge"] != int32(90*86400) {
			t.Errorf("the record's maxAge is %v", doc["maxAge"])
		}
		if c := ajax.cookie(t); c == nil || c.MaxAge != 90*86400 {
			t.Errorf("the cookie is %v, want one for 90 days", c)
		}
		if got := b.load(t, store).Options.MaxAge; got != 90*86400 {
			t.Errorf("a load gives MaxAge %d", got)
		}
	})
}

func TestR09ManyRequestsAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		cfg := &mongostore.Config{Timeout: time.Minute} // they wait for each other
		stores := []*mongostore.Store{p.store(cfg), p.store(cfg)}
		b := start(t, stores[0], map[any]any{"n": 0})
		want := map[any]any{"n": 0}
		var wg sync.WaitGroup
		for i := range 32 {
			want[i] = i
			v := b.load(t, stores[i%2])
			wg.Go(func() {
				v.Values[i] = i
				if err := v.save(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.wantValues(t, stores[0], want)
	})
}

func TestR10LateSaveDoesNotBringBackALoggedOutSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"user": "ada"})
		changed, unchanged, logout := b.load(t, store), b.load(t, store), b.load(t, store)
		logout.Options.MaxAge = -1
		logout.saved(t)

		p.clock.Advance(time.Hour)
		changed.Values["n"] = 1
		wantErr(t, changed.save(), mongostore.ErrNotFound)
		changed.wantNoCookie(t)
		unchanged.saved(t)
		unchanged.wantNoCookie(t)
		b.wantGone(t, store)
		if n := p.count(); n != 0 {
			t.Errorf("%d sessions are stored", n)
		}
	})
}

func TestR10LateSaveDoesNotBringBackADestroyedSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"user": "ada"})
		v := b.load(t, store)
		wantErr(t, store.Destroy(t.Context(), v.ID), nil)
		for range 2 {
			v.Values["n"] = 1
			wantErr(t, v.save(), mongostore.ErrNotFound)
		}
		store.Regenerate(v.Session)
		wantErr(t, v.save(), mongostore.ErrNotFound)
		v.wantNoCookie(t)
		b.wantGone(t, store)
	})
}

func TestR10TheCookieOfALoggedOutSessionIsNeverTakenOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"user": "ada"})
		logout := b.load(t, store)
		old := logout.ID
		logout.Options.MaxAge = -1
		logout.saved(t)

		thief := &browser{cookies: b.cookies} // keeps the cookie
		v := thief.load(t, store)
		v.Values["n"] = 1
		v.saved(t)
		if v.ID == old || v.ID == "" {
			t.Errorf("the new session has the id %q, the old one had %q", v.ID, old)
		}
	})
}

func TestR12ASaveAfterTheDeadlineDoesNotProlong(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour})
		b := start(t, store, map[any]any{"n": 0})
		p.clock.Advance(time.Hour - time.Millisecond)
		changed, unchanged, renewed := b.load(t, store), b.load(t, store), b.load(t, store)
		if changed.IsNew {
			t.Fatal("the session ended a millisecond early")
		}
		before, _ := p.document(changed.ID)
		p.clock.Advance(time.Millisecond)
		changed.Values["n"] = 1
		wantErr(t, changed.save(), mongostore.ErrNotFound)
		store.Regenerate(renewed.Session)
		wantErr(t, renewed.save(), mongostore.ErrNotFound)
		unchanged.saved(t)
		for _, v := range []*visit{changed, unchanged, renewed} {
			v.wantNoCookie(t)
		}
		if after, _ := p.document(changed.ID); before["expires"] != after["expires"] {
			t.Errorf("the deadline moved from %v to %v", before["expires"], after["expires"])
		}
		b.wantGone(t, store)
	})
}

func TestR11AfterRegenerateTheOldCookieIsDead(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		thief := &browser{cookies: slices.Clone(b.cookies)}
		p.clock.Advance(time.Hour)
		login := b.load(t, store)
		id := login.ID
		login.Values["user"] = "ada"
		store.Regenerate(login.Session)
		login.saved(t)
		login.arrive()

		thief.wantGone(t, store)
		b.wantValues(t, store, map[any]any{"n": 0, "user": "ada"})
		rec, ok := store.Record(login.Session)
		if !ok || rec.ID != id || login.ID != id || !rec.CreatedAt.Equal(p.clock.Now()) {
			t.Errorf("the record is %+v; want id %q, created now", rec, id)
		}
	})
}

func TestR11RequestsWithTheOldSecretWriteNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		changed, unchanged, login := b.load(t, store), b.load(t, store), b.load(t, store)
		p.clock.Advance(time.Minute)
		store.Regenerate(login.Session)
		login.saved(t)
		before, _ := p.document(login.ID)

		p.clock.Advance(time.Hour)
		changed.Values["n"] = 1
		wantErr(t, changed.save(), mongostore.ErrNotFound)
		unchanged.saved(t)
		changed.wantNoCookie(t)
		unchanged.wantNoCookie(t)
		after, _ := p.document(login.ID)
		if before["version"] != after["version"] || before["expires"] != after["expires"] {
			t.Errorf("the record changed from %v to %v", before, after)
		}
	})
}

func TestR11ATokenReplacedInTheDatabaseEndsWhatHoldsTheOldSecret(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(nil)
	b := start(t, store, map[any]any{"n": 0})
	changed, unchanged := b.load(t, store), b.load(t, store)
	replaceField(t, p.coll, changed.ID, "token", make([]byte, 32))
	before, _ := p.document(changed.ID)
	p.clock.Advance(time.Hour)
	changed.Values["n"] = 1
	wantErr(t, changed.save(), mongostore.ErrNotFound)
	changed.wantNoCookie(t)
	unchanged.saved(t)
	unchanged.wantNoCookie(t)
	if after, _ := p.document(changed.ID); before["version"] != after["version"] || before["expires"] != after["expires"] {
		t.Errorf("the record changed from %v to %v", before, after)
	}
}

func TestR11ALogoutWinsOverARenewal(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"user": "ada"})
		logout, renew := b.load(t, store), b.load(t, store)
		store.Regenerate(renew.Session)
		renew.saved(t)
		logout.Options.MaxAge = -1
		logout.saved(t)
		renew.arrive()
		b.wantGone(t, store)
	})
}

func TestR11ALoginThatLostToAnotherStoresASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{UserID: userID})
		b := start(t, store, map[any]any{"n": 0})
		click, again := b.load(t, store), b.load(t, store)
		for _, login := range []*visit{click, again} {
			login.Values["user"] = "ada"
			store.Regenerate(login.Session)
			login.saved(t)
			login.arrive()
		}
		if click.ID == again.ID {
			t.Error("both logins write one record")
		}
		b.wantValues(t, store, map[any]any{"n": 0, "user": "ada"})
	})
}

func TestR11ALoginBesideAnotherKeepsTheMaxAgeOfTheSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{UserID: userID})
		b := new(browser)
		v := b.load(t, store)
		v.Options.MaxAge = 3600
		v.saved(t)
		v.arrive()
		click, again := b.load(t, store), b.load(t, store)
		for _, login := range []*visit{click, again} {
			login.Values["user"] = "ada"
			store.Regenerate(login.Session)
			login.saved(t)
			login.arrive()
		}
		if got := b.load(t, store).Options.MaxAge; got != 3600 {
			t.Errorf("MaxAge of the later login's session is %d, want 3600", got)
		}
	})
}

func TestR11ALoginIntoASessionThatEndedFails(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{UserID: userID})
		b := start(t, store, map[any]any{"n": 0})
		login := b.load(t, store)
		wantErr(t, store.Destroy(t.Context(), login.ID), nil)
		login.Values["user"] = "ada"
		store.Regenerate(login.Session)
		wantErr(t, login.save(), mongostore.ErrNotFound)
	})
}

func TestR11OnlyALoginMayStartOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{UserID: userID})
		b := start(t, store, map[any]any{"user": "ada"})
		first, second := b.load(t, store), b.load(t, store)
		store.Regenerate(first.Session)
		first.saved(t)
		store.Regenerate(second.Session) // somebody already: a renewal, not a login
		wantErr(t, second.save(), mongostore.ErrNotFound)
		second.wantNoCookie(t)
		if n := p.count(); n != 1 {
			t.Errorf("%d sessions are stored", n)
		}
	})
}

func TestR02ARequestOnItsWayDuringALoginDoesNotReplaceItsCookie(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		login := b.load(t, store)
		store.Regenerate(login.Session)
		login.saved(t)

		late := b.load(t, store) // still with the old cookie
		if late.err != nil || !late.IsNew || late.ID != "" {
			t.Fatalf("Get: %q, %v", late.ID, late.err)
		}
		late.saved(t)
		late.wantNoCookie(t)
		p.clock.Advance(time.Minute)
		later := b.load(t, store)
		later.saved(t)
		if later.cookie(t) == nil {
			t.Error("a minute later the old cookie still gets a quiet stand-in")
		}
	})
}

// lossy is a store whose connection goes through a proxy that can lose replies, beside one that sees all.
type lossy struct {
	*place
	store *mongostore.Store
	proxy *mongotest.Proxy
	sure  *mongostore.Store
}

func onLossy(t *testing.T, opts ...*options.ClientOptions) *lossy {
	t.Helper()
	server := mongotest.Standalone(t)
	p := onMongoDB(t, server)
	proxy := server.Proxy(t)
	sure := p.store(&mongostore.Config{UserID: userID})
	database := p.coll.Database().Name()
	client := mongoClient(t, proxy.URI(), opts...)
	p.coll = client.Database(database).Collection(p.coll.Name())
	return &lossy{place: p, store: p.store(&mongostore.Config{UserID: userID}), proxy: proxy, sure: sure}
}

func TestR13ALostAnswerIsAskedForOnceMore(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	l.proxy.DropReplies("insert", 1)
	b := start(t, l.store, map[any]any{"n": 0})
	b.wantValues(t, l.sure, map[any]any{"n": 0})

	l.proxy.DropReplies("update", 1)
	v := b.load(t, l.store)
	v.Values["n"] = 1
	v.saved(t)
	b.wantValues(t, l.sure, map[any]any{"n": 1})

	l.proxy.DropReplies("update", 1)
	login := b.load(t, l.store)
	l.store.Regenerate(login.Session)
	login.saved(t)
	login.arrive()
	b.wantValues(t, l.sure, map[any]any{"n": 1})

	l.proxy.DropReplies("delete", 1)
	logout := b.load(t, l.store)
	logout.Options.MaxAge = -1
	logout.saved(t)
	if n := l.count(); n != 0 {
		t.Errorf("%d sessions are stored", n)
	}
}

func TestR13ACreateOfUnknownOutcomeIsKnownAgain(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	b := new(browser)
	v := b.load(t, l.store)
	v.Values["n"] = 1
	l.proxy.LoseInsert()
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.wantNoCookie(t)
	v.Values["m"] = 2
	v.saved(t)
	v.arrive()
	b.wantValues(t, l.sure, map[any]any{"n": 1, "m": 2})
	if n := l.count(); n != 1 {
		t.Errorf("%d sessions are stored", n)
	}
}

func TestR13AChangeOfUnknownOutcomeIsTheNewBase(t *testing.T) {
	t.Parallel()
	for _, again := range []string{"unchanged", "changed", "taken back"} {
		t.Run(again, func(t *testing.T) {
			t.Parallel()
			l := onLossy(t)
			b := start(t, l.store, map[any]any{"n": 0})
			v := b.load(t, l.store)
			v.AddFlash("once")
			v.Values["n"] = 1
			l.proxy.DropReplies("update", 2)
			wantErr(t, v.save(), mongostore.ErrUnavailable)
			v.wantNoCookie(t)
			want := map[any]any{"n": 1, "_flash": []any{"once"}}
			switch again {
			case "changed":
				v.Values["m"], want["m"] = 2, 2
			case "taken back":
				v.Values["n"] = 0
				delete(v.Values, "_flash")
				want = map[any]any{"n": 0}
			}
			v.saved(t)
			b.wantValues(t, l.sure, want)
			if v.cookie(t) == nil {
				t.Error("the Save that found its write done sets no cookie")
			}
		})
	}
}

func TestR13AMergeOfUnknownOutcomeLosesNothingOfTheOthers(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	b := start(t, l.store, map[any]any{"n": 0})
	v, other := b.load(t, l.store), b.load(t, l.sure)
	other.Values["theirs"] = 1
	other.saved(t)
	v.Values["mine"] = 1
	l.proxy.DropReplies("update", 3) // the miss, the merged write, its repetition
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.Values["more"] = 1
	v.saved(t)
	b.wantValues(t, l.sure, map[any]any{"n": 0, "theirs": 1, "mine": 1, "more": 1})
}

func TestR13ALostAnswerAfterWhichAnotherWroteIsAConflict(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	b := start(t, l.store, map[any]any{"n": 0})
	v := b.load(t, l.store)
	v.Values["mine"] = 1
	l.proxy.DropReplies("update", 2)
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	other := b.load(t, l.sure)
	other.Values["theirs"] = 1
	other.saved(t)
	v.saved(t)
	b.wantValues(t, l.sure, map[any]any{"n": 0, "mine": 1, "theirs": 1})
}

func TestR13ARegenerateOfUnknownOutcomeFailsClosed(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	b := start(t, l.store, map[any]any{"n": 0})
	login := b.load(t, l.store)
	login.Values["user"] = "ada"
	l.store.Regenerate(login.Session)
	l.proxy.DropReplies("update", 2)
	wantErr(t, login.save(), mongostore.ErrUnavailable)
	login.wantNoCookie(t)
	b.wantGone(t, l.sure) // the old cookie is dead, the new one was never sent

	login.saved(t)
	login.arrive()
	b.wantValues(t, l.sure, map[any]any{"n": 0, "user": "ada"})
}

// A failover may undo a write right after a Save has found it.
func TestR13AWriteThatIsUndoneAfterItWasFoundIsMadeAgain(t *testing.T) {
	t.Parallel()
	for _, renewed := range []bool{false, true} {
		t.Run(map[bool]string{false: "create", true: "regenerate"}[renewed], func(t *testing.T) {
			t.Parallel()
			var undo atomic.Pointer[func()] // after the next find
			l := onLossy(t, options.Client().SetMonitor(&event.CommandMonitor{Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) {
				if do := undo.Load(); do != nil && e.CommandName == "find" && undo.CompareAndSwap(do, nil) {
					(*do)()
				}
			}}))
			b := new(browser)
			if renewed {
				b = start(t, l.store, map[any]any{"n": 0})
			}
			before := snapshot(t, l.sure)
			v := b.load(t, l.store)
			v.Values["n"] = 1
			if renewed {
				l.store.Regenerate(v.Session)
				l.proxy.DropReplies("update", 2)
			} else {
				l.proxy.LoseInsert()
			}
			wantErr(t, v.save(), mongostore.ErrUnavailable)
			putBack := func() { restore(t, l.sure, before) }
			undo.Store(&putBack)
			v.saved(t)
			v.arrive()
			b.wantValues(t, l.sure, map[any]any{"n": 1})
			if n := l.count(); n != 1 {
				t.Errorf("%d sessions are stored", n)
			}
		})
	}
}

// A read says nothing of a majority, so what it finds is written once more: one command, and only then.
func TestR13AnEarlierWriteThatIsFoundIsConfirmedByAMajority(t *testing.T) {
	t.Parallel()
	sent, watch := mongotest.Watch()
	l := onLossy(t, watch)
	v := start(t, l.store, map[any]any{"n": 0}).load(t, l.store)
	v.Values["n"] = 1
	l.proxy.DropReplies("update", 2)
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	sent.Take()
	v.saved(t)
	commands := sent.Take()
	if len(commands) != 2 || commands[0].Name != "find" || commands[1].Name != "update" {
		t.Fatalf("it sent %v, want a find and an update", commands)
	}
	if w, _ := commands[1].Body.Lookup("writeConcern", "w").StringValueOK(); w != "majority" {
		t.Errorf("the update asks for w %q, want majority", w)
	}
	v.saved(t)
	if commands := sent.Take(); len(commands) != 0 {
		t.Errorf("the next Save sent %v", commands)
	}
}

// snapshot returns all documents of a store.
func snapshot(t *testing.T, store *mongostore.Store) (documents []bson.Raw) {
	t.Helper()
	cursor, err := store.Collection().Find(t.Context(), bson.D{})
	if err == nil {
		err = cursor.All(t.Context(), &documents)
	}
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

// restore makes these all documents of a store.
func restore(t *testing.T, store *mongostore.Store, documents []bson.Raw) {
	t.Helper()
	if _, err := store.Collection().DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Error(err)
	}
	for _, document := range documents {
		if _, err := store.Collection().InsertOne(t.Context(), document); err != nil {
			t.Error(err)
		}
	}
}

func TestR13ARegenerateAfterALostOneGivesAnotherSecret(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	b := start(t, l.store, map[any]any{"n": 0})
	v := b.load(t, l.store)
	l.store.Regenerate(v.Session)
	l.proxy.DropReplies("update", 2)
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.saved(t)
	first := v.cookie(t).Value
	l.store.Regenerate(v.Session)
	v.saved(t)
	v.arrive()
	thief := &browser{cookies: []*http.Cookie{{Name: name, Value: first}}}
	thief.wantGone(t, l.sure)
	b.wantValues(t, l.sure, map[any]any{"n": 0})
}

func TestR13ALogoutAfterALostCreateLeavesNoRecord(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	v := new(browser).load(t, l.store)
	v.Values["n"] = 1
	l.proxy.LoseInsert()
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.Options.MaxAge = -1
	v.saved(t)
	if n := l.count(); n != 0 {
		t.Errorf("%d sessions are stored", n)
	}
}

func TestR13TheLastWriteOfManyLostOnesCounts(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	b := start(t, l.store, map[any]any{"n": 0})
	v := b.load(t, l.store)
	for i := range 3 {
		v.Values["n"] = i
		v.Values[fmt.Sprint(i)] = i
		l.proxy.DropReplies("update", 2)
		wantErr(t, v.save(), mongostore.ErrUnavailable)
	}
	v.saved(t)
	b.wantValues(t, l.sure, map[any]any{"n": 2, "0": 0, "1": 1, "2": 2})
}

// A lost insert of an id that was taken was refused, so it is forgotten when the next one goes elsewhere.
func TestR13ALostInsertOfATakenIDIsLookedForNoMore(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	var mu sync.Mutex
	given := make(map[string]string) // the first two ids are made the same one
	cfg := connectMongoLike()
	cfg.TransformID = func(id string) string {
		mu.Lock()
		defer mu.Unlock()
		if given[id] == "" {
			given[id] = []string{"taken", "taken", "free"}[min(len(given), 2)]
		}
		return given[id]
	}
	store := l.place.store(cfg)
	other := start(t, store, map[any]any{"user": "bob"})

	b := new(browser)
	v := b.load(t, store)
	v.Values["user"] = "ada"
	for range 2 { // an id that is taken, and then a free one
		l.proxy.LoseInsert()
		wantErr(t, v.save(), mongostore.ErrUnavailable)
		v.wantNoCookie(t)
		if n := mongostore.UnknownWrites(store, v.Session); n != 1 {
			t.Errorf("the outcome of %d writes is unknown", n)
		}
	}
	l.wantCount(2)

	v.saved(t)
	v.arrive()
	b.wantValues(t, store, map[any]any{"user": "ada"})
	other.wantValues(t, store, map[any]any{"user": "bob"})
	l.wantCount(2)
}

func TestR05AnotherObjectEndsWhatThisResponseStored(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		other, err := store.New(v.r, name) // as goth does it: one object saves, another one ends
		wantErr(t, err, nil)
		v.Values["state"] = "x"
		v.saved(t)
		other.Options.MaxAge = -1
		wantErr(t, other.Save(v.r, v.w), nil)
		if n := p.count(); n != 0 {
			t.Errorf("%d sessions are stored", n)
		}
		if c := v.cookie(t); c == nil || c.MaxAge >= 0 {
			t.Errorf("the cookie is %v, want it expired", c)
		}
	})
}

func TestR05LoggingOutByACopyWorksAndSaysThatItIsOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"user": "ada"})
		v := b.load(t, store)
		copied := *v.Session
		copied.Options = &sessions.Options{MaxAge: -1}
		if err := copied.Save(v.r, v.w); err == nil {
			t.Error("Save of a copy reports nothing")
		}
		if c := v.cookie(t); c == nil || c.MaxAge >= 0 {
			t.Errorf("the cookie is %v, want it expired", c)
		}
		b.wantGone(t, store)
		if len(v.Values) != 1 {
			t.Error("the original lost its values")
		}
	})
}
