package main

import (
	"net/http"
	"slices"

	"github.com/gorilla/sessions"

	"github.com/mongostore/mongostore"
)

const (
	notesKey = "notes" // []any of string

	maxNote  = 280
	maxNotes = 50
)

type notesView struct {
	Notes      []any // newest first
	Full       bool  // no room for another note
	MaxNote    int
	Record     mongostore.Record
	Remembered bool // the cookie outlives the browser
}

func (a *app) notesPage(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	record, _ := a.store.Record(session)
	notes := slices.Clone(list(session, notesKey))
	slices.Reverse(notes)
	return a.show(w, r, session, "notes.html", notesView{
		Notes:      notes,
		Full:       len(notes) >= maxNotes,
		MaxNote:    maxNote,
		Record:     record,
		Remembered: session.Options.MaxAge > 0,
	})
}

func (a *app) addNote(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	notes := list(session, notesKey)
	note, ok := typed(r, "note", maxNote)
	switch {
	case !ok:
		session.AddFlash("A note needs between 1 and 280 characters.", problemFlash)
	case len(notes) >= maxNotes:
		session.AddFlash("Fifty notes are enough for a demo. Remove one first.", problemFlash)
	default:
		session.Values[notesKey] = append(notes, any(note))
		session.AddFlash("Note saved.")
	}
	return saveAndGo(w, r, session, "/")
}

// removeNote goes by the note's text: its position may have changed in another tab.
func (a *app) removeNote(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	notes := list(session, notesKey)
	if at := slices.Index(notes, any(r.FormValue("note"))); at >= 0 {
		session.Values[notesKey] = slices.Delete(slices.Clone(notes), at, at+1)
		session.AddFlash("Note removed.")
	}
	return saveAndGo(w, r, session, "/")
}
