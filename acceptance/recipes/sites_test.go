package recipes

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// sites are the recipes that are whole applications; with them, that of gorilla/csrf is tested apart.
var sites = map[string]func(*mongostore.Store) http.Handler{
	"net/http": NetHTTP, "gorilla-mux": Mux, "chi": Chi, "echo": Echo, "gin": Gin,
}

func TestSitesLogInAndOut(t *testing.T) {
	t.Parallel()
	for name, site := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("in memory", func(t *testing.T) {
				t.Parallel()
				logInAndOut(t, site, inMemory(t, nil))
			})
			t.Run("on MongoDB", func(t *testing.T) {
				t.Parallel()
				logInAndOut(t, site, onMongoDB(t, mongotest.Shared(t).Database(t).Collection("sessions"), nil))
			})
		})
	}
}

func logInAndOut(t *testing.T, site func(*mongostore.Store) http.Handler, store *mongostore.Store) {
	t.Helper()
	server := serve(t, site(store))
	ada := open(t, server)
	ada.get("/").is(http.StatusOK, "user <nil>, basket <nil>\n")
	ada.post("/basket/apple").is(http.StatusOK, "user <nil>, basket apple\n")
	planted := open(t, server, ada.cookies()...)
	planted.get("/").is(http.StatusOK, "user <nil>, basket apple\n")

	ada.post("/login", "user", "ada").is(http.StatusOK, "user ada, basket apple\n")
	planted.get("/").is(http.StatusOK, "user <nil>, basket <nil>\n")
	ada.post("/basket/pear").is(http.StatusOK, "user ada, basket pear\n")
	stolen := open(t, server, ada.cookies()...)
	stolen.get("/").is(http.StatusOK, "user ada, basket pear\n")

	ada.post("/logout").is(http.StatusOK, "user <nil>, basket <nil>\n")
	if cookies := ada.cookies(); len(cookies) > 0 {
		t.Errorf("after the logout the browser has %v", cookies)
	}
	stolen.get("/").is(http.StatusOK, "user <nil>, basket <nil>\n")
	if n, err := store.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("after the logout there are %d sessions, error %v", n, err)
	}
}

func TestSitesGoOnWithAForgedCookie(t *testing.T) {
	t.Parallel()
	for name, site := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ada := open(t, serve(t, site(inMemory(t, nil))), &http.Cookie{Name: "sid", Value: "forged"})
			ada.get("/").is(http.StatusOK, "user <nil>, basket <nil>\n")
			ada.post("/login", "user", "ada").is(http.StatusOK, "user ada, basket <nil>\n")
		})
	}
}

func TestSitesLogNobodyOutWhileMongoDBIsDown(t *testing.T) {
	t.Parallel()
	for name, site := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := open(t, serve(t, site(inMemory(t, nil))))
			before.post("/login", "user", "ada")
			cookie := before.cookies()

			ada := open(t, serve(t, site(down(t))), cookie...)
			ada.get("/").is(http.StatusServiceUnavailable, "")
			ada.post("/basket/apple").is(http.StatusServiceUnavailable, "")
			ada.post("/login", "user", "ada").is(http.StatusServiceUnavailable, "")
			if got := ada.cookies(); len(got) != 1 || got[0].Value != cookie[0].Value {
				t.Errorf("the cookie was %v and is %v", cookie, got)
			}
			ada.post("/logout").is(http.StatusServiceUnavailable, "")
			if got := ada.cookies(); len(got) > 0 {
				t.Errorf("after a logout the browser has %v", got)
			}
		})
	}
}

func TestChiShowsTheAccountToThoseWhoAreLoggedIn(t *testing.T) {
	t.Parallel()
	ada := open(t, serve(t, Chi(inMemory(t, nil))))
	ada.get("/account").is(http.StatusUnauthorized, "")
	ada.post("/login", "user", "ada")
	ada.get("/account").is(http.StatusOK, "your account\n")
	ada.post("/logout")
	ada.get("/account").is(http.StatusUnauthorized, "")
}

func TestGinSetsTheAttributesOfTheCookie(t *testing.T) {
	t.Parallel()
	store := inMemory(t, nil)
	ginStore{store}.Options(ginsessions.Options{Path: "/shop", MaxAge: 60, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w := httptest.NewRecorder()
	Gin(store).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", nil))
	got := w.Result().Cookies()
	if len(got) != 1 || got[0].Path != "/shop" || got[0].MaxAge != 60 || got[0].Secure || !got[0].HttpOnly || got[0].SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %v", got)
	}
}

//nolint:forbidigo // in a bubble of testing/synctest time.Sleep takes no time
func TestSitesKeepALoginAliveByEachRequest(t *testing.T) {
	t.Parallel()
	for name, site := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				site := site(inMemory(t, nil))
				answer := func(method, path string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
					w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("user=ada"))
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					for _, cookie := range cookies {
						r.AddCookie(cookie)
					}
					site.ServeHTTP(w, r)
					return w
				}
				cookies := answer(http.MethodPost, "/login").Result().Cookies()
				for range 3 {
					time.Sleep(13 * 24 * time.Hour)
					w := answer(http.MethodGet, "/", cookies...)
					if got := w.Body.String(); got != "user ada, basket <nil>\n" {
						t.Errorf("13 days after the last request: %q", got)
					}
					if renewed := w.Result().Cookies(); len(renewed) != 1 || renewed[0].MaxAge != 14*24*60*60 {
						t.Errorf("13 days after the last request the cookie is %v", renewed)
					}
				}
			})
		})
	}
}
