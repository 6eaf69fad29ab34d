package recipes

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// Chi is a shop on chi. Only those who are logged in see /account.
func Chi(store *mongostore.Store) http.Handler {
	save := func(w http.ResponseWriter, r *http.Request, session *sessions.Session) {
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	router := chi.NewRouter()
	router.Post("/logout", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid") // whatever the error: Save expires the cookie
		session.Options.MaxAge = -1
		save(w, r, session)
	})
	router.Group(func(router chi.Router) {
		router.Use(store.KeepAlive("sid"), available(store))
		router.Get("/", func(w http.ResponseWriter, r *http.Request) {
			session, _ := store.Get(r, "sid")
			_, _ = fmt.Fprintf(w, "user %v, basket %v\n", session.Values["user"], session.Values["basket"])
		})
		router.Post("/basket/{item}", func(w http.ResponseWriter, r *http.Request) {
			session, _ := store.Get(r, "sid")
			session.Values["basket"] = chi.URLParam(r, "item")
			save(w, r, session)
		})
		router.Post("/login", func(w http.ResponseWriter, r *http.Request) {
			session, _ := store.Get(r, "sid")
			session.Values["user"] = r.FormValue("user") // after you have checked the password
			store.Regenerate(session)
			save(w, r, session)
		})
		router.With(loggedIn(store)).Get("/account", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, "your account")
		})
	})
	return router
}

// available answers 503 in the place of handlers that would take an outage for a visitor without a session.
func available(store *mongostore.Store) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := store.Get(r, "sid"); errors.Is(err, mongostore.ErrUnavailable) {
				http.Error(w, "please try again", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// loggedIn sends visitors without a user away. It comes after available.
func loggedIn(store *mongostore.Store) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if session, _ := store.Get(r, "sid"); session.Values["user"] == nil {
				http.Error(w, "log in first", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
