package mongostore

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/bsonraw"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// recovering turns a panic of the application's code into an error that shows only the type of its value.
func recovering[T any](call func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic with a %T", r)
		}
	}()
	return call()
}

// userOf returns the user from Config.UserID; the one before without it, or if it panics.
func (s *Store) userOf(session *sessions.Session, before string) string {
	if s.cfg.UserID == nil {
		return before
	}
	user, err := recovering(func() (string, error) { return s.cfg.UserID(session), nil })
	if err != nil {
		s.cfg.Logger.Error("mongostore: Config.UserID panicked; the session keeps its user", "error", err)
		return before
	}
	return user
}

// Bounds of Config.Labels, which hold what clients send and do not count to MaxBytes.
const (
	maxLabels     = 16
	maxLabelBytes = 512
)

// labelsOf returns the labels of a new session from Config.Labels; nil if there are none.
func (s *Store) labelsOf(r *http.Request, session *sessions.Session) bson.Raw {
	if s.cfg.Labels == nil {
		return nil
	}
	labels, err := recovering(func() (map[string]string, error) { return s.cfg.Labels(r, session), nil })
	if err != nil {
		s.cfg.Logger.Error("mongostore: Config.Labels failed; the session gets none", "error", err)
	}
	if len(labels) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(labels))
	doc := bsonraw.Build(512)
	for _, name := range names[:min(len(names), maxLabels)] {
		doc = doc.String(clipped(name), clipped(labels[name]))
	}
	return doc.End()
}

// clipped cuts text to maxLabelBytes of valid UTF-8 without zero bytes, as BSON needs it.
func clipped(text string) string {
	text = text[:min(len(text), maxLabelBytes)]
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}
