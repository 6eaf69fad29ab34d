package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Record is a stored session as the outside may see it. Nothing in it lets anybody in, except under
// Config.PlainIDs without a TransformID, where the ID is what the cookie carries.
type Record struct {
	ID        string            // the stored _id; with split tokens it is session.ID, a name and not a secret
	Name      string            // the cookie's name
	UserID    string            // what Config.UserID said at the last Save
	Labels    map[string]string // what Config.Labels said at creation or the last Regenerate
	CreatedAt time.Time         // or when Regenerate was last saved
	UpdatedAt time.Time         // the last write, a moved deadline included
	ExpiresAt time.Time         // as stored; a Config.MaxLifetime that is younger than the record may end it before
	Size      int               // of the stored values, in bytes

	store *Store
	rec   *record
}

// Values decodes the values of the record, at each call anew, so that they are the caller's; changing them
// changes nothing that is stored (see Store.Update). It asks the Sealer, if there is one, but not MongoDB. The
// error is ErrDecode, or ErrUnavailable if the Sealer did not answer.
func (r Record) Values(ctx context.Context) (map[any]any, error) {
	if r.rec == nil {
		return nil, fmt.Errorf("mongostore: %w: the Record is empty", ErrDecode)
	}
	if r.rec.damage != nil {
		return nil, r.rec.damage
	}
	plain, err := r.store.payloads.unseal(ctx, r.rec)
	if err != nil {
		return nil, err
	}
	values, err := r.store.payloads.values(plain)
	if err != nil {
		return nil, err
	}
	return values, nil
}

func (s *Store) recordOf(rec *record) Record {
	var labels map[string]string
	if rec.labels != nil {
		_ = bson.Unmarshal(rec.labels, &labels) // labels that are no strings were edited: none then
	}
	return Record{
		ID: rec.id, Name: rec.name, UserID: rec.user, Labels: labels,
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

// All yields the live sessions, the latest deadline first. It streams: a million sessions take no more
// memory than a few, and the sort is that of the index on "expires". A record that cannot be decoded is
// yielded like any other, and only its Values fail. An error, ErrUnavailable, is the last thing yielded;
// ctx bounds the whole.
func (s *Store) All(ctx context.Context) iter.Seq2[Record, error] {
	return s.list(ctx, "")
}

// ByUser yields the live sessions of a user, the newest activity first. It needs Config.UserID, and finds
// sessions that were saved before there was one after their next Save. See All.
func (s *Store) ByUser(ctx context.Context, userID string) iter.Seq2[Record, error] {
	if err := s.checkUser(userID); err != nil {
		return func(yield func(Record, error) bool) { yield(Record{}, err) }
	}
	return s.list(ctx, userID)
}

func (s *Store) list(ctx context.Context, user string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s.backend.list(ctx, s.alive(), user, func(rec *record, err error) bool {
			switch {
			case err != nil:
				return yield(Record{}, unavailable(err))
			case !s.lifetimes.live(rec, s.now()): // expired since, or a deadline that is no date
				return true
			}
			return yield(s.recordOf(rec), nil)
		})
	}
}

// checkUser refuses an empty user, which would mean every anonymous session.
func (s *Store) checkUser(userID string) error {
	switch {
	case s.cfg.UserID == nil:
		return errors.New("mongostore: sessions have no users: Config.UserID is not set")
	case userID == "":
		return errors.New("mongostore: the user id is empty")
	}
	return nil
}

func (s *Store) alive() alive {
	a := alive{now: s.now(), plain: s.cfg.PlainIDs}
	if s.lifetimes.max > 0 {
		a.createdAfter = a.now.Add(-s.lifetimes.max)
	}
	return a
}

// Find returns the live session with this Record.ID; ErrNotFound if there is none, ErrUnavailable.
func (s *Store) Find(ctx context.Context, id string) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	rec, err := s.findLive(ctx, id)
	if err != nil {
		return Record{}, err
	}
	return s.recordOf(rec), nil
}

func (s *Store) findLive(ctx context.Context, id string) (*record, error) {
	rec, err := s.backend.find(ctx, id)
	switch {
	case errors.Is(err, errNoRecord), err == nil && !s.lifetimes.live(rec, s.now()):
		return nil, fmt.Errorf("mongostore: %w", ErrNotFound)
	case err != nil:
		return nil, err
	}
	return rec, nil
}

// Count returns how many sessions are live. Errors are ErrUnavailable.
func (s *Store) Count(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	n, err := s.backend.count(ctx, s.alive())
	return n, unavailable(err)
}

// Touch moves the deadline of a session as an unchanged Save would, but never back; for a websocket, say,
// that keeps its session alive. ErrNotFound if there is none, ErrUnavailable.
func (s *Store) Touch(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	done := s.watch(ctx)
	rec, err := s.touch(ctx, id)
	done(s.eventOn(OpTouch, rec, id, err))
	return err
}

func (s *Store) touch(ctx context.Context, id string) (*record, error) {
	rec, err := s.findLive(ctx, id)
	if err != nil {
		return nil, err
	}
	maxAge, now := s.maxAgeOf(ctx, rec), s.now()
	matched, err := s.twice(func() (bool, error) {
		return s.backend.prolong(ctx, id, now, s.lifetimes.deadline(now, rec.createdAt, maxAge))
	})
	if err == nil && !matched {
		err = ErrNotFound
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = unavailable(err)
	}
	return rec, err
}

// maxAgeOf returns the MaxAge of a session that nobody has loaded. A RecordCodec may keep one in the payload.
func (s *Store) maxAgeOf(ctx context.Context, rec *record) int {
	options := s.defaultOptions()
	if rec.maxAge != nil {
		options.MaxAge = *rec.maxAge
	}
	if _, ok := s.cfg.PayloadCodec.(RecordCodec); ok {
		session := sessions.NewSession(s, rec.name)
		session.Options = &options // as they are if the payload cannot be read
		_, _ = s.open(ctx, rec, session)
		return session.Options.MaxAge
	}
	return options.MaxAge
}

// eventOn returns an event about a record, or about one of which only the id is known.
func (s *Store) eventOn(op Op, rec *record, id string, err error) Event {
	if rec != nil {
		return eventOf(op, rec, err)
	}
	if s.cfg.PlainIDs {
		id = publicID(&record{id: id})
	}
	return Event{Op: op, ID: id, Err: err}
}

// Update changes the values of a session from outside its requests: the rights of a user who is logged in,
// say. change may run again if another request was there first, on the values that one left; what it
// returns as an error is returned, and nothing stored. The deadline stays. Requests that are under way
// merge with the change as with any other request's.
//
// ErrNotFound if there is no such session, ErrDecode, ErrTooLarge, ErrConflict, ErrUnavailable.
func (s *Store) Update(ctx context.Context, id string, change func(values map[any]any) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	done := s.watch(ctx)
	var attempts []int64
	rec, err := s.edit(ctx, id, change, &attempts)
	err = explain(ctx, len(attempts), err)
	e := s.eventOn(OpUpdate, rec, id, err)
	e.Conflicts = max(0, len(attempts)-1)
	done(e)
	return err
}

// edit is the loop of Update. A version of its own that it finds is a write whose answer was lost.
func (s *Store) edit(ctx context.Context, id string, change func(map[any]any) error, attempts *[]int64) (*record, error) {
	for {
		old, err := s.findLive(ctx, id)
		if err != nil {
			return nil, err
		}
		if slices.Contains(*attempts, old.version) {
			return old, nil
		}
		rec, err := s.edited(ctx, old, change)
		if err != nil {
			return old, err
		}
		*attempts = append(*attempts, rec.version)
		written, err := s.twice(func() (bool, error) {
			return s.backend.update(ctx, old.guard(s.now()), rec, editing)
		})
		if written || err != nil {
			return rec, refused(err)
		}
		if err := jitter(ctx, len(*attempts)); err != nil {
			return rec, err
		}
	}
}

// edited returns a record with its values changed.
func (s *Store) edited(ctx context.Context, old *record, change func(map[any]any) error) (*record, error) {
	session := sessions.NewSession(s, old.name)
	options := s.defaultOptions()
	session.Options = &options
	was, err := s.open(ctx, old, session)
	if err != nil {
		return nil, err
	}
	maxAge := session.Options.MaxAge
	session.Options.MaxAge = cookieMaxAge(maxAge, s.now(), old.expires)
	if err := change(session.Values); err != nil {
		return nil, err
	}
	plain, err := s.payloads.encodeRecord(session, was.plain, maxAge, old.expires)
	if err != nil {
		return nil, err
	}
	rec := *old
	rec.user, rec.updatedAt, rec.version = s.userOf(session, old.user), s.now(), newVersion()
	if rec.createdAt.IsZero() {
		rec.createdAt, rec.born = rec.updatedAt, true
	}
	rec.session, err = s.payloads.seal(ctx, &rec, plain)
	return &rec, err
}

// Destroy ends the session with this Record.ID, at once and for good: a request that runs with it cannot
// bring it back. One that does not exist is no error. If the id comes from a form, check first that the
// Record's UserID is the one who asks. Errors are ErrUnavailable.
func (s *Store) Destroy(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	done := s.watch(ctx)
	n, err := s.deleteTwice(func() (int64, error) { return s.backend.delete(ctx, id, nil) })
	e := s.eventOn(OpDestroy, nil, id, err)
	e.Removed = n
	done(e)
	return err
}

// DestroyByUser ends the sessions of a user and returns how many, keeping those of except: "log out
// everywhere else". It ends what is stored under the user when it runs, so change a password first and call
// it then; a login with the old one that is under way may still be stored after it. An empty user, or no
// Config.UserID, is an error. Other errors are ErrUnavailable.
func (s *Store) DestroyByUser(ctx context.Context, userID string, except ...*sessions.Session) (int64, error) {
	if err := s.checkUser(userID); err != nil {
		return 0, err
	}
	keep, err := s.storedIDs(except)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	done := s.watch(ctx)
	n, err := s.deleteTwice(func() (int64, error) { return s.backend.deleteUser(ctx, userID, keep) })
	done(Event{Op: OpDestroy, UserID: userID, Removed: n, Err: err})
	return n, err
}

// storedIDs returns the _id of each session that is stored.
func (s *Store) storedIDs(list []*sessions.Session) ([]string, error) {
	var ids []string
	for _, session := range list {
		if session == nil {
			continue
		}
		if rec, ok := s.Record(session); ok {
			ids = append(ids, rec.ID)
		} else if session.ID != "" {
			return nil, errors.New("mongostore: a session to keep is not one of this store's: a copy, built by hand, or another store's")
		}
	}
	return ids, nil
}

// Clear ends all sessions. The indexes stay. Errors are ErrUnavailable.
func (s *Store) Clear(ctx context.Context) error {
	done := s.watch(ctx)
	n, err := s.deleteTwice(func() (int64, error) { return s.backend.clear(ctx) })
	done(Event{Op: OpDestroy, Removed: n, Err: err})
	return err
}

// deleteTwice repeats a deletion once if the connection broke, which is always safe.
func (s *Store) deleteTwice(remove func() (int64, error)) (n int64, err error) {
	_, err = s.twice(func() (bool, error) {
		more, err := remove()
		n += more
		return err == nil, err
	})
	return n, unavailable(err)
}
