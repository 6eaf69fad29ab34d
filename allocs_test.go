//go:build !race

package mongostore_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
)

// TestAllocationsDoNotGrow counts what a request allocates, apart from the driver: the sessions are in memory,
// and what httptest allocates is taken off. The bounds are what was measured with Go 1.26, and a twentieth. Raise one only with
// a reason; bench/ compares the stores over a real MongoDB.
func TestAllocationsDoNotGrow(t *testing.T) {
	sealed := &mongostore.Config{PayloadCodec: mongostore.BSONCodec{}, Sealer: mongostore.AESGCM([]byte(strings.Repeat("k", 32)))}
	for _, test := range []struct {
		name                   string
		cfg                    *mongostore.Config
		load, unchanged, saved float64
	}{
		{"gob", nil, 62, 96, 100},
		{"JSON", &mongostore.Config{PayloadCodec: mongostore.JSONCodec{}}, 81, 122, 137},
		{"BSON", &mongostore.Config{PayloadCodec: mongostore.BSONCodec{}}, 75, 112, 116},
		{"sealed BSON", sealed, 103, 140, 175},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, err := mongostore.NewMemory(test.cfg)
			wantErr(t, err, nil)
			now := newClock()
			mongostore.SetClock(store, now.Now)
			cookie := allocating(t, store)
			request := func() (*http.Request, *httptest.ResponseRecorder) {
				r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), httptest.NewRecorder()
				r.Header.Set("Cookie", cookie)
				return r, w
			}
			bare := testing.AllocsPerRun(200, func() { _, _ = request() })
			for _, op := range []struct {
				name  string
				bound float64
				run   func()
			}{
				{"load", test.load, func() {
					r, _ := request()
					_, _ = store.Get(r, "sid")
				}},
				{"unchanged Save", test.unchanged, func() {
					now.Advance(2 * time.Second)
					r, w := request()
					session, _ := store.Get(r, "sid")
					_ = session.Save(r, w)
				}},
				{"changed Save", test.saved, func() {
					now.Advance(2 * time.Second)
					r, w := request()
					session, _ := store.Get(r, "sid")
					session.Values["visits"] = now.Now().String()
					_ = session.Save(r, w)
				}},
			} {
				if got := testing.AllocsPerRun(200, op.run) - bare; got > op.bound {
					t.Errorf("%s: %.0f allocations, want at most %.0f", op.name, got, op.bound)
				}
			}
		})
	}
}

// allocating stores a session as an application has it, and returns its cookie.
func allocating(t *testing.T, store *mongostore.Store) string {
	t.Helper()
	v := new(browser).load(t, store)
	v.Values["user"], v.Values["visits"] = "4711", ""
	v.Values["csrf"] = strings.Repeat("x", 43)
	v.Values["cart"] = []any{"a-1", "b-2", "c-3"}
	v.Values["notes"] = strings.Repeat("lorem ipsum ", 70)
	v.saved(t)
	c := v.cookie(t)
	return c.Name + "=" + c.Value
}
