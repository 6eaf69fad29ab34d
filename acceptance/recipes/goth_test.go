package recipes

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/markbates/goth"
	"github.com/markbates/goth/providers/faux"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// wordy is goth's provider for tests, with a session that is too large for a cookie.
type wordy struct{ *faux.Provider }

func (p wordy) BeginAuth(state string) (goth.Session, error) {
	session, err := p.Provider.BeginAuth(state)
	if err == nil {
		for range 1000 { // 26 characters that do not compress well
			session.(*faux.Session).Email += rand.Text()
		}
	}
	return session, err
}

// TestGothLogsInByAProvider is not parallel, as gothic has one store for all.
func TestGothLogsInByAProvider(t *testing.T) {
	goth.UseProviders(wordy{new(faux.Provider)})
	coll := mongotest.Shared(t).Database(t).Collection("sessions")
	store := onMongoDB(t, coll, nil)
	t.Run("with a store of its own", func(t *testing.T) {
		logInByProvider(t, store, onMongoDB(t, coll, &mongostore.Config{TTL: gothTTL}), gothTTL)
	})
	t.Run("with the same store", func(t *testing.T) {
		logInByProvider(t, store, store, 14*24*time.Hour)
	})
	t.Run("while MongoDB is down", func(t *testing.T) {
		store := down(t)
		open(t, serve(t, Goth(store, store))).get("/auth/faux").is(http.StatusServiceUnavailable, "")
	})
}

const gothTTL = 10 * time.Minute

func logInByProvider(t *testing.T, store, begun *mongostore.Store, ttl time.Duration) {
	t.Helper()
	site := http.NewServeMux()
	site.Handle("/", NetHTTP(store))
	site.Handle("/auth/", Goth(store, begun))
	server := serve(t, site)

	ada, stolen, eve := openAtProvider(t, server), openAtProvider(t, server), openAtProvider(t, server)
	callback := "/auth/faux/callback?state=" + url.QueryEscape(ada.begin("/auth/faux"))
	for record, err := range begun.All(t.Context()) {
		if left := time.Until(record.ExpiresAt); err != nil || record.Size < 8192 || left > ttl || left < ttl-5*time.Minute {
			t.Errorf("while the login is under way: %+v, error %v", record, err)
		}
	}
	stolen.Jar.SetCookies(stolen.url, ada.cookies())
	ada.get(callback).is(http.StatusSeeOther, "")
	ada.get("/").is(http.StatusOK, "user faux id, basket <nil>\n")
	if cookies := ada.cookies(); len(cookies) != 1 || cookies[0].Name != "sid" {
		t.Errorf("after the login the browser has %v", cookies)
	}
	if n, err := store.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("after the login there are %d sessions, error %v", n, err)
	}
	stolen.get(callback).is(http.StatusForbidden, "")

	eve.begin("/auth/faux")
	eve.get(callback).is(http.StatusForbidden, "") // with Ada's state
	eve.get("/").is(http.StatusOK, "user <nil>, basket <nil>\n")
	eve.get("/auth/nowhere").is(http.StatusNotFound, "")

	ada.post("/logout").is(http.StatusSeeOther, "")
	ada.get("/").is(http.StatusOK, "user <nil>, basket <nil>\n")
	if n, err := store.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("after the logout there are %d sessions, error %v", n, err)
	}
}

// traveller is a browser that does not follow redirects, which lead to the provider.
type traveller struct{ *browser }

func openAtProvider(t *testing.T, server *httptest.Server) traveller {
	t.Helper()
	b := open(t, server)
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return traveller{b}
}

// begin goes to the provider and returns the state that the provider will send back.
func (b traveller) begin(path string) string {
	b.t.Helper()
	answer := b.get(path)
	answer.is(http.StatusTemporaryRedirect, "")
	provider, err := answer.Location()
	if err != nil || !strings.HasPrefix(provider.String(), "http://example.com/auth") {
		b.t.Fatalf("sent to %v, error %v", provider, err)
	}
	return provider.Query().Get("state")
}
