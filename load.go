package mongostore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/record"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// justRenewed is how long after a renewal a request with the old secret is late: its response must not set a cookie.
const justRenewed = 10 * time.Second

// loader fills one session.
type loader struct {
	store   *Store
	r       *http.Request
	session *sessions.Session
	state   *state
	cookie  [1]verifiedCookie // room for the usual one
	id      [1]string
}

// load fills session from the first cookie whose record is live, or from Config.Previous. It returns New's error.
func (s *Store) load(r *http.Request, session *sessions.Session, st *state) error {
	if !validCookieName(session.Name()) {
		return fmt.Errorf("mongostore: %q is not a valid cookie name", session.Name())
	}
	if len(r.CookiesNamed(session.Name())) == 0 {
		return nil
	}
	timeout := s.cfg.Timeout
	if deadline, ok := r.Context().Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	ctx, cancel := detached(r, timeout)
	defer cancel()
	l := &loader{store: s, r: r, session: session, state: st}
	err := s.observed(ctx, l.load) //nolint:contextcheck // it ends with the request's deadline, not with the request
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil && !errors.Is(err, ErrInvalidCookie) && !errors.Is(err, ErrDecode):
		st.failed = err
	}
	return err
}

// load fills the session. The error is ErrNotFound, too.
func (l *loader) load(ctx context.Context) (e Event, err error) {
	cookies, err := l.store.verifiedCookies(l.cookie[:0], l.r, l.session.Name())
	if err == nil {
		err = l.loadFirst(ctx, cookies)
	}
	if l.store.cfg.Previous != nil && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalidCookie)) {
		if failed := l.importSession(ctx); !errors.Is(failed, ErrNotFound) {
			err = failed
		}
	}
	e = Event{Op: OpLoad, Name: l.session.Name()}
	if base := l.state.base; base != nil {
		e = eventOf(OpLoad, &base.Record)
	}
	e.Err = err
	return e, err
}

// loadFirst fills the session from the first cookie whose record is live and can be decoded. An outage ends the search.
func (l *loader) loadFirst(ctx context.Context, cookies []verifiedCookie) error {
	result := fmt.Errorf("mongostore: load: %w", ErrNotFound)
	if len(cookies) == 0 {
		return result
	}
	l.state.cookie = cookies[0].Credentials
	ids := l.id[:0]
	for _, cookie := range cookies {
		ids = append(ids, cookie.ID)
	}
	records, err := l.store.server.backend.Load(ctx, ids...)
	if err != nil {
		return unavailable(err)
	}
	for _, cookie := range cookies {
		i := slices.IndexFunc(records, func(rec record.Record) bool { return rec.ID == cookie.ID })
		if i < 0 {
			continue
		}
		err := l.fill(ctx, cookie, &records[i])
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrDecode):
			result = err
		case !errors.Is(err, ErrNotFound):
			l.state.cookie, l.state.proven = cookie.Credentials, false
			return err
		}
	}
	return result
}

// fill fills the session from the record of a cookie. ErrNotFound means that it is not live, or not the cookie's.
func (l *loader) fill(ctx context.Context, cookie verifiedCookie, rec *record.Record) error {
	s, now := l.store, l.store.now()
	if rec.Pending() {
		var err error
		if rec, err = s.activateNamed(ctx, rec); err != nil {
			return err
		}
	}
	switch {
	case rec.Retired() && !rec.UpdatedAt.IsZero() && now.Sub(rec.UpdatedAt).Abs() < justRenewed:
		l.standsInLate()
		return ErrNotFound
	case !s.live(rec, now), rec.Name != "" && rec.Name != l.session.Name():
		return ErrNotFound
	case !cookie.Matches(rec.ID, rec.Token):
		if now.Sub(rec.CreatedAt).Abs() < justRenewed {
			l.standsInLate()
		}
		return ErrNotFound
	}
	base, err := s.open(ctx, rec, l.session)
	if errors.Is(err, ErrDecode) {
		l.state.proves(cookie)
		l.state.placeholder = untilValues
	}
	if err != nil {
		return err
	}
	l.state.loaded(base, cookie)
	l.session.ID, l.session.IsNew = cookie.Handle, false
	return nil
}

// standsInLate marks a request that was under way while another renewed its session. A navigation is never turned away.
func (l *loader) standsInLate() {
	if l.r.Header.Get("Sec-Fetch-Mode") == "navigate" {
		l.state.placeholder = max(l.state.placeholder, untilValues)
	} else {
		l.state.placeholder = late
	}
}

// open sets the values, MaxAge and cookie attributes of session to those of a record, or leaves it as it was.
func (s *Store) open(ctx context.Context, rec *record.Record, session *sessions.Session) (*snapshot, error) {
	plain, err := s.payloads.unseal(ctx, rec)
	if err != nil {
		return nil, err
	}
	before := *session.Options
	if rec.MaxAge != nil {
		session.Options.MaxAge = *rec.MaxAge
	}
	err = setAttributes(session.Options, rec.Cookie)
	if err == nil {
		err = s.payloads.decode(plain, session)
	}
	if err != nil {
		clear(session.Values)
		session.Options = &before
		return nil, err
	}
	if maxAge := session.Options.MaxAge; rec.MaxAge != nil && maxAge >= 0 {
		rec.MaxAge = &maxAge // the codec may know of a later one
	}
	return &snapshot{*rec, plain}, nil
}

// live reports whether a record is valid now, whoever has or has not deleted it yet.
func (s *Store) live(rec *record.Record, now time.Time) bool {
	return !rec.Retired() && s.lifetimes.live(rec.Expires, rec.CreatedAt, rec.Token != nil, now)
}

// detached is a context with the request's values: without its cancellation, which would undo a logout or cost a pooled
// connection, and outside of the application's transaction, which could hold a login back.
func detached(r *http.Request, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(r.Context())
	if mongo.SessionFromContext(ctx) != nil {
		ctx = mongo.NewSessionContext(ctx, nil)
	}
	return context.WithTimeout(ctx, timeout)
}
