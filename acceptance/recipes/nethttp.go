package recipes

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// NetHTTP is a shop on net/http alone: visitors fill a basket, log in and log out.
func NetHTTP(store *mongostore.Store) http.Handler {
	site := http.NewServeMux()
	site.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, "sid")
		if errors.Is(err, mongostore.ErrUnavailable) {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, "user %v, basket %v\n", session.Values["user"], session.Values["basket"])
	})
	site.HandleFunc("POST /basket/{item}", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid") // if MongoDB is down, Save reports it
		session.Values["basket"] = r.PathValue("item")
		save(w, r, session)
	})
	site.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["user"] = r.FormValue("user") // after you have checked the password
		store.Regenerate(session)
		save(w, r, session)
	})
	site.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Options.MaxAge = -1
		save(w, r, session)
	})
	return store.KeepAlive("sid")(site)
}

// save stores the session, and only then answers.
func save(w http.ResponseWriter, r *http.Request, session *sessions.Session) {
	err := session.Save(r, w)
	switch {
	case errors.Is(err, mongostore.ErrNotFound):
		http.Error(w, "you have been logged out meanwhile", http.StatusUnauthorized)
	case err != nil:
		http.Error(w, "please try again", http.StatusServiceUnavailable)
	default:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}
