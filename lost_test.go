package mongostore

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/record"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// These tests stand between the store and its backend, to lose or delay one command.

// hooked is a store whose inserts and updates pass through functions, which are given what would be done.
type hooked struct {
	*testing.T
	record.Backend
	store          *Store
	insert, update func(do func() (bool, error)) (bool, error)
}

func newHooked(t *testing.T, cfg *Config) *hooked {
	t.Helper()
	if cfg.PayloadCodec == nil {
		cfg.PayloadCodec = JSONCodec{}
	}
	store, err := NewMemory(cfg, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	h := &hooked{T: t, store: store, Backend: store.server.backend}
	store.server.backend = h
	return h
}

func (h *hooked) Insert(ctx context.Context, rec *record.Record) (bool, error) {
	sent := *rec
	do := func() (bool, error) { return h.Backend.Insert(context.WithoutCancel(ctx), &sent) }
	if h.insert != nil {
		return h.insert(do)
	}
	return do()
}

func (h *hooked) Update(ctx context.Context, m record.Match, rec *record.Record, c record.Change) (bool, error) {
	sent := *rec
	do := func() (bool, error) { return h.Backend.Update(context.WithoutCancel(ctx), m, &sent, c) }
	if h.update != nil {
		return h.update(do)
	}
	return do()
}

// loseInsert breaks the connection of the next insert, and returns what has it arrive.
func (h *hooked) loseInsert() (arrive func()) {
	var late func() (bool, error)
	h.insert = func(do func() (bool, error)) (bool, error) {
		if late == nil {
			late = do
			return false, errBroken
		}
		return do()
	}
	return func() { _, _ = late() }
}

// turn is one request and its session.
type turn struct {
	*sessions.Session
	h *hooked
	r *http.Request
}

func (h *hooked) load(cookie *http.Cookie) turn {
	h.Helper()
	r := httptest.NewRequestWithContext(h.Context(), http.MethodGet, "https://example.com/", http.NoBody)
	if cookie != nil {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	session, err := h.store.New(r, "sid")
	if err != nil {
		h.Fatal(err)
	}
	return turn{session, h, r}
}

// start stores a session, and returns the request that did and its cookie.
func (h *hooked) start() (first turn, cookie *http.Cookie) {
	h.Helper()
	first = h.load(nil)
	first.Values["k"] = "0"
	return first, first.saved()
}

// saved saves the session, and returns the cookie that this sets.
func (t turn) saved() *http.Cookie {
	t.h.Helper()
	w := httptest.NewRecorder()
	if err := t.Save(t.r, w); err != nil {
		t.h.Errorf("Save: %v", err)
	}
	return cookieOf(w.Header())
}

func TestR10ALoginOfAnImportWhoseFirstInsertComesAfterALogoutLetsNobodyIn(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		former := &mapStore{sessions: map[string]map[any]any{"old": {"k": "v"}}}
		h := newHooked(t, &Config{Previous: former, PlainIDs: plain})
		arrive := h.loseInsert()
		login := h.load(&http.Cookie{Name: "sid", Value: "old"})
		login.Values["user"] = "ann"
		h.store.Regenerate(login.Session)
		cookie := login.saved()
		logout := h.load(cookie)
		logout.Options.MaxAge = -1
		logout.saved()
		arrive()
		if again := h.load(cookie); !again.IsNew {
			t.Errorf("plain ids %v: the cookie of the login leads to %v", plain, again.Values)
		}
	}
}

func TestR13ALoginBesideAnotherOneLooksForItsInsertToo(t *testing.T) {
	t.Parallel()
	h := newHooked(t, &Config{UserID: func(s *sessions.Session) string { user, _ := s.Values["user"].(string); return user }})
	_, cookie := h.start()
	a, b := h.load(cookie), h.load(cookie)
	for _, login := range []turn{a, b} {
		login.Values["user"] = "ann"
		h.store.Regenerate(login.Session)
	}
	a.saved()
	h.loseInsert()
	if got := h.load(b.saved()); got.Values["user"] != "ann" {
		t.Errorf("the second login's cookie leads to %v", got.Values)
	}
}

func TestR09AttributesOfTwoImportsMerge(t *testing.T) {
	t.Parallel()
	former := &mapStore{sessions: map[string]map[any]any{"old": {"k": "v"}}}
	h := newHooked(t, &Config{Previous: former})
	old := &http.Cookie{Name: "sid", Value: "old"}
	a, b := h.load(old), h.load(old)
	a.Options.Path = "/a"
	a.saved()
	b.Values["b"], b.Options.SameSite = "b", http.SameSiteStrictMode
	c := b.saved()
	got := h.load(c)
	if got.Options.Path != "/a" || got.Options.SameSite != http.SameSiteStrictMode || c.Path != "/a" {
		t.Errorf("the record has %+v, the cookie Path %q", *got.Options, c.Path)
	}
}

func TestR09AHolderOfTheLockThatHangsIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHooked(t, &Config{})
		first, cookie := h.start()
		other := newHooked(t, &Config{}) // another process
		other.Backend = h.Backend
		change := func(value string) {
			v := other.load(cookie)
			v.Values["other"] = value
			v.saved()
		}
		held, _ := h.store.locks.take(t.Context(), first.ID, time.Second)
		defer held.release()
		mine := h.load(cookie)
		change("1")
		updates := 0
		h.update = func(do func() (bool, error)) (bool, error) {
			if updates++; updates == 2 {
				change("2")
			}
			return do()
		}
		mine.Values["mine"] = "1"
		began := time.Now()
		mine.saved()
		if waited := time.Since(began); waited > h.store.cfg.Timeout/2+time.Second {
			t.Errorf("it took %v", waited)
		}
	})
}

// The update was done and its connection broke; the second one misses, and no majority acknowledges what it saw.
func TestR13AWriteConcernErrorBesideALostAnswerIsReturned(t *testing.T) {
	t.Parallel()
	for _, renew := range []bool{false, true} {
		h := newHooked(t, &Config{})
		_, cookie := h.start()
		v := h.load(cookie)
		v.Values["k"] = "1"
		if renew {
			h.store.Regenerate(v.Session)
		}
		updates := 0
		h.update = func(do func() (bool, error)) (bool, error) {
			done, _ := do()
			if updates++; updates == 1 {
				return false, errBroken
			}
			return done, errNotReplicated(done)
		}
		if err := v.Save(v.r, httptest.NewRecorder()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("renewed %v: Save: %v, and no majority has it", renew, err)
		}
	}
}

// remembering is a codec that is no RecordCodec and decodes options all the same.
type remembering struct{ JSONCodec }

func (c remembering) Decode(value bson.RawValue, session *sessions.Session) error {
	err := c.JSONCodec.Decode(value, session)
	if session.Values["remember"] != nil {
		session.Options.MaxAge, session.Options.Path = 90*86400, "/kept"
	}
	return err
}

func TestR09OptionsThatACodecDecodesStayInAMerge(t *testing.T) {
	t.Parallel()
	for _, mode := range []OnConflict{OnConflictMerge, OnConflictOverwrite, OnConflictFail} {
		h := newHooked(t, &Config{OnConflict: mode, PayloadCodec: remembering{}})
		first := h.load(nil)
		first.Values["remember"], first.Options.Path = "yes", "/kept"
		cookie := first.saved()
		a, b, c := h.load(cookie), h.load(cookie), h.load(cookie)
		a.Values["a"] = "1"
		a.saved()
		b.Values["b"] = "1"
		if got := b.saved(); got == nil || got.MaxAge != 90*86400 || got.Path != "/kept" {
			t.Errorf("%v: the cookie is %v", mode, got)
		}
		c.Options.MaxAge = 60
		c.saved()
	}
}

func TestR17TheEventOfASaveThatAnotherRequestOvertookIsOfItsSession(t *testing.T) {
	t.Parallel()
	var events []Event
	h := newHooked(t, &Config{Observe: func(_ context.Context, e Event) { events = append(events, e) }})
	first, cookie := h.start()
	v, other := h.load(cookie), h.load(cookie)
	v.Values["k"] = "1"
	h.update = func(func() (bool, error)) (bool, error) { return false, errTimedOut }
	_ = v.Save(v.r, httptest.NewRecorder())
	h.update = nil
	h.store.Regenerate(other.Session)
	other.saved()
	events = nil
	err := v.Save(v.r, httptest.NewRecorder())
	if !errors.Is(err, ErrNotFound) || len(events) != 1 || events[0].Op != OpUpdate || events[0].ID != first.ID {
		t.Errorf("Save: %v, events %+v", err, events)
	}
}

func TestR17ARefusedLogoutIsNoSuccess(t *testing.T) {
	t.Parallel()
	var events []Event
	h := newHooked(t, &Config{Observe: func(_ context.Context, e Event) { events = append(events, e) }})
	_, cookie := h.start()
	v := h.load(cookie)
	copied := *v.Session
	copied.Options.MaxAge = -1
	events = nil
	err := h.store.Save(v.r, httptest.NewRecorder(), &copied)
	if err == nil || len(events) != 1 || events[0].Err == nil {
		t.Errorf("Save: %v, events %+v", err, events)
	}
}

// A session object keeps no more lost writes than that, and still knows the last one again.
func TestR13LostWritesWithoutEndAreBounded(t *testing.T) {
	t.Parallel()
	h := newHooked(t, &Config{})
	_, cookie := h.start()
	v := h.load(cookie)
	h.update = func(func() (bool, error)) (bool, error) { return false, errTimedOut }
	for i := range 40 {
		v.Values["k"] = i
		_ = v.Save(v.r, httptest.NewRecorder())
	}
	if n := UnknownWrites(h.store, v.Session); n != 16 {
		t.Errorf("%d writes are kept", n)
	}
	h.update = nil
	v.saved()
	if got := h.load(cookie); got.Values["k"] != 39.0 {
		t.Errorf("the session holds %v", got.Values)
	}
}
