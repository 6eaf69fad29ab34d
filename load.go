package mongostore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// justRenewed is how long after a renewal a request with the old secret may still be on its way. It gets
// a quiet stand-in, so that its response does not replace the cookie that the login set.
const justRenewed = time.Minute

// load fills session from the first cookie of the request whose record is live, or from Config.Previous.
// The error is one of those that New returns; session and st are then those of a stand-in.
func (s *Store) load(r *http.Request, session *sessions.Session, st *state) error {
	name := session.Name()
	if !validCookieName(name) {
		return fmt.Errorf("mongostore: %q is not a valid cookie name", name)
	}
	if len(r.CookiesNamed(name)) == 0 {
		return nil
	}
	ctx, cancel := s.loadContext(r)
	defer cancel()
	done := s.watch(ctx)

	cookies, err := s.presentedBy(r, name)
	if err == nil {
		err = s.loadFirst(ctx, cookies, session, st)
	}
	if s.cfg.Previous != nil && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalidCookie)) {
		if taken, failed := s.takeOver(ctx, r, session, st); taken || failed != nil {
			err = failed
		}
	}
	e := Event{Op: OpLoad, Name: name, Err: err}
	if st.base != nil {
		e = eventOf(OpLoad, &st.base.record, err)
	}
	done(e)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil && !errors.Is(err, ErrInvalidCookie) && !errors.Is(err, ErrDecode):
		st.failed = err
	}
	return err
}

// loadFirst fills session from the first of the cookies whose record is live. What one cannot decode
// another may replace; an outage ends the search.
func (s *Store) loadFirst(ctx context.Context, cookies []presented, session *sessions.Session, st *state) error {
	result := fmt.Errorf("mongostore: load: %w", ErrNotFound)
	for i, cookie := range cookies {
		if i == 0 {
			st.cookie = cookie.credentials
		}
		err := s.loadOne(ctx, cookie, session, st)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrDecode):
			result = err
		case !errors.Is(err, ErrNotFound):
			st.cookie, st.proven = cookie.credentials, false
			return err
		}
	}
	return result
}

// loadOne fills session from the record of one cookie. ErrNotFound means that it has none that is live.
func (s *Store) loadOne(ctx context.Context, cookie presented, session *sessions.Session, st *state) error {
	rec, err := s.backend.find(ctx, cookie.id)
	if errors.Is(err, errNoRecord) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return s.loadRecord(ctx, cookie, rec, session, st)
}

// loadRecord is loadOne of a record that was found.
func (s *Store) loadRecord(ctx context.Context, cookie presented, rec *record, session *sessions.Session, st *state) error {
	now := s.now()
	switch {
	case !s.lifetimes.live(rec, now), rec.name != "" && rec.name != session.Name():
		return ErrNotFound
	case !cookie.fit(rec):
		st.quiet = st.quiet || now.Sub(rec.createdAt) < justRenewed
		return ErrNotFound
	}
	base, err := s.open(ctx, rec, session)
	if err != nil && !errors.Is(err, ErrDecode) {
		return err
	}
	st.cookie, st.stale, st.proven = cookie.credentials, cookie.stale, true
	st.quiet = err != nil
	if err != nil {
		return err
	}
	session.ID, session.IsNew = cookie.handle, false
	st.id, st.base = session.ID, base
	return nil
}

// open sets the values and the remembered MaxAge of session to those of a record, or leaves it as it was.
func (s *Store) open(ctx context.Context, rec *record, session *sessions.Session) (*snapshot, error) {
	if rec.damage != nil {
		return nil, rec.damage
	}
	plain, err := s.payloads.unseal(ctx, rec)
	if err != nil {
		return nil, err
	}
	before := *session.Options
	if rec.maxAge != nil {
		session.Options.MaxAge = *rec.maxAge
	}
	if err := s.payloads.decode(plain, session); err != nil {
		clear(session.Values)
		session.Options = &before
		return nil, err
	}
	if maxAge := session.Options.MaxAge; rec.maxAge != nil && maxAge >= 0 {
		rec.maxAge = &maxAge // the codec may know of a later one
	}
	return &snapshot{*rec, plain}, nil
}

// loadContext is the context of a load: the request's values, and its deadline if that is earlier, but
// not its cancellation, which would cost a pooled connection.
func (s *Store) loadContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := s.saveContext(r)
	deadline, ok := r.Context().Deadline()
	if !ok {
		return ctx, cancel
	}
	ctx, cancelEarlier := context.WithDeadline(ctx, deadline)
	return ctx, func() { cancelEarlier(); cancel() }
}

// saveContext is the context of a Save: a browser that goes away must not undo a logout, and the
// transaction of an application must not hold a login back.
func (s *Store) saveContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(r.Context())
	if mongo.SessionFromContext(ctx) != nil {
		ctx = mongo.NewSessionContext(ctx, nil)
	}
	return context.WithTimeout(ctx, s.cfg.Timeout)
}
