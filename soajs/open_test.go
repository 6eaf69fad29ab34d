package soajs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/soajs"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// cookies are signed as by express-session.
var cookies = connectmongo.Cookie("keyboard cat")

// open opens a store as an application does.
func open(ctx context.Context, c soajs.Config) (*mongostore.Store, error) {
	cfg := c.Config()
	cfg.CookieCodecs = []securecookie.Codec{cookies}
	return mongostore.Open(ctx, c.URI(), cfg)
}

func opened(t *testing.T, c soajs.Config) *mongostore.Store {
	t.Helper()
	store, err := open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// wantWorking fails unless a session is kept.
func wantWorking(t *testing.T, store *mongostore.Store) {
	t.Helper()
	r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", nil), httptest.NewRecorder()
	session, _ := store.Get(r, "soajsID")
	session.Values["user"] = "ada"
	if err := session.Save(r, w); err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	if session, err := store.Get(r, "soajsID"); err != nil || session.Values["user"] != "ada" {
		t.Errorf("values %v, error %v", session.Values, err)
	}
}

func TestTheREADMEsExampleOpensAStore(t *testing.T) {
	t.Parallel()
	server := mongotest.Standalone(t)
	database := server.Database(t)
	c := parse(t, edited(t, file(t, "readme.json"), at(t, server, database.Name())))
	store := opened(t, c)
	if coll := store.Collection(); coll.Database().Name() != database.Name() || coll.Name() != "sessions" || store.Options.MaxAge != 14*86400 {
		t.Errorf("%s.%s, MaxAge %d", coll.Database().Name(), coll.Name(), store.Options.MaxAge)
	}
	wantWorking(t, store)
}

func TestADbConfigOpensAStoreOnASecuredServer(t *testing.T) {
	t.Parallel()
	server := mongotest.Secured(t)
	ca, err := os.ReadFile(server.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := os.ReadFile(server.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	database := server.Database(t)
	const user, password = "a/d@a: +%", "p:a?s&s=w#/r d@%41+" //nolint:gosec // of this test
	err = database.RunCommand(t.Context(), bson.D{
		{Key: "createUser", Value: user + database.Name()}, {Key: "pwd", Value: password}, {Key: "roles", Value: bson.A{"dbOwner"}},
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
	buffer := map[string]any{"type": "Buffer", "data": numbers(ca)}
	for what, tls := range map[string]map[string]any{
		"authority as text":        {"sslCA": string(ca)},
		"authorities in a list":    {"sslCA": []any{string(ca)}},
		"authority as a Buffer":    {"sslCA": []any{buffer}},
		"a certificate of its own": {"sslCA": string(ca), "sslCert": string(pair), "sslKey": string(pair)},
		"any name":                 {"sslCA": string(ca), "checkServerIdentity": false},
		"nothing verified":         {"sslValidate": false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			keys := at(t, server, database.Name())
			tls["ssl"] = true
			keys["extraParam"] = map[string]any{"server": tls}
			keys["collection"] = strings.ReplaceAll(what, " ", "_")
			keys["credentials"] = map[string]any{"username": user + database.Name(), "password": password}
			wantWorking(t, opened(t, parse(t, edited(t, file(t, "readme.json"), keys))))
		})
	}
	for what, tls := range map[string]map[string]any{
		"an authority unknown to the machine":    {"ssl": true},
		"the same, whatever the server's name":   {"ssl": true, "checkServerIdentity": false},
		"TLS material without ssl":               {"sslCA": string(ca), "sslValidate": false, "checkServerIdentity": false},
		"an authority that was not to be parsed": {"ssl": true, "sslCA": "x"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			keys := at(t, server, database.Name())
			keys["extraParam"] = map[string]any{"server": tls}
			keys["URLParam"] = map[string]any{"serverSelectionTimeoutMS": 500}
			c, err := soajs.Parse([]byte(edited(t, file(t, "readme.json"), keys)))
			if err != nil { // an operator who did not look at it
				c = soajs.Config{
					Name: database.Name(), Servers: servers(t, keys), ExpireAfter: 5000, Collection: "sessions",
					ExtraParam: soajs.ExtraParam{Server: tls}, URLParam: map[string]any{"serverSelectionTimeoutMS": 500},
				}
			}
			if store, err := open(t.Context(), c); !errors.Is(err, mongostore.ErrUnavailable) {
				t.Errorf("store %v, error %v", store, err)
			}
			if what == "TLS material without ssl" && len(c.Ignored()) != 3 {
				t.Errorf("ignored %q", c.Ignored())
			}
		})
	}
}

func servers(t *testing.T, keys map[string]any) []soajs.Server {
	t.Helper()
	s := keys["servers"].([]any)[0].(map[string]any)
	return []soajs.Server{{Host: s["host"].(string), Port: s["port"].(int)}}
}

func numbers(data []byte) []any {
	list := make([]any, len(data))
	for i, b := range data {
		list[i] = int(b)
	}
	return list
}

// What connect-mongo-soajs wrote with stringify false and true, of one and the same session. The cookie has the
// accessors of express-session's Cookie beside its fields, as bson 0.4 stored them.
func written(id string, stringify bool, expires time.Time) bson.D {
	doc := bson.D{{Key: "_id", Value: id}, {Key: "session", Value: nil}, {Key: "expires", Value: expires}}
	if stringify {
		doc[1].Value = fmt.Sprintf(`{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/","domain":"localhost"},"user":"ada","visits":3,"cart":["tea","milk"],"seen":%q}`,
			expires.UTC().Format("2006-01-02T15:04:05.000Z"))
		return doc
	}
	doc[1].Value = bson.D{
		{Key: "cookie", Value: bson.D{
			{Key: "path", Value: "/"},
			{Key: "_expires", Value: nil},
			{Key: "originalMaxAge", Value: nil},
			{Key: "httpOnly", Value: true},
			{Key: "domain", Value: "localhost"},
			{Key: "expires", Value: nil},
			{Key: "maxAge", Value: nil},
			{Key: "data", Value: bson.D{
				{Key: "originalMaxAge", Value: nil},
				{Key: "expires", Value: nil},
				{Key: "httpOnly", Value: true},
				{Key: "domain", Value: "localhost"},
				{Key: "path", Value: "/"},
			}},
		}},
		{Key: "user", Value: "ada"},
		{Key: "visits", Value: int32(3)},
		{Key: "cart", Value: bson.A{"tea", "milk"}},
		{Key: "seen", Value: expires},
	}
	return doc
}

// withCookie returns a request with the cookie of a session of soajs.
func withCookie(t *testing.T, id string) *http.Request {
	t.Helper()
	value, err := cookies.Encode("soajsID", []byte(id))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", nil)
	r.AddCookie(&http.Cookie{Name: "soajsID", Value: value})
	return r
}

func TestSessionsThatSoajsWroteAreReadAndGoOn(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ wrote, reads bool }{
		"documents":            {false, false},
		"text":                 {true, true},
		"documents, from text": {true, false},
		"text, from documents": {false, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			server := mongotest.Standalone(t)
			database := server.Database(t)
			keys := at(t, server, database.Name())
			keys["stringify"] = c.reads
			store := opened(t, parse(t, edited(t, file(t, "readme.json"), keys)))
			const live, ended = "jVbGF1bDp3b3JsZC1zZXNzaW9uLWlkMTI", "kWcHG2cEq4c4KtaD2tfXOncrpuLXlsMjM"
			deadline := time.Now().Add(time.Hour).Truncate(time.Millisecond)
			if _, err := store.Collection().InsertMany(t.Context(), []any{written(live, c.wrote, deadline), written(ended, c.wrote, time.Now().Add(-time.Second))}); err != nil {
				t.Fatal(err)
			}
			if session, err := store.Get(withCookie(t, ended), "soajsID"); err != nil || !session.IsNew {
				t.Errorf("a session that has expired: new %v, error %v", session.IsNew, err)
			}
			r := withCookie(t, live)
			session, err := store.Get(r, "soajsID")
			if err != nil || session.IsNew || session.Values["user"] != "ada" || fmt.Sprint(session.Values["visits"], session.Values["cart"]) != "3 [tea milk]" {
				t.Fatalf("new %v, values %v, error %v", session.IsNew, session.Values, err)
			}
			session.Values["visits"] = 4
			if err := session.Save(r, httptest.NewRecorder()); err != nil {
				t.Fatal(err)
			}
			again, err := store.Get(withCookie(t, live), "soajsID")
			if err != nil || again.Values["user"] != "ada" || fmt.Sprint(again.Values["visits"]) != "4" {
				t.Errorf("values %v, error %v", again.Values, err)
			}
		})
	}
}
