package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/example/internal/ferret"
)

// client is connected to MONGODB_URI, or to an embedded FerretDB.
var client *mongo.Client

const testPassword = "a password for tests"

var testKey = []byte("a key of thirty-two bytes, or so")

func TestMain(m *testing.M) {
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M) (int, error) {
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		dir, err := os.MkdirTemp("", "mongostore-example-")
		if err != nil {
			return 0, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		server, err := ferret.Start(context.Background(), dir, nil)
		if err != nil {
			return 0, err
		}
		defer server.Stop()
		uri = server.URI()
	}
	var err error
	if client, err = mongo.Connect(options.Client().ApplyURI(uri)); err != nil {
		return 0, err
	}
	defer func() { _ = client.Disconnect(context.Background()) }()
	return m.Run(), nil
}

func TestVisitorIsSentToSignIn(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	p := v.get(t, "/")
	p.has(t, "Any name will do")
	if p.path != "/signin" || v.cookie(t) != nil {
		t.Errorf("at %s with cookie %v, want /signin without one", p.path, v.cookie(t))
	}
}

func TestSignedInVisitorIsGreetedByName(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Grace <Hopper>").has(t, "Hello, Grace &lt;Hopper&gt;", "You are signed in.")
	if p := v.get(t, "/signin"); p.path != "/" {
		t.Errorf("signed in, the sign-in page leads to %s, want /", p.path)
	}
}

func TestSignInNeedsAName(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	for _, name := range []string{"", "  \t", strings.Repeat("x", maxName+1), "\xff"} {
		v.signIn(t, name).has(t, "Please enter a name")
	}
	if v.cookie(t) != nil {
		t.Error("a refused sign-in set a cookie")
	}
}

func TestNotesAreKeptAndRemoved(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada").has(t, "No notes yet.")
	v.post(t, "/notes", url.Values{"note": {" milk "}})
	v.post(t, "/notes", url.Values{"note": {"<b>eggs</b>"}})
	v.get(t, "/").has(t, "<span>milk</span>", "<span>&lt;b&gt;eggs&lt;/b&gt;</span>")
	v.post(t, "/notes/remove", url.Values{"note": {"milk"}}).has(t, "Note removed.", "eggs").hasNot(t, "<span>milk</span>")
	v.post(t, "/notes", url.Values{"note": {strings.Repeat("x", maxNote+1)}}).has(t, "between 1 and 280")
}

func TestNotesAreLimitedInNumber(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada")
	for i := range maxNotes {
		v.post(t, "/notes", url.Values{"note": {fmt.Sprint("note ", i)}})
	}
	v.get(t, "/").has(t, "note 49", "Fifty notes are enough").hasNot(t, "New note")
	v.post(t, "/notes", url.Values{"note": {"one more"}}).has(t, "Remove one first").hasNot(t, "one more")
}

func TestNotesAddedAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada")
	var tabs sync.WaitGroup
	for i := range 8 {
		tabs.Go(func() { v.post(t, "/notes", url.Values{"note": {fmt.Sprint("from tab ", i)}}) })
	}
	tabs.Wait()
	p := v.get(t, "/")
	for i := range 8 {
		p.has(t, fmt.Sprintf("<span>from tab %d</span>", i))
	}
}

func TestFlashIsShownOnce(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada")
	v.post(t, "/notes", url.Values{"note": {"milk"}}).has(t, "Note saved.")
	v.get(t, "/").has(t, "milk").hasNot(t, "Note saved.", "You are signed in.")
}

func TestRememberMeKeepsTheCookieFor30Days(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.post(t, "/signin", url.Values{"name": {"Ada"}, "remember": {"yes"}}).has(t, "kept for 30 days", "in 30 days")
	if got, want := v.setCookie(t).MaxAge, 30*24*60*60; got != want {
		t.Errorf("Max-Age %d, want %d", got, want)
	}
	v.post(t, "/notes", url.Values{"note": {"milk"}}).has(t, "kept for 30 days", "in 30 days")
}

func TestWithoutRememberMeTheCookieGoesWithTheBrowser(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada").has(t, "until the browser is closed", "in 24 hours")
	c := v.setCookie(t)
	if strings.Contains(c.Raw, "Max-Age") || strings.Contains(c.Raw, "Expires") {
		t.Errorf("cookie %q has an age", c.Raw)
	}
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
		t.Errorf("cookie %q, want Secure, HttpOnly, SameSite=Lax and Path=/", c.Raw)
	}
}

func TestSigningOutEndsTheSession(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada")
	stolen := v.cookie(t)
	p := v.post(t, "/signout", nil)
	p.has(t, "You are signed out.")
	if v.cookie(t) != nil {
		t.Error("the cookie is still there")
	}
	v.put(t, stolen.Value)
	if p := v.get(t, "/"); p.path != "/signin" {
		t.Errorf("the old cookie still opens %s", p.path)
	}
}

func TestSigningInRenewsTheCookie(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Mallory")
	planted := v.cookie(t)
	v.signIn(t, "Ada").hasNot(t, "Mallory")
	if v.cookie(t).Value == planted.Value {
		t.Error("the cookie is the same as before")
	}
	v.put(t, planted.Value)
	if p := v.get(t, "/"); p.path != "/signin" {
		t.Errorf("the cookie from before signing in opens %s", p.path)
	}
}

func TestSessionSurvivesARestartOfTheApp(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	v := newVisitor(t, startApp(t, db))
	v.signIn(t, "Ada")
	v.post(t, "/notes", url.Values{"note": {"milk"}})
	cookie := v.cookie(t)

	again := newVisitor(t, startApp(t, db))
	again.put(t, cookie.Value)
	again.get(t, "/").has(t, "Hello, Ada", "milk")
}

func TestWrongCookieGivesAFreshPage(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.put(t, "not-a-cookie-of-ours")
	p := v.get(t, "/")
	if p.status != http.StatusOK || p.path != "/signin" {
		t.Errorf("status %d at %s, want the sign-in page", p.status, p.path)
	}
	v.signIn(t, "Ada").has(t, "Hello, Ada")
}

func TestBrowserWithoutCookiesIsToldSo(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.client.Jar = nil
	v.signIn(t, "Ada").has(t, "did not keep the session cookie", "-insecure-cookies")
}

func TestOutageAnswers503AndSignsNobodyOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, stop := ownServer(t, dir)
	v := newVisitor(t, startApp(t, db))
	v.signIn(t, "Ada")
	cookie := v.cookie(t)
	stop()

	for _, p := range []answer{v.get(t, "/"), v.get(t, "/devices"), v.post(t, "/notes", url.Values{"note": {"milk"}}), v.signIn(t, "Ada")} {
		p.has(t, "The database does not answer", "try again")
		if p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" {
			t.Errorf("status %d, Retry-After %q", p.status, p.header.Get("Retry-After"))
		}
	}
	if v.cookie(t).Value != cookie.Value {
		t.Error("the outage changed the cookie")
	}

	db, _ = ownServer(t, dir)
	back := newVisitor(t, startApp(t, db))
	back.put(t, cookie.Value)
	back.get(t, "/").has(t, "Hello, Ada").hasNot(t, "milk")
}

func TestSigningOutDuringAnOutageTakesTheCookieAway(t *testing.T) {
	t.Parallel()
	db, stop := ownServer(t, t.TempDir())
	v := newVisitor(t, startApp(t, db))
	v.signIn(t, "Ada")
	stop()
	p := v.post(t, "/signout", nil).has(t, "You are signed out of this browser")
	if p.status != http.StatusServiceUnavailable || v.cookie(t) != nil {
		t.Errorf("status %d, cookie %v; want 503 and none", p.status, v.cookie(t))
	}
}

func TestSessionEndedDuringARequestLeadsToSignIn(t *testing.T) {
	t.Parallel()
	a := newTestApp(t, newDatabase(t))
	v := newVisitor(t, serveTLS(t, a.handler()))
	v.signIn(t, "Ada")

	slow := a.signedIn(func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		if err := a.store.Destroy(r.Context(), session.ID); err != nil { // as signing out in another tab does
			return err
		}
		return a.addNote(w, r, session)
	})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/notes?note=milk", nil)
	r.AddCookie(v.cookie(t))
	w := httptest.NewRecorder()
	slow(w, r)
	if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != "/signin?notice=ended" {
		t.Errorf("status %d to %q, want 303 to the sign-in page", w.Code, got)
	}
	if c := w.Header().Values("Set-Cookie"); len(c) > 0 {
		t.Errorf("an ended session set cookies: %q", c)
	}
}

func TestFormsFromOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada")
	note := url.Values{"note": {"planted"}}
	for _, from := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
		{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://other.example.com"}},
		{"Origin": {"https://evil.example"}}, // a browser from before Sec-Fetch-Site
		{"Origin": {"null"}},
	} {
		for _, path := range []string{"/notes", "/signin", "/signout", "/devices/end-others", "/operator/end"} {
			p := v.send(t, http.MethodPost, path, note, from).has(t, "That came from another site")
			if p.status != http.StatusForbidden {
				t.Errorf("%s from %v: status %d, want 403", path, from, p.status)
			}
		}
	}
	v.get(t, "/").has(t, "Hello, Ada").hasNot(t, "planted")
}

func TestPagesOfSignedInUsersAreNotCached(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	p := v.signIn(t, "Ada")
	if got := p.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", got)
	}
	if got := v.get(t, "/static/style.css").header.Get("Cache-Control"); !strings.Contains(got, "max-age") {
		t.Errorf("style sheet: Cache-Control %q", got)
	}
}

func TestUnknownPagesAndMethodsHaveAPageOfTheirOwn(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	for path, want := range map[string]int{"/nope": 404, "/static/": 404, "/static/../notes.html": 404, "/notes": 405} {
		if got := v.get(t, path).status; got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
}

// newDatabase returns a database of the test's own.
func newDatabase(t *testing.T) *mongo.Database {
	t.Helper()
	db := client.Database("mongostore_example_" + bson.NewObjectID().Hex())
	t.Cleanup(func() {
		if err := db.Drop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return db
}

// ownServer is an embedded server on dir, and a function that takes it away.
func ownServer(t *testing.T, dir string) (db *mongo.Database, stop func()) {
	t.Helper()
	server, err := ferret.Start(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	client, err := mongo.Connect(options.Client().ApplyURI(server.URI()).SetServerSelectionTimeout(3 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return client.Database("outage"), server.Stop
}

func newTestApp(t *testing.T, db *mongo.Database) *app {
	t.Helper()
	seen := newActivity()
	config := storeConfig(seen)
	config.AutoRemove = mongostore.AutoRemoveInterval
	store, err := mongostore.New(t.Context(), db.Collection("sessions"), config, testKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	store.MaxAge(0)
	return &app{store: store, log: slog.New(slog.DiscardHandler), activity: seen, operator: credentials{sha256.Sum256([]byte(testPassword))}}
}

// startApp serves the app over https.
func startApp(t *testing.T, db *mongo.Database) *httptest.Server {
	t.Helper()
	return serveTLS(t, newTestApp(t, db).handler())
}

func serveTLS(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return server
}

// visitor is a browser: it keeps cookies and follows redirects.
type visitor struct {
	client  *http.Client
	base    *url.URL
	agent   string        // the browser's name
	login   *url.Userinfo // for the operator's page
	mu      sync.Mutex
	cookies []*http.Cookie // as they were set, in order
}

// answer is what a visitor sees in the end.
type answer struct {
	status int
	path   string
	header http.Header
	body   string
}

func newVisitor(t *testing.T, server *httptest.Server) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{base: base}
	v.client = &http.Client{Jar: jar, Transport: &recorder{visitor: v, next: server.Client().Transport}}
	return v
}

// recorder notes the cookies of each answer, redirects included: a cookie jar
// forgets their attributes.
type recorder struct {
	visitor *visitor
	next    http.RoundTripper
}

func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := rec.next.RoundTrip(r)
	if err == nil {
		rec.visitor.mu.Lock()
		defer rec.visitor.mu.Unlock()
		rec.visitor.cookies = append(rec.visitor.cookies, response.Cookies()...)
	}
	return response, err
}

func (v *visitor) get(t *testing.T, path string) answer {
	t.Helper()
	return v.send(t, http.MethodGet, path, nil, nil)
}

func (v *visitor) post(t *testing.T, path string, form url.Values) answer {
	t.Helper()
	return v.send(t, http.MethodPost, path, form, nil)
}

func (v *visitor) signIn(t *testing.T, name string) answer {
	t.Helper()
	return v.post(t, "/signin", url.Values{"name": {name}})
}

func (v *visitor) send(t *testing.T, method, path string, form url.Values, header http.Header) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, v.base.String()+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", v.agent)
	if v.login != nil {
		password, _ := v.login.Password()
		r.SetBasicAuth(v.login.Username(), password)
	}
	response, err := v.client.Do(r)
	if err != nil {
		t.Error(err) // not Fatal: some tests have many goroutines
		return answer{}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return answer{response.StatusCode, response.Request.URL.Path, response.Header, string(body)}
}

// cookie is the session cookie that the visitor holds, or nil.
func (v *visitor) cookie(t *testing.T) *http.Cookie {
	t.Helper()
	for _, c := range v.client.Jar.Cookies(v.base) {
		if c.Name == cookieName {
			return c
		}
	}
	return nil
}

// setCookie is the last session cookie an answer set, with its attributes.
func (v *visitor) setCookie(t *testing.T) *http.Cookie {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.cookies) == 0 {
		t.Fatal("no cookie was set")
	}
	return v.cookies[len(v.cookies)-1]
}

// put gives the visitor a cookie from elsewhere.
func (v *visitor) put(t *testing.T, value string) {
	t.Helper()
	c := &http.Cookie{Name: cookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	v.client.Jar.SetCookies(v.base, []*http.Cookie{c})
}

func (p answer) has(t *testing.T, texts ...string) answer {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			t.Errorf("%s (%d) lacks %q:\n%s", p.path, p.status, text, p.body)
		}
	}
	return p
}

func (p answer) hasNot(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(p.body, text) {
			t.Errorf("%s (%d) has %q:\n%s", p.path, p.status, text, p.body)
		}
	}
}
