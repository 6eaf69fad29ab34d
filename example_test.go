package mongostore_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// To replace a key, put the new one first and keep the old one until its cookies have expired. The nils
// say that the cookies are signed but not encrypted.
func ExampleNew_keyRotation() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	coll := client.Database("app").Collection("sessions")
	newKey, oldKey := []byte(os.Getenv("SESSION_KEY")), []byte(os.Getenv("OLD_SESSION_KEY"))
	store, err := mongostore.New(context.Background(), coll, nil, newKey, nil, oldKey, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = store
}

// A handler is tested with a real browser's rules but without a MongoDB. The cookie is Secure, so the
// server speaks TLS.
//
//nolint:noctx // as a test would write it
func ExampleNewMemory() {
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewTLSServer(counter(store))
	defer server.Close()
	browser := server.Client()
	browser.Jar, _ = cookiejar.New(nil)

	for range 2 {
		response, err := browser.Get(server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.Copy(os.Stdout, response.Body)
		_ = response.Body.Close()
	}
	// Output:
	// visit 1
	// visit 2
}

// In a bubble of testing/synctest an hour passes at once.
//
//nolint:forbidigo,noctx // so does time.Sleep
func TestSessionEndsAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := mongostore.NewMemory(&mongostore.Config{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		first := httptest.NewRecorder()
		counter(store).ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/", nil))

		time.Sleep(time.Hour) // takes no time here

		second, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(first.Result().Cookies()[0])
		counter(store).ServeHTTP(second, r)
		if got := second.Body.String(); got != "visit 1\n" {
			t.Errorf("after an hour: %q", got)
		}
	})
}

// Lifetimes of an application to which people sign in for a working day.
func ExampleConfig() {
	cfg := &mongostore.Config{
		TTL:         2 * time.Hour,   // idle: since the last Save
		MaxLifetime: 12 * time.Hour,  // absolute: since the login
		TouchAfter:  5 * time.Minute, // fewer writes; the idle limit is shorter by up to as much
		SkipEmpty:   true,            // no record for a visitor without values
		UserID: func(session *sessions.Session) string {
			user, _ := session.Values["user"].(string)
			return user
		},
	}
	store, err := mongostore.NewMemory(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Options.MaxAge)
	// Output: 7200
}

// All that is wrong with a Config is reported at once.
func ExampleConfig_invalid() {
	_, err := mongostore.NewMemory(&mongostore.Config{TTL: -time.Hour, MaxBytes: 64 << 20})
	fmt.Println(err)
	// Output:
	// mongostore: Config.TTL is -1h0m0s, not between 1s and 87600h0m0s
	// mongostore: Config.MaxBytes is 67108864, not between 64 and 15728640 (15 MiB)
}

// Options are the defaults of every cookie. Change fields rather than replace it, or Secure, HttpOnly and
// SameSite are lost.
func ExampleStore() {
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	store.Options.SameSite = http.SameSiteStrictMode
	store.MaxAge(0) // cookies that go when the browser is closed

	w := new(visitor).send(counter(store))
	_, attributes, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	fmt.Println(attributes)
	// Output: Path=/; HttpOnly; Secure; SameSite=Strict
}

// Of the errors of Get only an outage needs an answer of its own. Here the database is down.
//
//nolint:errcheck,gosec // as an application would write it; a request's cookie has no attributes
func ExampleStore_Get() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1"))
	if err != nil {
		log.Fatal(err)
	}
	coll := client.Database("app").Collection("sessions")
	key := []byte("0123456789abcdef0123456789abcdef") // yours is random and not in the source
	cfg := &mongostore.Config{NoIndexes: true, Timeout: 50 * time.Millisecond}
	store, err := mongostore.New(context.Background(), coll, cfg, key)
	if err != nil {
		log.Fatal(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, "sid")
		if errors.Is(err, mongostore.ErrUnavailable) {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		// Any other error is for the log at most: the session is new, go on with it.
		fmt.Fprintln(w, "hello, visitor without a session:", session.IsNew)
	})

	up, err := mongostore.NewMemory(nil, key)
	if err != nil {
		log.Fatal(err)
	}
	good := newVisitor(up).cookie
	forged := &http.Cookie{Name: "sid", Value: "forged"}
	for _, cookie := range []*http.Cookie{good, forged} {
		w := (&visitor{cookie}).send(hello)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 503 please try again
	// 200 hello, visitor without a session: true
}

// A session may end between the Get and the Save of a request, by a logout in another tab for example. A
// Save never brings it back.
//
//nolint:errcheck // as an application would write it
func ExampleStore_Save() {
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	order := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["order"] = r.FormValue("item")
		_ = store.Destroy(r.Context(), session.ID) // done by another request, at this very moment

		err := session.Save(r, w) // not sessions.Save, which turns errors into text
		switch {
		case errors.Is(err, mongostore.ErrNotFound):
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		case errors.Is(err, mongostore.ErrUnavailable):
			http.Error(w, "please try again", http.StatusServiceUnavailable)
		case err != nil:
			log.Print(err)
			http.Error(w, "something went wrong", http.StatusInternalServerError)
		default:
			fmt.Fprintln(w, "ordered")
		}
	})

	w := newVisitor(store).send(order, "item", "tea")
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 303 /login
}

// At login, Regenerate makes the cookie of before worthless. MaxAge says how long the new one stays.
func ExampleStore_Regenerate() {
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["user"] = r.FormValue("user") // after you have checked the password
		session.Options.MaxAge = 0                   // the cookie goes when the browser is closed
		if r.FormValue("remember") != "" {
			session.Options.MaxAge = 30 * 24 * 60 * 60 // 30 days, in seconds
		}
		store.Regenerate(session)
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})

	ada := newVisitor(store)
	before := *ada
	ada.send(login, "user", "ada", "remember", "yes")
	fmt.Println("the cookie stays", time.Duration(ada.cookie.MaxAge)*time.Second)
	fmt.Println("with the new one:", ada.session(store).Values["user"])
	fmt.Println("with the old one:", before.session(store).Values["user"])
	// Output:
	// the cookie stays 720h0m0s
	// with the new one: ada
	// with the old one: <nil>
}

// A MaxAge below 0 deletes the record, so that no copy of the cookie works any more.
func ExampleStore_Save_logout() {
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	logout := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Options.MaxAge = -1
		if err := session.Save(r, w); err != nil {
			http.Error(w, "you are logged out in this browser only", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})

	ada := newVisitor(store)
	stolen := *ada
	fmt.Println("visits:", stolen.session(store).Values["visits"])
	ada.send(logout)
	fmt.Println("visits:", stolen.session(store).Values["visits"])
	// Output:
	// visits: 1
	// visits: <nil>
}

// Destroy ends a session from outside its requests. The id is what session.ID and Record.ID say.
func ExampleStore_Destroy() {
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	ada := newVisitor(store)
	id := ada.session(store).ID

	err = store.Destroy(context.Background(), id)
	fmt.Println(err, ada.session(store).IsNew)
	// Output: <nil> true
}

// With KeepAlive every request prolongs the session, also one that only reads.
//
//nolint:errcheck // as an application would write it
func ExampleStore_KeepAlive() {
	store, err := mongostore.NewMemory(&mongostore.Config{TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	pages := http.NewServeMux()
	pages.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	handler := store.KeepAlive("sid")(pages)

	w := newVisitor(store).send(handler)
	fmt.Print(w.Body)
	// Output: hello
}

// A page about the visitor's own session.
func ExampleStore_Record() {
	store, err := mongostore.NewMemory(&mongostore.Config{TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	session := newVisitor(store).session(store)
	if record, ok := store.Record(session); ok {
		fmt.Println(record.ID == session.ID, record.Name, record.ExpiresAt.Sub(record.CreatedAt))
	}
	// Output: true sid 1h0m0s
}

// A program for cron, for a collection from which MongoDB shall not delete by itself.
func ExampleStore_RemoveExpired() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	coll := client.Database("app").Collection("sessions")
	cfg := &mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled}
	store, err := mongostore.New(context.Background(), coll, cfg, []byte(os.Getenv("SESSION_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	removed, err := store.RemoveExpired(context.Background())
	fmt.Println(removed, err)
}

// A program for the deployment, with a database user that may create indexes. The application itself sets
// NoIndexes too, and needs to find, insert, update and remove only.
func ExampleStore_EnsureIndexes() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	coll := client.Database("app").Collection("sessions")
	cfg := &mongostore.Config{NoIndexes: true}
	store, err := mongostore.New(context.Background(), coll, cfg, []byte(os.Getenv("SESSION_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	if err := store.EnsureIndexes(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// Open has a client of its own, which Close disconnects. The URI may have everything that the driver knows.
//
//nolint:errcheck // Close always returns nil
func ExampleOpen() {
	uri := os.Getenv("MONGODB_URI") // mongodb+srv://app:secret@cluster.example.com/app?maxPoolSize=50
	store, err := mongostore.Open(context.Background(), uri, nil, []byte(os.Getenv("SESSION_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}

// What a URI cannot say, ClientOptions do: here a pool of certificates in memory.
//
//nolint:errcheck // Close always returns nil
func ExampleOpen_clientOptions() {
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM([]byte(os.Getenv("MONGODB_CA")))
	cfg := &mongostore.Config{
		ClientOptions: options.Client().SetTLSConfig(&tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}),
		Database:      "app",
		Collection:    "logins",
	}
	store, err := mongostore.Open(context.Background(), os.Getenv("MONGODB_URI"), cfg, []byte(os.Getenv("SESSION_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}

// BSONCodec stores the values as a document, which MongoDB can query:
// db.sessions.find({"session.cart.total": {$gt: 100}}).
func ExampleBSONCodec() {
	store, err := mongostore.NewMemory(&mongostore.Config{PayloadCodec: mongostore.BSONCodec{}})
	if err != nil {
		log.Fatal(err)
	}
	v := new(visitor)
	v.send(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["cart"] = map[string]any{"total": 120, "items": []string{"tea", "milk"}}
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
		}
	}))
	cart := v.session(store).Values["cart"].(map[string]any)
	fmt.Printf("%v %T\n", cart["total"], cart["items"])
	// Output: 120 []interface {}
}

// BytesCodec takes the two functions that a module for MessagePack, CBOR and the like has. Those of
// encoding/json, which stand in for them here, have the same shape.
func ExampleBytesCodec() {
	marshal, unmarshal := json.Marshal, json.Unmarshal // say msgpack.Marshal, msgpack.Unmarshal
	cfg := &mongostore.Config{PayloadCodec: mongostore.BytesCodec(marshal, unmarshal)}
	store, err := mongostore.NewMemory(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%T\n", newVisitor(store).session(store).Values["visits"])
	// Output: float64
}

// lean is JSONCodec without what can be made again, and with what is new since a session was stored.
type lean struct{ mongostore.JSONCodec }

func (c lean) Encode(session *sessions.Session) (bson.RawValue, error) {
	short := *session // the session itself must stay as it is
	short.Values = maps.Clone(session.Values)
	delete(short.Values, "cache")
	return c.JSONCodec.Encode(&short)
}

func (c lean) Decode(value bson.RawValue, session *sessions.Session) error {
	if err := c.JSONCodec.Decode(value, session); err != nil {
		return err
	}
	if _, ok := session.Values["language"]; !ok {
		session.Values["language"] = "en"
	}
	return nil
}

// A Codec of one's own is what serialize and unserialize are elsewhere. This one leaves a key out of what is
// stored, and adds one to what was stored before there was such a key.
func ExampleCodec() {
	store, err := mongostore.NewMemory(&mongostore.Config{PayloadCodec: lean{}})
	if err != nil {
		log.Fatal(err)
	}
	session := newVisitor(store).session(store)
	fmt.Println(session.Values["visits"], session.Values["language"])
	// Output: 1 en
}

// Whoever reads the database sees no values. The key is 32 random bytes, from a place where the database is not.
func ExampleAESGCM() {
	key, err := hex.DecodeString(os.Getenv("SEAL_KEY")) // openssl rand -hex 32
	if err != nil {
		log.Fatal(err)
	}
	cfg := &mongostore.Config{
		Sealer:         mongostore.AESGCM(key),
		AcceptUnsealed: true, // until every record is sealed; leave it out for a new collection
	}
	_, err = mongostore.NewMemory(cfg)
	fmt.Println(err)
	// Output: mongostore: AESGCM key 1 has 0 bytes; it needs 32 random ones
}

// A key is replaced in three steps, each done in all processes before the next begins.
func ExampleAESGCM_rotation() {
	oldKey, newKey := make([]byte, 32), bytes.Repeat([]byte{1}, 32) // yours are random

	first := mongostore.AESGCM(oldKey, newKey)  // every process can read what others will write
	second := mongostore.AESGCM(newKey, oldKey) // new writes have the new key
	third := mongostore.AESGCM(newKey)          // once no record needs the old one

	ctx := context.Background()
	before, _ := mongostore.AESGCM(oldKey).Seal(ctx, []byte("values"), nil)
	during, _ := second.Seal(ctx, []byte("values"), nil)
	for _, sealer := range []mongostore.Sealer{first, second, third} {
		_, err1 := sealer.Open(ctx, before, nil)
		_, err2 := sealer.Open(ctx, during, nil)
		fmt.Println("old:", err1 == nil, "new:", err2 == nil)
	}
	// Output:
	// old: true new: true
	// old: true new: true
	// old: false new: true
}

// sealAll seals every session anew, with the first key.
func sealAll(ctx context.Context, store *mongostore.Store) (n int, err error) {
	for record, err := range store.All(ctx) {
		if err != nil {
			return n, err
		}
		err = store.Update(ctx, record.ID, func(map[any]any) error { return nil })
		switch {
		case errors.Is(err, mongostore.ErrNotFound): // it has ended meanwhile
		case errors.Is(err, mongostore.ErrDecode):
			log.Print(record.ID, ": ", err) // nobody can use it any more
		case err != nil:
			return n, err
		default:
			n++
		}
	}
	return n, nil
}

// All streams, so it may go over any number of sessions. An Update that changes nothing encodes and seals a
// record anew: this finishes the rotation of a key, or a move to another PayloadCodec, without waiting.
func ExampleStore_All() {
	store, err := mongostore.NewMemory(&mongostore.Config{Sealer: mongostore.AESGCM(make([]byte, 32))})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		newVisitor(store)
	}
	fmt.Println(sealAll(context.Background(), store))
	// Output: 3 <nil>
}

// withUsers is a store whose sessions have an owner, and remember from where they came.
func withUsers() *mongostore.Store {
	cfg := &mongostore.Config{
		UserID: func(session *sessions.Session) string {
			user, _ := session.Values["user"].(string)
			return user
		},
		Labels: func(r *http.Request, _ *sessions.Session) map[string]string {
			return map[string]string{"agent": r.UserAgent()}
		},
	}
	store, err := mongostore.NewMemory(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return store
}

// signedIn returns a visitor with a session of a user.
func signedIn(store *mongostore.Store, user string) *visitor {
	v := new(visitor)
	v.send(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["user"] = user
		if err := session.Save(r, w); err != nil {
			log.Fatal(err)
		}
	}))
	return v
}

// "Your devices": a list of a user's sessions, and a way to end one of them. The id comes from a form, so
// whose session it is must be checked.
//
//nolint:errcheck,gosec // as an application would write it
func ExampleStore_ByUser() {
	store := withUsers()
	devices := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		user, _ := session.Values["user"].(string)
		if user == "" {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8") // in HTML, escape the labels: clients wrote them
		for record, err := range store.ByUser(r.Context(), user) {
			if err != nil {
				http.Error(w, "please try again", http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintf(w, "%q this one: %t\n", record.Labels["agent"], record.ID == session.ID)
		}
	})
	signOut := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		user, _ := session.Values["user"].(string)
		record, err := store.Find(r.Context(), r.FormValue("id"))
		if errors.Is(err, mongostore.ErrNotFound) || err == nil && (user == "" || record.UserID != user) {
			http.NotFound(w, r) // another user's is like one that does not exist
			return
		}
		if err == nil {
			err = store.Destroy(context.WithoutCancel(r.Context()), record.ID)
		}
		if err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
		}
	})

	ada, bob := signedIn(store, "ada"), signedIn(store, "bob")
	fmt.Print(ada.send(devices).Body)
	id := bob.session(store).ID
	fmt.Println(ada.send(signOut, "id", id).Code, bob.session(store).Values["user"])
	fmt.Println(bob.send(signOut, "id", id).Code, bob.session(store).Values["user"])
	// Output:
	// "" this one: true
	// 404 bob
	// 200 <nil>
}

// After a change of password, all other sessions of the user end. This one gets a new secret.
//
//nolint:errcheck,gosec // as an application would write it
func ExampleStore_DestroyByUser() {
	store := withUsers()
	changePassword := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		user, _ := session.Values["user"].(string)
		// Check the old password and store the new one here, first: then no login with the old one begins any more.
		store.Regenerate(session)
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		ended, err := store.DestroyByUser(context.WithoutCancel(r.Context()), user, session)
		if err != nil {
			http.Error(w, "your other devices are still logged in", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "logged out elsewhere:", ended)
	})

	laptop, phone := signedIn(store, "ada"), signedIn(store, "ada")
	fmt.Print(laptop.send(changePassword).Body)
	fmt.Println(laptop.session(store).Values["user"], phone.session(store).Values["user"])
	// Output:
	// logged out elsewhere: 1
	// ada <nil>
}

// setRole changes the role in all sessions of a user.
func setRole(ctx context.Context, store *mongostore.Store, user, role string) error {
	for record, err := range store.ByUser(ctx, user) {
		if err != nil {
			return err
		}
		err = store.Update(ctx, record.ID, func(values map[any]any) error {
			values["role"] = role // may run again, on what another request has stored meanwhile
			return nil
		})
		if err != nil && !errors.Is(err, mongostore.ErrNotFound) { // which has ended: as good
			return err
		}
	}
	return nil
}

// A right that is given or withdrawn reaches the sessions that are open.
func ExampleStore_Update() {
	store := withUsers()
	ada := signedIn(store, "ada")

	err := setRole(context.Background(), store, "ada", "editor")
	fmt.Println(err, ada.session(store).Values["role"])
	// Output: <nil> editor
}

// A websocket keeps its session alive, and closes when that has ended.
func ExampleStore_Touch() {
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	id := newVisitor(store).session(store).ID
	ping := func(ctx context.Context) (open bool) {
		err := store.Touch(ctx, id) // each few minutes, as long as the socket is open
		return !errors.Is(err, mongostore.ErrNotFound)
	}

	fmt.Println(ping(context.Background()))
	_ = store.Destroy(context.Background(), id)
	fmt.Println(ping(context.Background()))
	// Output:
	// true
	// false
}

// Logins of a FilesystemStore live on in the new store. Each ends in the old one when it is stored in the new.
func ExampleConfig_previous() {
	key := []byte("0123456789abcdef0123456789abcdef") // yours is random and not in the source
	dir := os.TempDir()
	previous := sessions.NewFilesystemStore(dir, key) // as it was
	store, err := mongostore.NewMemory(&mongostore.Config{Previous: previous}, key)
	if err != nil {
		log.Fatal(err)
	}

	ada := newVisitor(previous)
	before := *ada
	ada.send(counter(store))
	fmt.Println("visits:", ada.session(store).Values["visits"])
	ended, _ := previous.Get(before.request(), "sid")
	fmt.Println("in the old store:", ended.Values["visits"])
	// Output:
	// visits: 2
	// in the old store: <nil>
}

// Plain ids are for a collection whose records must look like those of connect-mongo. With HashID the id in the
// cookie is not the one in the database.
func ExampleHashID() {
	cfg := &mongostore.Config{
		PlainIDs:     true,
		TransformID:  mongostore.HashID([]byte(os.Getenv("ID_KEY"))),
		PayloadCodec: mongostore.JSONCodec{},
	}
	store, err := mongostore.NewMemory(cfg)
	if err != nil {
		log.Fatal(err)
	}
	session := newVisitor(store).session(store)
	record, _ := store.Record(session)
	fmt.Println(len(session.ID), len(record.ID))

	err = store.Destroy(context.Background(), record.ID) // not session.ID, which is the secret
	fmt.Println(err)
	// Output:
	// 26 64
	// <nil>
}

// An audit log: who came, who went, who was refused. session_id tells the lines of one session, and is no secret.
func ExampleEvent_auditLog() {
	audit := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	cfg := &mongostore.Config{
		UserID: func(session *sessions.Session) string {
			user, _ := session.Values["user"].(string)
			return user
		},
		Observe: func(ctx context.Context, e mongostore.Event) {
			level := slog.LevelInfo
			switch e.Result() {
			case "ok":
				if e.Op == mongostore.OpLoad || e.Op == mongostore.OpTouch || e.Op == mongostore.OpUpdate {
					return // every page view
				}
			case "invalid_cookie", "decode", "unavailable", "error":
				level = slog.LevelWarn
			}
			audit.LogAttrs(ctx, level, "session",
				slog.String("op", string(e.Op)), slog.String("result", e.Result()),
				slog.String("user", e.UserID), slog.String("session_id", e.ID), slog.Int64("removed", e.Removed))
		},
	}
	store, err := mongostore.NewMemory(cfg)
	if err != nil {
		log.Fatal(err)
	}

	ada := signedIn(store, "ada")
	ada.send(counter(store)) // an update
	_, _ = store.DestroyByUser(context.Background(), "ada")
	ada.session(store) // a load, too late
	_, _ = store.Get((&visitor{&http.Cookie{Name: "sid", Value: "forged"}}).request(), "sid")
	// Output:
	// level=INFO msg=session op=create result=ok user=ada session_id=… removed=0
	// level=INFO msg=session op=destroy result=ok user=ada session_id="" removed=1
	// level=INFO msg=session op=load result=not_found user="" session_id="" removed=0
	// level=WARN msg=session op=load result=invalid_cookie user="" session_id="" removed=0
}

// withoutTime leaves out of a log line what differs from run to run.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	switch {
	case a.Key == slog.TimeKey:
		return slog.Attr{}
	case a.Key == "session_id" && a.Value.String() != "":
		return slog.String("session_id", "…")
	}
	return a
}

// histogram is the part of a *prometheus.HistogramVec that is used here, so that this package need not depend
// on it. In your program:
//
//	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "session_operation_seconds"}, []string{"op", "result"})
type histogram struct{ counts map[string]int }

type observer func(float64)

func (o observer) Observe(value float64) { o(value) }

func (h *histogram) WithLabelValues(labels ...string) observer {
	return func(float64) { h.counts[strings.Join(labels, " ")]++ }
}

// A histogram for Prometheus: rates, durations and failures of each operation. The function is word for word
// what it is with a *prometheus.HistogramVec, for which a local type stands in.
func ExampleEvent_prometheus() {
	seconds := &histogram{make(map[string]int)}
	cfg := &mongostore.Config{
		Observe: func(_ context.Context, e mongostore.Event) {
			seconds.WithLabelValues(string(e.Op), e.Result()).Observe(e.Elapsed.Seconds())
		},
	}
	store, err := mongostore.NewMemory(cfg)
	if err != nil {
		log.Fatal(err)
	}

	newVisitor(store).send(counter(store))
	fmt.Println(seconds.counts)
	// Output: map[create ok:1 load ok:1 update ok:1]
}

// Stand-ins for go.opentelemetry.io/otel, with the names and shapes of what is used here.
type (
	spanOption time.Time
	keyValue   struct{ key, value string }
	span       struct{ name string }
	otelTracer struct{}
	otelTrace  struct{}
	otelValues struct{}
	otelCodes  struct{ Error int }
)

func (otelTrace) WithTimestamp(t time.Time) spanOption { return spanOption(t) }

func (otelValues) String(key, value string) keyValue  { return keyValue{key, value} }
func (otelValues) Int(key string, value int) keyValue { return keyValue{key, fmt.Sprint(value)} }
func (otelTracer) Start(ctx context.Context, name string, _ ...spanOption) (context.Context, span) {
	return ctx, span{name}
}
func (s span) SetAttributes(attributes ...keyValue) { fmt.Println(s.name, attributes) }
func (s span) RecordError(error)                    {}
func (s span) SetStatus(int, string)                { fmt.Println(s.name, "failed") }
func (s span) End(...spanOption)                    {}

// A span for OpenTelemetry, child of the request's. The function is word for word what it is with a trace.Tracer
// and the packages attribute, codes and trace of go.opentelemetry.io/otel, for which local types stand in.
func ExampleEvent_openTelemetry() {
	var tracer otelTracer // otel.Tracer("sessions")
	var attribute otelValues
	var codes otelCodes
	var trace otelTrace
	cfg := &mongostore.Config{
		Observe: func(ctx context.Context, e mongostore.Event) {
			end := time.Now()
			_, span := tracer.Start(ctx, "session "+string(e.Op), trace.WithTimestamp(end.Add(-e.Elapsed)))
			span.SetAttributes(
				attribute.String("session.result", e.Result()),
				attribute.Int("session.size", e.Size),
				attribute.Int("session.conflicts", e.Conflicts))
			switch e.Result() {
			case "ok", "not_found", "invalid_cookie": // no failures of the store
			default:
				span.RecordError(e.Err)
				span.SetStatus(codes.Error, e.Result())
			}
			span.End(trace.WithTimestamp(end))
		},
		PayloadCodec: mongostore.JSONCodec{},
		MaxBytes:     64,
	}
	store, err := mongostore.NewMemory(cfg)
	if err != nil {
		log.Fatal(err)
	}

	v := newVisitor(store)
	v.send(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["note"] = strings.Repeat("!", 64)
		_ = session.Save(r, w)
	}))
	// Output:
	// session create [{session.result ok} {session.size 17} {session.conflicts 0}]
	// session load [{session.result ok} {session.size 17} {session.conflicts 0}]
	// session update [{session.result too_large} {session.size 17} {session.conflicts 0}]
	// session update failed
}

// visitor is a browser in the examples: it keeps one cookie.
type visitor struct{ cookie *http.Cookie }

// newVisitor returns one that has a session.
func newVisitor(store sessions.Store) *visitor {
	v := new(visitor)
	v.send(counter(store))
	return v
}

// send lets a handler answer a request of the visitor with a form of names and values.
func (v *visitor) send(handler http.Handler, form ...string) *httptest.ResponseRecorder {
	fields := url.Values{}
	for i := 0; i+1 < len(form); i += 2 {
		fields.Set(form[i], form[i+1])
	}
	r := v.request()
	r.Form = fields
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	for _, cookie := range (&http.Response{Header: w.Header()}).Cookies() {
		v.cookie = cookie
	}
	return w
}

func (v *visitor) request() *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "https://example.com/", nil)
	if v.cookie != nil {
		r.AddCookie(v.cookie)
	}
	return r
}

// session returns what a request of the visitor finds.
func (v *visitor) session(store sessions.Store) *sessions.Session {
	session, err := store.Get(v.request(), "sid")
	if err != nil {
		log.Fatal(err)
	}
	return session
}
