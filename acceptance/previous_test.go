package acceptance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boj/redistore"
	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/mongo/mongodriver"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/mux"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/legacy"
	mongov1 "go.mongodb.org/mongo-driver/mongo"
	optionsv1 "go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// sessionName is the cookie's, before and after.
const sessionName = "sid"

// former is a store that applications come from, in the version that is current.
type former struct {
	before   http.Handler                                        // the application on it
	after    func(store *mongostore.Store, p *page) http.Handler // the same one on mongostore
	previous sessions.Store
	ends     bool                   // a session of it can be ended
	stop     func()                 // its server, if it has one of its own
	left     func(t *testing.T) int // how many sessions are left in it
}

var formers = map[string]func(t *testing.T, db *mongo.Database) former{
	"gin-contrib/sessions on MongoDB": fromGin,
	"CookieStore": func(*testing.T, *mongo.Database) former {
		store := sessions.NewCookieStore(signingKey)
		return former{before: withMux(store, nil), after: onMux, previous: store}
	},
	"FilesystemStore": func(t *testing.T, _ *mongo.Database) former {
		dir := t.TempDir()
		store := sessions.NewFilesystemStore(dir, signingKey)
		return former{before: withMux(store, nil), after: onMux, previous: store, ends: true, left: func(t *testing.T) int {
			files, err := filepath.Glob(filepath.Join(dir, "session_*"))
			if err != nil {
				t.Fatal(err)
			}
			return len(files)
		}}
	},
	"boj/redistore": fromRedis,
}

// fromGin is a gin application on the Mongo store of gin-contrib/sessions and the driver v1.
func fromGin(t *testing.T, db *mongo.Database) former {
	t.Helper()
	client, err := mongov1.Connect(t.Context(), optionsv1.Client().ApplyURI(mongotest.Shared(t).URI()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })
	store := mongodriver.NewStore(client.Database(db.Name()).Collection("sessions"), 3600, true, signingKey)
	previous := legacy.MongoStore(db.Collection("sessions"), signingKey)
	previous.MaxAge(3600)
	return former{
		before:   withGin(store, nil),
		after:    func(store *mongostore.Store, p *page) http.Handler { return withGin(ginStore{store}, p) },
		previous: previous,
		ends:     true,
		left:     func(t *testing.T) int { return count(t, db.Collection("sessions")) },
	}
}

// fromRedis is an application on boj/redistore and a Redis of the test's own.
func fromRedis(t *testing.T, _ *mongo.Database) former {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not on PATH: install it, on Debian with apt-get install redis-server")
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	server := exec.CommandContext(t.Context(), path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no") //nolint:gosec // found on PATH
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() }) // t.Context has ended by then
	var store *redistore.RediStore
	deadline := time.After(time.Minute)
	for {
		if store, err = redistore.NewRediStore(4, "unix", socket, "", "", signingKey); err == nil {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("redis-server does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Cleanup(func() { _ = store.Close() })
	return former{before: withMux(store, nil), after: onMux, previous: tolerant{store}, ends: true, stop: func() { _ = server.Process.Kill() }, left: func(t *testing.T) int {
		conn := store.Pool.Get()
		defer func() { _ = conn.Close() }()
		keys, err := conn.Do("KEYS", "session_*")
		if err != nil {
			t.Fatal(err)
		}
		return len(keys.([]any))
	}}
}

// page lets the requests of a page wait for each other between the load of the session and its Save. A nil page
// lets them go.
type page struct {
	arrived chan struct{}
	saved   chan struct{}
}

func newPage() *page { return &page{make(chan struct{}), make(chan struct{})} }

// wait keeps a request of /?together until all have arrived.
func (p *page) wait(r *http.Request) {
	if p != nil && r.URL.Query().Has("together") {
		p.arrived <- struct{}{}
		<-p.saved
	}
}

// answer is what a request does with a session: it answers whose it is, and notes that it was here.
func answer(get func(key any) any, set func(key, value any), r *http.Request) string {
	user, ok := get("user").(string)
	if !ok {
		return "nobody"
	}
	set("request "+r.URL.Query().Get("n"), true) // gin saves only what was written
	return user
}

// withMux is an application of gorilla/mux.
func withMux(store sessions.Store, p *page) http.Handler {
	router := mux.NewRouter()
	handle := func(path string, change func(*sessions.Session, *http.Request)) {
		router.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			session, err := store.Get(r, sessionName)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			get := func(key any) any { return session.Values[key] }
			set := func(key, value any) { session.Values[key] = value }
			change(session, r)
			user := answer(get, set, r)
			p.wait(r)
			if err := session.Save(r, w); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, user)
		})
	}
	handle("/", func(*sessions.Session, *http.Request) {})
	handle("/login/{user}", func(s *sessions.Session, r *http.Request) {
		s.Values["user"], s.Values["cart"] = mux.Vars(r)["user"], []any{"tea"}
	})
	handle("/logout", func(s *sessions.Session, _ *http.Request) { s.Options.MaxAge = -1 })
	return router
}

func onMux(store *mongostore.Store, p *page) http.Handler { return withMux(store, p) }

// quietGin is called by tests in parallel, and gin keeps its mode without a lock.
var quietGin = sync.OnceFunc(func() { gin.SetMode(gin.ReleaseMode) })

// withGin is the same application of gin.
func withGin(store ginsessions.Store, p *page) http.Handler {
	quietGin()
	engine := gin.New()
	engine.Use(ginsessions.Sessions(sessionName, store))
	handle := func(path string, change func(ginsessions.Session, *gin.Context)) {
		engine.GET(path, func(c *gin.Context) {
			session := ginsessions.Default(c)
			change(session, c)
			user := answer(session.Get, session.Set, c.Request)
			p.wait(c.Request)
			if err := session.Save(); err != nil {
				c.String(http.StatusServiceUnavailable, err.Error())
				return
			}
			c.String(http.StatusOK, user)
		})
	}
	handle("/", func(ginsessions.Session, *gin.Context) {})
	handle("/login/:user", func(s ginsessions.Session, c *gin.Context) {
		s.Set("user", c.Param("user"))
		s.Set("cart", []any{"tea"})
	})
	handle("/logout", func(s ginsessions.Session, _ *gin.Context) {
		s.Options(ginsessions.Options{MaxAge: -1})
		s.Set("over", true) // gin saves what was written
	})
	return engine
}

// address is one address, whose application is replaced while visitors go on.
type address struct {
	*httptest.Server
	app atomic.Pointer[http.Handler]
}

func newAddress(t *testing.T, app http.Handler) *address {
	t.Helper()
	s := new(address)
	s.app.Store(&app)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*s.app.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// surfer is a browser.
type surfer struct {
	*http.Client
	address *address
}

func (s *address) surfer(t *testing.T) *surfer {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &surfer{&http.Client{Transport: s.Client().Transport, Jar: jar}, s}
}

// get returns what the site answers.
func (b *surfer) get(t *testing.T, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.address.URL+path, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	response, err := b.Do(r)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("GET %s: %d %s, %v", path, response.StatusCode, body, err)
	}
	return string(body)
}

func (b *surfer) want(t *testing.T, path, want string) {
	t.Helper()
	if got := b.get(t, path); got != want {
		t.Errorf("GET %s: %s, want %s", path, got, want)
	}
}

// cookies are those of the site.
func (b *surfer) cookies(t *testing.T) []*http.Cookie {
	t.Helper()
	u, err := url.Parse(b.address.URL)
	if err != nil {
		t.Fatal(err)
	}
	return b.Jar.Cookies(u)
}

// copied returns another browser with the same cookies.
func (b *surfer) copied(t *testing.T) *surfer {
	t.Helper()
	u, err := url.Parse(b.address.URL)
	if err != nil {
		t.Fatal(err)
	}
	other := b.address.surfer(t)
	other.Jar.SetCookies(u, b.cookies(t))
	return other
}

// page sends six requests at once, and returns how many were answered as whose.
func (b *surfer) page(t *testing.T, query string) map[string]int {
	t.Helper()
	var mu sync.Mutex
	answers := make(map[string]int)
	var requests sync.WaitGroup
	for n := range 6 {
		requests.Go(func() {
			whose := b.get(t, fmt.Sprintf("/?n=%d%s", n, query))
			mu.Lock()
			defer mu.Unlock()
			answers[whose]++
		})
	}
	requests.Wait()
	return answers
}

// switched is a site on which ada, bob and eve have logged in before its store was replaced.
type switched struct {
	former
	*address
	page          *page
	store         *mongostore.Store
	ada, bob, eve *surfer
}

func eachSwitch(t *testing.T, test func(t *testing.T, s *switched)) {
	t.Helper()
	for name, from := range formers {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			t.Parallel()
			server := mongotest.Shared(t)
			db := server.Database(t)
			old := from(t, db)
			s := &switched{former: old, address: newAddress(t, old.before), page: newPage()}
			for name, surfer := range map[string]**surfer{"ada": &s.ada, "bob": &s.bob, "eve": &s.eve} {
				*surfer = s.surfer(t)
				(*surfer).want(t, "/login/"+name, name)
				(*surfer).want(t, "/", name)
			}
			s.store = openOn(t, server, db.Collection("logins"), mongostore.Config{Previous: old.previous})
			app := old.after(s.store, s.page)
			s.app.Store(&app)
			test(t, s)
		})
	}
}

// wantStored fails unless so many sessions are in the new store, and in the one of before if it ends them.
func (s *switched) wantStored(t *testing.T, before, after int) {
	t.Helper()
	if n := count(t, s.store.Collection()); n != after {
		t.Errorf("%d sessions are in the new store, want %d", n, after)
	}
	if s.ends && s.left(t) != before {
		t.Errorf("%d sessions are in the store of before, want %d", s.left(t), before)
	}
}

func TestVisitorsOfAnotherStoreStayLoggedInWithTheirCookie(t *testing.T) {
	t.Parallel()
	eachSwitch(t, func(t *testing.T, s *switched) {
		was := s.ada.cookies(t)[0].Value
		s.wantStored(t, 3, 0)
		for range 3 {
			s.ada.want(t, "/", "ada")
		}
		if is := s.ada.cookies(t); len(is) != 1 || is[0].Value == was {
			t.Errorf("the cookie of before is still there: %d cookies", len(is))
		}
		s.wantStored(t, 2, 1)
		s.bob.want(t, "/", "bob")
		s.wantStored(t, 1, 2)
	})
}

// All six have loaded the session when the first one saves it.
func TestSixRequestsAtOnceEndUpWithOneRecord(t *testing.T) {
	t.Parallel()
	eachSwitch(t, func(t *testing.T, s *switched) {
		go func() {
			for range 6 {
				<-s.page.arrived
			}
			close(s.page.saved)
		}()
		if answers := s.ada.page(t, "&together"); answers["ada"] != 6 {
			t.Errorf("answered as %v", answers)
		}
		s.ada.want(t, "/", "ada")
		s.wantStored(t, 2, 1)
		s.wantNoted(t, 6)
	})
}

// As a browser sends them: most come, with the cookie of before, when another one has taken the session over.
func TestSixRequestsAsTheyComeLogNobodyOut(t *testing.T) {
	t.Parallel()
	eachSwitch(t, func(t *testing.T, s *switched) {
		if answers := s.ada.page(t, ""); answers["ada"] != 6 {
			t.Errorf("answered as %v", answers)
		}
		s.ada.want(t, "/", "ada")
		s.wantStored(t, 2, 1)
		s.wantNoted(t, 6)
	})
}

// wantNoted fails unless the one session there is has the marks of so many requests, and the cart of before.
func (s *switched) wantNoted(t *testing.T, want int) {
	t.Helper()
	for record, err := range s.store.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		values, err := record.Values(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		noted := 0
		for key := range values {
			if text, ok := key.(string); ok && strings.HasPrefix(text, "request ") && text != "request " {
				noted++
			}
		}
		if cart, _ := values["cart"].([]any); noted != want || !slices.Equal(cart, []any{"tea"}) {
			t.Errorf("values %v; want those of %d requests", values, want)
		}
	}
}

// A CookieStore cannot end a session: the old cookie logs in again until Previous is gone.
func TestACookieOfBeforeFindsNothingAfterALogout(t *testing.T) {
	t.Parallel()
	eachSwitch(t, func(t *testing.T, s *switched) {
		old := s.ada.copied(t)
		s.ada.want(t, "/", "ada")
		old.copied(t).want(t, "/", "ada") // for a minute: it may be of the same page
		s.ada.get(t, "/logout")
		s.ada.want(t, "/", "nobody")
		if s.ends {
			old.copied(t).want(t, "/", "nobody")
		} else {
			old.copied(t).want(t, "/", "ada")
		}
	})
}

func TestALogoutIsTheFirstThingAVisitorDoes(t *testing.T) {
	t.Parallel()
	eachSwitch(t, func(t *testing.T, s *switched) {
		old := s.eve.copied(t)
		s.eve.get(t, "/logout")
		s.wantStored(t, 2, 0)
		s.eve.want(t, "/", "nobody")
		if s.ends {
			old.want(t, "/", "nobody")
		}
	})
}

func TestAnOutageOfTheRedisOfBeforeLogsNobodyOut(t *testing.T) {
	t.Parallel()
	db := mongotest.Shared(t).Database(t)
	old := fromRedis(t, db)
	s := newAddress(t, old.before)
	ada := s.surfer(t)
	ada.want(t, "/login/ada", "ada")
	app := old.after(openOn(t, mongotest.Shared(t), db.Collection("logins"), mongostore.Config{Previous: old.previous}), nil)
	s.app.Store(&app)
	old.stop()
	was := ada.cookies(t)[0].Value
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := ada.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if is := ada.cookies(t)[0].Value; response.StatusCode != http.StatusServiceUnavailable || is != was {
		t.Errorf("status %d, and the cookie changed: %v", response.StatusCode, is != was)
	}
}
