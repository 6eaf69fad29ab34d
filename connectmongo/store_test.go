package connectmongo_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

const name = "connect.sid"

// newCollection returns a collection with the document of a fixture, which is live.
func newCollection(t *testing.T, f fixture) (coll *mongo.Collection, id string) {
	t.Helper()
	coll = mongotest.Shared(t).Database(t).Collection("sessions")
	var doc bson.M
	if err := bson.UnmarshalExtJSON(f.Document, true, &doc); err != nil {
		t.Fatal(err)
	}
	doc["expires"] = time.Now().Add(time.Hour)
	if _, err := coll.InsertOne(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	return coll, doc["_id"].(string)
}

func newStore(t *testing.T, coll *mongo.Collection, codec connectmongo.Codec) *mongostore.Store {
	t.Helper()
	store, err := mongostore.New(t.Context(), mongotest.ForStore(t, coll), &mongostore.Config{
		PlainIDs: true, NoIndexes: true, CookieCodecs: []securecookie.Codec{connectmongo.Cookie(cookieSecret)}, PayloadCodec: codec,
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// request is one with this value of the cookie.
func request(t *testing.T, value string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Cookie", name+"="+value)
	return r
}

// document returns what is stored.
func document(t *testing.T, coll *mongo.Collection, id string) bson.Raw {
	t.Helper()
	raw, err := coll.FindOne(t.Context(), bson.M{"_id": id}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func setPayload(t *testing.T, coll *mongo.Collection, id string, payload any) {
	t.Helper()
	if _, err := coll.UpdateByID(t.Context(), id, bson.M{"$set": bson.M{"session": payload}}); err != nil {
		t.Fatal(err)
	}
}

func TestR02ACookieThatDoesNotVerifyLosesNoSession(t *testing.T) {
	t.Parallel()
	coll, id := newCollection(t, fixtureOf(t, "string"))
	store := newStore(t, coll, connectmongo.Codec{})
	good := encoded(t, connectmongo.Cookie(cookieSecret), id)
	before := document(t, coll, id)
	for what, value := range map[string]string{
		"signed with a retired secret": encoded(t, connectmongo.Cookie("retired"), id),
		"of another session's name":    strings.Replace(good, id, "other", 1),
		"with a signature cut off":     good[:len(good)-4],
		"not signed":                   "s%3A" + id,
		"the bare id":                  id,
	} {
		session, err := store.New(request(t, value), name)
		var e securecookie.Error
		if !errors.Is(err, mongostore.ErrInvalidCookie) || !errors.As(err, &e) || !e.IsDecode() || !session.IsNew {
			t.Errorf("%s: new %v, error %v", what, session.IsNew, err)
		}
		if err != nil && strings.Contains(err.Error(), id) {
			t.Errorf("%s: the error shows the id: %v", what, err)
		}
		if err := session.Save(request(t, value), httptest.NewRecorder()); err != nil {
			t.Errorf("%s: Save: %v", what, err)
		}
	}
	if after := document(t, coll, id); after.String() != before.String() {
		t.Errorf("the document was %v and is %v", before, after)
	}
	session, err := store.New(request(t, good), name)
	if err != nil || session.Values["user"] != "ada" {
		t.Errorf("the good cookie gives %v, %v", session.Values, err)
	}
}

func TestR03APayloadThatCannotBeReadIsErrDecodeAndStays(t *testing.T) {
	t.Parallel()
	web, kruptein := fixtureOf(t, "web-base64"), fixtureOf(t, "kruptein")
	cipher := func(f fixture) string { s, _ := f.payload(t).StringValueOK(); return s }
	middle := func(s string) string { return s[:len(s)/2] + "AAAA" + s[len(s)/2+4:] }
	wrong := func(f fixture) connectmongo.Codec {
		f.Crypto.Secret = "wrong"
		return f.codec()
	}
	for what, c := range map[string]struct {
		f       fixture
		codec   connectmongo.Codec
		payload any
		says    string
	}{
		"no JSON":                  {fixtureOf(t, "string"), connectmongo.Codec{}, "not JSON", "not JSON"},
		"a number":                 {fixtureOf(t, "string"), connectmongo.Codec{}, 5, "32-bit integer"},
		"gob":                      {fixtureOf(t, "string"), connectmongo.Codec{}, []byte{1, 2}, "binary"},
		"a ciphertext, no Crypto":  {web, connectmongo.Codec{}, cipher(web), "Codec.Crypto is missing"},
		"in the clear, Crypto":     {web, web.codec(), `{"cookie":{}}`, "cannot be decrypted"},
		"a clear document, Crypto": {web, web.codec(), bson.M{"cookie": bson.M{}}, "not encrypted"},
		"Web: wrong secret":        {web, wrong(web), cipher(web), "another secret"},
		"Web: truncated":           {web, web.codec(), cipher(web)[:len(cipher(web))-8], "another secret"},
		"Web: much truncated":      {web, web.codec(), cipher(web)[:8], "too short"},
		"Web: altered":             {web, web.codec(), middle(cipher(web)), "another secret"},
		"kruptein: wrong secret":   {kruptein, wrong(kruptein), cipher(kruptein), "another secret"},
		"kruptein: truncated":      {kruptein, kruptein.codec(), cipher(kruptein)[:400], "not a ciphertext"},
		"kruptein: altered":        {kruptein, kruptein.codec(), middle(cipher(kruptein)), "another secret"},
		"kruptein: as Web Crypto":  {kruptein, web.codec(), cipher(kruptein), "another secret"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			coll, id := newCollection(t, c.f)
			store := newStore(t, coll, c.codec)
			good := request(t, encoded(t, connectmongo.Cookie(cookieSecret), id))
			setPayload(t, coll, id, c.payload)
			before := document(t, coll, id)
			session, err := store.New(good, name)
			if !errors.Is(err, mongostore.ErrDecode) || !strings.Contains(err.Error(), c.says) || !session.IsNew {
				t.Errorf("new %v, error %v, want it to say %q", session.IsNew, err, c.says)
			}
			if strings.Contains(err.Error(), "ada") || strings.Contains(err.Error(), id) {
				t.Errorf("the error shows too much: %v", err)
			}
			w := httptest.NewRecorder()
			if err := session.Save(good, w); err != nil || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("Save: %v, cookie %q", err, w.Header().Get("Set-Cookie"))
			}
			if after := document(t, coll, id); after.String() != before.String() {
				t.Errorf("the document was %v and is %v", before, after)
			}
			setPayload(t, coll, id, c.f.payload(t)) // and back again
			if session, err := newStore(t, coll, c.f.codec()).New(good, name); err != nil || session.Values["user"] != "ada" {
				t.Errorf("put right, it gives %v, %v", session.Values, err)
			}
		})
	}
}

func TestWhatExpressWroteSurvivesASaveThatChangesSomethingElse(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"string", "document", "web-base64", "kruptein", "5.1.0-crypto-document", "connect-mongodb-session"} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			f := fixtureOf(t, from)
			coll, id := newCollection(t, f)
			if server := mongotest.Shared(t); f.payload(t).Type == bson.TypeEmbeddedDocument && server.OlderThan(t, 5, 0) {
				t.Skipf("MongoDB before 5.0 takes no key that begins with $ in an update: %s", server)
			}
			store := newStore(t, coll, f.codec())
			good := request(t, encoded(t, connectmongo.Cookie(cookieSecret), id))
			session, err := store.New(good, name)
			if err != nil {
				t.Fatal(err)
			}
			before := fieldsOf(t, f.codec(), f.payload(t))
			session.Values["new"] = true
			if err := session.Save(good, httptest.NewRecorder()); err != nil {
				t.Fatal(err)
			}
			after := fieldsOf(t, f.codec(), document(t, coll, id).Lookup("session"))
			for key, value := range before {
				if key != "cookie" && after[key] != value {
					t.Errorf("%q was %s and is %s", key, value, after[key])
				}
			}
		})
	}
}

func TestASaveThatChangesNothingWritesNoPayload(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"string", "document", "web-base64", "kruptein"} {
		f := fixtureOf(t, from)
		coll, id := newCollection(t, f)
		good := request(t, encoded(t, connectmongo.Cookie(cookieSecret), id))
		session, err := newStore(t, coll, f.codec()).New(good, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Save(good, httptest.NewRecorder()); err != nil {
			t.Fatal(err)
		}
		after := document(t, coll, id)
		if !after.Lookup("session").Equal(f.payload(t)) {
			t.Errorf("%s: the payload is %v", from, after.Lookup("session"))
		}
		if left := time.Until(after.Lookup("expires").Time()).Round(time.Minute); left != 24*time.Hour {
			t.Errorf("%s: it lives %v, want the day that Express gave it", from, left)
		}
	}
}

func TestR05ALogoutTakesTheAttributesThatExpressGaveTheCookie(t *testing.T) {
	t.Parallel()
	f := fixtureOf(t, "every-attribute")
	coll, id := newCollection(t, f)
	good := request(t, encoded(t, connectmongo.Cookie(cookieSecret), id))
	session, err := newStore(t, coll, f.codec()).New(good, name)
	if err != nil {
		t.Fatal(err)
	}
	session.Options.MaxAge = -1
	w := httptest.NewRecorder()
	if err := session.Save(good, w); err != nil {
		t.Fatal(err)
	}
	if got := w.Header().Get("Set-Cookie"); !strings.Contains(got, "Path=/app; Domain=example.com;") {
		t.Errorf("the cookie is %s", got)
	}
}

// The store of an application that leaves Express behind: its sessions go on in one with split tokens.
func TestR23AStoreOfTheseSessionsCanBePrevious(t *testing.T) {
	t.Parallel()
	f := fixtureOf(t, "string")
	coll, id := newCollection(t, f)
	previous := newStore(t, coll, f.codec())
	store, err := mongostore.New(t.Context(), mongotest.ForStore(t, coll.Database().Collection("logins")),
		&mongostore.Config{Previous: previous, PayloadCodec: mongostore.JSONCodec{}}, []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	good := request(t, encoded(t, connectmongo.Cookie(cookieSecret), id))
	session, err := store.New(good, name)
	if err != nil || session.Values["user"] != "ada" {
		t.Fatalf("the values are %v, %v", session.Values, err)
	}
	if err := session.Save(good, httptest.NewRecorder()); err != nil {
		t.Fatal(err)
	}
	if n, err := coll.CountDocuments(t.Context(), bson.M{}); err != nil || n != 0 {
		t.Errorf("there are still %d sessions of Express, %v", n, err)
	}
}

func TestR22NewReportsWhatIsWrongWithTheSecrets(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]mongostore.Config{
		"WebCrypto has no secret": {PayloadCodec: connectmongo.Codec{Crypto: connectmongo.WebCrypto("")}, CookieCodecs: []securecookie.Codec{connectmongo.Cookie("a")}},
		"Cookie has no secret":    {CookieCodecs: []securecookie.Codec{connectmongo.Cookie()}},
		"secret 1 of Cookie":      {CookieCodecs: []securecookie.Codec{connectmongo.Cookie("")}},
	} {
		if _, err := mongostore.NewMemory(&cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want it to say %q", err, want)
		}
	}
}
