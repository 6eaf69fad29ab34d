package express

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

const (
	secret    = "keyboard cat"
	oldSecret = "it was a dog"
	encSecret = "correct horse battery staple"
	idKey     = "pepper"
	fortnight = 14 * 24 * time.Hour
)

// variant is one way in which both sides can be set up.
type variant struct {
	name    string
	express app
	config  mongostore.Config
	secrets []string // of Go
	maxAge  int      // of Go, in seconds; -1: a cookie that ends with the browser
}

// variants are all that the two have in common.
func variants() []variant {
	web := func(options connectmongo.WebCryptoOptions) connectmongo.Codec {
		return connectmongo.Codec{Crypto: connectmongo.WebCrypto(encSecret, options)}
	}
	return []variant{
		{name: "stringify: true"},
		{
			name:    "stringify: false",
			express: app{Store: map[string]any{"stringify": false}},
			config:  mongostore.Config{PayloadCodec: connectmongo.Codec{Document: true}},
		},
		{
			name:    "Web Crypto, base64",
			express: app{Crypto: map[string]any{"kind": "web", "secret": encSecret}},
			config:  mongostore.Config{PayloadCodec: web(connectmongo.WebCryptoOptions{})},
		},
		{
			name:    "Web Crypto, base64url",
			express: app{Crypto: map[string]any{"kind": "web", "secret": encSecret, "encoding": "base64url"}},
			config:  mongostore.Config{PayloadCodec: web(connectmongo.WebCryptoOptions{Encoding: "base64url"})},
		},
		{
			name: "Web Crypto, hex, salt, iterations",
			express: app{Crypto: map[string]any{
				"kind": "web", "secret": encSecret, "encoding": "hex", "salt": "sea", "iterations": 1000, "ivLength": 16,
			}},
			config: mongostore.Config{PayloadCodec: web(connectmongo.WebCryptoOptions{
				Encoding: "hex", Salt: []byte("sea"), Iterations: 1000, IVLength: 16,
			})},
		},
		{
			name:    "Web Crypto, AES-CBC",
			express: app{Crypto: map[string]any{"kind": "web", "secret": encSecret, "algorithm": "AES-CBC"}},
			config:  mongostore.Config{PayloadCodec: web(connectmongo.WebCryptoOptions{Algorithm: "AES-CBC"})},
		},
		{
			name: "Web Crypto, stringify: false",
			express: app{
				Store:  map[string]any{"stringify": false},
				Crypto: map[string]any{"kind": "web", "secret": encSecret},
			},
			config: mongostore.Config{PayloadCodec: connectmongo.Codec{Document: true, Crypto: connectmongo.WebCrypto(encSecret)}},
		},
		{
			name:    "kruptein",
			express: app{Crypto: map[string]any{"kind": "kruptein", "secret": encSecret}},
			config:  mongostore.Config{PayloadCodec: connectmongo.Codec{Crypto: connectmongo.Kruptein(encSecret)}},
		},
		{
			name: "kruptein, hex, stringify: false",
			express: app{
				Store: map[string]any{"stringify": false},
				Crypto: map[string]any{
					"kind": "kruptein", "secret": encSecret, "encodeas": "hex", "algorithm": "aes-128-gcm", "hashing": "sha256",
				},
			},
			config: mongostore.Config{PayloadCodec: connectmongo.Codec{Crypto: connectmongo.Kruptein(encSecret,
				connectmongo.KrupteinOptions{Encoding: "hex", Algorithm: "aes-128-gcm", Hashing: "sha256"})}},
		},
		{
			name:    "crypto (the old option)",
			express: app{Store: map[string]any{"crypto": map[string]any{"secret": encSecret}}},
			config:  mongostore.Config{PayloadCodec: connectmongo.Codec{Crypto: connectmongo.Kruptein(encSecret)}},
		},
		{name: "timestamps: true", express: app{Store: map[string]any{"timestamps": true}}},
		{
			name:    "touchAfter: 3600",
			express: app{Store: map[string]any{"touchAfter": 3600}},
			config:  mongostore.Config{LastModified: true},
		},
		{
			name:    "secret: two",
			express: app{Session: map[string]any{"secret": []string{secret, oldSecret}}},
			secrets: []string{oldSecret, secret},
		},
		{
			name:    "transformId",
			express: app{IDKey: idKey},
			config:  mongostore.Config{TransformID: mongostore.HashID([]byte(idKey))},
		},
		{
			name:    "cookie.maxAge: null",
			express: app{Session: map[string]any{"cookie": map[string]any{"secure": true, "sameSite": "lax"}}},
			maxAge:  -1,
		},
	}
}

// stage is a variant at work: its two sides, and the collection between them.
type stage struct {
	variant
	coll *mongo.Collection
	id   identity
	urls map[string]string
}

// sides are where a session begins, and where it is used then.
type sides struct{ from, to string }

const (
	goSide      = "Go"
	expressSide = "Express"
)

// steps are what a browser does at the two sides, one after the other.
var steps = []struct {
	name string
	run  func(*testing.T, *stage, *browser, sides)
}{
	{"sign in, read", signInAndRead},
	{"change", change},
	{"touch", touch},
	{"regenerate", regenerate},
	{"log out", logOut},
	{"expire", expire},
}

func TestOneLoginForExpressAndGo(t *testing.T) {
	t.Parallel()
	needNode(t)
	server := mongotest.Shared(t)
	db, id := server.Database(t), newIdentity(t)
	all := variants()
	apps, names := make([]app, len(all)), make([]string, len(all))
	for i, v := range all {
		apps[i], names[i] = v.app(db.Name()), v.name
	}
	urls := startExpress(t, server.URI(), id, apps)
	table := newTable(t, "Express and Go", "; in each cell, the session that Express began, then that of Go\n"+versions(t)+", "+server.String(), names...)
	for _, v := range all {
		coll := db.Collection(v.name)
		s := &stage{v, coll, id, map[string]string{
			expressSide: urls[v.name], goSide: startGo(t, v.open(t, coll)),
		}}
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			for _, way := range []sides{{expressSide, goSide}, {goSide, expressSide}} {
				t.Run("from "+way.from, func(t *testing.T) {
					b := newBrowser(t, id)
					for _, step := range steps {
						table.note(v.name, way, step.name, t.Run(step.name, func(t *testing.T) { step.run(t, s, b, way) }))
					}
				})
			}
		})
	}
}

// app returns the settings of Express.
func (v variant) app(database string) app {
	a := v.express
	a.Name, a.Database, a.Collection = v.name, database, v.name
	options := map[string]any{
		"secret": secret,
		"cookie": map[string]any{"secure": true, "sameSite": "lax", "maxAge": fortnight.Milliseconds()},
	}
	maps.Copy(options, a.Session)
	a.Session = options
	return a
}

// open returns the store of Go.
func (v variant) open(t *testing.T, coll *mongo.Collection) *mongostore.Store {
	t.Helper()
	cfg, secrets := v.config, v.secrets
	if len(secrets) == 0 {
		secrets = []string{secret}
	}
	cfg.PlainIDs, cfg.CookieCodecs = true, []securecookie.Codec{connectmongo.Cookie(secrets...)}
	if cfg.PayloadCodec == nil {
		cfg.PayloadCodec = connectmongo.Codec{}
	}
	store, err := mongostore.New(t.Context(), coll, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if v.maxAge != 0 {
		store.MaxAge(max(v.maxAge, 0))
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func signInAndRead(t *testing.T, s *stage, b *browser, way sides) {
	b.must(t, http.MethodPost, s.urls[way.from]+"/sign-in?user=ada", nil)
	if b.cookie() == "" {
		t.Fatal("the browser got no cookie")
	}
	b.wantSession(t, s.urls[way.to], map[string]any{"user": "ada"})
	b.wantSession(t, s.urls[way.from], map[string]any{"user": "ada"})
}

func change(t *testing.T, s *stage, b *browser, way sides) {
	want := map[string]any{"user": "ada", "cart": map[string]any{"apples": 3, "pears": []any{1.5, "green", nil}}}
	b.must(t, http.MethodPost, s.urls[way.to]+"/set", map[string]any{"cart": want["cart"]})
	b.wantSession(t, s.urls[way.from], want)
	want["theme"] = "<dark> & 😀"
	b.must(t, http.MethodPost, s.urls[way.from]+"/set", map[string]any{"theme": want["theme"]})
	b.wantSession(t, s.urls[way.to], want)
	b.wantSession(t, s.urls[way.from], want)
}

// touch reads at one side and sees the deadline move, by which the other one
// goes; the session stays as it is.
func touch(t *testing.T, s *stage, _ *browser, way sides) {
	b := newBrowser(t, s.id)
	b.must(t, http.MethodPost, s.urls[way.from]+"/sign-in?user=tom", nil)
	id := s.idOf(t, b)
	s.age(t, id, 2*time.Hour)
	before := s.document(t, id)
	b.wantSession(t, s.urls[way.to], map[string]any{"user": "tom"})
	after := s.document(t, id)
	if got := time.Until(after.Expires).Round(time.Minute); got != fortnight {
		t.Errorf("the session ends in %v, want 14 days", got)
	}
	if !after.Session.Equal(before.Session) {
		t.Errorf("the session was %v and is %v", before.Session, after.Session)
	}
	if s.express.Store["touchAfter"] != nil && time.Since(after.LastModified) > time.Minute {
		t.Errorf("lastModified is %v", after.LastModified)
	}
	if s.express.Store["timestamps"] != nil && time.Since(after.UpdatedAt) > time.Minute {
		t.Errorf("updatedAt is %v", after.UpdatedAt)
	}
}

func regenerate(t *testing.T, s *stage, b *browser, way sides) {
	old := b.replay(t, b.cookie())
	want := b.must(t, http.MethodGet, s.urls[way.from]+"/session", nil)
	b.must(t, http.MethodPost, s.urls[way.to]+"/regenerate", nil)
	for _, url := range s.urls {
		b.wantSession(t, url, want)
		old.wantSession(t, url, nil)
	}
}

func logOut(t *testing.T, s *stage, b *browser, way sides) {
	copied := b.replay(t, b.cookie())
	b.must(t, http.MethodPost, s.urls[way.to]+"/sign-out", nil)
	if value := b.cookie(); value != "" {
		t.Errorf("the browser still has the cookie %q", value)
	}
	for _, url := range s.urls {
		b.wantSession(t, url, nil)
		copied.wantSession(t, url, nil)
	}
}

// expire lets a session of two seconds be used at the other side, and then run
// out. Express cuts the time in its cookie to whole seconds.
func expire(t *testing.T, s *stage, _ *browser, way sides) {
	b := newBrowser(t, s.id)
	b.must(t, http.MethodPost, s.urls[way.from]+"/sign-in?user=eve&maxAge=2", nil)
	b.wantSession(t, s.urls[way.to], map[string]any{"user": "eve"})
	copied := b.replay(t, b.cookie())
	left := time.Until(s.document(t, s.idOf(t, copied)).Expires)
	if left > 2*time.Second {
		t.Errorf("the session ends in %v, want two seconds at most", left)
	}
	select {
	case <-time.After(left):
	case <-t.Context().Done():
	}
	for _, url := range s.urls {
		copied.wantSession(t, url, nil)
	}
}

// document is what the sides share.
type document struct {
	ID           string        `bson:"_id"`
	Session      bson.RawValue `bson:"session"`
	Expires      time.Time     `bson:"expires"`
	CreatedAt    time.Time     `bson:"createdAt"`
	UpdatedAt    time.Time     `bson:"updatedAt"`
	LastModified time.Time     `bson:"lastModified"`
}

func (s *stage) document(t *testing.T, id string) (doc document) {
	t.Helper()
	if err := s.coll.FindOne(t.Context(), bson.M{"_id": id}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// idOf returns the _id of the session of a browser.
func (s *stage) idOf(t *testing.T, b *browser) (id string) {
	t.Helper()
	if err := connectmongo.Cookie(secret, oldSecret).Decode(cookieName, b.cookie(), &id); err != nil {
		t.Fatal(err)
	}
	if s.config.TransformID != nil {
		return s.config.TransformID(id)
	}
	return id
}

// age makes a session look as if it had been used last some time ago.
func (s *stage) age(t *testing.T, id string, by time.Duration) {
	t.Helper()
	doc := s.document(t, id)
	set := bson.M{"expires": doc.Expires.Add(-by)}
	for field, at := range map[string]time.Time{"updatedAt": doc.UpdatedAt, "lastModified": doc.LastModified} {
		if !at.IsZero() {
			set[field] = at.Add(-by)
		}
	}
	if _, err := s.coll.UpdateByID(t.Context(), id, bson.M{"$set": set}); err != nil {
		t.Fatal(err)
	}
}
