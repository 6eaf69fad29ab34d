package mongostore

import (
	"context"
	"errors"
	"net/http"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// end deletes the session: the record of this session and of every cookie in the request that proves one.
// The cookie is expired first, whatever becomes of the rest, and the session object becomes a new one.
func (s *Store) end(ctx context.Context, r *http.Request, w http.ResponseWriter, session *sessions.Session, st *state, options sessions.Options) error {
	defaults := s.defaultOptions()
	options.Path = orDefault(options.Path, defaults.Path)
	options.Domain = orDefault(options.Domain, defaults.Domain)
	options.MaxAge = -1
	setCookie(w, session.Name(), "", options)

	done := s.watch(ctx)
	e := Event{Op: OpDestroy, Name: session.Name()}
	if st.base != nil {
		e = eventOf(OpDestroy, &st.base.record, nil)
	}
	var sent bool
	e.Removed, sent, e.Err = s.deleteAll(ctx, r, session.Name(), st)
	e.Err = unavailable(e.Err)
	if e.Err == nil {
		e.Err = s.endPrevious(r, st.taken)
	}
	if sent {
		done(e)
	}
	if e.Err != nil && !onlyConcern(e.Err) {
		return e.Err
	}
	session.ID, session.IsNew = "", true
	clear(session.Values)
	st.knowledge = knowledge{handed: st.handed}
	return e.Err
}

// deleteAll deletes the records of a session and of the cookies beside it. By the id alone if the secret
// was proven, since a logout wins over a renewal at the same time; else by id and token.
func (s *Store) deleteAll(ctx context.Context, r *http.Request, name string, st *state) (removed int64, sent bool, failed error) {
	done := map[string]bool{"": true}
	remove := func(id string, token []byte) {
		if done[id] {
			return
		}
		done[id], sent = true, true
		n, err := s.backend.delete(ctx, id, token)
		if mongo.IsNetworkError(err) && !mongo.IsTimeout(err) {
			n, err = s.backend.delete(ctx, id, token)
		}
		removed += n
		failed = errors.Join(failed, err)
	}
	if st.proven {
		remove(st.cookie.id, nil)
	}
	for _, a := range st.attempts {
		remove(a.cred.id, a.cred.token())
	}
	if st.taken != nil {
		remove(st.next.id, st.next.token())
	}
	remove(st.cookie.id, st.cookie.token())
	others, _ := s.presentedBy(r, name)
	for _, c := range others {
		remove(c.id, c.token())
	}
	return removed, sent, failed
}
