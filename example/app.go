package main

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"
	"github.com/gorilla/sessions"

	"github.com/mongostore/mongostore"
)

const cookieName = "mongostore-demo"

// maxBody bounds what a form may hold.
const maxBody = 64 << 10

// app is the web application: handlers around a session store.
type app struct {
	store    *mongostore.Store
	log      *slog.Logger
	activity *activity
	operator credentials
}

// handler returns the whole app. Several may run on one store, and on one
// collection: all they know of their visitors is in the sessions.
func (a *app) handler() http.Handler {
	router := mux.NewRouter()
	router.Handle("/static/{file}", static()).Methods(http.MethodGet, http.MethodHead)
	router.NotFoundHandler = a.problem(http.StatusNotFound, "There is no such page", "Perhaps the address has a typing error.")
	router.MethodNotAllowedHandler = a.problem(http.StatusMethodNotAllowed, "This is not a page", "It only takes forms.")

	operator := router.PathPrefix("/operator").Subrouter()
	operator.Use(noStore, a.operatorsOnly)
	operator.HandleFunc("", a.operatorPage).Methods(http.MethodGet, http.MethodHead)
	operator.HandleFunc("/end", a.operatorEnd).Methods(http.MethodPost)

	pages := router.NewRoute().Subrouter()
	pages.Use(noStore, a.store.KeepAlive(cookieName))
	a.visitorRoutes(pages)
	return headers(a.sameOrigin(http.MaxBytesHandler(router, maxBody)))
}

func (a *app) visitorRoutes(pages *mux.Router) {
	get := func(path string, handler http.HandlerFunc) {
		pages.HandleFunc(path, handler).Methods(http.MethodGet, http.MethodHead)
	}
	post := func(path string, handler http.HandlerFunc) { pages.HandleFunc(path, handler).Methods(http.MethodPost) }

	get("/signin", a.session(a.signInPage))
	post("/signin", a.session(a.signIn))
	post("/signout", a.signOut)
	post("/theme", a.session(a.setTheme))

	get("/", a.signedIn(a.notesPage))
	post("/notes", a.signedIn(a.addNote))
	post("/notes/remove", a.signedIn(a.removeNote))

	get("/shop", a.session(a.shopPage))
	post("/shop/add", a.session(a.addToCart))
	post("/shop/remove", a.session(a.removeFromCart))
	post("/shop/order", a.signedIn(a.order))

	get("/devices", a.signedIn(a.devicesPage))
	post("/devices/end", a.signedIn(a.endDevice))
	post("/devices/end-others", a.signedIn(a.endOtherDevices))
}

// sameOrigin refuses forms that another site makes the browser send (CSRF).
//
// It is the standard library's, kept by the Go team. Browsers say themselves
// where a request comes from (Sec-Fetch-Site, Origin), so there is no token to
// put into each form and to lose with a session, and nothing to set for plain
// http on localhost, as there is with gorilla/csrf. Before Go 1.25,
// filippo.io/csrf does the same.
func (a *app) sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(a.problem(http.StatusForbidden, "That came from another site",
		"This form was sent by a page that is not part of this app, so nothing was done."))
	return protection.Handler(next)
}

// page answers a request with the visitor's session in hand.
type page func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error

// session loads the session for a page and answers for its errors.
func (a *app) session(next page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		session, err := a.store.Get(r, cookieName)
		switch {
		case errors.Is(err, mongostore.ErrUnavailable):
			a.fail(w, r, err) // nobody is signed out by an outage: 503
			return
		case errors.Is(err, mongostore.ErrInvalidCookie):
			// An old key, or somebody's attempt. The session beside the error
			// is new and works: go on with it.
		case err != nil:
			a.log.Warn("session starts anew", "error", err)
		}
		if err := next(w, r, session); err != nil {
			a.fail(w, r, err)
		}
	}
}

// signedIn is session for pages that are for signed-in users only.
func (a *app) signedIn(next page) http.HandlerFunc {
	return a.session(func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
		if userName(session) == "" {
			signInFirst(w, r, session)
			return nil
		}
		return next(w, r, session)
	})
}

// signInFirst sends visitors to the sign-in page and says why, where there is
// something to say.
func signInFirst(w http.ResponseWriter, r *http.Request, session *sessions.Session) {
	_, err := r.Cookie(cookieName)
	switch hadCookie := err == nil; {
	case hadCookie && session.IsNew: // the browser still has a cookie, but its session is gone
		http.Redirect(w, r, "/signin?notice=ended", http.StatusSeeOther)
	case !hadCookie && r.URL.Query().Has("welcome"): // signed in a moment ago, but the browser kept no cookie
		http.Redirect(w, r, "/signin?notice=cookie", http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/signin", http.StatusSeeOther)
	}
}

// fail answers for what a store or a page could not do.
func (a *app) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, mongostore.ErrNotFound):
		// Between this request's Get and its Save the session was ended: signed
		// out in another tab, or renewed. Nothing was written.
		http.Redirect(w, r, "/signin?notice=ended", http.StatusSeeOther)
	case errors.Is(err, mongostore.ErrUnavailable):
		a.log.Error("database unavailable", "error", err)
		w.Header().Set("Retry-After", "5")
		a.problem(http.StatusServiceUnavailable, "The database does not answer",
			"Nothing is lost and nobody is signed out. Please try again in a moment.")(w, r)
	default:
		a.log.Error("request failed", "path", r.URL.Path, "error", err)
		a.problem(http.StatusInternalServerError, "Something went wrong", "It has been logged. Please try again.")(w, r)
	}
}

// saveAndGo saves before it redirects: the cookie is a header of the answer.
func saveAndGo(w http.ResponseWriter, r *http.Request, session *sessions.Session, to string) error {
	if err := session.Save(r, w); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// list is a list among the session's values. A list, []any, is what two tabs can add to at
// once: mongostore keeps the additions of both.
func list(session *sessions.Session, key string) []any {
	values, _ := session.Values[key].([]any)
	return values
}

// typed is a form's field without the white space around it; not ok if it is
// empty, too long or not text.
func typed(r *http.Request, field string, most int) (string, bool) {
	text := strings.TrimSpace(r.FormValue(field))
	ok := text != "" && utf8.ValidString(text) && utf8.RuneCountInString(text) <= most
	return text, ok
}
