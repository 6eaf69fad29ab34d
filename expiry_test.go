package mongostore_test

import (
	"testing"
	"time"

	"github.com/mongostore/mongostore"
)

const day = 24 * time.Hour

func TestR16DeadlineAndCookieEndTogether(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ttl, maxLifetime time.Duration
		maxAge           int           // as the handler sets it; -1: not
		age              time.Duration // of the session at the Save in question
		lives            time.Duration // from then on
		cookie           int
	}{
		"default":                          {0, 0, -1, 0, 14 * day, 14 * 86400},
		"TTL":                              {time.Hour, 0, -1, time.Minute, time.Hour, 3600},
		"a TTL of half a second more":      {90500 * time.Millisecond, 0, -1, 0, 91 * time.Second, 91},
		"MaxAge":                           {time.Hour, 0, 60, time.Second * 30, time.Minute, 60},
		"MaxAge 0":                         {time.Hour, 0, 0, 0, time.Hour, 0},
		"within MaxLifetime":               {time.Hour, 2 * time.Hour, -1, 30 * time.Minute, time.Hour, 3600},
		"reaching MaxLifetime":             {time.Hour, 2 * time.Hour, -1, 59 * time.Minute, time.Hour, 3600},
		"cut by MaxLifetime from birth on": {time.Hour, time.Minute, -1, 0, time.Minute, 60},
		"cut by MaxLifetime":               {time.Hour, 90 * time.Minute, -1, 50 * time.Minute, 40 * time.Minute, 2400},
		"MaxAge cut by MaxLifetime":        {time.Hour, 90 * time.Minute, 86400, 50 * time.Minute, 40 * time.Minute, 2400},
		"MaxAge 0 cut by MaxLifetime":      {time.Hour, 90 * time.Minute, 0, 50 * time.Minute, 40 * time.Minute, 0},
		"the cookie is rounded up":         {time.Hour, time.Hour, -1, 10*time.Minute + 100*time.Millisecond, 50*time.Minute - 100*time.Millisecond, 3000},
		"and at least one second":          {time.Hour, time.Hour, -1, time.Hour - time.Millisecond, time.Millisecond, 1},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				store := p.store(&mongostore.Config{TTL: test.ttl, MaxLifetime: test.maxLifetime})
				b := new(browser)
				v := b.load(t, store)
				if test.maxAge >= 0 {
					v.Options.MaxAge = test.maxAge
				}
				v.saved(t)
				v.arrive()
				given := v.Options.MaxAge

				p.clock.Advance(test.age)
				v = b.load(t, store)
				v.Values["n"] = 1
				v.Options.SameSite = 0 // so that a cookie is set also if it ends with the browser
				v.saved(t)
				p.wantDeadline(v.ID, test.lives)
				if got := v.wantCookie(t).MaxAge; got != test.cookie {
					t.Errorf("the cookie has Max-Age %d, want %d", got, test.cookie)
				}
				if v.Options.MaxAge != given {
					t.Errorf("the cut shows in session.Options: %d, it was %d", v.Options.MaxAge, given)
				}
			})
		})
	}
}

func TestR16ACutIsNotKeptAsAMaxAgeThatWasSet(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour, MaxLifetime: time.Minute})
		v := new(browser).load(t, store)
		v.saved(t)
		v.Values["n"] = 1
		v.saved(t)
		if got, set := p.mustDocument(v.ID)["maxAge"]; set {
			t.Errorf("the record keeps MaxAge %v", got)
		}
	})
}

func TestR16RegenerateBeginsANewMaxLifetime(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour, MaxLifetime: time.Hour})
		b := start(t, store, map[any]any{"n": 1})
		p.clock.Advance(59 * time.Minute)
		v := b.load(t, store)
		store.Regenerate(v.Session)
		v.saved(t)
		v.arrive()
		p.wantDeadline(v.ID, time.Hour)
		p.clock.Advance(59 * time.Minute)
		b.wantValues(t, store, map[any]any{"n": 1})
	})
}

func TestR16AMaxLifetimeIntroducedLaterHoldsForOldSessions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"n": 1})
		limited := p.store(&mongostore.Config{MaxLifetime: time.Hour})
		p.clock.Advance(time.Hour - time.Millisecond)
		b.wantValues(t, limited, map[any]any{"n": 1})
		p.wantCount(1)
		p.clock.Advance(time.Millisecond)
		b.wantGone(t, limited)
		p.wantCount(0)
	})
}

func TestR16ASaveAfterAMaxLifetimeIntroducedLaterProlongsNothing(t *testing.T) {
	t.Parallel()
	for what, regenerate := range map[string]bool{"changed": false, "regenerated": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				b := start(t, p.store(nil), map[any]any{"n": 1})
				limited := p.store(&mongostore.Config{MaxLifetime: time.Hour})
				p.clock.Advance(time.Hour - time.Millisecond)
				changed, unchanged := b.load(t, limited), b.load(t, limited)
				before := p.mustDocument(changed.ID)
				p.clock.Advance(time.Millisecond)
				if changed.Values["n"] = 2; regenerate {
					limited.Regenerate(changed.Session)
				}
				wantErr(t, changed.save(), mongostore.ErrNotFound)
				changed.wantNoCookie(t)
				unchanged.saved(t)
				unchanged.wantNoCookie(t)
				p.wantDocument(changed.ID, before)
			})
		})
	}
}

func TestR12ASessionIsValidUntilItsDeadlineAndNotAtIt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour})
		b := start(t, store, map[any]any{"n": 1})
		p.clock.Advance(time.Hour - time.Millisecond)
		b.wantValues(t, store, map[any]any{"n": 1})
		p.wantCount(1)
		p.clock.Advance(time.Millisecond)
		b.wantGone(t, store)
		p.wantCount(0)
	})
}

func TestR12ALoadNeverDeletes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour, AutoRemove: mongostore.AutoRemoveDisabled})
		b := start(t, store, map[any]any{"n": 1})
		id := b.load(t, store).ID
		before := p.mustDocument(id)
		p.clock.Advance(48 * time.Hour)
		b.wantGone(t, store)
		p.wantDocument(id, before)
	})
}

func TestTouchAfterSparesWritesButNeverHalfALifetime(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		touchAfter, ttl time.Duration
		maxAge          int
		after           time.Duration // since the last write
		writes          bool
	}{
		"by default not within a second":  {0, time.Hour, 3600, 999 * time.Millisecond, false},
		"by default after a second":       {0, time.Hour, 3600, time.Second, true},
		"less than a second is a second":  {1, time.Hour, 3600, 999 * time.Millisecond, false},
		"not before TouchAfter":           {time.Minute, time.Hour, 3600, time.Minute - time.Millisecond, false},
		"at TouchAfter":                   {time.Minute, time.Hour, 3600, time.Minute, true},
		"not before half the lifetime":    {time.Hour, time.Hour, 60, 30*time.Second - time.Millisecond, false},
		"at half the lifetime":            {time.Hour, time.Hour, 60, 30 * time.Second, true},
		"half a TTL for browser sessions": {48 * time.Hour, time.Hour, 0, 30 * time.Minute, true},
		"of a second":                     {0, time.Hour, 1, 500 * time.Millisecond, true},
		"nothing moved":                   {0, time.Hour, 3600, 0, false},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				store := p.store(&mongostore.Config{TTL: test.ttl, TouchAfter: test.touchAfter, AutoRemove: mongostore.AutoRemoveDisabled})
				store.MaxAge(test.maxAge)
				b := start(t, store, map[any]any{"n": 1})
				id := b.load(t, store).ID
				before := p.expires(id)
				p.clock.Advance(test.after)
				b.load(t, store).saved(t)
				if got := p.expires(id).Sub(before); got > 0 != test.writes || test.writes && got != test.after {
					t.Errorf("the deadline moved by %v", got)
				}
			})
		})
	}
}

func TestAShorterTTLReachesSessionsThatAreOnlyRead(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"n": 1})
		store := p.store(&mongostore.Config{TTL: time.Hour})
		v := b.load(t, store)
		v.saved(t)
		p.wantDeadline(v.ID, time.Hour)
	})
}
