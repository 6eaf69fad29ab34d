package recipes

import (
	"errors"
	"net/http"

	"github.com/markbates/goth/gothic"
	"github.com/mongostore/mongostore"
)

// Goth logs people in at a provider that goth.UseProviders has named. What goth keeps until they are back is in a
// session of its own, in the store begun.
func Goth(store, begun *mongostore.Store) http.Handler {
	gothic.Store = begun
	site := http.NewServeMux()
	site.HandleFunc("GET /auth/{provider}", func(w http.ResponseWriter, r *http.Request) {
		url, err := gothic.GetAuthURL(w, r)
		switch {
		case errors.Is(err, mongostore.ErrUnavailable):
			http.Error(w, "please try again", http.StatusServiceUnavailable)
		case err != nil:
			http.NotFound(w, r) // there is no such provider
		default:
			http.Redirect(w, r, url, http.StatusTemporaryRedirect)
		}
	})
	site.HandleFunc("GET /auth/{provider}/callback", func(w http.ResponseWriter, r *http.Request) {
		user, err := gothic.CompleteUserAuth(w, r)
		if err != nil {
			http.Error(w, "that did not work, please log in again", http.StatusForbidden)
			return
		}
		session, _ := store.Get(r, "sid")
		session.Values["user"] = user.Provider + " " + user.UserID
		store.Regenerate(session)
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	return site
}
