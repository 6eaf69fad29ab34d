package mongostore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Requests that come late: with the cookie from before a login, after the deadline, after others, or when nobody
// waits for the answer any more.

// withValues are changes that a request on its way may have made.
var withValues = map[string]func(*sessions.Session){
	"a CSRF token": func(s *sessions.Session) { s.Values["csrf"] = "x" },
	"a flash":      func(s *sessions.Session) { s.AddFlash("hello") },
	"last seen":    func(s *sessions.Session) { s.Values["seen"] = "now" },
	"a MaxAge too": func(s *sessions.Session) { s.Values["csrf"], s.Options.MaxAge = "x", 3600 },
}

// A request that is loaded just before a login's Save and one that is loaded just after it end alike. // P1, L3
func TestR02ARequestLoadedJustAfterALoginEndsAsOneLoadedJustBefore(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		for what, change := range withValues {
			b := start(t, store, map[any]any{"n": "0"})
			before, login := b.load(t, store), b.load(t, store)
			login.Values["user"] = "ada"
			store.Regenerate(login.Session)
			login.saved(t)
			after := b.load(t, store)
			change(before.Session)
			change(after.Session)
			login.arrive()
			for when, v := range map[string]*visit{"before": before, "after": after} {
				if err := v.save(); !errors.Is(err, mongostore.ErrNotFound) {
					t.Errorf("%s, loaded %s the login: Save: %v, want %v", what, when, err, mongostore.ErrNotFound)
				}
				v.arrive()
			}
			b.wantValues(t, store, map[any]any{"n": "0", "user": "ada"})
		}
		p.wantCount(int64(len(withValues)))
	})
}

// clicks has a browser make a request now and then, while something else happens to its session more often, and
// fails if the cookie's Max-Age runs out while it does.
func clicks(t *testing.T, p *place, store *mongostore.Store, meanwhile func(id string)) {
	t.Helper()
	b := start(t, store, map[any]any{"n": "0"})
	id := stored(t, store, b.load(t, store))
	until := p.clock.Now().Add(time.Duration(b.cookies[0].MaxAge) * time.Second)
	for range 40 {
		p.clock.Advance(4 * time.Minute)
		meanwhile(id)
		v := b.load(t, store)
		if v.IsNew {
			t.Fatal("the session ended")
		}
		v.saved(t)
		if c := v.cookie(t); c != nil {
			until = p.clock.Now().Add(time.Duration(c.MaxAge) * time.Second)
		}
		v.arrive()
		if !until.After(p.clock.Now()) {
			t.Fatal("the browser has dropped its cookie, which was not sent again")
		}
	}
}

func TestR16AWebsocketsTouchDoesNotStarveTheCookie(t *testing.T) { // P2
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.TTL, cfg.TouchAfter = time.Hour, 10*time.Minute
		store := p.store(cfg)
		clicks(t, p, store, func(id string) { wantErr(t, store.Touch(t.Context(), id), nil) })
	})
}

func TestR16TouchAndUpdateInTurnDoNotStarveTheCookie(t *testing.T) { // P2
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.TTL, cfg.TouchAfter = time.Hour, 10*time.Minute
		store, n := p.store(cfg), 0
		clicks(t, p, store, func(id string) {
			n++
			wantErr(t, store.Touch(t.Context(), id), nil)
			wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error {
				values["n"] = fmt.Sprint(n)
				return nil
			}), nil)
		})
	})
}

func TestR10AFirstInsertThatArrivesAfterALogoutLetsNobodyIn(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(map[bool]string{false: "split", true: "plain"}[plain], func(t *testing.T) {
			t.Parallel()
			l := onLossy(t)
			store := l.place.store(&mongostore.Config{PlainIDs: plain})
			v := new(browser).load(t, store)
			v.Values["n"] = 1
			l.proxy.LoseInsert()
			wantErr(t, v.save(), mongostore.ErrUnavailable)
			coll := l.sure.Collection()
			late, err := coll.FindOneAndDelete(t.Context(), bson.D{}).Raw() // it has not arrived yet
			wantErr(t, err, nil)
			v.saved(t)
			v.arrive()
			b, cookie := v.browser, v.wantCookie(t)
			b.wantValues(t, store, map[any]any{"n": 1})
			logout := b.load(t, store)
			logout.Options.MaxAge = -1
			logout.saved(t)
			_, err = coll.InsertOne(t.Context(), late)
			wantErr(t, err, nil)
			sending(cookie.Value).wantGone(t, store)
		})
	}
}

func TestR13ALostAnswerIsOfNoUseAfterTheDeadline(t *testing.T) { // P6
	t.Parallel()
	for what, change := range map[string]func(*mongostore.Store, *sessions.Session){
		"unchanged since": func(*mongostore.Store, *sessions.Session) {},
		"changed since":   func(_ *mongostore.Store, s *sessions.Session) { s.Values["more"] = 1 },
		"renewed since":   func(store *mongostore.Store, s *sessions.Session) { store.Regenerate(s) },
	} {
		for _, first := range []string{"a change", "a renewal"} {
			t.Run(first+" that is "+what, func(t *testing.T) {
				t.Parallel()
				l := onLossy(t)
				b := start(t, l.store, map[any]any{"n": 0})
				v := b.load(t, l.store)
				v.Values["n"] = 1
				if first == "a renewal" {
					l.store.Regenerate(v.Session)
				}
				l.proxy.DropReplies("update", 2)
				wantErr(t, v.save(), mongostore.ErrUnavailable)
				l.clock.Advance(14 * day)
				before := rawDocuments(t, l.sure.Collection())
				change(l.store, v.Session)
				mongotest.NewYardstick(t).Within(t, "Save", 0, func() {
					wantOnly(t, "Save", v.save(), mongostore.ErrNotFound)
				})
				v.wantNoCookie(t)
				wantSameDocuments(t, l.sure.Collection(), before)
				b.wantGone(t, l.sure)
			})
		}
	}
}

func TestR11ALoginWhoseFirstInsertComesLateLeavesNoOrphan(t *testing.T) { // P12
	t.Parallel()
	for what, failure := range map[string]mongotest.Fail{
		"closed connection": {CloseConnection: true},
		"it shuts down":     {ErrorCode: 91},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newUnreliable(t, mongotest.Private(t))
			cfg := patient()
			cfg.UserID = userID
			store := f.store(cfg)
			b := start(t, store, map[any]any{"n": 0})
			first, second := b.load(t, store), b.load(t, store)
			for _, v := range []*visit{first, second} {
				v.Values["user"] = "ada"
				store.Regenerate(v.Session)
			}
			first.saved(t)
			failure.Commands = []string{"insert"}
			mongostore.SetTimeout(store, scant)
			f.fail(failure)
			f.sent.Take()
			wantErr(t, second.save(), mongostore.ErrUnavailable)
			var late []bson.RawValue
			for _, c := range f.sent.Take() {
				if c.Name == "insert" {
					late = append(late, c.Body.Lookup("documents", "0"))
				}
			}
			f.mend()
			second.saved(t)
			second.arrive()
			for _, document := range late { // on the way all the time
				_, _ = f.coll.InsertOne(t.Context(), document.Document())
			}
			f.wantCount(2)
			b.wantValues(t, store, map[any]any{"n": 0, "user": "ada"})
			if n := len(collect(t, store.ByUser(t.Context(), "ada"))); n != 2 || len(late) == 0 {
				t.Errorf("the user has %d sessions, want 2; %d inserts were late", n, len(late))
			}
		})
	}
}

func TestATouchThatLostARaceIsNoEventOfASessionThatEnded(t *testing.T) { // P12
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store, seen := p.observed(users())
		b := start(t, store, map[any]any{"user": "ada"})
		mine, theirs, renewed := b.load(t, store), b.load(t, store), b.load(t, store)
		theirs.Values["theirs"] = 1
		theirs.saved(t)
		p.clock.Advance(time.Hour)
		seen.take()
		mine.saved(t)
		if e := seen.wantEvents(t, "after a change", "touch ok ada")[0]; e.Conflicts != 1 || e.Err != nil {
			t.Errorf("the event is %+v", e)
		}
		mine.wantCookie(t)
		wantErr(t, store.Destroy(t.Context(), renewed.ID), nil)
		seen.take()
		renewed.saved(t)
		seen.wantEvents(t, "after an end", "touch not_found ada")
	})
}

// gone returns a visit whose browser has gone away after the load.
func (b *browser) gone(t *testing.T, store *mongostore.Store) *visit {
	t.Helper()
	v := b.load(t, store)
	ctx, cancel := context.WithCancel(v.r.Context())
	cancel()
	v.r = v.r.WithContext(ctx)
	return v
}

func TestR14ARenewalThatReachesNobodyIsNotWritten(t *testing.T) { // P15
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		v := b.gone(t, store)
		id := stored(t, store, v)
		before := p.mustDocument(id)
		v.Values["user"] = "ada"
		store.Regenerate(v.Session)
		err := v.save()
		wantErr(t, err, context.Canceled)
		if errors.Is(err, mongostore.ErrNotFound) {
			t.Errorf("%v: the session has not ended", err)
		}
		v.wantNoCookie(t)
		p.wantDocument(id, before)
		p.wantCount(1)
		b.wantValues(t, store, map[any]any{"n": "0"})

		v.r = b.request(t) // one that is there still
		v.saved(t)
		v.arrive()
		b.wantValues(t, store, map[any]any{"n": "0", "user": "ada"})
		p.wantCount(1)
	})
}

func TestR14EveryOtherSaveOfARequestThatHasEndedGoesOn(t *testing.T) { // P15
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		changed := b.gone(t, store)
		changed.Values["n"] = "1"
		changed.saved(t)
		b.wantValues(t, store, map[any]any{"n": "1"})

		created := new(browser).gone(t, store)
		created.Values["n"] = "2"
		created.saved(t)
		created.arrive()
		created.browser.wantValues(t, store, map[any]any{"n": "2"})

		login := new(browser).gone(t, store)
		login.Values["user"] = "ada"
		store.Regenerate(login.Session)
		login.saved(t)
		p.wantCount(3)

		p.clock.Advance(time.Hour)
		unchanged := b.gone(t, store)
		unchanged.saved(t)
		p.wantDeadline(stored(t, store, unchanged), 14*day)

		logout := b.gone(t, store)
		logout.Options.MaxAge = -1
		logout.saved(t)
		b.wantGone(t, store)
		p.wantCount(2)
	})
}

func TestR14ALoginUnderATimeoutHandlerThatGaveUpKeepsTheOldCookieGood(t *testing.T) { // P15
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		saved := make(chan error, 1)
		login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session, err := store.Get(r, name)
			if err != nil {
				t.Error(err)
			}
			<-r.Context().Done() // a slow password check
			session.Values["user"] = "ada"
			store.Regenerate(session)
			saved <- session.Save(r, w)
		})
		v := b.serve(t, http.TimeoutHandler(login, time.Second, "too late"))
		wantErr(t, <-saved, context.DeadlineExceeded)
		v.wantNoCookie(t)
		b.wantValues(t, store, map[any]any{"n": 0})
	})
}

func TestR10ALogoutBetweenAFailedRenewalAndTheNextSaveWins(t *testing.T) { // L2
	t.Parallel()
	ends := map[string]func(*mongostore.Store, *browser, string) error{
		"Destroy": func(store *mongostore.Store, _ *browser, id string) error { return store.Destroy(t.Context(), id) },
		"DestroyByUser": func(store *mongostore.Store, _ *browser, _ string) error {
			_, err := store.DestroyByUser(t.Context(), "ada")
			return err
		},
		"logout": func(store *mongostore.Store, b *browser, _ string) error {
			v := b.load(t, store)
			v.Options.MaxAge = -1
			return v.save()
		},
	}
	for what, end := range ends {
		for _, command := range []string{"insert", "update"} {
			t.Run(what+" after the failed "+command, func(t *testing.T) {
				t.Parallel()
				f := newUnreliable(t, mongotest.Standalone(t))
				store := f.store(connectMongoLike())
				b := start(t, store, map[any]any{"user": "ada"})
				v := b.load(t, store)
				v.Values["n"] = 1.5
				store.Regenerate(v.Session)
				f.fail(mongotest.Fail{Commands: []string{command}, ErrorCode: 13})
				wantErr(t, v.save(), mongostore.ErrUnavailable)
				f.mend()
				wantErr(t, end(store, b, v.ID), nil)
				f.sent.Take()
				wantErr(t, v.save(), mongostore.ErrNotFound)
				v.wantNoCookie(t)
				f.wantCount(0)
				b.wantGone(t, store)
			})
		}
	}
}

// hundredfold is a value that a leak of payloads would show by.
var hundredfold = bytes.Repeat([]byte("x"), 10_000)

func TestR13MissesOfKnownOutcomeKeepNoPayloads(t *testing.T) { // P13
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		others := p.store(nil)
		b := start(t, others, map[any]any{"n": 0})
		rounds, most := 0, 200
		store := p.store(&mongostore.Config{Timeout: ample, UserID: func(*sessions.Session) string {
			if rounds < most { // another process is first, each time
				rounds++
				v := b.load(t, others)
				v.Values["n"] = rounds
				v.saved(t)
			}
			return ""
		}})
		v := b.load(t, store)
		v.Values["mine"] = hundredfold
		v.saved(t)
		if rounds != most {
			t.Errorf("%d rounds, want %d", rounds, most)
		}
		b.wantValues(t, others, map[any]any{"n": most, "mine": hundredfold})

		rounds = 0
		v = b.load(t, store)
		v.Values["mine"] = nil
		mongostore.SetTimeout(store, scant)
		most = 1 << 30
		err := v.save()
		if !errors.Is(err, mongostore.ErrConflict) && !errors.Is(err, mongostore.ErrUnavailable) {
			t.Errorf("Save: %v", err)
		}
		if n := mongostore.UnknownWrites(store, v.Session); n > 1 || rounds < 3 {
			t.Errorf("after %d misses the outcome of %d writes is unknown, want one at most", rounds, n)
		}
	})
}

// TestR02AllLateRequestsOfAPageAreQuiet sends what a page sends at once, with the cookie from before the login.
func TestR02AllLateRequestsOfAPageAreQuiet(t *testing.T) { // P1, L3
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store, second := p.store(cfg), p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		late := &browser{cookies: slices.Clone(b.cookies)}
		login := b.load(t, store)
		login.Values["user"] = "ada"
		store.Regenerate(login.Session)
		login.saved(t)
		login.arrive()
		for i, st := range []*mongostore.Store{store, second, store, second} {
			v := &visit{browser: b, r: late.request(t), w: httptest.NewRecorder()}
			v.r.Header.Set("Sec-Fetch-Mode", []string{"cors", "no-cors", "same-origin", "websocket"}[i])
			v.Session, v.err = st.Get(v.r, name)
			wantErr(t, v.err, nil)
			v.wantNew(t)
			maps.Copy(v.Values, map[any]any{"seen": "x"})
			wantErr(t, v.save(), mongostore.ErrNotFound)
			clear(v.Values)
			v.saved(t)
			v.arrive()
		}
		b.wantValues(t, store, map[any]any{"n": "0", "user": "ada"})
		p.wantCount(1)
	})
}
