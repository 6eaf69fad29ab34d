package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/record"
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
	UpdatedAt time.Time         // the last Save, a moved deadline included; Store.Touch and Store.Update leave it
	ExpiresAt time.Time         // as stored; a Config.MaxLifetime that is younger than the record may end it before
	Size      int               // of the stored values, in bytes

	store *Store
	rec   *record.Record
}

// Values decodes the values of the record: a new copy at each call, so changing it stores nothing (see Store.Update). It
// asks the Sealer, if there is one, but not MongoDB. The error is ErrDecode, or ErrUnavailable from the Sealer.
func (r Record) Values(ctx context.Context) (map[any]any, error) {
	if r.rec == nil {
		return nil, fmt.Errorf("mongostore: %w: the Record is empty", ErrDecode)
	}
	plain, err := r.store.payloads.unseal(ctx, r.rec)
	if err != nil {
		return nil, err
	}
	return r.store.payloads.values(plain)
}

func (s *Store) recordOf(rec *record.Record) Record {
	var labels map[string]string
	if rec.Labels != nil {
		_ = bson.Unmarshal(rec.Labels, &labels) // labels that are no strings were edited: none then
	}
	return Record{
		ID: rec.ID, Name: rec.Name, UserID: rec.User, Labels: labels,
		CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt, ExpiresAt: rec.Expires,
		Size:  len(rec.Session.Value),
		store: s, rec: rec,
	}
}

// Record returns the record of a session as last loaded or saved, without I/O; false if the session is not stored.
func (s *Store) Record(session *sessions.Session) (Record, bool) {
	if st := s.states.get(session); st != nil {
		if base := st.shown.Load(); base != nil {
			return s.recordOf(&base.Record), true
		}
	}
	return Record{}, false
}

// All yields the live sessions, the latest deadline first. It streams, sorted by the index on "expires", so a million
// sessions take no more memory than a few. The Values of a record that cannot be decoded fail. An error, ErrUnavailable,
// is the last thing yielded. ctx bounds the whole.
func (s *Store) All(ctx context.Context) iter.Seq2[Record, error] {
	return s.list(ctx, "")
}

// ByUser yields the live sessions of a user, the newest activity first. It needs Config.UserID, and finds a session that
// was saved without one after its next Save. See All.
func (s *Store) ByUser(ctx context.Context, userID string) iter.Seq2[Record, error] {
	if err := s.checkUser(userID); err != nil {
		return func(yield func(Record, error) bool) { yield(Record{}, err) }
	}
	return s.list(ctx, userID)
}

func (s *Store) list(ctx context.Context, user string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s.server.backend.List(ctx, s.liveNow(), user, func(rec *record.Record, err error) bool {
			switch {
			case err != nil:
				return yield(Record{}, unavailable(err))
			case !s.live(rec, s.now()): // expired since, or a deadline that is no date
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
	case tooLong(userID):
		return fmt.Errorf("mongostore: a user id of %d bytes is too long", len(userID))
	}
	return nil
}

// liveNow is the filter of the sessions that are live.
func (s *Store) liveNow() record.Live {
	l := record.Live{Now: s.now(), Plain: s.cfg.PlainIDs}
	if s.lifetimes.max > 0 {
		l.CreatedAfter = l.Now.Add(-s.lifetimes.max)
	}
	return l
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

func (s *Store) findLive(ctx context.Context, id string) (*record.Record, error) {
	rec, err := s.server.find(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case rec == nil || !s.live(rec, s.now()):
		return nil, fmt.Errorf("mongostore: %w", ErrNotFound)
	}
	return rec, nil
}

// Count returns how many sessions are live. Errors are ErrUnavailable.
func (s *Store) Count(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	n, err := s.server.backend.Count(ctx, s.liveNow())
	return n, unavailable(err)
}

// administer is observed, within Config.Timeout. The operation completes an event about the session with this id.
func (s *Store) administer(ctx context.Context, op Op, id string, operation func(context.Context, *Event) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.observed(ctx, func(ctx context.Context) (Event, error) {
		e := Event{Op: op, ID: id}
		if s.cfg.PlainIDs {
			e.ID = publicID(&record.Record{ID: id})
		}
		e.Err = operation(ctx, &e)
		return e, e.Err
	})
}

// Touch moves the deadline of a session as an unchanged Save would, but never back; for a websocket, say, that keeps its
// session alive. A Save that shortens the session's life at the same time wins. Touch leaves Record.UpdatedAt, and the
// browser's cookie until the next Save. ErrNotFound if there is no such session, ErrConflict, ErrUnavailable.
func (s *Store) Touch(ctx context.Context, id string) error {
	return s.edit(ctx, OpTouch, id, record.Prolong, func(ctx context.Context, old *record.Record) (*record.Record, error) {
		rec := *old
		rec.UpdatedAt = s.now()
		rec.Expires = s.lifetimes.deadline(rec.UpdatedAt, rec.CreatedAt, s.maxAgeOf(ctx, old))
		return &rec, nil
	})
}

// Update changes the values of a session from outside its requests: a user's rights, say. If another request was there
// first, change runs again, on the new values. If change returns an error, Update returns it and stores nothing. The
// deadline stays. Requests under way merge with the change.
//
// ErrNotFound if there is no such session, ErrDecode, ErrTooLarge, ErrConflict. ErrUnavailable: MongoDB did not answer,
// and the change may have been stored.
func (s *Store) Update(ctx context.Context, id string, change func(values map[any]any) error) error {
	return s.edit(ctx, OpUpdate, id, record.Edit, func(ctx context.Context, old *record.Record) (*record.Record, error) {
		return s.edited(ctx, old, change)
	})
}

// revision returns what is to become of a record.
type revision func(ctx context.Context, old *record.Record) (*record.Record, error)

// edit changes a record, again and again while other requests are there first.
func (s *Store) edit(ctx context.Context, op Op, id string, c record.Change, revise revision) error {
	return s.administer(ctx, op, id, func(ctx context.Context, e *Event) error {
		var lost []int64 // the versions of writes that got no answer
		for conflicts := 0; ; {
			rec, done, err := s.editOnce(ctx, id, c, revise, &lost)
			if !done {
				conflicts++
				err = backOff(ctx, conflicts)
			}
			if rec != nil {
				*e = eventOf(op, rec)
			}
			if e.Conflicts = conflicts; done || err != nil {
				return explain(ctx, conflicts, len(lost) > 0, err)
			}
		}
	})
}

// editOnce reads and writes the record. If it finds a version of its own, that is a write whose answer was lost.
func (s *Store) editOnce(
	ctx context.Context, id string, c record.Change, revise revision, lost *[]int64,
) (_ *record.Record, done bool, _ error) {
	old, err := s.findLive(ctx, id)
	if err != nil || slices.ContainsFunc(*lost, old.Had) {
		return old, true, err
	}
	rec, err := revise(ctx, old)
	if err != nil {
		return old, true, err
	}
	out, err := s.server.update(ctx, old.Match(s.now()), rec, c)
	if out == unknown && rec.Version != old.Version {
		*lost = append(*lost, rec.Version)
	}
	return rec, out == written || err != nil, err
}

// edited returns a record with its values changed.
func (s *Store) edited(ctx context.Context, old *record.Record, change func(map[any]any) error) (*record.Record, error) {
	session := sessions.NewSession(s, old.Name)
	options := s.defaultOptions()
	session.Options = &options
	was, err := s.open(ctx, old, session)
	if err != nil {
		return nil, err
	}
	maxAge := session.Options.MaxAge
	session.Options.MaxAge = cookieMaxAge(maxAge, s.now(), old.Expires)
	if err := change(session.Values); err != nil {
		return nil, err
	}
	plain, err := s.payloads.encodeRecord(session, was.plain, maxAge, old.Expires)
	if err != nil {
		return nil, err
	}
	rec := *old
	rec.User = s.userOf(session, old.User)
	return &rec, s.rewrite(ctx, &rec, plain)
}

// rewrite gives a record, whose other fields must be final, another payload and a version of its own.
func (s *Store) rewrite(ctx context.Context, rec *record.Record, plain bson.RawValue) (err error) {
	if rec.CreatedAt.IsZero() { // Express made it
		rec.CreatedAt = s.now()
	}
	rec.Versions, rec.Version = rec.Versions.Then(rec.Version), record.NewVersion()
	rec.Session, err = s.payloads.seal(ctx, rec, plain)
	return err
}

// maxAgeOf returns the MaxAge of a session that nobody has loaded. A RecordCodec may keep one in the payload.
func (s *Store) maxAgeOf(ctx context.Context, rec *record.Record) int {
	var plain bson.RawValue
	if s.payloads.keepOptions() {
		plain, _ = s.payloads.unseal(ctx, rec)
	}
	return s.optionsIn(rec, plain).MaxAge
}

// optionsIn returns the options of the cookie that a record holds, the store's where they cannot be read.
func (s *Store) optionsIn(rec *record.Record, plain bson.RawValue) sessions.Options {
	options := s.defaultOptions()
	if rec.MaxAge != nil {
		options.MaxAge = *rec.MaxAge
	}
	_ = setAttributes(&options, rec.Cookie)
	decoded := options
	session := sessions.Session{Options: &decoded, Values: make(map[any]any)}
	if s.payloads.decode(plain, &session) == nil { // which may set options
		return *session.Options
	}
	return options
}

// Destroy ends the session with this Record.ID, at once and for good: a request under way cannot bring it back, nor renew
// it. It is no error if there is none. If the id comes from a form, first check that the Record's UserID is the one who
// asks. Errors are ErrUnavailable.
func (s *Store) Destroy(ctx context.Context, id string) error {
	return s.administer(ctx, OpDestroy, id, func(ctx context.Context, e *Event) (err error) {
		if s.cfg.PlainIDs { // it may have been renewed
			e.Removed, err = s.endPlain(ctx, id, true)
		} else {
			e.Removed, err = s.server.delete(ctx, id, nil)
		}
		return err
	})
}

// DestroyByUser ends the sessions of a user and returns how many, keeping those of except: "log out everywhere else". A
// login under way may still be stored after it, so change a password first. An empty user, or no Config.UserID, is an
// error. Other errors are ErrUnavailable.
func (s *Store) DestroyByUser(ctx context.Context, userID string, except ...*sessions.Session) (removed int64, err error) {
	if err := s.checkUser(userID); err != nil {
		return 0, err
	}
	keep, err := s.storedIDs(except)
	if err != nil {
		return 0, err
	}
	err = s.administer(ctx, OpDestroy, "", func(ctx context.Context, e *Event) (err error) {
		e.UserID = userID
		e.Removed, err = deleteTwice(func() (int64, error) { return s.server.backend.DeleteUser(ctx, userID, keep) })
		removed = e.Removed
		return err
	})
	return removed, err
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
	return s.observed(ctx, func(ctx context.Context) (Event, error) {
		n, err := deleteTwice(func() (int64, error) { return s.server.backend.Clear(ctx) })
		return Event{Op: OpDestroy, Removed: n, Err: err}, err
	})
}
