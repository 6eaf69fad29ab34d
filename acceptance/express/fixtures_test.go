package express

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

var update = flag.Bool("update", false, "write the fixtures of connectmongo anew")

// fixture is a session that one of the stores of Node.js has written.
type fixture struct {
	Name      string          `json:"name"`
	Crypto    map[string]any  `json:"crypto,omitempty"`
	Store     map[string]any  `json:"store,omitempty"`
	IDKey     string          `json:"idKey,omitempty"`
	SetCookie string          `json:"setCookie"`
	Document  json.RawMessage `json:"document"` // in extended JSON
}

// fixtures are what fixtures.js prints.
type fixtures struct {
	Signatures json.RawMessage   `json:"signatures"`
	Cases      []json.RawMessage `json:"cases"`
}

var goldenFile = filepath.Join("..", "..", "connectmongo", "testdata", "fixtures.json")

// TestSessionsOfEveryWriterAreRead has them written by connect-mongo 6.0.0 and
// 5.1.0 and by connect-mongodb-session 5.0.0, and reads them from the database
// where they are. They hold the same as those from which connectmongo's own
// tests read; -update makes those of them.
func TestSessionsOfEveryWriterAreRead(t *testing.T) {
	needNode(t)
	server := mongotest.Shared(t)
	db := server.Database(t)
	fresh := writeFixtures(t, server.URI(), db.Name())
	if *update {
		text, err := json.MarshalIndent(fresh, "", " ")
		if err == nil {
			err = os.WriteFile(goldenFile, append(text, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	golden := readGolden(t)
	table := newTable(t, "written by Node.js", "; what has no number is connect-mongo 6.0.0's")
	for _, raw := range fresh.Cases {
		f := parseFixture(t, raw)
		table.note(f.Name, sides{expressSide, goSide}, "read by Go", t.Run(f.Name, func(t *testing.T) {
			was, ok := golden[f.Name]
			if !ok {
				t.Fatalf("it is not in %s: run this test with -update", goldenFile)
			}
			want := was.values(t)
			session := f.load(t, db.Collection("fixture-"+f.Name))
			if !reflect.DeepEqual(session.Values, want) {
				t.Errorf("the values are %v, want %v", session.Values, want)
			}
			if session.Values["user"] != "ada" {
				t.Errorf("user is %v", session.Values["user"])
			}
		}))
	}
}

// writeFixtures runs fixtures.js.
func writeFixtures(t *testing.T, uri, database string) (all fixtures) {
	t.Helper()
	script := startNode(t, "fixtures.js", map[string]string{"uri": uri, "database": database})
	script.read(t, &all)
	for {
		var line json.RawMessage
		script.read(t, &line)
		if bytes.Contains(line, []byte(`"done"`)) {
			return all
		}
		all.Cases = append(all.Cases, line)
	}
}

func readGolden(t *testing.T) map[string]fixture {
	t.Helper()
	text, err := os.ReadFile(goldenFile) //nolint:gosec // a path of ours
	if err != nil {
		t.Fatal(err)
	}
	var all fixtures
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	golden := make(map[string]fixture, len(all.Cases))
	for _, raw := range all.Cases {
		f := parseFixture(t, raw)
		golden[f.Name] = f
	}
	return golden
}

func parseFixture(t *testing.T, raw json.RawMessage) (f fixture) {
	t.Helper()
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// codec returns the codec with which Go reads a fixture.
func (f fixture) codec() connectmongo.Codec {
	c := connectmongo.Codec{Document: f.Store["stringify"] == false}
	if options, ok := f.Store["crypto"].(map[string]any); ok {
		secret, _ := options["secret"].(string)
		c.Crypto = connectmongo.Kruptein(secret)
	}
	text := func(key string) string { s, _ := f.Crypto[key].(string); return s }
	number := func(key string) int { n, _ := f.Crypto[key].(float64); return int(n) }
	switch f.Crypto["kind"] {
	case "web":
		options := connectmongo.WebCryptoOptions{
			Algorithm: text("algorithm"), Encoding: text("encoding"), IVLength: number("ivLength"), Iterations: number("iterations"),
		}
		if salt := text("salt"); salt != "" {
			options.Salt = []byte(salt)
		}
		c.Crypto = connectmongo.WebCrypto(text("secret"), options)
	case "kruptein":
		c.Crypto = connectmongo.Kruptein(text("secret"), connectmongo.KrupteinOptions{
			Algorithm: text("algorithm"), Hashing: text("hashing"), Encoding: text("encodeas"),
		})
	}
	return c
}

// values decodes what is in the document of a fixture.
func (f fixture) values(t *testing.T) map[any]any {
	t.Helper()
	var doc bson.Raw
	if err := bson.UnmarshalExtJSON(f.Document, true, &doc); err != nil {
		t.Fatal(err)
	}
	session := sessions.Session{Values: make(map[any]any), Options: new(sessions.Options)}
	if err := f.codec().Decode(doc.Lookup("session"), &session); err != nil {
		t.Fatal(err)
	}
	return session.Values
}

// load gets the session of a fixture through a store, with the cookie that
// Express has set.
func (f fixture) load(t *testing.T, coll *mongo.Collection) *sessions.Session {
	t.Helper()
	cfg := mongostore.Config{
		PlainIDs: true, PayloadCodec: f.codec(), CookieCodecs: []securecookie.Codec{connectmongo.Cookie(secret)},
	}
	if f.IDKey != "" {
		cfg.TransformID = mongostore.HashID([]byte(f.IDKey))
	}
	store, err := mongostore.New(t.Context(), coll, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	pair, _, _ := strings.Cut(f.SetCookie, ";")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, site.String(), nil)
	r.Header.Set("Cookie", pair)
	session, err := store.Get(r, cookieName)
	if err != nil || session.IsNew {
		t.Fatalf("new %v, error %v", session.IsNew, err)
	}
	return session
}
