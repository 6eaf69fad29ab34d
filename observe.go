package mongostore

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Op is the kind of an operation.
type Op string

// The operations that Config.Observe is told of. Their values are fit for metric labels.
const (
	OpLoad          Op = "load"           // New or Get read a session, or a cookie did not verify
	OpCreate        Op = "create"         // Save stored a new session
	OpUpdate        Op = "update"         // Save, or Store.Update, stored changed values
	OpTouch         Op = "touch"          // Save, or Store.Touch, moved the deadline
	OpRegenerate    Op = "regenerate"     // Save gave the session a new secret
	OpDestroy       Op = "destroy"        // a logout, Destroy, DestroyByUser or Clear
	OpRemoveExpired Op = "remove_expired" // one pass of the removal
)

// Event is one finished operation. It holds no secret and no value.
type Event struct {
	Op        Op
	ID        string // Record.ID; of a plain id a short hash; "" where there is none or are many
	Name      string // the cookie's
	UserID    string
	Elapsed   time.Duration // with all repetitions
	Size      int           // of the stored values, in bytes
	Removed   int64         // sessions deleted, of OpDestroy and OpRemoveExpired
	Conflicts int           // how often other requests were there first
	// Err is what was returned, but of a load that found nothing it is ErrNotFound, although New returns nil.
	Err error
}

// Result returns "ok", "not_found", "invalid_cookie", "conflict", "too_large", "decode", "unavailable" or
// "error": a metric label.
func (e Event) Result() string {
	for _, r := range []struct {
		err    error
		result string
	}{
		{ErrNotFound, "not_found"},
		{ErrInvalidCookie, "invalid_cookie"},
		{ErrConflict, "conflict"},
		{ErrTooLarge, "too_large"},
		{ErrDecode, "decode"},
		{ErrUnavailable, "unavailable"},
	} {
		if errors.Is(e.Err, r.err) {
			return r.result
		}
	}
	if e.Err != nil {
		return "error"
	}
	return "ok"
}

// watch begins an operation; the function that it returns ends it. Without Config.Observe it costs nothing.
func (s *Store) watch(ctx context.Context) func(Event) {
	if s.cfg.Observe == nil {
		return func(Event) {}
	}
	began := time.Now()
	return func(e Event) {
		e.Elapsed = time.Since(began)
		_, err := guarded(func() (struct{}, error) { s.cfg.Observe(ctx, e); return struct{}{}, nil })
		if err != nil {
			s.cfg.Logger.Error("mongostore: Config.Observe failed", "error", err)
		}
	}
}

// eventOf returns an event about a record, which may be nil.
func eventOf(op Op, rec *record, err error) Event {
	e := Event{Op: op, Err: err}
	if rec != nil {
		e.ID, e.Name, e.UserID, e.Size = publicID(rec), rec.name, rec.user, len(rec.session.Value)
	}
	return e
}

// userOf asks Config.UserID whose session it is. Without one, or if it panics, that stays as it was.
func (s *Store) userOf(session *sessions.Session, before string) string {
	if s.cfg.UserID == nil {
		return before
	}
	user, err := guarded(func() (string, error) { return s.cfg.UserID(session), nil })
	if err != nil {
		s.cfg.Logger.Error("mongostore: Config.UserID panicked; the session keeps its user", "error", err)
		return before
	}
	return user
}

// Bounds of Config.Labels: they hold what clients send, and are not bounded by MaxBytes.
const (
	maxLabels     = 16
	maxLabelBytes = 512
)

// labelsOf asks Config.Labels for the labels of a new session; nil if there are none.
func (s *Store) labelsOf(r *http.Request, session *sessions.Session) bson.Raw {
	if s.cfg.Labels == nil {
		return nil
	}
	labels, err := guarded(func() (map[string]string, error) { return s.cfg.Labels(r, session), nil })
	if err != nil {
		s.cfg.Logger.Error("mongostore: Config.Labels failed; the session gets none", "error", err)
	}
	if len(labels) == 0 {
		return nil
	}
	var doc bson.D
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if len(doc) < maxLabels {
			doc = append(doc, bson.E{Key: clipped(name), Value: clipped(labels[name])})
		}
	}
	raw, err := bson.Marshal(doc)
	if err != nil {
		s.cfg.Logger.Error("mongostore: Config.Labels cannot be stored; the session gets none", "error", err)
		return nil
	}
	return raw
}

// clipped cuts text to maxLabelBytes of valid UTF-8 without zero bytes, as BSON wants it.
func clipped(text string) string {
	text = text[:min(len(text), maxLabelBytes)]
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}
