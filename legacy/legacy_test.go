package legacy_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/legacy"
	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestSessionsOfEachStoreAreFound(t *testing.T) {
	t.Parallel()
	eachShape(t, 29*day, func(t *testing.T, o *old) {
		store := legacy.MongoStore(o.Collection, signing)
		session := wantKnown(t, store, o.cookie)
		if session.Name() != name || session.Options.Path != "/" || session.Options.MaxAge != 30*86400 {
			t.Errorf("name %q, options %+v", session.Name(), session.Options)
		}
		r := request(t.Context(), o.cookie)
		first, err := store.Get(r, name)
		again, _ := store.Get(r, name)
		if err != nil || first.IsNew || first != again {
			t.Errorf("Get: new %v, error %v", first.IsNew, err)
		}
	})
}

func TestSessionsUnderAnEncryptionKeyOrAnOlderPairAreFound(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	wantKnown(t, legacy.MongoStore(o.Collection, encryption, nil, signing, nil), o.cookie)

	codecs := securecookie.CodecsFromPairs(signing, encryption)
	cookie, _ := securecookie.EncodeMulti(name, o.id.(bson.ObjectID).Hex(), codecs...)
	data, _ := securecookie.EncodeMulti(name, values, codecs...)
	o.set(t, bson.D{{Key: "data", Value: data}})
	wantKnown(t, legacy.MongoStore(o.Collection, signing, encryption), &http.Cookie{Name: name, Value: cookie})
}

func TestAFlashOfGoStuffIsAListAgain(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["go-stuff"], 0)
	o.set(t, bson.D{{Key: "data._flash", Value: bson.A{"saved"}}})
	session, err := legacy.MongoStore(o.Collection, signing).New(request(t.Context(), o.cookie), name)
	if err != nil {
		t.Fatal(err)
	}
	if flashes := session.Flashes(); len(flashes) != 1 || flashes[0] != "saved" {
		t.Errorf("flashes %v", flashes)
	}
}

func TestValuesBeyondTheLengthOfACookieAreFound(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	o.set(t, bson.D{{Key: "data", Value: signed(t, map[any]any{"text": strings.Repeat("x", 100_000)}, 0)}})
	session, err := legacy.MongoStore(o.Collection, signing).New(request(t.Context(), o.cookie), name)
	if err != nil || len(session.Values["text"].(string)) != 100_000 {
		t.Errorf("error %v", err)
	}
}

func TestWithoutACookieThereIsANewSessionAndNoError(t *testing.T) {
	t.Parallel()
	session, err := legacy.MongoStore(nil).New(request(t.Context()), name)
	if err != nil || !session.IsNew {
		t.Errorf("new %v, error %v", session.IsNew, err)
	}
}

func TestSessionsOlderThanMaxAgeHaveExpired(t *testing.T) {
	t.Parallel()
	eachShape(t, 31*day, func(t *testing.T, o *old) {
		wantUnknown(t, legacy.MongoStore(o.Collection, signing), mongostore.ErrNotFound, "it expired at", o.cookie)
		o.wantCount(t, 1)
	})
}

func TestMaxAgeIsWhatTheStoreOfBeforeWasGiven(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["laziness-coders"], 40*day)
	store := legacy.MongoStore(o.Collection, signing)
	for _, c := range []struct {
		age   int
		known bool
	}{{90 * 86400, true}, {41 * 86400, true}, {39 * 86400, false}, {3600, false}, {0, true}} {
		store.MaxAge(c.age)
		if c.known {
			wantKnown(t, store, o.cookie)
		} else {
			wantUnknown(t, store, mongostore.ErrNotFound, "it expired", o.cookie)
		}
	}
}

func TestTheDocumentsDateCountsAndNotOnlyTheSignature(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, shape        string
		signedAgo, written time.Duration
		maxAge             int
		known              bool
	}{
		{"a session that is only read stays live with go-playground", "go-playground", 20 * day, time.Minute, 3600, true},
		{"until securecookie's age limit", "go-playground", 31 * day, time.Minute, 3600, false},
		{"an application's own modified ends a session early", "kidstuff", 0, 2 * time.Hour, 3600, false},
		{"go-stuff has a deadline of its own", "go-stuff", 20 * day, 20 * day, 3600, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := leave(t, shapes[c.shape], c.signedAgo)
			if c.shape != "go-stuff" {
				field := map[string]string{"go-playground": "lastAccessed", "kidstuff": "modified"}[c.shape]
				o.set(t, bson.D{{Key: field, Value: time.Now().Add(-c.written)}})
			}
			store := legacy.MongoStore(o.Collection, signing)
			store.MaxAge(c.maxAge)
			if c.known {
				wantKnown(t, store, o.cookie)
			} else {
				wantUnknown(t, store, mongostore.ErrNotFound, "it expired", o.cookie)
			}
		})
	}
}

func TestTheFirstLiveOfSeveralCookiesWins(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	stale := func() *http.Cookie {
		return &http.Cookie{Name: name, Value: signed(t, bson.NewObjectID().Hex(), 0)}
	}
	forged := &http.Cookie{Name: name, Value: "forged"}
	store := legacy.MongoStore(o.Collection, signing)
	wantKnown(t, store, forged, stale(), forged, forged, forged, stale(), o.cookie)
	session, err := store.New(request(t.Context(), stale(), stale(), stale(), stale(), o.cookie), name)
	if !session.IsNew || !errors.Is(err, mongostore.ErrNotFound) {
		t.Errorf("the fifth session was looked up: %v", err)
	}
}

func TestASaveWithNegativeMaxAgeEndsTheSession(t *testing.T) {
	t.Parallel()
	eachShape(t, time.Hour, func(t *testing.T, o *old) {
		store := legacy.MongoStore(o.Collection, signing)
		session := wantKnown(t, store, o.cookie)
		session.Options.MaxAge = -1
		for range 2 {
			w := httptest.NewRecorder()
			if err := session.Save(request(t.Context(), o.cookie), w); err != nil {
				t.Fatal(err)
			}
			if c := w.Header().Get("Set-Cookie"); !strings.HasPrefix(c, name+"=;") || !strings.Contains(c, "Max-Age=0") {
				t.Errorf("Set-Cookie: %q", c)
			}
			o.wantCount(t, 0)
		}
		wantUnknown(t, store, mongostore.ErrNotFound, "ended", o.cookie)
	})
}

func TestASaveThatWouldStoreIsAnError(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	store := legacy.MongoStore(o.Collection, signing)
	session := wantKnown(t, store, o.cookie)
	without := wantKnown(t, store, o.cookie)
	without.Options = nil
	for _, s := range []*sessions.Session{session, without, nil} {
		w := httptest.NewRecorder()
		if err := store.Save(request(t.Context()), w, s); err == nil || len(w.Header()) > 0 {
			t.Errorf("error %v, header %v", err, w.Header())
		}
	}
	fresh := sessions.NewSession(store, name)
	fresh.Options = &sessions.Options{MaxAge: -1}
	if err := store.Save(request(t.Context()), httptest.NewRecorder(), fresh); err != nil {
		t.Errorf("the logout of a new session: %v", err)
	}
	o.wantCount(t, 1)
}
