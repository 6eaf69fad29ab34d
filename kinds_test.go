package mongostore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
)

// kinds are configurations that store a session in other ways. What the rules promise holds for each.
var kinds = map[string]func() *mongostore.Config{
	"sealed": func() *mongostore.Config { return sealing() },
	"bson": func() *mongostore.Config {
		return &mongostore.Config{UserID: userID, PayloadCodec: mongostore.BSONCodec{}}
	},
	"json": func() *mongostore.Config {
		return &mongostore.Config{UserID: userID, PayloadCodec: mongostore.JSONCodec{}}
	},
	"plain": connectMongoLike,
	"hashed, bson, sealed": func() *mongostore.Config {
		cfg := hashed()
		cfg.PayloadCodec, cfg.Sealer = mongostore.BSONCodec{}, mongostore.AESGCM(oldSeal)
		return cfg
	},
}

// eachKind runs a test with every kind of configuration. Its values should be strings, bool, float64 and []any,
// which each codec gives back.
func eachKind(t *testing.T, test func(t *testing.T, p *place, cfg *mongostore.Config)) {
	t.Helper()
	for what, cfg := range kinds {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) { test(t, p, cfg()) })
		})
	}
}

func TestR09RequestsAtTheSameTimeLoseNothingInEveryKind(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store, second := p.store(cfg), p.store(cfg)
		b := start(t, store, map[any]any{"n": "0", "gone": "x", "_flash": []any{"old"}})
		adds, shows, changes := b.load(t, store), b.load(t, second), b.load(t, store)
		adds.AddFlash("new")
		delete(adds.Values, "gone")
		adds.saved(t)
		shows.Flashes()
		shows.Values["shown"] = true
		shows.saved(t)
		changes.Values["n"] = "1"
		changes.saved(t)
		want := map[any]any{"n": "1", "shown": true, "_flash": []any{"new"}}
		b.wantValues(t, store, want)

		before := p.mustDocument(stored(t, store, changes))
		changes.saved(t)
		if after := p.mustDocument(stored(t, store, changes)); after["version"] != before["version"] {
			t.Error("a second Save after a merge wrote the payload again")
		}
		b.wantValues(t, second, want)
	})
}

func TestR09AConflictIsAnsweredAsConfiguredInEveryKind(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		for on, want := range map[mongostore.OnConflict]map[any]any{
			mongostore.OnConflictMerge:     {"n": "mine", "theirs": "x", "mine": "y"},
			mongostore.OnConflictOverwrite: {"n": "mine", "mine": "y"},
			mongostore.OnConflictFail:      {"n": "theirs", "theirs": "x"},
		} {
			cfg.OnConflict = on
			store := p.store(cfg)
			b := start(t, store, map[any]any{"n": "0"})
			mine, theirs := b.load(t, store), b.load(t, store)
			theirs.Values["n"], theirs.Values["theirs"] = "theirs", "x"
			theirs.saved(t)
			mine.Values["n"], mine.Values["mine"] = "mine", "y"
			var conflict error
			if on == mongostore.OnConflictFail {
				conflict = mongostore.ErrConflict
			}
			wantErr(t, mine.save(), conflict)
			b.wantValues(t, store, want)
		}
	})
}

func TestR10WhatHasEndedIsNotBroughtBackInAnyKind(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(t *testing.T, p *place, store *mongostore.Store, b *browser){
		"logged out": func(t *testing.T, _ *place, store *mongostore.Store, b *browser) {
			t.Helper()
			v := b.load(t, store)
			v.Options.MaxAge = -1
			v.saved(t)
		},
		"destroyed": func(t *testing.T, _ *place, store *mongostore.Store, b *browser) {
			t.Helper()
			wantErr(t, store.Destroy(t.Context(), stored(t, store, b.load(t, store))), nil)
		},
		"revoked": func(t *testing.T, _ *place, store *mongostore.Store, _ *browser) {
			t.Helper()
			n, err := store.DestroyByUser(t.Context(), "ada")
			if n != 1 || err != nil {
				t.Errorf("DestroyByUser: %d, %v", n, err)
			}
		},
		"expired": func(_ *testing.T, p *place, _ *mongostore.Store, _ *browser) { p.clock.Advance(14 * 24 * time.Hour) },
		"renewed": func(t *testing.T, _ *place, store *mongostore.Store, b *browser) {
			t.Helper()
			v := b.load(t, store)
			store.Regenerate(v.Session)
			v.saved(t)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
				store := p.store(cfg)
				b := start(t, store, map[any]any{"user": "ada"})
				changed, unchanged, renewed := b.load(t, store), b.load(t, store), b.load(t, store)
				id := stored(t, store, changed)
				end(t, p, store, b)
				left := p.count()
				p.clock.Advance(time.Hour)
				changed.Values["n"] = "1"
				wantErr(t, changed.save(), mongostore.ErrNotFound)
				store.Regenerate(renewed.Session)
				wantErr(t, renewed.save(), mongostore.ErrNotFound)
				unchanged.saved(t)
				for _, v := range []*visit{changed, unchanged, renewed} {
					v.wantNoCookie(t)
				}
				if what != "renewed" {
					wantErr(t, store.Touch(t.Context(), id), mongostore.ErrNotFound)
				}
				b.wantGone(t, store)
				p.wantCount(left)
			})
		})
	}
}

func TestR13LostAnswersAreRecognisedInEveryKind(t *testing.T) {
	t.Parallel()
	for what, cfg := range kinds {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p, proxy := behindProxy(t)
			store := p.store(cfg())
			b := new(browser)
			v := b.load(t, store)
			v.Values["n"] = "0"
			proxy.LoseInsert()
			wantErr(t, v.save(), mongostore.ErrUnavailable)
			v.saved(t)
			v.arrive()
			p.wantCount(1)
			want := map[any]any{"n": "0", "_flash": []any{}}
			for lost := 1; lost <= 2; lost++ {
				v := b.load(t, store)
				v.Values["n"] = fmt.Sprint(lost)
				v.AddFlash("once")
				proxy.DropReplies("update", lost)
				err := v.save()
				if lost == 2 {
					wantErr(t, err, mongostore.ErrUnavailable)
					err = v.save()
				}
				wantErr(t, err, nil)
				v.wantCookie(t)
				want["n"], want["_flash"] = fmt.Sprint(lost), append(want["_flash"].([]any), "once")
				b.wantValues(t, store, want)
			}
		})
	}
}

func TestR15ManyRequestsAtOnceLoseNothingInAnyKind(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.Timeout = time.Minute // they wait for each other
		stores := []*mongostore.Store{p.store(cfg), p.store(cfg)}
		b := start(t, stores[0], map[any]any{"n": "0"})
		want := map[any]any{"n": "0"}
		var wg sync.WaitGroup
		for i := range 12 {
			key := fmt.Sprint("k", i)
			want[key] = "x"
			v := b.load(t, stores[i%2])
			wg.Go(func() {
				v.Values[key] = "x"
				if err := v.save(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.wantValues(t, stores[0], want)
	})
}
