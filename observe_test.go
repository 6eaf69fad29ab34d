package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// audit keeps the events of a store.
type audit struct {
	mu     sync.Mutex
	events []mongostore.Event
}

func (a *audit) observe(_ context.Context, e mongostore.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

// take returns the events since the last take.
func (a *audit) take() []mongostore.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	events := a.events
	a.events = nil
	return events
}

// brief writes an event as "update ok ada".
func brief(e mongostore.Event) string {
	return strings.TrimSpace(fmt.Sprint(e.Op, " ", e.Result(), " ", e.UserID))
}

// wantEvents fails unless these events, written briefly, have happened since the last time. It returns them.
func (a *audit) wantEvents(t *testing.T, what string, want ...string) []mongostore.Event {
	t.Helper()
	events := a.take()
	var got []string
	for _, e := range events {
		got = append(got, brief(e))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: events %q, want %q", what, got, want)
	}
	return events
}

// observed returns a store and what it tells.
func (p *place) observed(cfg *mongostore.Config) (*mongostore.Store, *audit) {
	p.t.Helper()
	seen := new(audit)
	cfg.Observe = seen.observe
	return p.store(cfg), seen
}

func TestEachOperationIsOneEvent(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store, seen := p.observed(users())
		b := start(t, store, map[any]any{"user": "ada"})
		created := seen.wantEvents(t, "create", "create ok ada")[0]
		v := b.load(t, store)
		seen.wantEvents(t, "load", "load ok ada")
		v.saved(t)
		seen.wantEvents(t, "unchanged within TouchAfter")
		p.clock.Advance(time.Hour)
		v.saved(t)
		seen.wantEvents(t, "touch", "touch ok ada")
		v.Values["user"] = "bob"
		v.saved(t)
		updated := seen.wantEvents(t, "update", "update ok bob")[0]
		store.Regenerate(v.Session)
		v.saved(t)
		v.arrive()
		seen.wantEvents(t, "regenerate", "regenerate ok bob")
		rec, _ := store.Record(v.Session)
		for _, e := range []mongostore.Event{created, updated} {
			if e.ID != v.ID || e.Name != name || e.Size != rec.Size || e.Removed != 0 || e.Conflicts != 0 || e.Err != nil || e.Elapsed <= 0 || e.Elapsed > time.Minute {
				t.Errorf("the event is %+v; the record %+v", e, rec)
			}
		}
		wantErr(t, store.Touch(t.Context(), v.ID), nil)
		wantErr(t, store.Update(t.Context(), v.ID, func(map[any]any) error { return nil }), nil)
		seen.wantEvents(t, "Touch, Update", "touch ok bob", "update ok bob")
		v.Options.MaxAge = -1
		v.saved(t)
		if e := seen.wantEvents(t, "logout", "destroy ok bob")[0]; e.Removed != 1 || e.ID != rec.ID {
			t.Errorf("the logout's event is %+v", e)
		}
	})
}

func TestWhatIsNotThereIsAnEventToo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store, seen := p.observed(users())
		b := start(t, store, map[any]any{"user": "ada"})
		changed, unchanged := b.load(t, store), b.load(t, store)
		seen.take()

		new(browser).load(t, store)
		seen.wantEvents(t, "no cookie")
		sending("forged").load(t, store)
		e := seen.wantEvents(t, "forged cookie", "load invalid_cookie")[0]
		if e.Name != name || !errors.Is(e.Err, mongostore.ErrInvalidCookie) {
			t.Errorf("the event is %+v", e)
		}
		wantErr(t, store.Destroy(t.Context(), changed.ID), nil)
		if e := seen.wantEvents(t, "Destroy", "destroy ok")[0]; e.ID != changed.ID || e.Removed != 1 {
			t.Errorf("the event is %+v", e)
		}
		b.load(t, store)
		seen.wantEvents(t, "a session that ended", "load not_found")
		changed.Values["n"] = 1
		_ = changed.save()
		seen.wantEvents(t, "a late save", "update not_found ada")
		p.clock.Advance(time.Hour)
		_ = unchanged.save()
		seen.wantEvents(t, "a late touch", "touch not_found ada")
		_ = store.Touch(t.Context(), changed.ID)
		_ = store.Update(t.Context(), changed.ID, nil)
		_ = store.Destroy(t.Context(), changed.ID)
		for _, e := range seen.wantEvents(t, "calls", "touch not_found", "update not_found", "destroy ok") {
			if e.ID != changed.ID || e.Removed != 0 {
				t.Errorf("the event is %+v, want the id %q", e, changed.ID)
			}
		}
	})
}

func TestAnEventTellsHowOftenOthersWereFirst(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		cfg := users()
		cfg.OnConflict = mongostore.OnConflictFail
		store, seen := p.observed(cfg)
		b := start(t, store, map[any]any{"n": 0})
		first, second, third := b.load(t, store), b.load(t, store), b.load(t, store)
		first.Values["n"] = 1
		first.saved(t)
		seen.take()
		second.Values["m"] = 1
		second.saved(t)
		if e := seen.wantEvents(t, "merged", "update ok")[0]; e.Conflicts != 1 {
			t.Errorf("the event is %+v", e)
		}
		third.Values["n"] = 2
		wantErr(t, third.save(), mongostore.ErrConflict)
		if e := seen.wantEvents(t, "same key", "update conflict")[0]; e.Conflicts != 1 {
			t.Errorf("the event is %+v", e)
		}
	})
}

func TestAdministrationAndRemovalAreEvents(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store, seen := p.observed(users())
		for range 3 {
			start(t, store, map[any]any{"user": "ada"})
		}
		start(t, store, nil)
		seen.take()
		_, _ = store.DestroyByUser(t.Context(), "ada")
		if e := seen.wantEvents(t, "DestroyByUser", "destroy ok ada")[0]; e.Removed != 3 || e.ID != "" {
			t.Errorf("the event is %+v", e)
		}
		_ = store.Clear(t.Context())
		if e := seen.wantEvents(t, "Clear", "destroy ok")[0]; e.Removed != 1 {
			t.Errorf("the event is %+v", e)
		}
		start(t, store, nil)
		p.clock.Advance(15 * 24 * time.Hour)
		seen.take()
		n, _ := store.RemoveExpired(t.Context())
		if e := seen.wantEvents(t, "RemoveExpired", "remove_expired ok")[0]; e.Removed != n {
			t.Errorf("the event is %+v, removed were %d", e, n)
		}
		_, _ = store.DestroyByUser(t.Context(), "")
		seen.wantEvents(t, "refused")
	})
}

func TestWhatFailsBeforeACommandIsAnEvent(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		cfg := users()
		cfg.MaxBytes = 500
		store, seen := p.observed(cfg)
		b := start(t, store, map[any]any{"user": "ada"})
		v, renewed, created := b.load(t, store), b.load(t, store), new(browser).load(t, store)
		seen.take()
		v.Values["x"] = strings.Repeat("x", 500)
		_ = v.save()
		seen.wantEvents(t, "too large", "update too_large ada")
		renewed.Values["x"] = unknown{}
		store.Regenerate(renewed.Session)
		_ = renewed.save()
		seen.wantEvents(t, "not encodable", "regenerate error ada")
		created.Values["x"] = unknown{}
		_ = created.save()
		seen.wantEvents(t, "not encodable", "create error")
		unreadable := p.store(&mongostore.Config{Observe: seen.observe, PayloadCodec: mongostore.BytesCodec(nil, func([]byte, any) error { return errors.New("no") })})
		b.load(t, unreadable)
		seen.wantEvents(t, "not decodable", "load decode")
	})
}

func TestOutagesAreEvents(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store, seen := f.observed(users())
	b := start(t, store, map[any]any{"user": "ada"})
	changed, again, logout, created := b.load(t, store), b.load(t, store), b.load(t, store), new(browser).load(t, store)
	changed.Values["n"], again.Values["m"], created.Values["user"] = 1, 1, "bob"
	f.fail(mongotest.Fail{Commands: []string{"update"}, ErrorCode: 13})
	_ = again.save()
	f.fail(mongotest.Fail{Commands: []string{"find", "insert", "update", "delete"}, ErrorCode: 13})
	seen.take()
	_ = changed.save()
	seen.wantEvents(t, "update", "update unavailable ada")
	_ = again.save() // it first asks whether the write before has landed
	seen.wantEvents(t, "second update", "update unavailable ada")
	_ = created.save()
	seen.wantEvents(t, "create", "create unavailable bob")
	logout.Options.MaxAge = -1
	_ = logout.save()
	seen.wantEvents(t, "logout", "destroy unavailable ada")
	v := b.load(t, store)
	seen.wantEvents(t, "load", "load unavailable")
	_ = v.save()
	seen.wantEvents(t, "a Save that may not write")
	_, _ = store.RemoveExpired(t.Context())
	_, _ = store.DestroyByUser(t.Context(), "ada")
	seen.wantEvents(t, "others", "remove_expired unavailable", "destroy unavailable ada")
}

func TestR13AWriteThatWasFoundToHaveLandedIsAnEvent(t *testing.T) {
	t.Parallel()
	p, proxy := behindProxy(t)
	store, seen := p.observed(users())
	b := new(browser)
	v := b.load(t, store)
	v.Values["user"] = "ada"
	proxy.LoseInsert()
	_ = v.save()
	seen.wantEvents(t, "lost", "create unavailable ada")
	v.saved(t)
	seen.wantEvents(t, "found", "create ok ada")
	v.arrive()
	proxy.DropReplies("update", 2)
	store.Regenerate(v.Session)
	_ = v.save()
	seen.wantEvents(t, "lost", "regenerate unavailable ada")
	v.saved(t)
	seen.wantEvents(t, "found", "regenerate ok ada")
	proxy.DropReplies("update", 2)
	v.Values["n"] = 1
	_ = v.save()
	seen.wantEvents(t, "lost", "update unavailable ada")
	v.saved(t)
	seen.wantEvents(t, "found", "update ok ada")
}

func TestObserveMayPanicWithoutFailingARequest(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		log := new(journal)
		store := p.store(&mongostore.Config{
			Logger:  log.logger(),
			Observe: func(context.Context, mongostore.Event) { panic("s3cret") },
		})
		b := start(t, store, map[any]any{"n": 1})
		b.wantValues(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		v.Options.MaxAge = -1
		v.saved(t)
		p.wantCount(0)
		text := log.String()
		if !strings.Contains(text, "Config.Observe") || strings.Contains(text, "s3cret") {
			t.Errorf("the log says %q", text)
		}
	})
}

func TestAUserIDThatPanicsKeepsTheUser(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(users()), map[any]any{"user": "ada"})
		log := new(journal)
		store := p.store(&mongostore.Config{Logger: log.logger(), UserID: func(*sessions.Session) string { panic("s3cret") }})
		v := b.load(t, store)
		v.Values["n"] = 1
		v.saved(t)
		start(t, store, nil)
		if doc := p.mustDocument(v.ID); doc["user"] != "ada" {
			t.Errorf("the record's user is %v", doc["user"])
		}
		if text := log.String(); !strings.Contains(text, "Config.UserID") || strings.Contains(text, "s3cret") {
			t.Errorf("the log says %q", text)
		}
	})
}

// inRequest is a key of a request's context.
type inRequest struct{}

func TestObserveIsGivenTheRequestsContext(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		var trace []any
		store := p.store(&mongostore.Config{Observe: func(ctx context.Context, _ mongostore.Event) {
			trace = append(trace, ctx.Value(inRequest{}), ctx.Err())
		}})
		b := new(browser)
		v := b.load(t, store)
		v.r = v.r.WithContext(context.WithValue(v.r.Context(), inRequest{}, "span"))
		v.saved(t)
		if !slices.Equal(trace, []any{"span", nil}) {
			t.Errorf("Observe was given %v", trace)
		}
	})
}

func TestResultsAreMetricLabels(t *testing.T) {
	t.Parallel()
	both := fmt.Errorf("%w: %w", mongostore.ErrConflict, mongostore.ErrUnavailable)
	for want, err := range map[string]error{
		"ok": nil, "error": errors.New("x"), "not_found": mongostore.ErrNotFound, "invalid_cookie": mongostore.ErrInvalidCookie,
		"conflict": both, "too_large": mongostore.ErrTooLarge, "decode": mongostore.ErrDecode, "unavailable": mongostore.ErrUnavailable,
	} {
		for _, err := range []error{err, wrapped(err)} {
			if got := (mongostore.Event{Err: err}).Result(); got != want {
				t.Errorf("%v: %q, want %q", err, got, want)
			}
		}
	}
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("handler: %w", err)
}

func TestR21EventsHoldNoSecretNoCookieAndNoValue(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		log := new(journal)
		cfg.Logger = log.logger()
		store, seen := p.observed(cfg)
		b := start(t, store, map[any]any{"pin": "s3cret"})
		thief := &browser{cookies: slices.Clone(b.cookies)}
		v, late := b.load(t, store), b.load(t, store)
		secrets := []string{"s3cret", b.cookies[0].Value}
		v.Values["pin"] = "s3cret too"
		store.Regenerate(v.Session)
		v.saved(t)
		v.arrive()
		late.Values["n"] = "1"
		_ = late.save()
		thief.load(t, store)
		sending(b.cookies[0].Value+"x").load(t, store)
		b.load(t, store)
		for _, c := range append(thief.cookies, b.cookies...) {
			handle, secret := credentials(t, store, c)
			if secret == "" {
				secret = handle
			}
			secrets = append(secrets, secret, c.Value)
		}
		told := fmt.Sprintf("%+v %s", seen.take(), log)
		for _, secret := range secrets {
			if strings.Contains(told, secret) {
				t.Errorf("they tell %q: %s", secret, told)
			}
		}
	})
}

func TestObserveMayAskForTheRecordOfTheSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		var store *mongostore.Store
		var v *visit
		asked := 0
		store = p.store(&mongostore.Config{Observe: func(_ context.Context, e mongostore.Event) {
			if e.Op != mongostore.OpLoad {
				store.Record(v.Session)
				asked++
			}
		}})
		v = new(browser).load(t, store)
		v.saved(t)
		v.Options.MaxAge = -1
		v.saved(t)
		if asked != 2 {
			t.Errorf("it was told of %d operations", asked)
		}
	})
}
