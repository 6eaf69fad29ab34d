package mongostore_test

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// name is the cookie's in all tests, key signs it.
const name = "sid"

var key = []byte("0123456789abcdef0123456789abcdef")

// place is where the sessions of one test are kept. Stores that it opens are like processes that share a
// collection: they have one clock, which stands still unless the test moves it.
type place struct {
	t     *testing.T
	clock *clock
	coll  *mongo.Collection // nil in memory
	first *mongostore.Store
}

// onEach runs a test in memory and on the MongoDB of the environment, in parallel.
func onEach(t *testing.T, test func(t *testing.T, p *place)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, &place{t: t, clock: newClock()})
	})
	t.Run("mongodb", func(t *testing.T) {
		t.Parallel()
		test(t, onMongoDB(t, mongotest.Shared(t)))
	})
}

// onMongoDB returns a place in a collection of its own on a server.
func onMongoDB(t *testing.T, server *mongotest.Server) *place {
	t.Helper()
	return &place{t: t, clock: newClock(), coll: server.Database(t).Collection("sessions")}
}

// watched returns a place on a server with a client of its own, and what that client sends.
func watched(t *testing.T, server *mongotest.Server, opts ...*options.ClientOptions) (*place, *mongotest.Commands) {
	t.Helper()
	sent, watch := mongotest.Watch()
	return &place{t: t, clock: newClock(), coll: server.Database(t, append(opts, watch)...).Collection("sessions")}, sent
}

// store opens a Store; a nil cfg means the defaults. Without keys it takes the one of all tests.
func (p *place) store(cfg *mongostore.Config, keys ...[]byte) *mongostore.Store {
	p.t.Helper()
	store, err := p.open(cfg, keys...)
	if err != nil {
		p.t.Fatal(err)
	}
	return store
}

func (p *place) open(cfg *mongostore.Config, keys ...[]byte) (*mongostore.Store, error) {
	if len(keys) == 0 && (cfg == nil || cfg.CookieCodecs == nil) {
		keys = [][]byte{key}
	}
	var store *mongostore.Store
	var err error
	if p.coll != nil {
		store, err = mongostore.New(p.t.Context(), mongotest.ForStore(p.t, p.coll), cfg, keys...)
	} else {
		store, err = mongostore.NewMemory(cfg, keys...)
	}
	if err != nil {
		return nil, err
	}
	mongostore.SetClock(store, p.clock.Now)
	if p.coll == nil && p.first != nil {
		mongostore.ShareMemory(store, p.first)
	}
	p.first = store
	p.t.Cleanup(func() { _ = store.Close() })
	return store, nil
}

// document returns the record of a session.
func (p *place) document(id string) (bson.M, bool) {
	p.t.Helper()
	raw, ok := mongostore.Document(p.first, id)
	if !ok {
		return nil, false
	}
	var doc bson.M
	if err := bson.Unmarshal(raw, &doc); err != nil {
		p.t.Fatal(err)
	}
	return doc, true
}

// count returns how many live sessions there are.
func (p *place) count() int64 {
	p.t.Helper()
	n, err := p.first.Count(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// mongoClient returns a client of the test's own.
func mongoClient(t *testing.T, uri string, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(append(opts, options.Client().ApplyURI(uri))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })
	return client
}

// clock is the time of a test. It begins now, since a server compares it with its own.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().UTC().Truncate(time.Millisecond)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// browser keeps the cookie of one visitor. Requests are made and answered step by step, so that a test
// decides in which order things happen.
type browser struct {
	cookies []*http.Cookie
}

// visit is one request of a browser.
type visit struct {
	*sessions.Session
	browser *browser
	err     error // of the load
	r       *http.Request
	w       *httptest.ResponseRecorder
}

// request is a request with the browser's cookies.
func (b *browser) request(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", nil)
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	return r
}

// load begins a request and loads its session.
func (b *browser) load(t *testing.T, store *mongostore.Store) *visit {
	t.Helper()
	v := &visit{browser: b, r: b.request(t), w: httptest.NewRecorder()}
	v.Session, v.err = store.Get(v.r, name)
	return v
}

// start logs a new visitor in: a stored session with these values, and its cookie in the browser.
func start(t *testing.T, store *mongostore.Store, values map[any]any) *browser {
	t.Helper()
	b := new(browser)
	v := b.load(t, store)
	maps.Copy(v.Values, values)
	v.saved(t)
	v.arrive()
	return b
}

// save saves the session; the answer is on its way.
func (v *visit) save() error { return v.Session.Save(v.r, v.w) }

// saved saves the session, which must work.
func (v *visit) saved(t *testing.T) {
	t.Helper()
	if err := v.save(); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

// arrive gives the answer's cookies to the browser.
func (v *visit) arrive() {
	for _, c := range v.setCookies() {
		v.browser.cookies = slices.DeleteFunc(v.browser.cookies, func(old *http.Cookie) bool {
			return old.Name == c.Name && old.Path == c.Path && old.Domain == c.Domain
		})
		if c.MaxAge >= 0 {
			v.browser.cookies = append(v.browser.cookies, c)
		}
	}
}

// setCookies are the cookies that the answer sets so far.
func (v *visit) setCookies() []*http.Cookie {
	return (&http.Response{Header: v.w.Header()}).Cookies()
}

// cookie is the cookie that the answer sets, or nil.
func (v *visit) cookie(t *testing.T) *http.Cookie {
	t.Helper()
	cookies := v.setCookies()
	switch len(cookies) {
	case 0:
		return nil
	case 1:
		return cookies[0]
	}
	t.Fatalf("the answer sets %d cookies: %v", len(cookies), cookies)
	return nil
}

// values are what a new request of the browser finds in its session.
func (b *browser) values(t *testing.T, store *mongostore.Store) map[any]any {
	t.Helper()
	v := b.load(t, store)
	if v.err != nil {
		t.Fatalf("Get: %v", v.err)
	}
	return v.Values
}

// wantValues fails unless a new request of the browser finds these values.
func (b *browser) wantValues(t *testing.T, store *mongostore.Store, want map[any]any) {
	t.Helper()
	if got := b.values(t, store); !maps.EqualFunc(got, want, values.Equal) {
		t.Errorf("the session holds %v, want %v", got, want)
	}
}

// wantGone fails unless a new request of the browser finds no session.
func (b *browser) wantGone(t *testing.T, store *mongostore.Store) {
	t.Helper()
	v := b.load(t, store)
	if v.err != nil || !v.IsNew || v.ID != "" || len(v.Values) > 0 {
		t.Errorf("Get: session %q, new %v, values %v, error %v; want a new one", v.ID, v.IsNew, v.Values, v.err)
	}
}

// journal keeps what a Store logs.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// eventually waits until ok comes true, also on a busy machine.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
