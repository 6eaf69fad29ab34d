package recipes

import (
	"context"
	"html"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"

	"github.com/mongostore/mongostore"
)

func TestCSRFRefusesFormsWithoutTheToken(t *testing.T) {
	t.Parallel()
	var operations atomic.Int64
	store := inMemory(t, &mongostore.Config{Observe: func(context.Context, mongostore.Event) { operations.Add(1) }})
	server := serve(t, CSRF(NetHTTP(store), csrfKey))
	ada, eve := open(t, server), open(t, server)

	ada.post("/login", "user", "eve").is(http.StatusForbidden, "")
	token := ada.token()
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

var tokenField = regexp.MustCompile(`name="gorilla\.csrf\.Token" value="([^"]+)"`)

// token returns the token of the form.
func (b *browser) token() string {
	b.t.Helper()
	found := tokenField.FindStringSubmatch(b.get("/account/form").text)
	if found == nil {
		b.t.Fatal("the form has no token")
	}
	return html.UnescapeString(found[1])
}
