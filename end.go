package mongostore

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// afterOutage bounds a logout whose load has just waited for Timeout in vain.
const afterOutage = time.Second

// refuse is a Save of a session that is not this store's. It writes nothing, but who logs out is logged out:
// the cookie is expired, and what the request's cookies prove ends.
func (s *Store) refuse(r *http.Request, w http.ResponseWriter, session *sessions.Session, refusal error) error {
	if session == nil || session.Options == nil || session.Options.MaxAge >= 0 || !validCookieName(session.Name()) {
		return refusal
	}
	ctx, cancel := s.saveContext(r)
	defer cancel()
	copied := *session
	copied.Values = nil
	done := s.watch(ctx)
	event, err := s.end(ctx, r, w, &copied, new(state), *session.Options)
	if event.Op != "" {
		done(event)
	}
	return errors.Join(refusal, err)
}

// end deletes the session: the record of this session and of every cookie in the request that proves one.
// The cookie is expired first, whatever becomes of the rest, and the session object becomes a new one.
func (s *Store) end(ctx context.Context, r *http.Request, w http.ResponseWriter, session *sessions.Session, st *state, options sessions.Options) (Event, error) {
	if st.failed != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, afterOutage)
		defer cancel()
	}
	defaults := s.defaultOptions()
	options.Path = orDefault(options.Path, defaults.Path)
	options.Domain = orDefault(options.Domain, defaults.Domain)
	options.MaxAge = -1
	cookies, unnamed := s.cookiesOf(r, w, session.Name())
	setCookie(w, session.Name(), "", options)

	e := Event{Op: OpDestroy, Name: session.Name()}
	if st.base != nil {
		e = eventOf(OpDestroy, &st.base.record, nil)
	}
	deleted := s.deleteAll(ctx, cookies, st, &e)
	if err := errors.Join(unnamed, s.logoutPrevious(r, session.Name(), st.taken)); err != nil {
		deleted, e.Err = false, errors.Join(e.Err, err)
	}
	if deleted {
		session.ID, session.IsNew = "", true
		clear(session.Values)
		st.knowledge = knowledge{handed: defaults}
	}
	return e, e.Err
}

// cookiesOf returns the sessions that the cookies of a request prove, and those that an earlier Save of another
// object has set a cookie for in the same response. The error is Config.TransformID's.
func (s *Store) cookiesOf(r *http.Request, w http.ResponseWriter, name string) ([]presented, error) {
	cookies, err := s.presentedBy(r, name)
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

// deleteAll deletes the records of a session and of the cookies beside it. By the id alone if the secret was
// proven, since a logout wins over a renewal at the same time; else by id and token. Deleted may be true beside the error of a write concern.
func (s *Store) deleteAll(ctx context.Context, cookies []presented, st *state, e *Event) (deleted bool) {
	deleted = true
	done := map[string]bool{"": true} // by id, or by id and token
	remove := func(id string, token []byte) {
		if done[id] || done[id+string(token)] {
			return
		}
		done[id+string(token)] = true
		n, err := s.backend.delete(ctx, id, token)
		if mongo.IsNetworkError(err) && !mongo.IsTimeout(err) {
			n, err = s.backend.delete(ctx, id, token)
		}
		e.Removed += n
		deleted = deleted && (err == nil || onlyConcern(err))
		e.Err = errors.Join(e.Err, err)
	}
	if st.proven {
		remove(st.cookie.id, nil)
	}
	for _, a := range st.attempts {
		remove(a.cred.id, a.cred.proof())
	}
	if st.taken != nil {
		remove(st.next.id, st.next.proof())
	}
	remove(st.cookie.id, st.cookie.proof())
	for _, c := range cookies {
		remove(c.id, c.proof())
	}
	e.Err = unavailable(e.Err)
	return deleted
}
