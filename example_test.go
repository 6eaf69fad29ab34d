package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
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
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// counter counts a visitor's requests.
//
//nolint:errcheck,gosec // as an application would write it; a number is no XSS
func counter(store sessions.Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid") // never nil; of an outage Save tells too
		visits, _ := session.Values["visits"].(int)
		session.Values["visits"] = visits + 1
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "visit", visits+1)
	})
}

// The handler, which counts a visitor's requests, is in the package documentation.
//
//nolint:gosec // a server of a few lines has no timeouts
func ExampleNew() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	coll := client.Database("app").Collection("sessions")
	key := []byte(os.Getenv("SESSION_KEY"))
	store, err := mongostore.New(context.Background(), coll, nil, key)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", counter(store))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

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
//nolint:contextcheck,errcheck,gosec // the store takes the context of the request; a request's cookie has no attributes
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
//nolint:contextcheck,errcheck // the store takes the context of the request
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
//
//nolint:contextcheck // the store takes the context of the request
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
//
//nolint:contextcheck // the store takes the context of the request
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
