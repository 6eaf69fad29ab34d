package express

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// cookieName is that of express-session, unless it is told otherwise.
const cookieName = "connect.sid"

// identity is what both sides show to the browser.
type identity struct {
	cert, key string // PEM
	client    *http.Client
}

// newIdentity borrows the certificate of httptest.
func newIdentity(t *testing.T) identity {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return identity{
		cert:   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		key:    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		client: server.Client(),
	}
}

// startGo starts the application that app.js has for Express.
func startGo(t *testing.T, store *mongostore.Store) string {
	t.Helper()
	mux := http.NewServeMux()
	page := func(pattern string, change func(r *http.Request, session *sessions.Session) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			session, err := store.Get(r, cookieName)
			if err == nil || errors.Is(err, mongostore.ErrInvalidCookie) {
				err = change(r, session)
			}
			if err == nil && (len(session.Values) > 0 || !session.IsNew) {
				err = session.Save(r, w)
			}
			w.Header().Set("Content-Type", "application/json")
			if err != nil {
				w.WriteHeader(http.StatusInternalServerError)
				_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
				return
			}
			_ = json.NewEncoder(w).Encode(plain(session.Values))
		})
	}
	page("POST /sign-in", func(r *http.Request, session *sessions.Session) error {
		store.Regenerate(session)
		clear(session.Values)
		session.Values["user"] = r.FormValue("user")
		if text := r.FormValue("maxAge"); text != "" {
			maxAge, err := strconv.Atoi(text)
			session.Options.MaxAge = maxAge
			return err
		}
		return nil
	})
	page("POST /set", func(r *http.Request, session *sessions.Session) error {
		var values map[string]any
		err := json.NewDecoder(r.Body).Decode(&values)
		for key, value := range values {
			session.Values[key] = value
		}
		return err
	})
	page("GET /session", func(*http.Request, *sessions.Session) error { return nil })
	page("POST /regenerate", func(_ *http.Request, session *sessions.Session) error {
		store.Regenerate(session)
		return nil
	})
	page("POST /sign-out", func(_ *http.Request, session *sessions.Session) error {
		session.Options.MaxAge = -1
		return nil
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func plain(values map[any]any) map[string]any {
	text := make(map[string]any, len(values))
	for key, value := range values {
		text[fmt.Sprint(key)] = value
	}
	return text
}

// browser has one jar of cookies for both sides: a jar does not look at ports.
type browser struct {
	client *http.Client
}

func newBrowser(t *testing.T, id identity) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := *id.client
	client.Jar = jar
	return &browser{&client}
}

// site is where the cookie belongs.
var site = &url.URL{Scheme: "https", Host: "127.0.0.1", Path: "/"}

// cookie returns the value of the session's cookie as the browser sends it; ""
// if it has none.
func (b *browser) cookie() string {
	for _, cookie := range b.client.Jar.Cookies(site) {
		if cookie.Name == cookieName {
			return cookie.Value
		}
	}
	return ""
}

// replay returns a browser that sends a cookie which another one had.
func (b *browser) replay(t *testing.T, value string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(site, []*http.Cookie{{Name: cookieName, Value: value, Path: "/", Secure: true}})
	client := *b.client
	client.Jar = jar
	return &browser{&client}
}

// send sends a request and returns what the answer says.
func (b *browser) send(ctx context.Context, method, url string, body any) (status int, values map[string]any, err error) {
	var content bytes.Buffer
	if err := json.NewEncoder(&content).Encode(body); err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		r.Body = io.NopCloser(&content)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := b.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := json.NewDecoder(answer.Body).Decode(&values); err != nil {
		return 0, nil, fmt.Errorf("%s %s: %s: %w", method, url, answer.Status, err)
	}
	return answer.StatusCode, values, nil
}

// ask is send in the test's goroutine.
func (b *browser) ask(t *testing.T, method, url string, body any) (status int, values map[string]any) {
	t.Helper()
	status, values, err := b.send(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, values
}

// must is ask of a request that has to be answered well.
func (b *browser) must(t *testing.T, method, url string, body any) map[string]any {
	t.Helper()
	status, values := b.ask(t, method, url, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: status %d: %v", method, url, status, values)
	}
	return values
}

// wantSession asks a side for the session.
func (b *browser) wantSession(t *testing.T, url string, want map[string]any) {
	t.Helper()
	got, want := jsonOf(t, b.must(t, http.MethodGet, url+"/session", nil)), maps.Clone(want)
	if wanted := jsonOf(t, want); got != wanted {
		t.Errorf("the session is %s, want %s", got, wanted)
	}
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) == "null" {
		return "{}"
	}
	return string(text)
}
