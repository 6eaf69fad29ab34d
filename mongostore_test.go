package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// wantCookie returns the one cookie that the answer sets.
func (v *visit) wantCookie(t *testing.T) *http.Cookie {
	t.Helper()
	c := v.cookie(t)
	if c == nil {
		t.Fatal("the answer sets no cookie")
	}
	return c
}

// wantNew fails unless the session is a new one without an error.
func (v *visit) wantNew(t *testing.T) {
	t.Helper()
	if v.err != nil || !v.IsNew || v.ID != "" || len(v.Values) > 0 {
		t.Errorf("Get: session %q, new %v, values %v, error %v; want a new one", v.ID, v.IsNew, v.Values, v.err)
	}
}

// reload loads the session of the same request once more, into another object.
func (v *visit) reload(store *mongostore.Store) *visit {
	again := &visit{browser: v.browser, r: v.r, w: v.w}
	again.Session, again.err = store.New(v.r, name)
	return again
}

// sending returns a browser that sends these cookies of the tests' name.
func sending(values ...string) *browser {
	b := new(browser)
	for _, value := range values {
		b.cookies = append(b.cookies, &http.Cookie{Name: name, Value: value})
	}
	return b
}

// wantDocument fails unless the record of a session is as it was.
func (p *place) wantDocument(id string, want bson.M) {
	p.t.Helper()
	got, ok := p.document(id)
	if !ok || !values.Equal(got, want) {
		p.t.Errorf("the record is %v, want it as it was: %v", got, want)
	}
}

// mustDocument returns the record of a session, which must exist.
func (p *place) mustDocument(id string) bson.M {
	p.t.Helper()
	doc, ok := p.document(id)
	if !ok {
		p.t.Fatalf("no record %q", id)
	}
	return doc
}

// wantCount fails unless so many sessions are live.
func (p *place) wantCount(want int64) {
	p.t.Helper()
	if n := p.count(); n != want {
		p.t.Errorf("%d sessions are stored, want %d", n, want)
	}
}

func TestR01AnInvalidCookieNameGivesASessionTheRegistrysErrorAndNoSave(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for _, bad := range []string{"", "a b", "a;b", "a=b", "ä", "a\x00"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			_, want := sessions.GetRegistry(r).Get(store, bad)
			for from, load := range map[string]func(*http.Request, string) (*sessions.Session, error){"Get": store.Get, "New": store.New} {
				session, err := load(r, bad)
				if session == nil || err == nil {
					t.Fatalf("%s(%q): session %v, error %v; want both", from, bad, session, err)
				}
				if from == "Get" && err.Error() != want.Error() {
					t.Errorf("Get(%q): %v, want the registry's %v", bad, err, want)
				}
				w := httptest.NewRecorder()
				if err := session.Save(r, w); err == nil || len(w.Header()) > 0 {
					t.Errorf("Save of %q: error %v, header %v; want an error and no cookie", bad, err, w.Header())
				}
			}
		}
		p.wantCount(0)
	})
}

func TestR01NoFieldOfARecordMakesALoadPanic(t *testing.T) {
	t.Parallel()
	server := mongotest.Standalone(t) // FerretDB has not all of these types
	p := onMongoDB(t, server)
	// Without a TTL index: some of these deadlines are long past, and the server would delete the record.
	store := p.store(&mongostore.Config{MaxLifetime: time.Hour, AutoRemove: mongostore.AutoRemoveDisabled})
	values := []any{
		nil, true, int32(-1), int64(math.MinInt64), math.NaN(), math.Inf(1), "", "text",
		bson.M{},
		bson.A{},
		bson.A{time.Now().Add(time.Hour)},
		bson.DateTime(math.MaxInt64), bson.DateTime(math.MinInt64),
		bson.Binary{},
		bson.Binary{Data: make([]byte, 31)},
		bson.Binary{Subtype: 2, Data: []byte("x")},
		bson.NewObjectID(),
		bson.Regex{Pattern: "a"},
		bson.Undefined{},
		bson.MinKey{},
		bson.MaxKey{},
		bson.Symbol("s"), bson.JavaScript("x"),
		bson.Timestamp{T: 1},
		bson.NewDecimal128(1, 2),
		bson.DBPointer{DB: "d"},
	}
	if !server.OlderThan(t, 5, 0) { // which stores no such key
		values = append(values, bson.M{"$gt": 1})
	}
	for _, field := range []string{"token", "name", "session", "expires", "createdAt", "updatedAt", "version", "user", "maxAge", "other"} {
		b := start(t, store, map[any]any{"n": 1})
		id := b.load(t, store).ID
		for _, value := range values {
			replaceField(t, p.coll, id, field, value)
			v := b.load(t, store)
			if v.Session == nil || v.err != nil && !errors.Is(v.err, mongostore.ErrDecode) {
				t.Errorf("%s is %#v: session %v, error %v", field, value, v.Session, v.err)
				continue
			}
			if err := v.save(); err != nil {
				t.Errorf("%s is %#v: Save: %v", field, value, err)
			}
		}
	}
}

// replaceField edits a record as somebody might in a shell.
func replaceField(t *testing.T, coll *mongo.Collection, id, field string, value any) {
	t.Helper()
	update := bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}}
	res, err := coll.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, update)
	if err != nil || res.MatchedCount != 1 {
		t.Fatalf("the record was not edited: %v, %v", res, err)
	}
}

func TestR02NoCookieGivesANewSessionWithoutAnError(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		v := new(browser).load(t, p.store(nil))
		v.wantNew(t)
		if v.Options == nil || v.Values == nil || v.Name() != name {
			t.Errorf("options %v, values %v, name %q", v.Options, v.Values, v.Name())
		}
	})
}

func TestR02UnknownHandleGivesANewSessionWithoutAnError(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		if err := store.Destroy(t.Context(), b.load(t, store).ID); err != nil {
			t.Fatal(err)
		}
		b.load(t, store).wantNew(t)
	})
}

func TestR02AnExpiredRecordGivesANewSessionWithoutAnError(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour})
		b := start(t, store, map[any]any{"n": 1})
		p.clock.Advance(time.Hour)
		b.load(t, store).wantNew(t)
	})
}

func TestR02AHandleWithAWrongSecretGivesANewSessionAndChangesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		id := start(t, store, map[any]any{"n": 1}).load(t, store).ID
		before := p.mustDocument(id)
		p.clock.Advance(time.Hour)
		for _, cookie := range []string{id + ".AAAAAAAAAAAAAAAAAAAAAAAAAA", id + ".", id, "." + id, id + ".."} {
			v := sending(signed(t, store, cookie)).load(t, store)
			v.wantNew(t)
			v.Values["user"] = "mallory"
			v.saved(t)
			if v.ID == id || v.ID == "" {
				t.Errorf("the session of cookie %q is stored as %q", cookie, v.ID)
			}
			end := sending(signed(t, store, cookie)).load(t, store)
			end.Options.MaxAge = -1
			end.saved(t)
			p.wantDocument(id, before)
		}
	})
}

func TestR02AnIDFromOutsideIsNeverAdopted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := sending(signed(t, store, "chosen.secret")).load(t, store)
		v.wantNew(t)
		v.Values["n"] = 1
		v.saved(t)
		if _, found := p.document("chosen"); found || v.ID == "chosen" {
			t.Errorf("the session has the ID %q of the cookie", v.ID)
		}
		if _, secret := credentials(t, store, v.wantCookie(t)); secret == "secret" {
			t.Error("the session has the secret of the cookie")
		}
	})
}

func TestR02ALateRequestLeavesTheCookieOfALoginAlone(t *testing.T) { // P1, L3
	t.Parallel()
	for kind, cfg := range map[string]*mongostore.Config{"split": nil, "plain": {PlainIDs: true}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) { lateRequests(t, p, p.store(cfg)) })
		})
	}
}

// lateRequests sends requests with the cookie from before a login, within ten seconds of it and after.
func lateRequests(t *testing.T, p *place, store *mongostore.Store) {
	t.Helper()
	b := start(t, store, map[any]any{"n": 1})
	late := &browser{cookies: slices.Clone(b.cookies)}
	p.clock.Advance(time.Hour)
	login := b.load(t, store)
	store.Regenerate(login.Session)
	login.saved(t)

	p.clock.Advance(10*time.Second - time.Millisecond)
	empty := late.load(t, store)
	empty.wantNew(t)
	empty.saved(t)
	empty.wantNoCookie(t)
	full := late.load(t, store)
	full.Values["cart"] = "book"
	wantErr(t, full.save(), mongostore.ErrNotFound)
	full.wantNoCookie(t)
	p.wantCount(1)

	navigation := &visit{browser: late, r: late.request(t), w: httptest.NewRecorder()}
	navigation.r.Header.Set("Sec-Fetch-Mode", "navigate")
	navigation.Session, navigation.err = store.Get(navigation.r, name)
	navigation.saved(t)
	navigation.wantNoCookie(t)
	navigation.Values["cart"] = "book"
	navigation.saved(t)
	navigation.wantCookie(t)
	p.wantCount(2)

	again := late.load(t, store)
	store.Regenerate(again.Session)
	again.saved(t)
	again.wantCookie(t)
	p.wantCount(3)

	p.clock.Advance(time.Millisecond)
	loud := late.load(t, store)
	loud.saved(t)
	loud.wantCookie(t)
	p.wantCount(4)
}

func TestR02SkipEmptyLeavesNewSessionsWithoutValuesAlone(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{SkipEmpty: true})
		v := new(browser).load(t, store)
		v.saved(t)
		v.wantNoCookie(t)
		if v.ID != "" {
			t.Errorf("ID %q, want none", v.ID)
		}
		p.wantCount(0)
		v.Values["n"] = 1
		v.saved(t)
		v.wantCookie(t)
		delete(v.Values, "n")
		v.saved(t)
		v.arrive()
		p.wantCount(1)
		if again := v.browser.load(t, store); again.IsNew {
			t.Error("a stored session that was emptied is gone")
		}
	})
}

// unread is a codec that reads no payload.
type unread struct{ mongostore.GobCodec }

func (unread) Decode(bson.RawValue, *sessions.Session) error { return errors.New("unread") }

func TestR03AStandInOfAnUndecodableRecordIsStoredOnlyWithValues(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"n": 1})
		id := b.load(t, p.first).ID
		before := p.mustDocument(id)
		p.clock.Advance(time.Hour)
		store := p.store(&mongostore.Config{PayloadCodec: unread{}})

		v := b.load(t, store)
		wantErr(t, v.err, mongostore.ErrDecode)
		if v.ID != "" || !v.IsNew || len(v.Values) > 0 {
			t.Errorf("stand-in %q, new %v, values %v", v.ID, v.IsNew, v.Values)
		}
		v.saved(t)
		v.wantNoCookie(t)
		p.wantDocument(id, before)

		v.Values["user"] = "eve"
		v.saved(t)
		v.wantCookie(t)
		if v.ID == id {
			t.Error("the stand-in is stored under the ID of the record")
		}
		p.wantDocument(id, before)
		p.wantCount(2)
	})
}

func TestR03LoggingOutOfAnUndecodableSessionDeletesItsRecord(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"n": 1})
		v := b.load(t, p.store(&mongostore.Config{PayloadCodec: unread{}}))
		v.Options.MaxAge = -1
		v.saved(t)
		v.wantExpired(t)
		p.wantCount(0)
	})
}

// wantExpired fails unless the answer expires the cookie.
func (v *visit) wantExpired(t *testing.T) {
	t.Helper()
	if c := v.wantCookie(t); c.MaxAge >= 0 || c.Value != "" {
		t.Errorf("the answer sets %v, want the cookie expired", c)
	}
}

// blip is a store whose MongoDB can be cut off, and one whose MongoDB cannot.
type blip struct {
	*place
	proxy        *mongotest.Proxy
	client       *mongo.Client // of flaky
	flaky, sound *mongostore.Store
}

func onBlip(t *testing.T) *blip {
	t.Helper()
	server := mongotest.Shared(t)
	p := onMongoDB(t, server)
	proxy := server.Proxy(t)
	client := mongoClient(t, proxy.URI())
	flaky := *p
	flaky.coll = client.Database(p.coll.Database().Name()).Collection(p.coll.Name())
	return &blip{
		place: p, proxy: proxy, client: client, sound: p.store(nil),
		flaky: flaky.store(&mongostore.Config{Timeout: ample, NoIndexes: true}),
	}
}

// cut begins an outage.
func (p *blip) cut() {
	mongostore.SetTimeout(p.flaky, scant)
	p.proxy.Cut()
}

// restore ends the outage, and returns when the driver has noticed.
func (p *blip) restore(t *testing.T) {
	t.Helper()
	p.proxy.Restore(t)
	mongostore.SetTimeout(p.flaky, ample)
	eventually(t, "the driver finds the server again", func() bool { return p.client.Ping(t.Context(), nil) == nil })
}

func TestR03AnOutageLogsNobodyOut(t *testing.T) {
	t.Parallel()
	p := onBlip(t)
	b := start(t, p.sound, map[any]any{"user": "ann"})
	id := b.load(t, p.sound).ID
	before := p.mustDocument(id)
	p.cut()
	v := b.load(t, p.flaky)
	wantErr(t, v.err, mongostore.ErrUnavailable)
	v.Values["n"] = 1
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.wantNoCookie(t)
	p.restore(t)
	if err := v.save(); !errors.Is(err, v.err) {
		t.Errorf("Save after the outage: %v, want the load's error: %v", err, v.err)
	}
	v.wantNoCookie(t)
	p.wantDocument(id, before)

	if _, err := p.flaky.Get(v.r, name); !errors.Is(err, v.err) {
		t.Errorf("Get in the same request: %v, want what it said before", err)
	}
	again := v.reload(p.flaky)
	if again.err != nil || again.ID != id || again.Values["user"] != "ann" {
		t.Errorf("New after the outage: session %q, values %v, error %v", again.ID, again.Values, again.err)
	}
}

func TestR03ALogoutAfterALoadThatFailedDeletesTheRecord(t *testing.T) {
	t.Parallel()
	p := onBlip(t)
	b := start(t, p.sound, map[any]any{"user": "ann"})
	p.cut()
	v := b.load(t, p.flaky)
	wantErr(t, v.err, mongostore.ErrUnavailable)
	p.restore(t)
	v.r = new(browser).request(t) // the session knows its cookie, whatever Save is given
	v.Options.MaxAge = -1
	v.saved(t)
	v.wantExpired(t)
	p.wantCount(0)
}

func TestR05ALogoutExpiresTheCookieAlsoWhenMongoDBFails(t *testing.T) {
	t.Parallel()
	p := onBlip(t)
	b := start(t, p.sound, map[any]any{"user": "ann"})
	loaded := b.load(t, p.flaky)
	p.cut()
	unloaded := b.load(t, p.flaky)
	for _, v := range []*visit{loaded, unloaded} {
		v.Options.MaxAge = -1
		wantErr(t, v.save(), mongostore.ErrUnavailable)
		v.wantExpired(t)
	}
	p.wantCount(1)
	p.restore(t)
	loaded.saved(t)
	p.wantCount(0)
}

func TestR04OneSessionsOptionsNeverShowInAnothers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		first := new(browser).load(t, store)
		*first.Options = sessions.Options{Path: "/mine", Domain: "mine.example", MaxAge: 1, SameSite: http.SameSiteStrictMode}
		first.saved(t)
		second := new(browser).load(t, store)
		if second.Options == first.Options || *second.Options != *store.Options {
			t.Errorf("another session's options are %+v, want the store's %+v", *second.Options, *store.Options)
		}
	})
}

func TestR04EveryOptionReachesTheCookie(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for _, site := range []http.SameSite{http.SameSiteDefaultMode, http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode} {
			want := sessions.Options{
				Path: "/app", Domain: "example.com", MaxAge: 77,
				Secure: true, HttpOnly: true, Partitioned: true, SameSite: site,
			}
			v := new(browser).load(t, store)
			v.Options = &want
			v.saved(t)
			if site == http.SameSiteDefaultMode {
				want.SameSite = 0 // it writes no attribute
			}
			if got := optionsOf(v.wantCookie(t)); got != want {
				t.Errorf("the cookie has %+v, want %+v", got, want)
			}
		}
		v := new(browser).load(t, store)
		v.Options = new(sessions.Options)
		v.saved(t)
		if got := optionsOf(v.wantCookie(t)); got != (sessions.Options{}) {
			t.Errorf("the cookie has %+v, want no attributes", got)
		}
	})
}

// optionsOf returns the options that a cookie was made with.
func optionsOf(c *http.Cookie) sessions.Options {
	return sessions.Options{
		Path: c.Path, Domain: c.Domain, MaxAge: c.MaxAge,
		Secure: c.Secure, HttpOnly: c.HttpOnly, Partitioned: c.Partitioned, SameSite: c.SameSite,
	}
}

func TestR04NilOptionsMeanTheDefaults(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		defaults := *store.Options
		for _, nilOf := range []func(*visit){
			func(v *visit) { v.Options = nil },
			func(*visit) { store.Options = nil },
		} {
			v := new(browser).load(t, store)
			nilOf(v)
			v.saved(t)
			if got := optionsOf(v.wantCookie(t)); got != defaults {
				t.Errorf("the cookie has %+v, want %+v", got, defaults)
			}
			p.wantDeadline(v.ID, 14*24*time.Hour)
		}
		v := new(browser).load(t, store)
		if v.Options == nil || *v.Options != defaults {
			t.Errorf("without Store.Options a session has %+v, want %+v", v.Options, defaults)
		}
	})
}

// wantDeadline fails unless the record expires so long from now.
func (p *place) wantDeadline(id string, want time.Duration) {
	p.t.Helper()
	if got := p.expires(id).Sub(p.clock.Now()); got != want {
		p.t.Errorf("the record expires in %v, want %v", got, want)
	}
}

func (p *place) expires(id string) time.Time {
	p.t.Helper()
	expires, ok := p.mustDocument(id)["expires"].(bson.DateTime)
	if !ok {
		p.t.Fatalf("expires is a %T", p.mustDocument(id)["expires"])
	}
	return expires.Time()
}

func TestR05MaxAgeDecidesOverCookieAndRecord(t *testing.T) {
	t.Parallel()
	tests := []struct {
		maxAge, cookie int
		lives          time.Duration
	}{
		{1, 1, time.Second},
		{3600, 3600, time.Hour},
		{0, 0, 48 * time.Hour},
		{315360000, 315360000, 10 * 365 * 24 * time.Hour},
		{11 * 31536000, 315360000, 10 * 365 * 24 * time.Hour},
		{math.MaxInt, 315360000, 10 * 365 * 24 * time.Hour},
	}
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: 48 * time.Hour})
		for _, test := range tests {
			v := new(browser).load(t, store)
			v.Options.MaxAge = test.maxAge
			v.saved(t)
			if got := v.wantCookie(t).MaxAge; got != test.cookie {
				t.Errorf("MaxAge %d: the cookie has %d, want %d", test.maxAge, got, test.cookie)
			}
			p.wantDeadline(v.ID, test.lives)
			v.arrive()
			if got := v.browser.load(t, store).Options.MaxAge; got != test.cookie {
				t.Errorf("MaxAge %d is restored as %d, want %d", test.maxAge, got, test.cookie)
			}
		}
	})
}

func TestR05AMaxAgeThatWasSetIsRestoredOnLoad(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for _, maxAge := range []int{30 * 86400, 0} {
			login := new(browser).load(t, store)
			login.Options.MaxAge = maxAge
			login.saved(t)
			login.arrive()
			p.clock.Advance(time.Hour)

			v := login.browser.load(t, store)
			if v.Options.MaxAge != maxAge {
				t.Errorf("MaxAge %d is restored as %d", maxAge, v.Options.MaxAge)
			}
			v.Values["n"] = 1
			v.saved(t)
			lives := time.Duration(maxAge) * time.Second
			if maxAge == 0 {
				lives = 14 * 24 * time.Hour
			}
			p.wantDeadline(v.ID, lives)
		}
	})
}

func TestR05NilOptionsForgetNoMaxAge(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		login := new(browser).load(t, store)
		login.Options.MaxAge = 86400
		login.saved(t)
		login.arrive()
		v := login.browser.load(t, store)
		v.Options, v.Values["n"] = nil, 1
		v.saved(t)
		if got := v.wantCookie(t).MaxAge; got != 86400 {
			t.Errorf("the cookie has MaxAge %d, want 86400", got)
		}
		p.wantDeadline(v.ID, day)
	})
}

func TestR05ASetMaxAgeAloneIsAChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour, TouchAfter: time.Hour})
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		v.Options.MaxAge = 0
		v.saved(t)
		if c := v.wantCookie(t); c.MaxAge != 0 {
			t.Errorf("the cookie has MaxAge %d, want none", c.MaxAge)
		}
		if got := b.load(t, store).Options.MaxAge; got != 0 {
			t.Errorf("MaxAge is %d at the next load, want 0", got)
		}
	})
}

func TestR05AMaxAgeThatWasNotSetFollowsTheDefault(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		for _, before := range []time.Duration{time.Hour, 10 * 365 * 24 * time.Hour} {
			b := start(t, p.store(&mongostore.Config{TTL: before}), map[any]any{"n": 1})
			store := p.store(&mongostore.Config{TTL: 2 * time.Hour})
			v := b.load(t, store)
			if v.Options.MaxAge != 7200 {
				t.Errorf("MaxAge is %d, want the new default of 7200", v.Options.MaxAge)
			}
			v.saved(t)
			p.wantDeadline(v.ID, 2*time.Hour)
		}
	})
}

func TestR05ADefaultBeyondTenYearsIsNotTakenForOneThatWasSet(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		store.MaxAge(11 * 31536000)
		b := start(t, store, map[any]any{"n": 1})
		store.MaxAge(3600)
		if got := b.load(t, store).Options.MaxAge; got != 3600 {
			t.Errorf("MaxAge is %d at the next load, want the new default of 3600", got)
		}
	})
}

func TestR05MaxAgeChangesTheDefaultOfNewSessions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		store.MaxAge(60)
		v := new(browser).load(t, store)
		v.saved(t)
		if c := v.wantCookie(t); c.MaxAge != 60 || store.Options.MaxAge != 60 {
			t.Errorf("the cookie has MaxAge %d, the store %d; want 60", c.MaxAge, store.Options.MaxAge)
		}
		p.wantDeadline(v.ID, time.Minute)
		store.MaxAge(0)
		v = new(browser).load(t, store)
		v.saved(t)
		if c := v.wantCookie(t); c.MaxAge != 0 {
			t.Errorf("the cookie has MaxAge %d, want none", c.MaxAge)
		}
		p.wantDeadline(v.ID, 14*24*time.Hour)
	})
}

func TestR05ANegativeMaxAgeDeletesTheRecordAndTheObjectIsANewSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"user": "ann"})
		v := b.load(t, store)
		id, maxAge := v.ID, v.Options.MaxAge
		v.Options.MaxAge = -1
		v.saved(t)
		v.wantExpired(t)
		p.wantCount(0)
		v.wantNew(t)
		if _, stored := store.Record(v.Session); stored {
			t.Error("the object still has a record")
		}

		v.Options.MaxAge = maxAge
		v.Values["user"] = "bob"
		v.saved(t)
		if v.ID == id || v.ID == "" {
			t.Errorf("the new session has the ID %q, the old one had %q", v.ID, id)
		}
		v.arrive()
		b.wantValues(t, store, map[any]any{"user": "bob"})
	})
}

func TestR05AMaxAgeOfTheEndedSessionIsSetAnewForTheNextOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		login := new(browser).load(t, store)
		login.Options.MaxAge = 86400
		login.saved(t)
		login.arrive()
		v := login.browser.load(t, store)
		v.Options.MaxAge = -1
		v.saved(t)
		v.Options.MaxAge = 86400
		v.saved(t)
		v.arrive()
		if got := v.browser.load(t, store).Options.MaxAge; got != 86400 {
			t.Errorf("MaxAge is %d at the next load, want 86400", got)
		}
	})
}

func TestR05EndingASessionThatWasNeverStoredExpiresTheCookie(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for _, b := range []*browser{new(browser), sending("garbage"), sending(signed(t, store, "a.b"))} {
			v := b.load(t, store)
			v.Options.MaxAge = math.MinInt
			v.saved(t)
			v.wantExpired(t)
		}
	})
}

func TestR05AnEndTakesPathAndDomainOfTheStoreIfEmpty(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		store.Options.Path, store.Options.Domain = "/app", ".example.com"
		for _, test := range []struct{ given, want sessions.Options }{
			{sessions.Options{}, sessions.Options{Path: "/app", Domain: "example.com"}},
			{sessions.Options{Path: "/x"}, sessions.Options{Path: "/x", Domain: "example.com"}},
			{sessions.Options{Domain: "x.example"}, sessions.Options{Path: "/app", Domain: "x.example"}},
		} {
			v := new(browser).load(t, store)
			test.given.MaxAge = -1
			v.Options = &test.given
			v.saved(t)
			v.wantExpired(t)
			if c := v.wantCookie(t); c.Path != test.want.Path || c.Domain != test.want.Domain {
				t.Errorf("the cookie is for %q at %q, want %q at %q", c.Path, c.Domain, test.want.Path, test.want.Domain)
			}
		}
	})
}

func TestR05AnEndEndsEverySessionThatTheRequestProves(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		first, second, third := start(t, store, nil), start(t, store, nil), start(t, store, nil)
		handle, _ := credentials(t, store, third.cookies[0])
		unproven := signed(t, store, handle+".guess")
		v := sending(first.cookies[0].Value, second.cookies[0].Value, unproven).load(t, store)
		v.Options.MaxAge = -1
		v.saved(t)
		first.wantGone(t, store)
		second.wantGone(t, store)
		if third.load(t, store).IsNew {
			t.Error("a session ended whose secret the request does not have")
		}
	})
}

func TestR07TheDefaultsAreSafe(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		want := sessions.Options{Path: "/", MaxAge: 14 * 86400, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
		if *store.Options != want {
			t.Errorf("Options are %+v, want %+v", *store.Options, want)
		}
		v := new(browser).load(t, store)
		v.saved(t)
		if got := optionsOf(v.wantCookie(t)); got != want {
			t.Errorf("the cookie has %+v, want %+v", got, want)
		}
		p.wantDeadline(v.ID, 14*24*time.Hour)
	})
}

func TestR08ValuesHoldOnlyWhatTheApplicationPutThere(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{UserID: userID})
		b := start(t, store, map[any]any{"user": "ann"})
		v := b.load(t, store)
		store.Regenerate(v.Session)
		v.saved(t)
		v.arrive()
		want := map[any]any{"user": "ann"}
		if !maps.Equal(v.Values, want) {
			t.Errorf("the values are %v, want %v", v.Values, want)
		}
		b.wantValues(t, store, want)
	})
}

func TestR08SaveDoesNotDependOnTheRequest(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		v.Values["n"] = 2
		v.r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/other", nil)
		v.saved(t)
		b.wantValues(t, store, map[any]any{"n": 2})
		p.wantCount(1)
	})
}

func TestR08ASessionBuiltByHandIsNew(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		v.Session = sessions.NewSession(store, name)
		v.Options.MaxAge = 60
		v.Values["n"] = 1
		v.saved(t)
		v.arrive()
		v.browser.wantValues(t, store, map[any]any{"n": 1})
		v.Values["n"] = 2
		v.saved(t)
		v.browser.wantValues(t, store, map[any]any{"n": 2})
		p.wantCount(1)
	})
}

func TestR08ASessionThatIsNotThisStoresIsAnErrorAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		loaded := b.load(t, store)
		before := p.mustDocument(loaded.ID)
		clone := *loaded.Session
		byHand := sessions.NewSession(store, name)
		byHand.ID = loaded.ID
		others, err := p.store(nil).New(b.request(t), name)
		if err != nil {
			t.Fatal(err)
		}
		for what, session := range map[string]*sessions.Session{"a copy": &clone, "built by hand": byHand, "another store's": others} {
			w := httptest.NewRecorder()
			session.Values = map[any]any{"n": 2}
			store.Regenerate(session)
			if err := store.Save(loaded.r, w, session); err == nil || len(w.Header()) > 0 {
				t.Errorf("Save of %s: error %v, header %v; want an error and no cookie", what, err, w.Header())
			}
			if _, ok := store.Record(session); ok {
				t.Errorf("Record of %s: want none", what)
			}
		}
		p.wantDocument(loaded.ID, before)
		p.wantCount(1)
	})
}

func TestR08ACopyOfANewSessionIsAnotherNewSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		clone := *v.Session
		v.saved(t)
		if err := clone.Save(v.r, httptest.NewRecorder()); err != nil {
			t.Fatal(err)
		}
		if clone.ID == v.ID || clone.ID == "" {
			t.Errorf("the copy has the ID %q, its original %q", clone.ID, v.ID)
		}
		p.wantCount(2)
	})
}

func TestR08NilIsNoSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		if err := store.Save(v.r, v.w, nil); err == nil {
			t.Error("Save of nil: no error")
		}
		if err := store.Save(v.r, v.w, new(sessions.Session)); err == nil {
			t.Error("Save of a session without a name: no error")
		}
		store.Regenerate(nil)
		if _, ok := store.Record(nil); ok {
			t.Error("nil has a record")
		}
		v.wantNoCookie(t)
	})
}

func TestR08AnEmptiedIDMeansRegenerate(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		old := &browser{cookies: slices.Clone(b.cookies)}
		v := b.load(t, store)
		id := v.ID
		v.ID = ""
		v.saved(t)
		if v.ID != id {
			t.Errorf("the ID is %q, want %q: it is a name and stays", v.ID, id)
		}
		v.arrive()
		old.wantGone(t, store)
		b.wantValues(t, store, map[any]any{"n": 1})
		p.wantCount(1)
	})
}

func TestR08AnotherIDIsAnErrorAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		stored := start(t, store, map[any]any{"n": 1})
		before := p.mustDocument(stored.load(t, store).ID)
		for _, b := range []*browser{stored, new(browser)} {
			v := b.load(t, store)
			v.ID, v.Values["n"] = "mine", 2
			if err := v.save(); err == nil {
				t.Error("Save with another ID: no error")
			}
			v.wantNoCookie(t)
		}
		p.wantDocument(before["_id"].(string), before)
		p.wantCount(1)
	})
}

func TestR08ReplacingTheValuesMapIsAChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		v.Values = map[any]any{"m": 2}
		v.saved(t)
		b.wantValues(t, store, map[any]any{"m": 2})
		v.Values = nil
		v.saved(t)
		b.wantValues(t, store, map[any]any{})
		if v.Values == nil {
			t.Error("Values are nil after the Save; a handler could not write to them")
		}
	})
}

func TestR08IsNewStaysWhatNewSaid(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		v.saved(t)
		if !v.IsNew {
			t.Error("IsNew became false by a Save")
		}
		v.arrive()
		v = v.browser.load(t, store)
		store.Regenerate(v.Session)
		v.saved(t)
		if v.IsNew {
			t.Error("IsNew became true by a Save")
		}
	})
}

func TestR08SavingTwiceOrThroughTheRegistryWorks(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		v.Values["a"] = 1
		v.saved(t)
		v.Values["b"] = 2
		v.saved(t)
		v.Values["c"] = 3
		if err := sessions.Save(v.r, v.w); err != nil {
			t.Fatal(err)
		}
		v.arrive()
		v.browser.wantValues(t, store, map[any]any{"a": 1, "b": 2, "c": 3})
		p.wantCount(1)
	})
}

func TestR08TwoStoresWithOneCookieNameDoNotMixTheirSessions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store, other := p.store(nil), p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		before := p.mustDocument(v.ID)
		again, err := other.Get(v.r, name) // the registry knows names only, and gives the same object
		if err != nil || again != v.Session {
			t.Fatalf("session %v, error %v", again, err)
		}
		again.Values["n"] = 2
		if err := again.Save(v.r, v.w); err == nil {
			t.Error("a store saved a session that is not its own")
		}
		v.wantNoCookie(t)
		p.wantDocument(v.ID, before)
		if err := store.Save(v.r, v.w, v.Session); err != nil {
			t.Errorf("Save by the store that loaded it: %v", err)
		}
		b.wantValues(t, store, map[any]any{"n": 2})
	})
}

func TestR08OneObjectMaySaveAndAnotherDelete(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) { // as goth does, within one request
		store := p.store(nil)
		b := start(t, store, map[any]any{"state": "x"})
		v := b.load(t, store)
		saved := v.reload(store)
		saved.Values["provider"] = "idp"
		saved.saved(t)
		v.Options.MaxAge = -1
		v.Values = make(map[any]any)
		v.saved(t)
		v.wantExpired(t)
		p.wantCount(0)

		after := v.reload(store)
		after.wantNew(t)
		after.Values["user"] = "ann"
		after.saved(t)
		after.arrive()
		b.wantValues(t, store, map[any]any{"user": "ann"})
	})
}

func TestR08TheTableOfStatesEmptiesByItself(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		for range 50 {
			v := b.load(t, store)
			v.Values["n"] = v.Values["n"].(int) + 1
			v.saved(t)
			_ = sessions.NewSession(store, name).Save(v.r, httptest.NewRecorder())
		}
		for deadline := time.Now().Add(20 * time.Second); mongostore.StatesInUse(store) > 0; runtime.GC() {
			if time.Now().After(deadline) {
				t.Fatalf("%d states are left", mongostore.StatesInUse(store))
			}
		}
	})
}

func TestRecordTellsWhatIsStored(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour, UserID: userID})
		born := p.clock.Now()
		v := new(browser).load(t, store)
		if _, ok := store.Record(v.Session); ok {
			t.Error("a new session has a record")
		}
		v.Values["user"] = "ann"
		v.saved(t)
		v.arrive()
		wantRecord(t, store, v.Session, mongostore.Record{
			ID: v.ID, Name: name, UserID: "ann", CreatedAt: born, UpdatedAt: born, ExpiresAt: born.Add(time.Hour),
		})

		p.clock.Advance(time.Minute)
		v = v.browser.load(t, store)
		v.saved(t)
		wantRecord(t, store, v.Session, mongostore.Record{
			ID: v.ID, Name: name, UserID: "ann", CreatedAt: born, UpdatedAt: p.clock.Now(), ExpiresAt: p.clock.Now().Add(time.Hour),
		})
		store.Regenerate(v.Session)
		v.saved(t)
		wantRecord(t, store, v.Session, mongostore.Record{
			ID: v.ID, Name: name, UserID: "ann", CreatedAt: p.clock.Now(), UpdatedAt: p.clock.Now(), ExpiresAt: p.clock.Now().Add(time.Hour),
		})
	})
}

// wantRecord fails unless the store tells this of a session, and it holds the session's values.
func wantRecord(t *testing.T, store *mongostore.Store, session *sessions.Session, want mongostore.Record) {
	t.Helper()
	got, ok := store.Record(session)
	if !ok {
		t.Fatal("no record")
	}
	if got.ID != want.ID || got.Name != want.Name || got.UserID != want.UserID || got.Size == 0 ||
		!got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) || !got.ExpiresAt.Equal(want.ExpiresAt) {
		t.Errorf("the record is %+v, want %+v", got, want)
	}
	values, err := got.Values(t.Context())
	if err != nil || !maps.Equal(values, session.Values) {
		t.Errorf("the record holds %v, error %v; want %v", values, err, session.Values)
	}
}

func TestRecordValuesBelongToTheCaller(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"list": []any{1}})
		v := b.load(t, store)
		rec, _ := store.Record(v.Session)
		had, err := rec.Values(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		had["list"].([]any)[0], had["x"] = 2, 3
		if again, _ := rec.Values(t.Context()); !values.Equal(again, v.Values) {
			t.Errorf("the record holds %v, want %v", again, v.Values)
		}
		if _, err := new(mongostore.Record).Values(t.Context()); err == nil {
			t.Error("an empty Record has values")
		}
	})
}

func TestASessionKeepsItsUserIfUserIDPanics(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(&mongostore.Config{UserID: userID}), map[any]any{"user": "ann"})
		log := new(journal)
		panics := func(s *sessions.Session) string { panic(s.Values["n"]) }
		store := p.store(&mongostore.Config{UserID: panics, Logger: log.logger()})
		v := b.load(t, store)
		v.Values["n"] = hush
		v.saved(t)
		if rec, _ := store.Record(v.Session); rec.UserID != "ann" {
			t.Errorf("the user became %q", rec.UserID)
		}
		if text := log.String(); !strings.Contains(text, "UserID panicked") || strings.Contains(text, hush) {
			t.Errorf("the log says: %s", text)
		}
	})
}

func TestRegenerateTakesEffectOnlyByASave(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		store.Regenerate(b.load(t, store).Session)
		b.wantValues(t, store, map[any]any{"n": 1})
	})
}

func TestRegenerateWorksOnceOnANewSessionToo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		store.Regenerate(v.Session)
		v.saved(t)
		first := v.wantCookie(t).Value
		handle, secret := credentials(t, store, v.wantCookie(t))
		p.clock.Advance(time.Minute)
		v.saved(t)
		v.arrive()
		if h, s := credentials(t, store, v.wantCookie(t)); h != handle || s != secret {
			t.Error("the second Save renewed the session again")
		}
		sending(first).wantValues(t, store, map[any]any{})
		if sending(first).load(t, store).IsNew {
			t.Error("the first cookie is dead")
		}
	})
}

// serve runs one request of the browser through a handler.
func (b *browser) serve(t *testing.T, h http.Handler) *visit {
	t.Helper()
	v := &visit{browser: b, r: b.request(t), w: httptest.NewRecorder()}
	h.ServeHTTP(v.w, v.r)
	return v
}

func TestKeepAliveMovesTheDeadlineOfASessionThatTheRequestBrought(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour})
		b := start(t, store, map[any]any{"n": 1})
		id := b.load(t, store).ID
		var inHandler string
		h := store.KeepAlive(name)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			session, err := store.Get(r, name)
			if err != nil {
				t.Error(err)
			}
			inHandler = session.ID
		}))
		p.clock.Advance(30 * time.Minute)
		v := b.serve(t, h)
		if c := v.wantCookie(t); c.MaxAge != 3600 {
			t.Errorf("the cookie has MaxAge %d, want 3600", c.MaxAge)
		}
		p.wantDeadline(id, time.Hour)
		if inHandler != id {
			t.Errorf("the handler has session %q, want %q", inHandler, id)
		}
		b.serve(t, h).wantNoCookie(t)
	})
}

func TestKeepAliveStoresNothingForARequestWithoutASession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		called := 0
		h := store.KeepAlive(name)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ }))
		new(browser).serve(t, h).wantNoCookie(t)
		sending("garbage").serve(t, h).wantNoCookie(t)
		sending(signed(t, store, "a.b")).serve(t, h).wantNoCookie(t)
		p.wantCount(0)
		if called != 3 {
			t.Errorf("the handler was called %d times, want 3", called)
		}
	})
}

func TestKeepAliveLetsTheHandlerSaveAndEndTheSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		p.clock.Advance(time.Hour)
		with := func(change func(*sessions.Session)) http.Handler {
			return store.KeepAlive(name)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				session, _ := store.Get(r, name)
				change(session)
				if err := session.Save(r, w); err != nil {
					t.Error(err)
				}
			}))
		}
		v := b.serve(t, with(func(s *sessions.Session) { s.Values["n"] = 2; store.Regenerate(s) }))
		v.wantCookie(t)
		v.arrive()
		b.wantValues(t, store, map[any]any{"n": 2})
		p.clock.Advance(time.Hour)
		b.serve(t, with(func(s *sessions.Session) { s.Options.MaxAge = -1 })).wantExpired(t)
		p.wantCount(0)
	})
}

func TestKeepAliveLeavesErrorsToTheHandler(t *testing.T) {
	t.Parallel()
	p := onBlip(t)
	b := start(t, p.sound, map[any]any{"n": 1})
	p.cut()
	var got error
	v := b.serve(t, p.flaky.KeepAlive(name)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, got = p.flaky.Get(r, name)
	})))
	wantErr(t, got, mongostore.ErrUnavailable)
	v.wantNoCookie(t)
}

func TestR14ACancelledRequestStillSavesAndLogsOut(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		v.r = v.r.WithContext(ctx)
		cancel()
		v.Values["n"] = 2
		v.saved(t)
		b.wantValues(t, store, map[any]any{"n": 2})

		loaded := v.reload(store)
		if loaded.err != nil || loaded.Values["n"] != 2 {
			t.Errorf("a load of a cancelled request: values %v, error %v", loaded.Values, loaded.err)
		}
		v.Options.MaxAge = -1
		v.saved(t)
		p.wantCount(0)
	})
}

func TestR14AnEarlierDeadlineOfTheRequestIsKeptForLoadsOnly(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(nil)
	b := start(t, store, map[any]any{"n": 1})
	v := b.load(t, store)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	late := b.request(t).WithContext(ctx)

	_, err := store.New(late, name)
	wantErr(t, err, mongostore.ErrUnavailable)
	if !mongo.IsTimeout(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the driver's error is not in the chain of %v", err)
	}
	v.r = late
	v.Values["n"] = 2
	v.saved(t)
	b.wantValues(t, store, map[any]any{"n": 2})
}

func TestR14AServerThatHangsCostsTimeout(t *testing.T) {
	t.Parallel()
	p := onBlip(t)
	b := start(t, p.sound, map[any]any{"n": 1})
	v := b.load(t, p.flaky)
	mongostore.SetTimeout(p.flaky, scant)
	p.proxy.Hang(true)
	defer time.AfterFunc(ample, func() { p.proxy.Hang(false) }).Stop() // a request that waits for ever fails the test then
	defer p.proxy.Hang(false)
	yardstick := mongotest.NewYardstick(t)
	v.Values["n"] = 2
	yardstick.Within(t, "Save", scant, func() {
		err := v.save()
		wantErr(t, err, mongostore.ErrUnavailable)
		if !mongo.IsTimeout(err) {
			t.Errorf("mongo.IsTimeout(%v) is false", err)
		}
	})
	yardstick.Within(t, "Get", scant, func() { wantErr(t, b.load(t, p.flaky).err, mongostore.ErrUnavailable) })
}

func TestR14AnApplicationsTransactionDoesNotHoldASaveBack(t *testing.T) {
	t.Parallel()
	server := mongotest.ReplicaSet(t)
	p := onMongoDB(t, server)
	store := p.store(nil)
	b := start(t, store, map[any]any{"n": 1})
	tx, err := p.coll.Database().Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.EndSession(t.Context())
	if err := tx.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	v := &visit{browser: b, r: b.request(t), w: httptest.NewRecorder()}
	v.r = v.r.WithContext(mongo.NewSessionContext(v.r.Context(), tx))
	v.Session, v.err = store.Get(v.r, name)
	if v.err != nil || v.IsNew {
		t.Fatalf("load in a transaction: new %v, error %v", v.IsNew, v.err)
	}
	v.Values["n"] = 2
	v.saved(t)
	created := sessions.NewSession(store, name)
	created.Options.MaxAge = 60
	if err := created.Save(v.r, httptest.NewRecorder()); err != nil {
		t.Fatal(err)
	}
	if err := tx.AbortTransaction(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantValues(t, store, map[any]any{"n": 2})
	p.wantCount(2)
}

func TestR14ASessionOfAnotherClientIsNoHindrance(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	p := onMongoDB(t, server)
	store := p.store(nil)
	b := start(t, store, map[any]any{"n": 1})
	foreign, err := mongoClient(t, server.URI()).StartSession(options.Session())
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.EndSession(t.Context())
	r := b.request(t)
	r = r.WithContext(mongo.NewSessionContext(r.Context(), foreign))
	if session, err := store.New(r, name); err != nil || session.IsNew {
		t.Errorf("load: new %v, error %v", session.IsNew, err)
	}
}

func TestR15ConcurrentUseIsSafe(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TouchAfter: time.Second, UserID: userID, Timeout: time.Minute})
		shared := start(t, store, map[any]any{"n": 1})
		var wg sync.WaitGroup
		for worker := range 16 {
			wg.Go(func() {
				for n := range 4 {
					v := shared.load(t, store)
					v.Values[fmt.Sprint("w", worker)] = n
					if err := v.save(); err != nil {
						t.Error(err)
					}
					own := new(browser).load(t, store)
					own.Values["user"] = fmt.Sprint(worker)
					store.Regenerate(own.Session)
					if err := own.save(); err != nil {
						t.Error(err)
					}
					if _, ok := store.Record(own.Session); !ok {
						t.Error("no record")
					}
					own.Options.MaxAge = -1
					if err := own.save(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := shared.values(t, store); len(got) != 17 {
			t.Errorf("%d values, want 17: %v", len(got), got)
		}
		p.wantCount(1)
	})
}

func TestR15TwoSavesOfOneObjectAtOnceDoNotGarbleIt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		v.Values["n"] = 1
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := v.Session.Save(v.r, httptest.NewRecorder()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		p.wantCount(1)
	})
}

func TestR15CloseMayBeCalledTwiceAndAtOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		for _, removes := range []mongostore.AutoRemove{
			mongostore.AutoRemoveNative, mongostore.AutoRemoveInterval, mongostore.AutoRemoveDisabled,
		} {
			store := p.store(&mongostore.Config{AutoRemove: removes})
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := store.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			v := new(browser).load(t, store)
			v.saved(t) // the client is the application's, and open
		}
	})
}

func TestR15CloseLeavesNoGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // fails if one is left when the function returns
		store, err := mongostore.NewMemory(&mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval, TTL: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		v := &visit{browser: new(browser), r: new(browser).request(t), w: httptest.NewRecorder()}
		v.Session, _ = store.New(v.r, name)
		v.saved(t)
		<-time.After(time.Hour)
		synctest.Wait()
		if _, found := mongostore.Document(store, v.ID); found {
			t.Error("the removal left an expired session")
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestR15CloseWaitsForARemovalUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, err := mongostore.NewMemory(nil)
		if err != nil {
			t.Fatal(err)
		}
		entered, release := make(chan struct{}), make(chan struct{})
		mongostore.SetClock(store, func() time.Time { // the removal asks for the time first
			close(entered)
			<-release
			return time.Now()
		})
		mongostore.StartRemoval(store)
		<-entered
		closed := make(chan struct{})
		go func() {
			_ = store.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned while a removal was under way")
		default:
		}
		close(release)
		<-closed
	})
}

func TestR15ManyStoresLeaveNoGoroutineOnMongoDB(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	removals := func() int { return goroutinesOf(t, "leak-test", "startRemoval") }
	labelled(t, "leak-test", func() {
		stores := make([]*mongostore.Store, 10)
		for i := range stores {
			stores[i] = p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval})
		}
		eventually(t, "the profile shows what was started", func() bool { return removals() > 0 })
		for _, store := range stores {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	eventually(t, "no goroutine is left after Close", func() bool { return removals() == 0 })
}

// labelled runs do; goroutines that it starts carry the label.
func labelled(t *testing.T, label string, do func()) {
	t.Helper()
	pprof.Do(t.Context(), pprof.Labels("test", label), func(context.Context) { do() })
}

// goroutinesOf counts the goroutines with a label that are in this function.
func goroutinesOf(t *testing.T, label, function string) (n int) {
	t.Helper()
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	_, groups, _ := strings.Cut(profile.String(), "\n") // after a headline
	for group := range strings.SplitSeq(groups, "\n\n") {
		if strings.Contains(group, `"test":"`+label+`"`) && strings.Contains(group, function) {
			var count int
			_, _ = fmt.Sscan(group, &count)
			n += count
		}
	}
	return n
}
