package mongostore_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Functions of the configuration that use the store which calls them.

// reentrant is a store whose callbacks run a function, each once at most in a turn.
type reentrant struct {
	store *mongostore.Store
	from  string // the callback to run it from
	do    atomic.Pointer[func()]
	skip  atomic.Int32 // so many calls
	calls atomic.Int32
}

// callback runs the function if it is this callback's turn.
func (r *reentrant) callback(from string) {
	do := r.do.Load()
	if do == nil || from != r.from || r.skip.Add(-1) >= 0 {
		return
	}
	if r.do.CompareAndSwap(do, nil) {
		r.calls.Add(1)
		(*do)()
	}
}

// during has the callback run a function in the next turn.
func (r *reentrant) during(do func()) { r.do.Store(&do) }

// loud is a codec and a sealer that call back.
type loud struct {
	mongostore.GobCodec
	mongostore.Sealer
	*reentrant
}

func (l loud) Encode(session *sessions.Session) (bson.RawValue, error) {
	l.callback("Codec.Encode")
	return l.GobCodec.Encode(session)
}

func (l loud) Decode(value bson.RawValue, session *sessions.Session) error {
	l.callback("Codec.Decode")
	return l.GobCodec.Decode(value, session)
}

func (l loud) Seal(ctx context.Context, plaintext, additional []byte) ([]byte, error) {
	l.callback("Sealer.Seal")
	return l.Sealer.Seal(ctx, plaintext, additional)
}

func (l loud) Open(ctx context.Context, sealed, additional []byte) ([]byte, error) {
	l.callback("Sealer.Open")
	return l.Sealer.Open(ctx, sealed, additional)
}

// callbacks are all that the store calls in a Save with Regenerate; Decode and Open in one that conflicts.
var callbacks = []string{"Labels", "UserID", "Observe", "Codec.Encode", "Codec.Decode", "Sealer.Seal", "Sealer.Open"}

// again is how often a callback is called before the conflict of a Save is known.
var again = map[string]int32{"Labels": 1, "UserID": 1, "Codec.Encode": 1, "Sealer.Seal": 1}

// newReentrant returns a store that calls back from one of its callbacks.
func newReentrant(p *place, from string, timeout time.Duration) *reentrant {
	r := &reentrant{from: from}
	cfg := &mongostore.Config{
		Timeout: timeout,
		Labels: func(*http.Request, *sessions.Session) map[string]string {
			r.callback("Labels")
			return map[string]string{"device": "x"}
		},
		UserID:  func(s *sessions.Session) string { r.callback("UserID"); return userID(s) },
		Observe: func(context.Context, mongostore.Event) { r.callback("Observe") },
	}
	l := loud{Sealer: mongostore.AESGCM(key), reentrant: r}
	cfg.PayloadCodec, cfg.Sealer = l, l
	r.store = p.store(cfg)
	return r
}

// eachCallback runs a test for every callback. Each begins a turn with a session of a visitor, whose Save another
// request was before.
func eachCallback(t *testing.T, timeout time.Duration, test func(t *testing.T, p *place, r *reentrant, v *visit)) {
	t.Helper()
	for _, from := range callbacks {
		for _, conflict := range []bool{false, true} {
			if !conflict && (from == "Codec.Decode" || from == "Sealer.Open") {
				continue // a Save without a conflict reads nothing
			}
			t.Run(from+map[bool]string{true: " in a conflict"}[conflict], func(t *testing.T) {
				t.Parallel()
				onEach(t, func(t *testing.T, p *place) {
					r := newReentrant(p, from, timeout)
					b := start(t, r.store, map[any]any{"n": 0})
					v := b.load(t, r.store)
					if conflict {
						theirs := b.load(t, r.store)
						theirs.Values["theirs"] = 1
						theirs.saved(t)
						r.skip.Store(again[from])
					}
					v.Values["user"] = "ada"
					r.store.Regenerate(v.Session)
					test(t, p, r, v)
					if r.calls.Load() == 0 {
						t.Error("it was not called")
					}
				})
			})
		}
	}
}

// atOnce fails unless do ends long before Config.Timeout.
func atOnce(t *testing.T, what string, do func()) {
	t.Helper()
	mongotest.NewYardstick(t).Within(t, what, scant, do)
}

func TestR15CallbacksMayAskForTheSessionInHand(t *testing.T) { // P14
	t.Parallel()
	eachCallback(t, ample, func(t *testing.T, _ *place, r *reentrant, v *visit) {
		r.during(func() {
			if rec, ok := r.store.Record(v.Session); !ok || rec.ID == "" {
				t.Errorf("Record: %+v, %v", rec, ok)
			}
		})
		atOnce(t, "Save", func() { v.saved(t) })
		v.arrive()
		if got := v.browser.values(t, r.store); got["user"] != "ada" {
			t.Errorf("the session holds %v", got)
		}
	})
}

func TestR15CallbacksMayRegenerateTheSessionInHand(t *testing.T) { // P14
	t.Parallel()
	eachCallback(t, ample, func(t *testing.T, p *place, r *reentrant, v *visit) {
		r.during(func() { r.store.Regenerate(v.Session) })
		atOnce(t, "Save", func() { v.saved(t) })
		first := v.wantCookie(t).Value
		atOnce(t, "the next Save", func() { v.saved(t) })
		if v.wantCookie(t).Value == first {
			t.Error("the next Save gave no new secret")
		}
		v.arrive()
		if got := v.browser.values(t, r.store); got["user"] != "ada" {
			t.Errorf("the session holds %v", got)
		}
		p.wantCount(1)
	})
}

func TestR15CallbacksMayUseOtherSessions(t *testing.T) { // P14
	t.Parallel()
	eachCallback(t, ample, func(t *testing.T, p *place, r *reentrant, v *visit) {
		other, leaving := start(t, r.store, map[any]any{"n": 1}), start(t, r.store, map[any]any{"n": 2})
		id := other.load(t, r.store).ID
		r.during(func() {
			changed := other.load(t, r.store)
			changed.Values["n"] = 3
			changed.saved(t)
			logout := leaving.load(t, r.store)
			logout.Options.MaxAge = -1
			logout.saved(t)
			_, err := r.store.Find(t.Context(), id)
			wantErr(t, err, nil)
			wantErr(t, r.store.Touch(t.Context(), id), nil)
			wantErr(t, r.store.Update(t.Context(), id, func(values map[any]any) error { values["m"] = 1; return nil }), nil)
			for _, err := range r.store.ByUser(t.Context(), "nobody") {
				wantErr(t, err, nil)
			}
		})
		atOnce(t, "Save", func() { v.saved(t) })
		other.wantValues(t, r.store, map[any]any{"n": 3, "m": 1})
		leaving.wantGone(t, r.store)
		p.wantCount(2)
	})
}

func TestR15CallbacksMayChangeTheSameSessionFromOutside(t *testing.T) { // P14
	t.Parallel()
	eachCallback(t, ample, func(t *testing.T, _ *place, r *reentrant, v *visit) {
		id := v.ID
		r.during(func() {
			wantErr(t, r.store.Touch(t.Context(), id), nil)
			wantErr(t, r.store.Update(t.Context(), id, func(values map[any]any) error { values["m"] = 1; return nil }), nil)
		})
		atOnce(t, "Save", func() { v.saved(t) })
		v.arrive()
		if got := v.browser.values(t, r.store); got["user"] != "ada" || got["m"] != 1 {
			t.Errorf("the session holds %v", got)
		}
	})
}

// In a conflict only one Save of a process works on a record, so another one of the same record that a callback waits
// for must not wait for that Save.
func TestR15CallbacksMaySaveAnotherObjectOfTheSameSession(t *testing.T) { // P14
	t.Parallel()
	eachCallback(t, ample, func(t *testing.T, _ *place, r *reentrant, v *visit) {
		fresh := func() {
			again := v.browser.load(t, r.store)
			again.Values["again"] = 1
			if err := again.save(); err != nil && r.from != "Observe" { // after the Save the old cookie is dead
				t.Errorf("Save of another object: %v", err)
			}
		}
		r.during(fresh)
		atOnce(t, "Save", func() { v.saved(t) })
	})
}

// The other object has a conflict of its own, in which it waits for the lock that the first Save holds. It goes on without.
func TestR15CallbacksMaySaveAStaleObjectOfTheSameSession(t *testing.T) { // P14
	t.Parallel()
	eachCallback(t, 4*time.Second, func(t *testing.T, _ *place, r *reentrant, v *visit) {
		stale, other := v.browser.load(t, r.store), v.browser.load(t, r.store)
		other.Values["other"] = 1
		other.saved(t)
		r.during(func() {
			stale.Values["stale"] = 1
			if err := stale.save(); err != nil && r.from != "Observe" { // after the Save the old cookie is dead
				t.Errorf("Save of another object: %v", err)
			}
		})
		v.saved(t)
		v.arrive()
		if got := v.browser.values(t, r.store); got["user"] != "ada" || got["stale"] != 1 && r.from != "Observe" {
			t.Errorf("the session holds %v", got)
		}
	})
}

func TestR15ACallbackThatSavesTheSessionInHandIsRefused(t *testing.T) { // P14
	t.Parallel()
	eachCallback(t, 4*time.Second, func(t *testing.T, _ *place, r *reentrant, v *visit) {
		r.during(func() {
			if err := v.Save(v.r, httptest.NewRecorder()); r.from != "Observe" {
				wantErr(t, err, mongostore.ErrUnavailable)
			}
		})
		v.saved(t)
		v.arrive()
		if got := v.browser.values(t, r.store); got["user"] != "ada" {
			t.Errorf("the session holds %v", got)
		}
	})
}
