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

// load fills session from the first cookie of the request whose record is live. The error is one of those
// that New returns; session and st are then those of a stand-in.
func (s *Store) load(r *http.Request, session *sessions.Session, st *state) error {
	name := session.Name()
	if !validCookieName(name) {
		return fmt.Errorf("mongostore: %q is not a valid cookie name", name)
	}
	cookies, err := s.presentedBy(r, name)
	if err != nil || len(cookies) == 0 {
		return err
	}
	ctx, cancel := s.loadContext(r)
	defer cancel()

	st.cookie = cookies[0].credentials
	var damage error
	for _, cookie := range cookies {
		err := s.loadOne(ctx, cookie, session, st)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrDecode):
			damage = err
		case !errors.Is(err, ErrNotFound):
			st.cookie, st.proven, st.failed = cookie.credentials, false, err
			return err
		}
	}
	return damage
}

// loadOne fills session from the record of one cookie. ErrNotFound means that it has none that is live.
func (s *Store) loadOne(ctx context.Context, cookie presented, session *sessions.Session, st *state) error {
	rec, err := s.backend.find(ctx, cookie.handle)
	if errors.Is(err, errNoRecord) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("mongostore: load: %w", err)
	}
	now := s.now()
	switch {
	case !s.lifetimes.live(rec, now), rec.name != "" && rec.name != session.Name():
		return ErrNotFound
	case !cookie.fit(rec):
		st.quiet = st.quiet || now.Sub(rec.createdAt) < justRenewed
		return ErrNotFound
	}
	st.cookie, st.stale, st.proven = cookie.credentials, cookie.stale, true
	if err := s.open(rec, session); err != nil {
		st.quiet = true
		return err
	}
	session.ID, session.IsNew = rec.id, false
	st.id, st.base, st.quiet = rec.id, &snapshot{*rec, rec.session}, false
	return nil
}

// open sets the values and the remembered MaxAge of session to those of a record, or leaves it as it was.
func (s *Store) open(rec *record, session *sessions.Session) error {
	if rec.damage != nil {
		return rec.damage
	}
	before := *session.Options
	if rec.maxAge != nil {
		session.Options.MaxAge = *rec.maxAge
	}
	if err := s.payloads.decode(rec.session, session); err != nil {
		clear(session.Values)
		*session.Options = before
		return err
	}
	return nil
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
