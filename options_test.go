package mongostore_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// What a session's own Options are to its cookie, to its record, and to other requests.

func TestR04AMergeNeverWritesThroughOptionsThatSessionsShare(t *testing.T) { // P4
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		defaults := *store.Options
		b := start(t, store, map[any]any{"n": "0"})
		changed, unchanged, renewed, remember := b.load(t, store), b.load(t, store), b.load(t, store), b.load(t, store)
		remember.Options.MaxAge, remember.Options.SameSite = 90*86400, http.SameSiteStrictMode
		remember.saved(t)
		p.clock.Advance(time.Hour)
		changed.Values["n"] = "1"
		store.Regenerate(renewed.Session)
		for _, v := range []*visit{changed, unchanged, renewed} {
			v.Options = store.Options // one pointer for all, as some applications have it
			v.saved(t)
			if *store.Options != defaults {
				t.Fatalf("the options of everybody became %+v", *store.Options)
			}
		}
		if got := optionsOf(changed.wantCookie(t)).MaxAge; got != 90*86400 {
			t.Errorf("the cookie has MaxAge %d, want that of remember me", got)
		}
		other := new(browser).load(t, store)
		other.saved(t)
		if got := optionsOf(other.wantCookie(t)); got != defaults {
			t.Errorf("another visitor's cookie has %+v, want %+v", got, defaults)
		}
	})
}

func TestR04ALoadNeverWritesThroughTheStoresOptions(t *testing.T) { // P4
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		defaults := *store.Options
		v := new(browser).load(t, store)
		v.Options = &sessions.Options{Path: "/mine", MaxAge: 60, SameSite: http.SameSiteNoneMode}
		given := *v.Options
		v.saved(t)
		v.arrive()
		v.browser.load(t, store).Options.MaxAge = 7
		if *v.Options != given || *store.Options != defaults {
			t.Errorf("the options became %+v and %+v", *v.Options, *store.Options)
		}
	})
}

// tenant are attributes of which each differs from the store's.
var tenant = sessions.Options{
	Path: "/tenant1", Domain: "example.com", MaxAge: 1209600, Partitioned: true, SameSite: http.SameSiteStrictMode,
}

// single are options that differ from the store's in one attribute.
func single(defaults sessions.Options) map[string]sessions.Options {
	all := map[string]sessions.Options{"all": tenant}
	for what, change := range map[string]func(*sessions.Options){
		"Path": func(o *sessions.Options) { o.Path = "/tenant1" }, "empty Path": func(o *sessions.Options) { o.Path = "" },
		"Domain": func(o *sessions.Options) { o.Domain = "example.com" },
		"Secure": func(o *sessions.Options) { o.Secure = false }, "HttpOnly": func(o *sessions.Options) { o.HttpOnly = false },
		"Partitioned": func(o *sessions.Options) { o.Partitioned = true },
		"Strict":      func(o *sessions.Options) { o.SameSite = http.SameSiteStrictMode },
		"None":        func(o *sessions.Options) { o.SameSite = http.SameSiteNoneMode },
		"no SameSite": func(o *sessions.Options) { o.SameSite = 0 },
	} {
		options := defaults
		change(&options)
		all[what] = options
	}
	return all
}

func TestR05AttributesThatWereSetAreKeptAndSentAgain(t *testing.T) { // P16
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		h := store.KeepAlive(name)(http.NotFoundHandler())
		for what, want := range single(*store.Options) {
			login := new(browser).load(t, store)
			login.Values["n"] = "0"
			options := want
			login.Options = &options
			login.saved(t)
			login.arrive()
			b := login.browser
			check := func(when string, got sessions.Options) {
				if got != want {
					t.Errorf("%s, %s: %+v, want %+v", what, when, got, want)
				}
			}
			check("at the next load", *b.load(t, store).Options)
			check("in another process", *b.load(t, p.store(cfg)).Options)
			p.clock.Advance(time.Hour)
			check("by KeepAlive", optionsOf(b.serve(t, h).wantCookie(t)))
			changed := b.load(t, store)
			changed.Values["n"] = "1"
			changed.saved(t)
			check("by a change", optionsOf(changed.wantCookie(t)))
			store.Regenerate(changed.Session)
			changed.saved(t)
			check("by Regenerate", optionsOf(changed.wantCookie(t)))
			changed.arrive()
			check("after Regenerate", *b.load(t, store).Options)
			logout := b.load(t, store)
			logout.Options.MaxAge = -1
			logout.saved(t)
			if c := logout.wantCookie(t); c.Domain != want.Domain || want.Path != "" && c.Path != want.Path {
				t.Errorf("%s: the logout is for %q of %q, want %q of %q", what, c.Path, c.Domain, want.Path, want.Domain)
			}
		}
	})
}

func TestR05AnAttributeAloneIsAChange(t *testing.T) { // P12, P16
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.TouchAfter = day // no write is due
		store := p.store(cfg)
		for what, want := range single(*store.Options) {
			b := start(t, store, map[any]any{"n": "0"})
			v := b.load(t, store)
			*v.Options = want
			v.saved(t)
			if got := optionsOf(v.wantCookie(t)); got != want {
				t.Errorf("%s: the cookie has %+v, want %+v", what, got, want)
			}
			v.arrive()
			again := b.load(t, store)
			if *again.Options != want {
				t.Errorf("%s: a load gives %+v, want %+v", what, *again.Options, want)
			}
			again.saved(t)
			again.wantNoCookie(t) // it has nothing to change any more
		}
	})
}

func TestR05AnAttributeThatIsTheStoresAgainFollowsIt(t *testing.T) { // P16
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		defaults := *store.Options
		for what, options := range single(defaults) {
			b := start(t, store, map[any]any{"n": "0"})
			v := b.load(t, store)
			*v.Options = options
			v.saved(t)
			back := b.load(t, store)
			*back.Options = defaults
			back.saved(t)
			if got := optionsOf(back.wantCookie(t)); got != defaults {
				t.Errorf("%s: the cookie has %+v, want the store's %+v", what, got, defaults)
			}
			if kept, ok := p.mustDocument(stored(t, store, back))["cookie"]; ok {
				t.Errorf("%s: the record keeps %v", what, kept)
			}
			other := p.store(cfg)
			other.Options.SameSite, other.Options.Path = http.SameSiteStrictMode, "/app"
			if got := *b.load(t, other).Options; got != *other.Options {
				t.Errorf("%s: with other defaults it has %+v, want %+v", what, got, *other.Options)
			}
		}
	})
}

func TestR05WhatDiffersFromTheStoreIsKeptAndTheRestFollowsIt(t *testing.T) { // P16
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		v.Options.Path = "/tenant1"
		v.saved(t)
		v.arrive()
		if got := p.mustDocument(v.ID)["cookie"]; !equalBSON(got, bson.M{"path": "/tenant1"}) {
			t.Errorf("the record keeps %v", got)
		}
		other := p.store(nil)
		other.Options.SameSite = http.SameSiteStrictMode
		want := *other.Options
		want.Path = "/tenant1"
		if got := *v.browser.load(t, other).Options; got != want {
			t.Errorf("with other defaults it has %+v, want %+v", got, want)
		}
	})
}

// equalBSON reports whether two decoded documents are the same.
func equalBSON(a, b any) bool {
	_, x, err := bson.MarshalValue(a)
	_, y, err2 := bson.MarshalValue(b)
	return err == nil && err2 == nil && slices.Equal(x, y)
}

func TestR09AttributesOfOneRequestAndValuesOfAnotherAreMerged(t *testing.T) { // P16
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store, second := p.store(cfg), p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		values, unchanged, login := b.load(t, second), b.load(t, store), b.load(t, store)
		late := b.load(t, store)
		*login.Options = tenant
		login.Options.MaxAge = 90 * 86400
		want := *login.Options
		login.saved(t)
		values.Values["n"] = "1"
		for what, v := range map[string]*visit{"changed": values, "unchanged": unchanged} {
			p.clock.Advance(time.Hour)
			v.saved(t)
			if got := optionsOf(v.wantCookie(t)); got != want {
				t.Errorf("%s: the cookie has %+v, want %+v", what, got, want)
			}
			if *v.Options != want {
				t.Errorf("%s: the session has %+v, want %+v", what, *v.Options, want)
			}
		}
		late.Values["m"] = "2" // and the other way round: values first
		late.Options.SameSite = http.SameSiteNoneMode
		late.saved(t)
		got := b.load(t, store)
		if !maps.Equal(got.Values, map[any]any{"n": "1", "m": "2"}) || got.Options.SameSite != http.SameSiteNoneMode || got.Options.MaxAge != 90*86400 {
			t.Errorf("the session has %v and %+v", got.Values, *got.Options)
		}
	})
}

func TestR09OnConflictFailReportsOptionsThatBothChanged(t *testing.T) { // P3
	t.Parallel()
	for what, change := range map[string]func(o *sessions.Options, second bool){
		"MaxAge":        func(o *sessions.Options, second bool) { o.MaxAge = map[bool]int{false: 60, true: 90}[second] },
		"MaxAge, alike": func(o *sessions.Options, _ bool) { o.MaxAge = 60 },
		"SameSite": func(o *sessions.Options, second bool) {
			o.SameSite = map[bool]http.SameSite{false: http.SameSiteStrictMode, true: http.SameSiteNoneMode}[second]
		},
		"SameSite, alike": func(o *sessions.Options, _ bool) { o.SameSite = http.SameSiteStrictMode },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				store := p.store(&mongostore.Config{OnConflict: mongostore.OnConflictFail})
				b := start(t, store, map[any]any{"n": 0})
				first, second, other := b.load(t, store), b.load(t, store), b.load(t, store)
				change(first.Options, false)
				first.saved(t)
				change(second.Options, true)
				wantErr(t, second.save(), mongostore.ErrConflict)
				second.wantNoCookie(t)
				other.Values["n"] = 1 // only one changed the options
				other.saved(t)
				if got := *b.load(t, store).Options; got != *first.Options {
					t.Errorf("a load gives %+v, want the first request's %+v", got, *first.Options)
				}
			})
		})
	}
}

func TestR09OnConflictFailTakesMaxAgeAndAttributesOfTwoRequests(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{OnConflict: mongostore.OnConflictFail})
		b := start(t, store, map[any]any{"n": 0})
		remember, path := b.load(t, store), b.load(t, store)
		remember.Options.MaxAge = 90 * 86400
		remember.saved(t)
		path.Options.Path = "/tenant1"
		path.saved(t)
		if got := *b.load(t, store).Options; got.MaxAge != 90*86400 || got.Path != "/tenant1" {
			t.Errorf("a load gives %+v", got)
		}
	})
}

// eachKindAndExpress is eachKind, and connect-mongo's format, which keeps the options of the cookie in the payload.
func eachKindAndExpress(t *testing.T, test func(t *testing.T, p *place, cfg *mongostore.Config)) {
	t.Helper()
	eachKind(t, test)
	t.Run("Express", func(t *testing.T) {
		t.Parallel()
		onEach(t, func(t *testing.T, p *place) {
			cfg := connectMongoLike()
			cfg.PayloadCodec = connectmongo.Codec{}
			test(t, p, cfg)
		})
	})
}

func TestR09OneAttributeAndAValueOfTwoRequestsMerge(t *testing.T) {
	t.Parallel()
	eachKindAndExpress(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.OnConflict = mongostore.OnConflictFail
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		strict, value, path, unchanged := b.load(t, store), b.load(t, store), b.load(t, store), b.load(t, store)
		strict.Options.SameSite = http.SameSiteStrictMode
		strict.saved(t)
		value.Values["n"] = "1"
		value.saved(t)
		path.Options.SameSite = http.SameSiteNoneMode
		wantErr(t, path.save(), mongostore.ErrConflict)
		p.clock.Advance(time.Hour)
		unchanged.saved(t)
		unchanged.Values["m"] = "2"
		unchanged.saved(t)
		got := b.load(t, store)
		if !maps.Equal(got.Values, map[any]any{"n": "1", "m": "2"}) || got.Options.SameSite != http.SameSiteStrictMode {
			t.Errorf("the session has %v and %+v", got.Values, *got.Options)
		}
	})
}

// Express lengthens a session while a request of Go is under way, which changes a value or nothing.
func TestR09AMaxAgeThatExpressSetsStays(t *testing.T) {
	t.Parallel()
	for _, changes := range []bool{false, true} {
		p := onMongoDB(t, mongotest.Shared(t))
		cfg := connectMongoLike()
		cfg.PayloadCodec = connectmongo.Codec{}
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		v := b.load(t, store)
		p.clock.Advance(time.Hour)
		express(t, p.coll, v.ID, `{"cookie":{"originalMaxAge":7776000000,"expires":"2030-03-01T00:00:00.000Z","secure":true,`+
			`"httpOnly":true,"path":"/","sameSite":"strict"},"n":"0"}`, p.clock.Now().Add(90*day))
		if changes {
			v.Values["n"] = "1"
		}
		v.saved(t)
		got := b.load(t, store)
		if got.Options.MaxAge != 90*86400 || got.Options.SameSite != http.SameSiteStrictMode || p.expires(v.ID).Before(p.clock.Now().Add(89*day)) {
			t.Errorf("changed %v: the session has %+v and ends at %v", changes, *got.Options, p.expires(v.ID))
		}
	}
}

func TestR13ALostWriteOfAttributesThatOthersSetBackIsNotSent(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	b := start(t, l.store, map[any]any{"n": 0})
	v := b.load(t, l.store)
	v.Options.SameSite = http.SameSiteStrictMode
	l.proxy.DropReplies("update", 2)
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	other := b.load(t, l.sure)
	other.Options.SameSite = http.SameSiteLaxMode
	other.saved(t)
	v.saved(t)
	if c, got := v.wantCookie(t), b.load(t, l.sure).Options; c.SameSite != got.SameSite || v.Options.SameSite != got.SameSite {
		t.Errorf("the cookie has SameSite %v, the session %v, the record %v", c.SameSite, v.Options.SameSite, got.SameSite)
	}
}

func TestR09AttributesThatTwoRequestsSetMergeOneByOne(t *testing.T) {
	t.Parallel()
	for _, mode := range []mongostore.OnConflict{mongostore.OnConflictMerge, mongostore.OnConflictOverwrite, mongostore.OnConflictFail} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			eachKindAndExpress(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
				cfg.OnConflict = mode
				store := p.store(cfg)
				b := start(t, store, map[any]any{"n": "0"})
				path, strict, shared := b.load(t, store), b.load(t, store), b.load(t, store)
				want := *path.Options
				path.Options.Path = "/tenant1"
				strict.Options.SameSite = http.SameSiteStrictMode
				shared.Options.Domain, shared.Options.Partitioned = "example.com", true
				want.Path, want.SameSite, want.Domain, want.Partitioned = "/tenant1", http.SameSiteStrictMode, "example.com", true
				path.saved(t)
				strict.saved(t)
				shared.saved(t)
				if got := optionsOf(shared.wantCookie(t)); got != want {
					t.Errorf("the last cookie has %+v, want %+v", got, want)
				}
				if *shared.Options != want {
					t.Errorf("the last session has %+v, want %+v", *shared.Options, want)
				}
				if got := *b.load(t, store).Options; got != want {
					t.Errorf("a load gives %+v, want %+v", got, want)
				}
			})
		})
	}
}

func TestR13AttributesOfALostWriteAreNoConflict(t *testing.T) { // P3, P16
	t.Parallel()
	l := onLossy(t)
	store := l.place.store(&mongostore.Config{OnConflict: mongostore.OnConflictFail})
	b := start(t, store, map[any]any{"n": 0})
	v := b.load(t, store)
	v.Values["n"], v.Options.MaxAge, v.Options.SameSite = 1, 60, http.SameSiteStrictMode
	l.proxy.DropReplies("update", 2)
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.saved(t)
	if got := optionsOf(v.wantCookie(t)); got != *v.Options {
		t.Errorf("the cookie has %+v, want %+v", got, *v.Options)
	}
	if got := b.load(t, l.sure); got.Values["n"] != 1 || *got.Options != *v.Options {
		t.Errorf("a load gives %v and %+v", got.Values, *got.Options)
	}
}

func TestR10AnAttributeAloneBringsNoEndedSessionBack(t *testing.T) { // P16
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		v := b.load(t, store)
		wantErr(t, store.Destroy(t.Context(), v.ID), nil)
		v.Options.SameSite = http.SameSiteStrictMode
		wantErr(t, v.save(), mongostore.ErrNotFound)
		v.wantNoCookie(t)
		p.wantCount(0)
	})
}

func TestR05AdministrationKeepsTheAttributes(t *testing.T) { // P16
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		v := b.load(t, store)
		*v.Options = tenant
		v.saved(t)
		id := stored(t, store, v)
		p.clock.Advance(time.Hour)
		wantErr(t, store.Touch(t.Context(), id), nil)
		wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error { values["n"] = "1"; return nil }), nil)
		again := b.load(t, store)
		if *again.Options != tenant || again.Values["n"] != "1" {
			t.Errorf("a load gives %v and %+v", again.Values, *again.Options)
		}
	})
}

func TestR05AttributesInTheFormOfExpressStayInThePayload(t *testing.T) { // P16
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		cfg := connectMongoLike()
		cfg.PayloadCodec = connectmongo.Codec{}
		store := p.store(cfg)
		v := new(browser).load(t, store)
		v.Values["n"] = "0"
		v.Options.Path, v.Options.SameSite, v.Options.Secure = "/tenant1", http.SameSiteStrictMode, false
		v.saved(t)
		v.arrive()
		if kept, ok := p.mustDocument(v.ID)["cookie"]; ok {
			t.Errorf("the record keeps %v beside the payload", kept)
		}
		if got := *v.browser.load(t, store).Options; got.Path != "/tenant1" || got.SameSite != http.SameSiteStrictMode || got.Secure {
			t.Errorf("a load gives %+v", got)
		}
	})
}

// shortened is a codec that lets another request be first while an administrator's Touch asks for the MaxAge.
type shortened struct {
	mongostore.GobCodec
	meddle *func()
}

func (c shortened) EncodeRecord(session *sessions.Session, _ bson.RawValue, _ time.Time) (bson.RawValue, error) {
	return c.Encode(session)
}

func (shortened) Check() error { return nil }

func (c shortened) Decode(value bson.RawValue, session *sessions.Session) error {
	if do := *c.meddle; do != nil {
		*c.meddle = nil
		do()
	}
	return c.GobCodec.Decode(value, session)
}

func TestR05ATouchBesideASaveThatShortensTheLifeLeavesItShort(t *testing.T) { // P7
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		var meddle func()
		plain := p.store(nil)
		store := p.store(&mongostore.Config{PayloadCodec: shortened{meddle: &meddle}})
		for what, end := range map[string]func(context.Context, string) error{
			"Touch": store.Touch,
			"Update": func(ctx context.Context, id string) error {
				return store.Update(ctx, id, func(values map[any]any) error { values["m"] = 1; return nil })
			},
		} {
			b := start(t, plain, map[any]any{"n": 0})
			short := b.load(t, plain)
			p.clock.Advance(time.Hour)
			meddle = func() {
				short.Options.MaxAge = 600
				short.saved(t)
			}
			wantErr(t, end(t.Context(), short.ID), nil)
			if got := p.expires(short.ID).Sub(p.clock.Now()); meddle != nil || got != 10*time.Minute {
				t.Errorf("%s: the record lives %v, want the 10 minutes that were acknowledged", what, got)
			}
		}
	})
}

// A Save that only moves the deadline leaves the version, so an Update that began before it is no conflict.
func TestR05AnUpdateBesideASaveThatMovesTheDeadlineBackLeavesIt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		var meddle func()
		long, short := p.store(&mongostore.Config{TTL: 20 * time.Hour}), p.store(&mongostore.Config{TTL: time.Hour})
		store := p.store(&mongostore.Config{PayloadCodec: shortened{meddle: &meddle}})
		b := start(t, long, map[any]any{"n": 0})
		v := b.load(t, short)
		meddle = func() { v.saved(t) }
		wantErr(t, store.Update(t.Context(), v.ID, func(values map[any]any) error { values["n"] = 1; return nil }), nil)
		if got := p.expires(v.ID).Sub(p.clock.Now()); meddle != nil || got != time.Hour {
			t.Errorf("the record lives %v, want the hour that was acknowledged", got)
		}
		b.wantValues(t, short, map[any]any{"n": 1})
	})
}
