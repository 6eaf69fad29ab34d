package mongostore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/mongostore/mongostore/internal/record"
)

// Op is the kind of an operation.
type Op string

// The operations that Config.Observe is called after. Their values can be metric labels.
const (
	OpLoad          Op = "load"           // New or Get read a session, or a cookie did not verify
	OpCreate        Op = "create"         // Save stored a new session
	OpUpdate        Op = "update"         // Save, or Store.Update, stored changed values
	OpTouch         Op = "touch"          // Save, or Store.Touch, moved the deadline
	OpRegenerate    Op = "regenerate"     // Save gave the session a new secret
	OpDestroy       Op = "destroy"        // a logout, Destroy, DestroyByUser or Clear
	OpRemoveExpired Op = "remove_expired" // one pass of the removal
)

// Event is one finished operation. It contains no secrets and no values.
type Event struct {
	Op        Op
	ID        string // Record.ID, or a short hash of a plain id; "" for none or several
	Name      string // the cookie's
	UserID    string
	Elapsed   time.Duration // including retries
	Size      int           // of the stored values, in bytes
	Removed   int64         // sessions deleted, by OpDestroy and OpRemoveExpired
	Conflicts int           // how often another request was first
	Err       error         // as returned; but ErrNotFound for a load that found nothing, for which New returns nil
}

// Result returns the outcome as a metric label: "ok", "not_found", "invalid_cookie", "conflict", "too_large", "decode",
// "unavailable" or "error".
func (e Event) Result() string {
	switch {
	case e.Err == nil:
		return "ok"
	case errors.Is(e.Err, ErrNotFound):
		return "not_found"
	case errors.Is(e.Err, ErrInvalidCookie):
		return "invalid_cookie"
	case errors.Is(e.Err, ErrConflict):
		return "conflict"
	case errors.Is(e.Err, ErrTooLarge):
		return "too_large"
	case errors.Is(e.Err, ErrDecode):
		return "decode"
	case errors.Is(e.Err, ErrUnavailable):
		return "unavailable"
	}
	return "error"
}

// observed runs an operation, returns its error, and calls Config.Observe, unless the event has no Op.
func (s *Store) observed(ctx context.Context, operation func(context.Context) (Event, error)) error {
	began := time.Now()
	e, err := operation(ctx)
	if s.cfg.Observe == nil || e.Op == "" {
		return err
	}
	e.Elapsed = time.Since(began)
	_, failed := recovering(func() (struct{}, error) { s.cfg.Observe(ctx, e); return struct{}{}, nil })
	if failed != nil {
		s.cfg.Logger.Error("mongostore: Config.Observe failed", "error", failed)
	}
	return err
}

// eventOf returns an event about a record.
func eventOf(op Op, rec *record.Record) Event {
	return Event{Op: op, ID: publicID(rec), Name: rec.Name, UserID: rec.User, Size: len(rec.Session.Value)}
}

// publicID is the id of a session in logs and events. A plain id is a secret, so a short hash stands for it.
func publicID(rec *record.Record) string {
	if rec.Token != nil || rec.ID == "" {
		return rec.ID
	}
	sum := sha256.Sum256([]byte(rec.ID))
	return hex.EncodeToString(sum[:6])
}
