package recipes

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mongostore/mongostore"
)

// A login lasts 14 days from the last request, and no longer.
//
//nolint:forbidigo,noctx // in a bubble of testing/synctest time.Sleep takes no time
func TestALoginLasts14Days(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := mongostore.NewMemory(nil)
		if err != nil {
			t.Fatal(err)
		}
		site := NetHTTP(store)
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/login?user=ada", nil))
		cookie := w.Result().Cookies()[0]

		for _, day := range []struct {
			pause time.Duration
			want  string
		}{
			{14*24*time.Hour - time.Second, "user ada, basket <nil>\n"}, // and KeepAlive begins anew
			{14*24*time.Hour - time.Second, "user ada, basket <nil>\n"},
			{14 * 24 * time.Hour, "user <nil>, basket <nil>\n"},
		} {
			time.Sleep(day.pause)
			r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
			r.AddCookie(cookie)
			site.ServeHTTP(w, r)
			if got := w.Body.String(); got != day.want {
				t.Errorf("after %v: %q, want %q", day.pause, got, day.want)
			}
		}
	})
}
