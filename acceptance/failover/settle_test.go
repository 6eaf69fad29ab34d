package failover

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A primary that is cut off from the members does what a Save asks, but no
// majority gets it, and a failover undoes it.

// cutOff is a set whose primary is cut off, but not from clients, and a new
// session that is to be saved.
type cutOff struct {
	*testing.T
	set     *mongotest.Set
	old     *mongotest.Member
	store   *mongostore.Store
	r       *http.Request
	session *sessions.Session
}

func newCutOff(t *testing.T, timeout time.Duration, retryWrites bool) *cutOff {
	t.Helper()
	set := mongotest.PrivateReplicaSet(t)
	store, err := mongostore.Open(t.Context(), set.URI("settle"), &mongostore.Config{
		Timeout: timeout, ClientOptions: options.Client().SetRetryWrites(retryWrites),
	}, []byte("0123456789abcdef0123456789abcdef"))
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
	return &cutOff{t, set, old, store, r, session}
}

// wantLasting fails if a Save said that the session is stored, and a failover
// has undone it.
func (c *cutOff) wantLasting(w *httptest.ResponseRecorder, saved error) {
	c.Helper()
	if _, err := c.set.Primary(c.Context(), c.old); err != nil {
		c.Fatal(err)
	}
	c.set.Heal()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	if err := c.old.Deposed(ctx); err != nil {
		c.Fatal(err)
	}
	if saved != nil {
		return // it said so, as it should
	}
	for _, cookie := range w.Result().Cookies() {
		c.r.AddCookie(cookie)
	}
	found, err := c.store.New(c.r, majority)
	for err != nil && ctx.Err() == nil {
		found, err = c.store.New(c.r, majority)
	}
	if found.IsNew {
		c.Errorf("a Save said that the session is stored, and set %d cookies, and it is gone", len(c.r.Cookies()))
	}
}

// The next Save of that session finds the write where it was made, and must not
// take it for one that lasts.
func TestR13AWriteWithoutMajorityIsNotTakenForOneWhenItIsFound(t *testing.T) {
	c := newCutOff(t, time.Second, true)
	if err := c.session.Save(c.r, httptest.NewRecorder()); err == nil {
		t.Fatal("a Save without a majority succeeded")
	}
	w := httptest.NewRecorder()
	c.wantLasting(w, c.session.Save(c.r, w))
}

// Nor may the same Save, which looks for its first insert after the connection
// broke.
func TestR13AFirstInsertWithoutMajorityIsNotTakenForOneWhenItIsFound(t *testing.T) {
	c := newCutOff(t, 4*time.Second, false) // with retryable writes the driver sends it again, and waits again
	time.AfterFunc(300*time.Millisecond, c.old.ResetClients)
	w := httptest.NewRecorder()
	c.wantLasting(w, c.session.Save(c.r, w))
}
