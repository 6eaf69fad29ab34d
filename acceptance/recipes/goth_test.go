package recipes

import (
	"crypto/rand"
	"net/http"
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

// gothic has one store for all, so these are one test.
func TestGothLogsInByAProvider(t *testing.T) {
	goth.UseProviders(wordy{new(faux.Provider)})
	coll := mongotest.Shared(t).Database(t).Collection("sessions")
	store, begun := onMongoDB(t, coll, nil), onMongoDB(t, coll, &mongostore.Config{TTL: 10 * time.Minute})
	site := http.NewServeMux()
	site.Handle("/", NetHTTP(store))
	site.Handle("/auth/", Goth(store, begun))
	server := serve(t, site)

	ada := atProvider(t, open(t, server))
	state := ada.begin("/auth/faux")
	for record, err := range begun.All(t.Context()) {
		if err != nil || record.Size < 8192 || time.Until(record.ExpiresAt) > 10*time.Minute {
			t.Errorf("while the login is under way: %+v, error %v", record, err)
		}
	}
	before := ada.cookies()
	ada.get("/auth/faux/callback?state=" + url.QueryEscape(state)).is(http.StatusSeeOther, "")
	ada.get("/").is(http.StatusOK, "user faux id, basket <nil>\n")
	if cookies := ada.cookies(); len(cookies) != 1 || cookies[0].Name != "sid" {
		t.Errorf("after the login the browser has %v", cookies)
	}
	if n, err := store.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("after the login there are %d sessions, error %v", n, err)
	}
	again := atProvider(t, open(t, server, before...))
	again.get("/auth/faux/callback?state=" + url.QueryEscape(state)).is(http.StatusForbidden, "")

	eve := atProvider(t, open(t, server))
	eve.begin("/auth/faux")
	eve.get("/auth/faux/callback?state=" + url.QueryEscape(state)).is(http.StatusForbidden, "")
	eve.get("/").is(http.StatusOK, "user <nil>, basket <nil>\n")
	eve.get("/auth/nowhere").is(http.StatusNotFound, "")

	lost := down(t)
	bob := open(t, serve(t, Goth(lost, lost)))
	bob.get("/auth/faux").is(http.StatusServiceUnavailable, "")
}

// traveller is a browser that does not follow redirects to the provider.
type traveller struct{ *browser }

func atProvider(t *testing.T, b *browser) traveller {
	t.Helper()
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
