package mongostore_test

import (
	"testing"
	"time"

	"github.com/mongostore/mongostore"
)

// Clocks that step, and clocks of two processes that differ.

func TestR16AClockThatStepsBetweenLoadAndSaveLosesNothing(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.MaxLifetime = 30 * day
		store := p.store(cfg)
		for _, step := range []time.Duration{-time.Millisecond, -time.Second, -time.Minute, -2 * time.Hour, -13 * day, time.Second, 13 * day} {
			b := start(t, store, map[any]any{"n": "0"})
			changed, unchanged, renewed := b.load(t, store), b.load(t, store), b.load(t, store)
			p.clock.Advance(step)
			changed.Values["n"] = "1"
			changed.saved(t)
			p.wantDeadline(stored(t, store, changed), 14*day)
			if c := changed.wantCookie(t); c.MaxAge != 14*86400 {
				t.Errorf("%v: the cookie has MaxAge %d", step, c.MaxAge)
			}
			unchanged.saved(t)
			b.wantValues(t, store, map[any]any{"n": "1"})
			store.Regenerate(renewed.Session)
			renewed.saved(t)
			renewed.arrive()
			b.wantValues(t, store, map[any]any{"n": "1"})
			p.clock.Advance(14*day - time.Millisecond)
			if b.load(t, store).IsNew {
				t.Errorf("%v: the session ended before its deadline", step)
			}
			p.clock.Advance(time.Millisecond)
			b.wantGone(t, store)
		}
	})
}

func TestR16ProcessesWhoseClocksDifferShareTheirSessions(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		for _, ahead := range []time.Duration{time.Second, time.Minute, time.Hour} {
			here, there := p.store(cfg), p.store(cfg)
			mongostore.SetClock(there, func() time.Time { return p.clock.Now().Add(ahead) })
			b := start(t, there, map[any]any{"n": "0"})
			for i := range 6 {
				p.clock.Advance(10 * time.Minute)
				store := []*mongostore.Store{here, there}[i%2]
				v := b.load(t, store)
				if v.IsNew || v.err != nil {
					t.Fatalf("%v: the session is gone, %v", ahead, v.err)
				}
				if i > 2 {
					v.Values["n"] = string(rune('0' + i))
				}
				if i == 4 {
					store.Regenerate(v.Session)
				}
				v.saved(t)
				if c := v.wantCookie(t); c.MaxAge != 14*86400 {
					t.Errorf("%v: the cookie has MaxAge %d", ahead, c.MaxAge)
				}
				v.arrive()
				wantErr(t, store.Touch(t.Context(), stored(t, store, v)), nil)
			}
			b.wantValues(t, here, map[any]any{"n": "5"})
			b.wantValues(t, there, map[any]any{"n": "5"})
			logout := b.load(t, here)
			logout.Options.MaxAge = -1
			logout.saved(t)
			b.wantGone(t, there)
		}
	})
}

func TestR02ALateRequestIsQuietAlsoWhereTheClockIsBehind(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		here, there := p.store(nil), p.store(nil)
		mongostore.SetClock(there, func() time.Time { return p.clock.Now().Add(9 * time.Second) })
		b := start(t, here, map[any]any{"n": 0})
		login := b.load(t, there)
		there.Regenerate(login.Session)
		login.saved(t)
		late := b.load(t, here)
		late.Values["n"] = 1
		wantErr(t, late.save(), mongostore.ErrNotFound)
		late.wantNoCookie(t)
		p.wantCount(1)
	})
}
