package failover

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// A primary that is cut off from the members does what a Save asks, but no
// majority gets it, and a failover undoes it. The next Save of that session
// finds the write where it was made, and must not take it for one that lasts.
func TestR13AWriteWithoutMajorityIsNotTakenForOneWhenItIsFound(t *testing.T) {
	set := mongotest.PrivateReplicaSet(t)
	store, err := mongostore.Open(t.Context(), set.URI("settle"), &mongostore.Config{Timeout: time.Second}, []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	session, err := store.New(r, majority)
	if err != nil {
		t.Fatal(err)
	}
	session.Values[userKey] = "ann"
	old, err := set.Primary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set.CutOff(old, false)
	if err := session.Save(r, httptest.NewRecorder()); err == nil {
		t.Fatal("a Save without a majority succeeded")
	}
	w := httptest.NewRecorder()
	saved := session.Save(r, w)
	if _, err := set.Primary(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	set.Heal()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := old.Deposed(ctx); err != nil {
		t.Fatal(err)
	}
	if saved != nil {
		return // it said so, as it should
	}
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	found, err := store.New(r, majority)
	for err != nil && ctx.Err() == nil {
		found, err = store.New(r, majority)
	}
	if found.IsNew {
		t.Errorf("a Save said that the session is stored, and set %d cookies, and it is gone", len(r.Cookies()))
	}
}
