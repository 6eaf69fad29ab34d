// Package attack attacks a site whose sessions are in a store: by its cookies,
// its collection, its clocks and what visitors type. SECURITY.md says what each
// attacker may reach; the tests here try for more.
package attack

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// Answer is what a page of the site says of the session that it was asked with.
type Answer struct {
	User   string // Values["user"]
	ID     string
	New    bool
	Note   string // Values["note"]
	Error  string // the sentinel of New, Save or a call of the administration
	Status int    `json:"-"`
}

// UserOf is the Config.UserID of the site.
func UserOf(session *sessions.Session) string {
	user, _ := session.Values["user"].(string)
	return user
}

// Site has a page for each thing that a visitor does, and one for each call of
// an administrator. The name of the cookie is that of the parameter "cookie".
func Site(store *mongostore.Store) http.Handler {
	mux := http.NewServeMux()
	page := func(path string, change func(*http.Request, *sessions.Session)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			name := r.FormValue("cookie")
			if name == "" {
				name = "sid"
			}
			session, err := store.Get(r, name)
			if change != nil {
				change(r, session)
				err = errors.Join(err, session.Save(r, w))
			}
			note, _ := session.Values["note"].(string)
			answer(w, Answer{User: UserOf(session), ID: session.ID, New: session.IsNew, Note: note}, err)
		})
	}
	page("/who", nil)
	page("/login", func(r *http.Request, session *sessions.Session) {
		session.Values["user"] = r.FormValue("user")
		if maxAge, err := strconv.Atoi(r.FormValue("maxAge")); err == nil {
			session.Options.MaxAge = maxAge
		}
		store.Regenerate(session)
	})
	page("/note", func(r *http.Request, session *sessions.Session) {
		key := r.FormValue("key")
		if key == "" {
			key = "note"
		}
		session.Values[key] = r.FormValue("note")
	})
	page("/logout", func(_ *http.Request, session *sessions.Session) { session.Options.MaxAge = -1 })
	mux.HandleFunc("/admin", func(w http.ResponseWriter, r *http.Request) {
		answer(w, Answer{}, administrate(store, r))
	})
	return mux
}

// administrate does what an administrator asks for, whose id is a visitor's text.
func administrate(store *mongostore.Store, r *http.Request) (err error) {
	id, ctx := r.FormValue("id"), r.Context()
	switch r.FormValue("call") {
	case "Destroy":
		return store.Destroy(ctx, id)
	case "Find":
		_, err = store.Find(ctx, id)
	case "Touch":
		return store.Touch(ctx, id)
	case "Update":
		return store.Update(ctx, id, func(values map[any]any) error { values["note"] = "updated"; return nil })
	case "DestroyByUser":
		_, err = store.DestroyByUser(ctx, id)
	case "ByUser":
		for rec, failed := range store.ByUser(ctx, id) {
			if failed == nil && rec.UserID != id {
				return errors.New("a session of another user is listed")
			}
			err = failed
		}
	default:
		return errors.New("no such call")
	}
	return err
}

// sentinels have names in an Answer.
var sentinels = map[string]error{
	"not found": mongostore.ErrNotFound, "cookie": mongostore.ErrInvalidCookie, "unavailable": mongostore.ErrUnavailable,
	"decode": mongostore.ErrDecode, "conflict": mongostore.ErrConflict, "too large": mongostore.ErrTooLarge,
}

func answer(w http.ResponseWriter, a Answer, err error) {
	if err != nil {
		a.Error = err.Error()
	}
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			a.Error = name
		}
	}
	_ = json.NewEncoder(w).Encode(a)
}
