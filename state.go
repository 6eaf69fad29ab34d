package mongostore

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/plan"
	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/token"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// snapshot is a record that was read or written, with its payload in the clear.
type snapshot struct {
	record.Record
	plain bson.RawValue
}

// attempt is a write whose outcome is unknown.
type attempt struct {
	plan.Attempt
	snapshot snapshot
	own      bson.RawValue    // the session's own values, before those of other requests were merged in
	options  sessions.Options // as the handler had left them
	op       Op
}

// placeholder says what Save does with a session that stands in for one that the cookie did not lead to.
type placeholder int

const (
	ordinary    placeholder = iota // it is stored like any new session
	untilValues                    // it is not stored before it has values
	late                           // nor with values: the session was renewed a moment ago, and the browser has another cookie
)

// state is what the store knows of one session object, which has no room for it but Values, the application's.
type state struct {
	mu    sync.Mutex               // a session is one request's, but two Saves at once must not garble it
	renew atomic.Bool              // Regenerate was called
	shown atomic.Pointer[snapshot] // base, for Store.Record, which callbacks ask for while a Save goes on
	sessionState
}

// sessionState is what one Save leaves to the next. It changes by the methods below.
type sessionState struct {
	id          string            // what New or the last Save set as session.ID
	base        *snapshot         // the record as it was loaded or last written; nil: none is stored
	cookie      token.Credentials // those of the request's cookie or, once there is one, of the record
	proven      bool              // cookie was seen to fit the record
	stale       bool              // cookie is signed with an older key
	handed      sessions.Options  // the options that New handed out: what differs was set by the application
	failed      error             // the load's ErrUnavailable: nothing is known of the session, so nothing is written
	placeholder placeholder
	imported    *imported         // what Config.Previous had, until it is stored here
	next        token.Credentials // of the next insert or renewal; kept over failed attempts, so that no record is made that nobody can reach
	unknown     []attempt         // the writes of earlier Saves whose outcome is unknown
}

// lock waits until no other Save works on the session, or for wait: a callback's Save would wait for itself.
func (st *state) lock(ctx context.Context, wait time.Duration) error {
	if st.mu.TryLock() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for !st.mu.TryLock() {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("mongostore: save: %w: another Save of the same session object is under way: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// loaded: a record was read, and the cookie fits it.
func (st *state) loaded(base *snapshot, cookie verifiedCookie) {
	st.proves(cookie)
	st.id, st.base, st.placeholder = cookie.Handle, base, ordinary
	st.shown.Store(base)
}

// proves: a cookie fits its record, which may yet be one that cannot be read.
func (st *state) proves(cookie verifiedCookie) {
	st.cookie, st.stale, st.proven = cookie.Credentials, cookie.stale, true
}

// committed: a record was written, or found to be as it should. Nothing of before matters any more.
func (st *state) committed(base *snapshot, cookie token.Credentials, handed sessions.Options, cookieSet bool) {
	st.sessionState = sessionState{
		id: cookie.Handle, base: base, cookie: cookie, proven: true, handed: handed, stale: st.stale && !cookieSet,
	}
	st.shown.Store(base)
}

// ended: the session was logged out. The object is a new session now.
func (st *state) ended(handed sessions.Options) {
	st.sessionState = sessionState{handed: handed}
	st.renew.Store(false)
	st.shown.Store(nil)
}

// recovered: an attempt turned out to be stored. Its credentials are the record's, and what it set is set no more.
func (st *state) recovered(a attempt) {
	st.handed = a.options
	if a.Credentials != st.cookie {
		st.cookie, st.next = a.Credentials, token.Credentials{}
	}
}

// overtaken: an attempt turned out to be stored, and renewed by another request since. What is left to do is nothing.
func (st *state) overtaken(a *attempt) {
	st.base, st.handed, st.unknown = &a.snapshot, a.options, nil
	st.shown.Store(st.base)
}

// shared: another request stored what both had imported, under the same credentials.
func (st *state) shared() { st.cookie, st.proven = st.next, true }

// attempted: a write got no answer. Those before it that went elsewhere were refused, since that id was taken.
func (st *state) attempted(a attempt) {
	if len(st.unknown) > 0 && st.unknown[0].ID != a.ID {
		st.unknown = nil
	}
	st.unknown = append(st.unknown[max(0, len(st.unknown)-15):], a) // a record remembers fewer versions
}

// lost: a first insert is not there. It may arrive yet, when the session has ended, so the next one takes another secret
// or plain id, and nobody ever holds those of the first. As long as the handle is taken, the first one is refused.
func (st *state) lost() {
	if st.next.Secret == "" {
		st.next = token.Credentials{}
	} else {
		st.next.Secret = token.NewSecret()
	}
}

// startsOver: the session goes on as a new one under credentials of its own.
func (st *state) startsOver() { st.next, st.unknown = token.Credentials{}, nil }

// states is the table of the session objects that are in use. An entry goes when its session does.
type states struct{ table sync.Map } // weak.Pointer[sessions.Session] to *state

func (t *states) put(session *sessions.Session, st *state) {
	key := weak.Make(session)
	t.table.Store(key, st)
	runtime.AddCleanup(session, func(key weak.Pointer[sessions.Session]) { t.table.Delete(key) }, key)
}

func (t *states) get(session *sessions.Session) *state {
	st, ok := t.table.Load(weak.Make(session))
	if !ok {
		return nil
	}
	return st.(*state)
}

// stateOf returns the state of a session to save. One that was built by hand with an ID may be a copy of an ended one.
func (s *Store) stateOf(session *sessions.Session) (*state, error) {
	if session == nil {
		return nil, fmt.Errorf("mongostore: the session is nil")
	}
	if !validCookieName(session.Name()) {
		return nil, fmt.Errorf("mongostore: %q is not a valid cookie name", session.Name())
	}
	st := s.states.get(session)
	if st == nil && session.ID != "" {
		return nil, fmt.Errorf("mongostore: this session is not one of this store's: a copy, built by hand, or another store's of the same name")
	}
	if st == nil {
		st = &state{sessionState: sessionState{handed: s.defaultOptions()}}
		s.states.put(session, st)
	}
	return st, nil
}
