package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const cookieName = "session"

// site is an application on a store, on a real server.
type site struct {
	*httptest.Server
	store       *mongostore.Store
	client      *http.Client
	connections atomic.Int64 // that are open to MongoDB
	serving     sync.RWMutex // each request holds it for reading
}

// newSite opens a store on the MongoDB at uri, in a database that goes when the
// test ends.
func newSite(t *testing.T, server *mongotest.Server, uri string, cfg mongostore.Config) *site {
	t.Helper()
	s := &site{}
	cfg.Database = server.Database(t).Name()
	cfg.UserID = func(session *sessions.Session) string {
		user, _ := session.Values["user"].(string)
		return user
	}
	cfg.ClientOptions = options.Client().SetPoolMonitor(&event.PoolMonitor{Event: func(e *event.PoolEvent) {
		switch e.Type {
		case event.ConnectionCreated:
			s.connections.Add(1)
		case event.ConnectionClosed:
			s.connections.Add(-1)
		}
	}})
	store, err := mongostore.Open(t.Context(), uri, &cfg, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	store.Options.Secure = false // the site speaks plain HTTP
	s.store = store
	s.Server = httptest.NewServer(s)
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	t.Cleanup(s.end)
	return s
}

// end closes all that newSite opened. It may be called twice.
func (s *site) end() {
	s.client.CloseIdleConnections()
	s.Close()
	_ = s.store.Close()
}

// errStranger is the answer to a visitor who has no session and needs one.
var errStranger = errors.New("no session")

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serving.RLock()
	defer s.serving.RUnlock()
	session, err := s.store.Get(r, cookieName)
	answer := ""
	if err == nil {
		answer, err = s.answer(w, r, session)
	}
	switch {
	case errors.Is(err, mongostore.ErrUnavailable):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case errors.Is(err, errStranger):
		http.Error(w, err.Error(), http.StatusUnauthorized)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		_, _ = io.WriteString(w, answer) //nolint:gosec // for visitors of our own, which are no browsers
	}
}

// answer is a page of the site, which the path names.
func (s *site) answer(w http.ResponseWriter, r *http.Request, session *sessions.Session) (answer string, err error) {
	key, value := r.FormValue("key"), r.FormValue("value")
	switch page := r.URL.Path; page {
	case "/hello": // loads a session and never saves it
		return "hello", nil
	case "/put":
		session.Values[key] = value
	case "/flash":
		session.AddFlash(value)
	case "/login":
		s.store.Regenerate(session)
		session.Values["user"] = value
	default:
		if session.IsNew {
			return "", errStranger
		}
		answer, err = s.member(r, page, session)
		if err != nil || page == "/get" {
			return answer, err
		}
	}
	return answer, session.Save(r, w)
}

// member is a page for visitors who have a session.
func (s *site) member(r *http.Request, page string, session *sessions.Session) (string, error) {
	user, _ := session.Values["user"].(string)
	switch page {
	case "/get": // is not saved
		return fmt.Sprint(session.Values[r.FormValue("key")]), nil
	case "/keep": // is saved unchanged
		return "", nil
	case "/flashes":
		return fmt.Sprint(session.Flashes()...), nil
	case "/logout":
		session.Options.MaxAge = -1
		return "", nil
	case "/touch":
		return "", s.store.Touch(r.Context(), session.ID)
	case "/devices":
		n := 0
		for _, err := range s.store.ByUser(r.Context(), user) {
			if err != nil {
				return "", err
			}
			n++
		}
		return fmt.Sprint(n), nil
	case "/others":
		n, err := s.store.DestroyByUser(r.Context(), user, session)
		return fmt.Sprint(n), err
	}
	return "", fmt.Errorf("there is no page %s", page)
}

// browser is a visitor's, with a cookie or none. Its methods may be called by
// several goroutines.
type browser struct {
	site   *site
	mu     sync.Mutex
	cookie *http.Cookie
}

// visit asks for a page and returns the status of the answer and what it says.
func (b *browser) visit(ctx context.Context, page, key, value string) (int, string, error) {
	query := url.Values{"key": {key}, "value": {value}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.site.URL+page+"?"+query.Encode(), nil)
	if err != nil {
		return 0, "", err
	}
	b.mu.Lock()
	cookie := b.cookie
	b.mu.Unlock()
	if cookie != nil {
		r.AddCookie(cookie)
	}
	response, err := b.site.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	b.mu.Lock()
	for _, c := range response.Cookies() {
		b.cookie = c
		if c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	b.mu.Unlock()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}
