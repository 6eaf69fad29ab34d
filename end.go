package mongostore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/token"
)

// afterOutage bounds a logout whose load has just waited for Timeout in vain.
const afterOutage = time.Second

// refuse is a Save of a session that is not this store's. It stores nothing, but who logs out is logged out.
func (s *Store) refuse(ctx context.Context, r *http.Request, w http.ResponseWriter, session *sessions.Session, refusal error) (Event, error) {
	if session == nil || session.Options == nil || session.Options.MaxAge >= 0 || !validCookieName(session.Name()) {
		return Event{}, refusal
	}
	copied := *session
	copied.Values = nil
	e, err := s.end(ctx, r, w, &copied, new(state), *session.Options)
	e.Err = errors.Join(refusal, err)
	return e, e.Err
}

// end deletes the session, and those that the request's cookies prove. The cookie is expired whatever becomes of that.
func (s *Store) end(ctx context.Context, r *http.Request, w http.ResponseWriter, session *sessions.Session, st *state, options sessions.Options) (Event, error) {
	if st.failed != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, afterOutage)
		defer cancel()
	}
	defaults := s.defaultOptions()
	options.Path = cmp.Or(options.Path, defaults.Path)
	options.Domain = cmp.Or(options.Domain, defaults.Domain)
	options.MaxAge = -1
	cookies, unnamed := s.cookiesOf(r, w, session.Name())
	setCookie(w, session.Name(), "", options)

	e := Event{Op: OpDestroy, Name: session.Name()}
	if st.base != nil {
		e = eventOf(OpDestroy, &st.base.Record)
	}
	deleted := s.deleteAll(ctx, cookies, st, &e)
	if err := errors.Join(unnamed, s.logoutImported(r, session.Name(), st.imported)); err != nil {
		deleted, e.Err = false, errors.Join(e.Err, err)
	}
	if deleted {
		session.ID, session.IsNew = "", true
		clear(session.Values)
		st.ended(defaults)
	}
	return e, e.Err
}

// cookiesOf returns the verified cookies of a request and of its response. The error is Config.TransformID's.
func (s *Store) cookiesOf(r *http.Request, w http.ResponseWriter, name string) ([]verifiedCookie, error) {
	cookies, err := s.verifiedCookies(nil, r, name)
	for _, cookie := range (&http.Response{Header: w.Header()}).Cookies() {
		if cookie.Name != name || cookie.Value == "" {
			continue
		}
		if c, ok, err := s.decodeCookie(name, cookie.Value); ok && err == nil {
			cookies = append(cookies, c)
		}
	}
	if !errors.Is(err, errTransformID) {
		err = nil // what does not verify proves nothing
	}
	return cookies, err
}

// deleteAll deletes the records of a session and of the cookies beside it: by id alone if the secret was proven, since a
// logout wins over a renewal, else by id and token. Deleted may be true beside the error of a write concern.
func (s *Store) deleteAll(ctx context.Context, cookies []verifiedCookie, st *state, e *Event) (deleted bool) {
	deleted = true
	done := map[string]bool{"": true} // by id, or by id and token
	remove := func(c token.Credentials, proof []byte) {
		if done[c.ID] || done[c.ID+string(proof)] {
			return
		}
		done[c.ID+string(proof)] = true
		var n int64
		var err error
		if c.Secret == "" {
			n, err = s.endPlain(ctx, c.ID, false)
		} else {
			n, err = s.server.delete(ctx, c.ID, proof)
		}
		e.Removed += n
		deleted = deleted && wasDone(err)
		e.Err = errors.Join(e.Err, err)
	}
	if st.proven {
		remove(st.cookie, nil)
	}
	for _, a := range st.unknown {
		remove(a.Credentials, a.Credentials.Proof())
	}
	if st.imported != nil {
		remove(st.next, st.next.Proof())
	}
	remove(st.cookie, st.cookie.Proof())
	for _, c := range cookies {
		remove(c.Credentials, c.Proof())
	}
	return deleted
}

// maxRenewals bounds how many tombstones in a row, each of which lasts some minutes, are followed.
const maxRenewals = 100

// endPlain ends the session with this stored id, or what renewals have made of it since. A plain id, as a cookie carries
// it, proves no session that has a secret; an administrator ends that too.
func (s *Store) endPlain(ctx context.Context, id string, withSecret bool) (removed int64, err error) {
	var concern error // beside which nobody knows whether there was anything to delete
	for range maxRenewals {
		n, err := s.server.delete(ctx, id, []byte{}) // the ordinary case
		if !wasDone(err) {
			return n, err
		}
		if concern = errors.Join(concern, err); n > 0 {
			return n, concern
		}
		rec, err := s.server.find(ctx, id)
		switch {
		case err != nil:
			return 0, err
		case rec == nil:
			return 0, concern
		case rec.Retired():
			id = rec.Next
		case rec.Token != nil && withSecret:
			return s.server.delete(ctx, id, nil)
		case rec.Token != nil:
			return 0, concern
		}
	}
	return 0, fmt.Errorf("mongostore: %w: the session was renewed again and again", ErrUnavailable)
}
