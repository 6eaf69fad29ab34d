// Switch walks an application of gorilla/mux from the Mongo store of gin-contrib/sessions to mongostore, while a
// browser that has logged in before keeps its cookie. It prints what the browser sees and what is in MongoDB.
//
//	go run ./cmd/switch mongodb://localhost:27017/switch   in the folder acceptance; it drops that database
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	mongov1 "go.mongodb.org/mongo-driver/mongo"
	optionsv1 "go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: switch mongodb://host/database")
		os.Exit(2)
	}
	if err := walk(context.Background(), os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "switch:", err)
		os.Exit(1)
	}
}

var key = []byte("0123456789abcdef0123456789abcdef")

// walk goes all the way, and drops the database at its end.
func walk(ctx context.Context, uri string, out io.Writer) (err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return err
	}
	name := strings.Trim(u.Path, "/")
	clientV1, err := mongov1.Connect(ctx, optionsv1.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clientV1.Disconnect(ctx)) }()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Disconnect(ctx)) }()
	db := client.Database(name)
	defer func() { err = errors.Join(err, db.Drop(ctx)) }()

	tour, err := newTour(ctx, out, db)
	if err != nil {
		return err
	}
	defer tour.server.Close()
	return tour.run(before(clientV1.Database(name), key))
}

// tour is one browser and one server, whose application is replaced on the way.
type tour struct {
	ctx     context.Context // of the one call of walk
	out     io.Writer
	db      *mongo.Database
	app     atomic.Value // http.Handler, in a func
	server  *httptest.Server
	browser *http.Client
}

func newTour(ctx context.Context, out io.Writer, db *mongo.Database) (*tour, error) {
	t := &tour{ctx: ctx, out: out, db: db}
	t.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.app.Load().(http.HandlerFunc)(w, r)
	}))
	t.browser = t.server.Client()
	jar, err := cookiejar.New(nil)
	t.browser.Jar = jar
	return t, err
}

// run prints each step.
func (t *tour) run(old http.Handler) error {
	t.app.Store(http.HandlerFunc(old.ServeHTTP))
	t.say("The application on gin-contrib/sessions, driver v1")
	if err := errors.Join(t.get("/login/ada"), t.get("/"), t.get("/"), t.show("sessions")); err != nil {
		return err
	}

	t.say("It is stopped, and started with mongostore and Config.Previous")
	switched, err := after(t.ctx, t.db, key)
	if err != nil {
		return err
	}
	t.app.Store(http.HandlerFunc(switched.ServeHTTP))
	carried := t.cookie()
	if err := errors.Join(t.get("/"), t.get("/"), t.show("sessions"), t.show("logins")); err != nil {
		return err
	}

	t.say("A logout ends the session for good: a copy of the cookie of before finds nothing")
	err = errors.Join(t.get("/logout"), t.show("sessions"), t.show("logins"))
	t.put(carried)
	return errors.Join(err, t.get("/profile"))
}

func (t *tour) say(what string) { _, _ = fmt.Fprintf(t.out, "\n%s\n", what) }

// get sends a request of the browser, and prints the answer and the cookie that goes with it.
//
//nolint:gosec // to its own server
func (t *tour) get(path string) error {
	was := t.cookie()
	r, err := http.NewRequestWithContext(t.ctx, http.MethodGet, t.server.URL+path, nil)
	if err != nil {
		return err
	}
	response, err := t.browser.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	_, _ = fmt.Fprintf(t.out, "  GET %-12s cookie %-16s -> %d %s", path, short(was), response.StatusCode, body)
	if is := t.cookie(); is != was {
		_, _ = fmt.Fprintf(t.out, "      the browser now has the cookie %s\n", short(is))
	}
	return err
}

// show prints the documents of a collection, without their payload.
func (t *tour) show(collection string) error {
	cursor, err := t.db.Collection(collection).Find(t.ctx, bson.D{})
	if err != nil {
		return err
	}
	var docs []bson.M
	if err := cursor.All(t.ctx, &docs); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(t.out, "  db.%s: %d documents\n", collection, len(docs))
	for _, doc := range docs {
		var fields []string
		for _, name := range []string{"_id", "data", "modified", "token", "name", "session", "expires"} {
			if value, ok := doc[name]; ok {
				fields = append(fields, fmt.Sprintf("%s %T", name, value))
			}
		}
		_, _ = fmt.Fprintf(t.out, "      {%s}\n", strings.Join(fields, ", "))
	}
	return nil
}

func (t *tour) address() *url.URL {
	u, _ := url.Parse(t.server.URL) // made by httptest
	return u
}

// cookie returns the value of the browser's cookie; "" if it has none.
func (t *tour) cookie() string {
	for _, cookie := range t.browser.Jar.Cookies(t.address()) {
		return cookie.Value
	}
	return ""
}

//nolint:gosec // what a browser sends has a name and a value only
func (t *tour) put(value string) {
	t.browser.Jar.SetCookies(t.address(), []*http.Cookie{{Name: "sid", Value: value, Path: "/", Secure: true}})
}

func short(cookie string) string {
	if cookie == "" {
		return "(none)"
	}
	return cookie[:6] + "…" + cookie[len(cookie)-6:]
}
