package recipes

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// Mux is a shop on gorilla/mux.
func Mux(store *mongostore.Store) http.Handler {
	save := func(w http.ResponseWriter, r *http.Request, session *sessions.Session) {
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	router := mux.NewRouter()
	router.Use(store.KeepAlive("sid"))
	router.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, "sid") // KeepAlive has loaded it: this asks nobody
		if errors.Is(err, mongostore.ErrUnavailable) {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, "user %v, basket %v\n", session.Values["user"], session.Values["basket"])
	}).Methods(http.MethodGet)
	router.HandleFunc("/basket/{item}", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid") // if MongoDB is down, Save reports it
		session.Values["basket"] = mux.Vars(r)["item"]
		save(w, r, session)
	}).Methods(http.MethodPost)
	router.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["user"] = r.FormValue("user") // after you have checked the password
		store.Regenerate(session)
		save(w, r, session)
	}).Methods(http.MethodPost)
	router.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Options.MaxAge = -1
		save(w, r, session)
	}).Methods(http.MethodPost)
	return router
}
