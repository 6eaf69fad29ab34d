package mongostore

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// taken is a session of Config.Previous that is to be stored here.
type taken struct {
	session *sessions.Session
	origin  bson.RawValue // its values as they were taken over
	request *http.Request // which brought its cookie; Save may be given another
}

// takeOver fills session from Config.Previous, or from the record that another request made of it a moment ago. If
// there is none, session becomes a quiet stand-in: a request on its way while another one took the session over and
// gave it a new secret must not replace its cookie.
func (s *Store) takeOver(ctx context.Context, r *http.Request, session *sessions.Session, st *state) (bool, error) {
	previous, err := s.fromPrevious(r, session.Name())
	found := false
	if previous == nil && err == nil {
		found, err = s.loadTaken(ctx, r, session, st)
	}
	if previous == nil {
		st.quiet = !found && !errors.Is(err, ErrUnavailable)
		return found, err
	}
	maps.Copy(session.Values, previous.Values)
	origin, err := s.payloads.encode(session)
	if err != nil {
		origin = bson.RawValue{} // Save says what is wrong with the values
	}
	session.IsNew = false
	st.taken = &taken{previous, origin, r}
	st.next = s.derivedCredentials(r.CookiesNamed(session.Name())[0].Value)
	return true, nil
}

// loadTaken fills session from the record of the old cookie, which leads to it for a minute and until it gets another
// secret: the requests of a page bring the old cookie together, and the first one ends it in Config.Previous.
func (s *Store) loadTaken(ctx context.Context, r *http.Request, session *sessions.Session, st *state) (bool, error) {
	next := s.derivedCredentials(r.CookiesNamed(session.Name())[0].Value)
	rec, err := s.backend.find(ctx, next.id)
	if err == nil && s.now().Sub(rec.createdAt) >= justRenewed {
		err = ErrNotFound
	}
	if err == nil {
		err = s.loadRecord(ctx, presented{credentials: next}, rec, session, st)
	}
	if errors.Is(err, errNoRecord) || errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// fromPrevious asks Config.Previous for the session of a request; nil if it has none. Stores there are that
// return nil or panic, and most answer for a session that has ended with an error of their own: only
// ErrUnavailable tells of an outage, and only ErrDecode of a session that is there and cannot be read.
func (s *Store) fromPrevious(r *http.Request, name string) (*sessions.Session, error) {
	session, err := guarded(func() (*sessions.Session, error) { return s.cfg.Previous.New(r, name) })
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrDecode) {
		return nil, fmt.Errorf("mongostore: Config.Previous: %w", err)
	}
	if err != nil || session != nil && session.IsNew {
		session = nil
	}
	return session, nil
}

// derivedCredentials are made from the old cookie, so that the several requests of a page that take the same
// session over at once end up with one record. Only this store's signature makes a cookie of them.
func (s *Store) derivedCredentials(old string) credentials {
	text := func(label string) string {
		sum := sha256.Sum256([]byte("mongostore taken over " + label + old))
		return base32.StdEncoding.EncodeToString(sum[:])[:tokenLength]
	}
	if s.cfg.PlainIDs {
		c, err := s.plainCredentials(text("id "))
		if err != nil {
			return credentials{} // a new id says what is wrong
		}
		return c
	}
	handle := text("handle ")
	return credentials{handle, text("secret "), handle}
}

// settleTaken finds out, before a session that was taken over is stored, whether another request has done
// so since, or ended it.
func (sv *saving) settleTaken(ctx context.Context) error {
	st := sv.state
	if st.taken == nil || sv.target != nil {
		return nil
	}
	sv.origin = st.taken.origin
	if st.renew {
		st.next = credentials{}
	}
	if session, err := sv.fromPrevious(st.taken.request, sv.session.Name()); session != nil || err != nil || len(st.attempts) > 0 {
		return err
	}
	rec, err := sv.backend.find(ctx, st.next.id)
	switch {
	case errors.Is(err, errNoRecord):
		return errEnded
	case err != nil:
		return err
	case !sv.join(rec):
		return errEnded
	}
	return sv.reconcile(ctx, rec)
}

// late lets an unchanged Save be quiet about a session that was taken over and has ended since, as it is about
// any other session.
func (sv *saving) late(err error) error {
	if sv.state.taken == nil || sv.state.renew || !errors.Is(err, errEnded) || sv.options.MaxAge != sv.state.handed.MaxAge {
		return err
	}
	own, encodeErr := sv.payloads.encode(sv.copied(sv.outline()))
	if encodeErr != nil {
		return err
	}
	is, isErr := sv.payloads.values(own)
	was, wasErr := sv.payloads.values(sv.state.taken.origin)
	if isErr != nil || wasErr != nil || !sameValues(is, was) {
		return err
	}
	sv.event.Err = err
	return nil
}

// join reports whether rec is the session that this request took over, stored by another request.
func (sv *saving) join(rec *record) bool {
	st := sv.state
	if st.taken == nil || !st.next.fit(rec) || !sv.lifetimes.live(rec, sv.now()) || sv.origin.IsZero() {
		return false
	}
	st.cookie, st.proven, sv.joined = st.next, true, true
	return true
}

// logoutPrevious ends in Config.Previous the session that was taken over or, if the load did not get so far or
// found another one, that of the request's cookies.
func (s *Store) logoutPrevious(r *http.Request, name string, t *taken) error {
	if t == nil && s.cfg.Previous != nil && len(r.CookiesNamed(name)) > 0 {
		session, err := s.fromPrevious(r, name)
		if session == nil {
			return err
		}
		t = &taken{session: session, request: r}
	}
	return s.endPrevious(t)
}

// endPrevious ends in Config.Previous a session that is stored here or logged out.
func (s *Store) endPrevious(t *taken) error {
	if t == nil {
		return nil
	}
	options := sessions.Options{Path: "/"}
	if t.session.Options != nil {
		options = *t.session.Options
	}
	options.MaxAge = -1
	t.session.Options = &options
	_, err := guarded(func() (struct{}, error) {
		return struct{}{}, s.cfg.Previous.Save(t.request, &discarded{header: make(http.Header)}, t.session)
	})
	if err != nil {
		return fmt.Errorf("mongostore: ending the session in Config.Previous: %w", err)
	}
	return nil
}

// discarded is a response that nobody sees: the cookie of Config.Previous is this store's to replace.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}
