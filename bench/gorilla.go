package main

import (
	"encoding/json"
	"net/http"

	"github.com/gorilla/sessions"
)

// gorilla is an application on a store of gorilla/sessions.
type gorilla struct {
	store  sessions.Store
	values values
	// renew marks a session so that its next Save gives it another id.
	renew func(w http.ResponseWriter, r *http.Request, session *sessions.Session) error
}

func (g gorilla) serve(w http.ResponseWriter, r *http.Request, o op, count int) error {
	session, err := g.store.Get(r, cookieName)
	if err != nil {
		return err
	}
	if o == create {
		for key, value := range g.values.with(count) {
			session.Values[key] = value
		}
		return session.Save(r, w)
	}
	if session.IsNew {
		return errNoSession
	}
	found := number(session.Values[countKey])
	switch o {
	case load:
		return writeCount(w, found)
	case read:
		return writeValues(w, session.Values)
	case change:
		session.Values[countKey] = count
	case end:
		session.Options.MaxAge = -1
	case regenerate:
		if err := g.renew(w, r, session); err != nil {
			return err
		}
	}
	if err := session.Save(r, w); err != nil {
		return err
	}
	return writeCount(w, found)
}

func writeValues(w http.ResponseWriter, values map[any]any) error {
	all := make(map[string]any, len(values))
	for key, value := range values {
		all[key.(string)] = value
	}
	return json.NewEncoder(w).Encode(all)
}

// deleteFirst renews a session of a store that cannot: it ends the session and
// leaves the values to a new one. A store that keeps ID after that is told.
func deleteFirst(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	age := session.Options.MaxAge
	session.Options.MaxAge = -1
	if err := session.Save(r, w); err != nil {
		return err
	}
	session.Options.MaxAge = age
	session.ID = ""
	return nil
}
