package recipes

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/csrf"
	"github.com/mongostore/mongostore"
)

func TestCSRFRefusesFormsWithoutTheToken(t *testing.T) {
	t.Parallel()
	var operations atomic.Int64
	store := inMemory(t, &mongostore.Config{Observe: func(context.Context, mongostore.Event) { operations.Add(1) }})
	server := serve(t, CSRF(NetHTTP(store), csrfKey))
	ada, eve := open(t, server), open(t, server)

	token := ada.token()
	ada.post("/login", "user", "eve").is(http.StatusForbidden, "")
	ada.post("/login", "user", "ada", "gorilla.csrf.Token", token).is(http.StatusOK, "user ada, basket <nil>\n")
	ada.post("/basket/apple", "gorilla.csrf.Token", token).is(http.StatusOK, "user ada, basket apple\n") // after Regenerate

	operations.Store(0)
	ada.post("/logout").is(http.StatusForbidden, "")
	ada.post("/logout", "gorilla.csrf.Token", eve.token()).is(http.StatusForbidden, "")
	ada.send(http.MethodPost, "/logout", "https://evil.example", "gorilla.csrf.Token", token).is(http.StatusForbidden, "")
	if n := operations.Load(); n != 0 {
		t.Errorf("refused requests did %d operations of the store", n)
	}
	ada.get("/").is(http.StatusOK, "user ada, basket apple\n")
	ada.post("/logout", "gorilla.csrf.Token", token).is(http.StatusOK, "user <nil>, basket <nil>\n")
}

func TestCSRFOverPlainHTTP(t *testing.T) {
	t.Parallel()
	site := CSRF(NetHTTP(inMemory(t, nil)), csrfKey)
	form := httptest.NewRecorder()
	site.ServeHTTP(form, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/account/form", nil))
	token := url.Values{"gorilla.csrf.Token": {tokenIn(form.Body.String())}}.Encode()
	send := func(mark func(*http.Request) *http.Request) int {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", strings.NewReader(token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://"+r.Host)
		r.AddCookie(form.Result().Cookies()[0])
		site.ServeHTTP(w, mark(r))
		return w.Code
	}
	if got := send(func(r *http.Request) *http.Request { return r }); got != http.StatusForbidden {
		t.Errorf("without a mark: %d", got)
	}
	if got := send(csrf.PlaintextHTTPRequest); got != http.StatusSeeOther {
		t.Errorf("with PlaintextHTTPRequest: %d", got)
	}
}

var tokenField = regexp.MustCompile(`name="gorilla\.csrf\.Token" value="([^"]+)"`)

// tokenIn returns the token of a form, or "".
func tokenIn(page string) string {
	found := tokenField.FindStringSubmatch(page)
	if found == nil {
		return ""
	}
	return html.UnescapeString(found[1])
}

// token returns the token of the form.
func (b *browser) token() string {
	b.t.Helper()
	return tokenIn(b.get("/account/form").text)
}
