package main

import (
	"fmt"
	"net/http"

	"github.com/gin-contrib/sessions/mongo/mongodriver"
	"github.com/gorilla/mux"
	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/mongo"
)

// before is the application on the Mongo store of gin-contrib/sessions, with the driver of then.
func before(db *mongo.Database, key []byte) http.Handler {
	store := mongodriver.NewStore(db.Collection("sessions"), 30*24*60*60, true, key)
	return routes(store)
}

// routes is the application. The switch leaves it as it is.
func routes(store sessions.Store) http.Handler {
	router := mux.NewRouter()
	router.HandleFunc("/login/{user}", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Values["user"] = mux.Vars(r)["user"]
		save(w, r, session)
	})
	router.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		session.Options.MaxAge = -1
		save(w, r, session)
	})
	router.HandleFunc("/profile", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		save(w, r, session)
	})
	router.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid")
		visits, _ := session.Values["visits"].(int)
		session.Values["visits"] = visits + 1
		save(w, r, session)
	})
	return router
}

//nolint:gosec // plain text is no XSS
func save(w http.ResponseWriter, r *http.Request, session *sessions.Session) {
	if err := session.Save(r, w); err != nil {
		http.Error(w, "please try again", http.StatusServiceUnavailable)
		return
	}
	user, ok := session.Values["user"].(string)
	if !ok {
		user = "nobody"
	}
	visits, _ := session.Values["visits"].(int)
	_, _ = fmt.Fprintf(w, "%s, visit %d\n", user, visits)
}
