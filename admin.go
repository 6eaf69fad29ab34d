package mongostore

import (
	"context"
	"errors"
	"time"

	"github.com/gorilla/sessions"
)

// Record is a stored session as the outside may see it: nothing in it lets anybody in.
type Record struct {
	ID        string // what session.ID is: a name, not a secret
	Name      string // the cookie's name
	UserID    string // what Config.UserID said at the last Save
	CreatedAt time.Time
	UpdatedAt time.Time // the last write, a moved deadline included
	ExpiresAt time.Time
	Size      int // of the encoded values, in bytes

	store *Store
	rec   *record
}

// Values decodes the values of the record, at each call anew. An error is ErrDecode.
func (r Record) Values(_ context.Context) (map[any]any, error) {
	if r.rec == nil {
		return nil, errors.New("mongostore: an empty Record has no values")
	}
	if r.rec.damage != nil {
		return nil, r.rec.damage
	}
	values, err := r.store.payloads.values(r.rec.session)
	if err != nil {
		return nil, err
	}
	return values, nil
}

func (s *Store) recordOf(rec *record) Record {
	return Record{
		ID: rec.id, Name: rec.name, UserID: rec.user,
		CreatedAt: rec.createdAt, UpdatedAt: rec.updatedAt, ExpiresAt: rec.expires,
		Size:  len(rec.session.Value),
		store: s, rec: rec,
	}
}

// Record returns the record of a session as it was loaded or last saved, without asking the server. It
// reports false for a session that is not stored.
func (s *Store) Record(session *sessions.Session) (Record, bool) {
	st := s.states.get(session)
	if st == nil {
		return Record{}, false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.base == nil {
		return Record{}, false
	}
	return s.recordOf(&st.base.record), true
}

// Count returns how many sessions are live. Errors are ErrUnavailable.
func (s *Store) Count(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	now := s.now()
	var createdAfter time.Time
	if s.lifetimes.max > 0 {
		createdAfter = now.Add(-s.lifetimes.max)
	}
	n, err := s.backend.count(ctx, now, createdAfter)
	return n, unavailable(err)
}

// Destroy ends the session with this Record.ID, at once and for good: a request that runs with it cannot
// bring it back. One that does not exist is no error. If the id comes from a form, check first that the
// Record's UserID is the one who asks. Errors are ErrUnavailable.
func (s *Store) Destroy(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return unavailable(s.backend.delete(ctx, id, nil))
}
