package express

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// pair is one variant at work, with the store of Go at hand.
type pair struct {
	*stage
	store *mongostore.Store
}

// newPair starts the two sides of a variant.
func newPair(t *testing.T, v variant) pair {
	t.Helper()
	needNode(t)
	server := mongotest.Shared(t)
	db, id := server.Database(t), newIdentity(t)
	urls := startExpress(t, server.URI(), id, []app{v.app(db.Name())})
	coll := db.Collection(v.name)
	store := v.open(t, coll)
	return pair{&stage{v, coll, id, map[string]string{expressSide: urls[v.name], goSide: startGo(t, store)}}, store}
}

// signIn begins a session at a side.
func (p pair) signIn(t *testing.T, side string) *browser {
	t.Helper()
	b := newBrowser(t, p.id)
	b.must(t, http.MethodPost, p.urls[side]+"/sign-in?user=ada", nil)
	return b
}

// load gets the session of a browser without a request to a side, for a Save
// that comes late.
func (p pair) load(t *testing.T, b *browser) (*http.Request, *sessions.Session) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, site.String(), nil)
	r.AddCookie(&http.Cookie{Name: cookieName, Value: b.cookie()})
	session, err := p.store.New(r, cookieName)
	if err != nil {
		t.Fatal(err)
	}
	return r, session
}

// hold sends a request to Express that changes the session, and is under way
// until the function that it returns is called.
func (p pair) hold(t *testing.T, b *browser, values map[string]any) (release func()) {
	t.Helper()
	name, side := url.QueryEscape(t.Name()), p.urls[expressSide]
	ended := make(chan error, 1)
	go func() {
		status, _, err := b.send(t.Context(), http.MethodPost, side+"/hold?name="+name, values)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		ended <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for b.must(t, http.MethodGet, side+"/held?name="+name, nil)["held"] != true {
		if ctx.Err() != nil {
			t.Fatal("Express never got the request")
		}
	}
	return func() {
		b.must(t, http.MethodPost, side+"/release?name="+name, nil)
		if err := <-ended; err != nil {
			t.Errorf("the request that was held: %v", err)
		}
	}
}

func TestWhatExpressWroteIsNotLostByAChangeInGo(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]variant{
		"stringify": {name: "rich"},
		"document": {
			name: "rich-document", express: app{Store: map[string]any{"stringify": false}},
			config: mongostore.Config{PayloadCodec: connectmongo.Codec{Document: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, v)
			b := p.signIn(t, expressSide)
			b.must(t, http.MethodPost, p.urls[expressSide]+"/rich", nil)
			want := b.must(t, http.MethodGet, p.urls[expressSide]+"/session", nil) // as Express itself reads it
			id := p.idOf(t, b)
			before := fieldsOf(t, p.document(t, id).Session)
			b.must(t, http.MethodPost, p.urls[goSide]+"/set", map[string]any{"colour": "green"})
			after := fieldsOf(t, p.document(t, id).Session)
			for key, value := range before {
				if key != "cookie" && after[key] != value {
					t.Errorf("%q was %s and is %s", key, value, after[key])
				}
			}
			if len(after) != len(before)+1 {
				t.Errorf("there are %d fields, there were %d", len(after), len(before))
			}
			want["colour"] = "green"
			b.wantSession(t, p.urls[expressSide], want)
		})
	}
}

// fieldsOf returns the fields of a payload, each as it is stored.
func fieldsOf(t *testing.T, payload bson.RawValue) map[string]string {
	t.Helper()
	fields := make(map[string]string)
	if text, ok := payload.StringValueOK(); ok {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &raw); err != nil {
			t.Fatal(err)
		}
		for key, value := range raw {
			fields[key] = string(value)
		}
		return fields
	}
	elements, err := payload.Document().Elements()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elements {
		fields[e.Key()] = e.Value().Type.String() + " " + e.Value().String()
	}
	return fields
}

func TestExpressSparesTouchesOfSessionsWithLastModified(t *testing.T) {
	t.Parallel()
	touchAfter := app{Store: map[string]any{"touchAfter": 3600}}
	for name, test := range map[string]struct {
		lastModified, spared bool
	}{
		"with LastModified":    {true, true},
		"without LastModified": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, variant{name: "spare", express: touchAfter, config: mongostore.Config{LastModified: test.lastModified}})
			b := p.signIn(t, goSide)
			id := p.idOf(t, b)
			p.setExpires(t, id, time.Now().Add(time.Hour))
			before := p.document(t, id)
			b.wantSession(t, p.urls[expressSide], map[string]any{"user": "ada"})
			if spared := p.document(t, id).Expires.Equal(before.Expires); spared != test.spared {
				t.Errorf("Express spared the write: %v, want %v", spared, test.spared)
			}
		})
	}
	t.Run("a session that Express made", func(t *testing.T) {
		t.Parallel()
		p := newPair(t, variant{name: "spare", express: touchAfter, config: mongostore.Config{LastModified: true}})
		b := p.signIn(t, expressSide)
		id := p.idOf(t, b)
		p.age(t, id, 2*time.Hour)
		b.wantSession(t, p.urls[goSide], map[string]any{"user": "ada"}) // Go touches
		p.setExpires(t, id, time.Now().Add(time.Hour))
		before := p.document(t, id)
		b.wantSession(t, p.urls[expressSide], map[string]any{"user": "ada"})
		if !p.document(t, id).Expires.Equal(before.Expires) {
			t.Error("Express wrote though Go had just touched the session")
		}
	})
}

func (p pair) setExpires(t *testing.T, id string, expires time.Time) {
	t.Helper()
	if _, err := p.coll.UpdateByID(t.Context(), id, bson.M{"$set": bson.M{"expires": expires}}); err != nil {
		t.Fatal(err)
	}
}

func TestASessionKeepsTheLifetimeThatEitherSideGaveIt(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "lifetimes"})
	for _, way := range []sides{{expressSide, goSide}, {goSide, expressSide}} {
		b := newBrowser(t, p.id)
		b.must(t, http.MethodPost, p.urls[way.from]+"/sign-in?user=ada&maxAge=7200", nil)
		id := p.idOf(t, b)
		p.age(t, id, time.Hour)
		b.must(t, http.MethodPost, p.urls[way.to]+"/set", map[string]any{"n": 1})
		if left := time.Until(p.document(t, id).Expires).Round(time.Minute); left != 2*time.Hour {
			t.Errorf("from %s: after a change it lives %v, want two hours", way.from, left)
		}
		p.age(t, id, time.Hour)
		if err := p.store.Touch(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(p.document(t, id).Expires).Round(time.Minute); left != 2*time.Hour {
			t.Errorf("from %s: after Touch it lives %v, want two hours", way.from, left)
		}
	}
}

func TestASessionWithoutCookieIsPutRightByAChangeInGo(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "without-cookie"})
	b := p.signIn(t, goSide)
	if _, err := p.coll.UpdateByID(t.Context(), p.idOf(t, b), bson.M{"$set": bson.M{"session": `{"user":"ada"}`}}); err != nil {
		t.Fatal(err)
	}
	if status, _ := b.ask(t, http.MethodGet, p.urls[expressSide]+"/session", nil); status != http.StatusInternalServerError {
		t.Errorf("Express answers %d", status)
	}
	b.must(t, http.MethodPost, p.urls[goSide]+"/set", map[string]any{"n": 1})
	b.wantSession(t, p.urls[expressSide], map[string]any{"user": "ada", "n": 1})
}

func TestTheLastSideToSetALifetimeIsTheOneThatCounts(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "lifetimes"})
	b := newBrowser(t, p.id)
	b.must(t, http.MethodPost, p.urls[goSide]+"/sign-in?user=ada&maxAge=7200", nil)
	b.must(t, http.MethodPost, p.urls[expressSide]+"/live?maxAge=10800", nil)
	id := p.idOf(t, b)
	p.age(t, id, time.Hour)
	b.must(t, http.MethodPost, p.urls[goSide]+"/set", map[string]any{"n": 1})
	if left := time.Until(p.document(t, id).Expires).Round(time.Minute); left != 3*time.Hour {
		t.Errorf("it lives %v, want the three hours of Express", left)
	}
}

// The tests below are of what happens when requests to both sides overlap. What
// Express does not keep is in docs/from-express.md.

func TestALateSaveInGoDoesNotBringBackWhatExpressEnded(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "late"})
	b := p.signIn(t, expressSide)
	copied := b.replay(t, b.cookie())
	r, session := p.load(t, b)
	b.must(t, http.MethodPost, p.urls[expressSide]+"/sign-out", nil)
	session.Values["late"] = true
	if err := p.store.Save(r, httptest.NewRecorder(), session); !errors.Is(err, mongostore.ErrNotFound) {
		t.Errorf("Save returns %v, want ErrNotFound", err)
	}
	copied.wantSession(t, p.urls[expressSide], nil)
}

func TestALateSaveInGoMergesWhatExpressChanged(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "merge"})
	b := p.signIn(t, goSide)
	r, session := p.load(t, b)
	b.must(t, http.MethodPost, p.urls[expressSide]+"/set", map[string]any{"express": 1})
	session.Values["go"] = 1
	if err := p.store.Save(r, httptest.NewRecorder(), session); err != nil {
		t.Fatal(err)
	}
	b.wantSession(t, p.urls[expressSide], map[string]any{"user": "ada", "express": 1, "go": 1})
}

func TestALateSaveInExpressBringsBackWhatGoEnded(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "back"})
	b := p.signIn(t, goSide)
	copied := b.replay(t, b.cookie())
	release := p.hold(t, copied, map[string]any{"late": true})
	b.must(t, http.MethodPost, p.urls[goSide]+"/sign-out", nil)
	copied.wantSession(t, p.urls[goSide], nil)
	release()
	copied.wantSession(t, p.urls[goSide], map[string]any{"user": "ada", "late": true})
}

func TestALateSaveInExpressMakesTheOldCookieOfARegeneratedSessionGoodAgainInExpressOnly(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "old-cookie"})
	b := p.signIn(t, goSide)
	old := b.replay(t, b.cookie())
	release := p.hold(t, old, map[string]any{"late": true})
	b.must(t, http.MethodPost, p.urls[goSide]+"/regenerate", nil)
	old.wantSession(t, p.urls[goSide], nil)
	release()
	old.wantSession(t, p.urls[goSide], nil)
	old.wantSession(t, p.urls[expressSide], map[string]any{"user": "ada", "late": true})
	b.wantSession(t, p.urls[goSide], map[string]any{"user": "ada"})
}

func TestALateSaveInExpressOverwritesWhatGoChanged(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "overwrite"})
	b := p.signIn(t, goSide)
	release := p.hold(t, b, map[string]any{"express": 1})
	b.must(t, http.MethodPost, p.urls[goSide]+"/set", map[string]any{"go": 1})
	release()
	b.wantSession(t, p.urls[goSide], map[string]any{"user": "ada", "express": 1})
}

func TestALateRequestInExpressThatChangesNothingBringsNothingBack(t *testing.T) {
	t.Parallel()
	p := newPair(t, variant{name: "touch"})
	b := p.signIn(t, goSide)
	copied := b.replay(t, b.cookie())
	release := p.hold(t, copied, map[string]any{})
	b.must(t, http.MethodPost, p.urls[goSide]+"/sign-out", nil)
	release()
	copied.wantSession(t, p.urls[goSide], nil)
}
