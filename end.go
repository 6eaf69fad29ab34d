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
	deleted := s.deleteAll(ctx, r, session.Name(), st, &e)
	if deleted {
		session.ID, session.IsNew = "", true
		clear(session.Values)
		st.knowledge = knowledge{handed: defaults}
	}
	if deleted || e.Err != nil {
		done(e)
	}
	return e.Err
}

// deleteAll deletes the records of a session and of the cookies beside it, and ends it in Config.Previous. By
// the id alone if the secret was proven, since a logout wins over a renewal at the same time; else by id and
// token. Deleted may be true beside the error of a write concern.
func (s *Store) deleteAll(ctx context.Context, r *http.Request, name string, st *state, e *Event) (deleted bool) {
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
	others, unnamed := s.presentedBy(r, name)
	for _, c := range others {
		remove(c.id, c.proof())
	}
	e.Err = unavailable(e.Err)
	if errors.Is(unnamed, errTransformID) {
		deleted, e.Err = false, errors.Join(e.Err, unnamed)
	}
	if err := s.endPrevious(r, st.taken); err != nil {
		deleted, e.Err = false, errors.Join(e.Err, err)
	}
	return deleted
}
