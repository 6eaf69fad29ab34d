package main

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"
	"github.com/gorilla/sessions"

	"github.com/mongostore/mongostore"
)

const (
	cookieName  = "mongostore-demo"
	rememberFor = 30 * 24 * time.Hour
)

// Keys of the session's values.
const (
	userKey  = "user"  // string
	countKey = "count" // int
	notesKey = "notes" // []any of string: what two tabs add to a list at once is merged
)

// Bounds on what people type; the forms state them too.
const (
	maxName  = 40
	maxNote  = 280
	maxNotes = 50
	maxBody  = 64 << 10
)

// app is the web application: handlers around a session store.
type app struct {
	store *mongostore.Store
	log   *slog.Logger
}

// newApp returns the app's handler. Several may run on one store, and on one
// collection: all they know is in the sessions.
func newApp(store *mongostore.Store, log *slog.Logger) http.Handler {
	a := &app{store: store, log: log}
	router := mux.NewRouter()
	router.Handle("/static/{file}", static()).Methods(http.MethodGet, http.MethodHead)
	router.NotFoundHandler = a.problem(http.StatusNotFound, "There is no such page", "Perhaps the address has a typing error.")
	router.MethodNotAllowedHandler = a.problem(http.StatusMethodNotAllowed, "This is not a page", "It only takes forms.")

	pages := router.NewRoute().Subrouter()
	pages.Use(noStore, store.KeepAlive(cookieName))
	pages.HandleFunc("/", a.signedIn(a.home)).Methods(http.MethodGet, http.MethodHead)
	pages.HandleFunc("/signin", a.session(a.signInPage)).Methods(http.MethodGet, http.MethodHead)
	pages.HandleFunc("/signin", a.session(a.signIn)).Methods(http.MethodPost)
	pages.HandleFunc("/signout", a.signOut).Methods(http.MethodPost)
	pages.HandleFunc("/count", a.signedIn(a.count)).Methods(http.MethodPost)
	pages.HandleFunc("/notes", a.signedIn(a.addNote)).Methods(http.MethodPost)
	pages.HandleFunc("/notes/remove", a.signedIn(a.removeNote)).Methods(http.MethodPost)

	// Refuses forms that another site makes the browser send. With it, and with
	// SameSite=Lax on the cookie, the forms need no token.
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(a.problem(http.StatusForbidden, "That came from another site",
		"This form was sent by a page that is not part of this app, so nothing was done."))
	return headers(crossOrigin.Handler(http.MaxBytesHandler(router, maxBody)))
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
			signInAgain(w, r)
			return nil
		}
		return next(w, r, session)
	})
}

// signInAgain sends visitors to the sign-in page, with a reason if they signed
// in a moment ago: then the browser did not keep the cookie.
func signInAgain(w http.ResponseWriter, r *http.Request) {
	to := "/signin"
	if r.URL.Query().Has("welcome") {
		to = "/signin?notice=cookie"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
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

func (a *app) home(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	flashes := session.Flashes()
	if len(flashes) > 0 {
		if err := session.Save(r, w); err != nil { // now they are shown once
			return err
		}
	}
	record, _ := a.store.Record(session)
	notes := slices.Clone(notesOf(session))
	slices.Reverse(notes)
	count, _ := session.Values[countKey].(int)
	return a.render(w, http.StatusOK, "home.html", homeView{
		User:       userName(session),
		Flashes:    flashes,
		Count:      count,
		Notes:      notes,
		Full:       len(notes) >= maxNotes,
		MaxNote:    maxNote,
		Record:     record,
		Remembered: session.Options.MaxAge > 0,
	})
}

func (a *app) signInPage(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	if userName(session) != "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	return a.render(w, http.StatusOK, "signin.html", signInView{
		Notice:  notices[r.URL.Query().Get("notice")],
		MaxName: maxName,
	})
}

// signIn asks for a name only: how to check who someone is, is not this demo's
// topic. What matters here is Regenerate: an attacker who planted or saw the
// visitor's cookie before must not be signed in with it.
func (a *app) signIn(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	name, ok := typed(r, "name", maxName)
	if !ok {
		http.Redirect(w, r, "/signin?notice=name", http.StatusSeeOther)
		return nil
	}
	clear(session.Values) // nothing of whoever used this browser before
	session.Values[userKey] = name
	session.AddFlash("Welcome, " + name + ". You are signed in.")
	session.Options.MaxAge = 0 // the cookie goes when the browser is closed
	if r.FormValue("remember") != "" {
		session.Options.MaxAge = int(rememberFor.Seconds())
	}
	a.store.Regenerate(session)
	return saveAndGo(w, r, session, "/?welcome")
}

// signOut deletes the record and has the browser delete the cookie. It goes on
// whatever Get says: a session that could not be loaded can still be ended, and
// even if the database does not answer, the cookie goes.
func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	session, _ := a.store.Get(r, cookieName)
	session.Options.MaxAge = -1
	if err := session.Save(r, w); err != nil {
		a.log.Error("sign out", "error", err)
		a.problem(http.StatusServiceUnavailable, "You are signed out of this browser",
			"The database does not answer, so your session could not be deleted there. It ends when it expires.")(w, r)
		return
	}
	http.Redirect(w, r, "/signin?notice=signedout", http.StatusSeeOther)
}

func (a *app) count(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	count, _ := session.Values[countKey].(int)
	session.Values[countKey] = count + 1
	return saveAndGo(w, r, session, "/")
}

func (a *app) addNote(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	notes := notesOf(session)
	note, ok := typed(r, "note", maxNote)
	switch {
	case !ok:
		session.AddFlash("A note needs between 1 and 280 characters.")
	case len(notes) >= maxNotes:
		session.AddFlash("Fifty notes are enough for a demo. Remove one first.")
	default:
		session.Values[notesKey] = append(notes, any(note))
		session.AddFlash("Note saved.")
	}
	return saveAndGo(w, r, session, "/")
}

// removeNote goes by the note's text: its position may have changed in another tab.
func (a *app) removeNote(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	notes := notesOf(session)
	if at := slices.Index(notes, any(r.FormValue("note"))); at >= 0 {
		session.Values[notesKey] = slices.Delete(slices.Clone(notes), at, at+1)
		session.AddFlash("Note removed.")
	}
	return saveAndGo(w, r, session, "/")
}

// saveAndGo saves before it redirects: the cookie is a header of the answer.
func saveAndGo(w http.ResponseWriter, r *http.Request, session *sessions.Session, to string) error {
	if err := session.Save(r, w); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// userName is "" for visitors. The store calls it too, for Config.UserID.
func userName(session *sessions.Session) string {
	name, _ := session.Values[userKey].(string)
	return name
}

func notesOf(session *sessions.Session) []any {
	notes, _ := session.Values[notesKey].([]any)
	return notes
}

// typed is a form's field without the white space around it; not ok if it is
// empty, too long or not text.
func typed(r *http.Request, field string, most int) (string, bool) {
	text := strings.TrimSpace(r.FormValue(field))
	ok := text != "" && utf8.ValidString(text) && utf8.RuneCountInString(text) <= most
	return text, ok
}
