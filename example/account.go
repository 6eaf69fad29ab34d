package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"
)

const (
	userKey  = "user"  // string
	themeKey = "theme" // "light", "dark", or absent: as the visitor's system

	maxName     = 40
	rememberFor = 30 * 24 * time.Hour
)

// userName is "" for visitors. The store calls it too, for Config.UserID.
func userName(session *sessions.Session) string {
	name, _ := session.Values[userKey].(string)
	return name
}

type signInView struct {
	Notice  notice
	MaxName int
	Cart    int
}

// notice tells visitors why they see the sign-in page. They have no session, so
// no flash: the redirect names the notice.
type notice struct {
	Text string
	Bad  bool
	Flag string // of the command line, that helps
}

var notices = map[string]notice{
	"signedout": {Text: "You are signed out."},
	"ended":     {Text: "Your session has ended. Please sign in again.", Bad: true},
	"name":      {Text: "Please enter a name of 1 to 40 characters.", Bad: true},
	"cookie": {
		Text: "Your browser did not keep the session cookie. It must allow cookies here, and take Secure ones over plain http: most do for localhost, Safari does not.",
		Bad:  true,
		Flag: "-insecure-cookies",
	},
}

func (a *app) signInPage(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	if userName(session) != "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	return a.show(w, r, session, "signin.html", signInView{
		Notice:  notices[r.URL.Query().Get("notice")],
		MaxName: maxName,
		Cart:    len(list(session, cartKey)),
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
	if userName(session) != "" {
		clear(session.Values) // nothing of whoever used this browser before; a visitor's cart stays
	}
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

// setTheme keeps the visitor's choice of colours in the session.
func (a *app) setTheme(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	switch theme := r.FormValue("theme"); theme {
	case "light", "dark":
		session.Values[themeKey] = theme
	default:
		delete(session.Values, themeKey)
	}
	return saveAndGo(w, r, session, localPath(r.FormValue("back")))
}

// localPath is a path of this app to go back to. What a browser would take for
// another site, such as //evil.example, becomes the start page: so does what is
// that once the browser has left out tabs and line ends, and read \ as /.
func localPath(path string) string {
	strange := func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsFunc(path, strange) {
		return "/"
	}
	return path
}
