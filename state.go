package mongostore

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// credentials are what a cookie carries: the handle says which record, the secret proves it.
type credentials struct{ handle, secret string }

// newHandle and newSecret return 130 random bits as text.
func newHandle() string { return rand.Text() }
func newSecret() string { return rand.Text() }

// value is what the cookie carries. It is a secret, so there is no String method that a log would call.
func (c credentials) value() string { return c.handle + "." + c.secret }

// token is what a record keeps of the secret. A plain hash is enough for a random secret.
func (c credentials) token() []byte {
	sum := sha256.Sum256([]byte(c.secret))
	return sum[:]
}

// fit reports whether these are the credentials of rec. A record without a token of 32 bytes has none.
func (c credentials) fit(rec *record) bool {
	return len(rec.token) == sha256.Size && subtle.ConstantTimeCompare(c.token(), rec.token) == 1
}

// parseCredentials takes printable ASCII only, which what was decrypted with the wrong key hardly ever is.
func parseCredentials(cookie string) (credentials, bool) {
	handle, secret, ok := strings.Cut(cookie, ".")
	ok = ok && handle != "" && secret != "" && !strings.ContainsFunc(cookie, func(r rune) bool { return r <= ' ' || r > '~' })
	return credentials{handle, secret}, ok
}

// snapshot is a record that was read or written, with its payload in the clear.
type snapshot struct {
	record
	plain bson.RawValue
}

// attempt is a write of which it is not known whether the server has it.
type attempt struct {
	snapshot
	cred credentials
	mine bson.RawValue // the session's own values, before those of other requests were merged in
}

// state is what the store knows of one session object. It lives beside the object, since gorilla's
// Session has no room for it but Values, which belong to the application.
type state struct {
	mu sync.Mutex // a session is one request's, but two Saves at once must not garble it
	knowledge
}

type knowledge struct {
	id       string           // what New or the last Save set as session.ID
	base     *snapshot        // the record as it was loaded or last written; nil: none is stored
	cookie   credentials      // those of the request's cookie or, once there is one, of the record
	proven   bool             // cookie was seen to fit the record
	stale    bool             // cookie is signed with an older key
	handed   sessions.Options // the options that New handed out: what differs was set by the application
	failed   error            // the load's ErrUnavailable: nothing is known of the session, so nothing is written
	quiet    bool             // a stand-in that is not stored before it has values
	renew    bool             // Regenerate was called
	next     credentials      // of the next create or renewal; kept over failed attempts
	attempts []attempt
}

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

// stateOf returns the state of a session that is about to be saved. A session that was built by hand gets
// one if it has no ID; with an ID it could be a copy of one that has ended since.
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
		st = &state{knowledge: knowledge{handed: s.defaultOptions()}}
		s.states.put(session, st)
	}
	return st, nil
}

// written returns the attempt that wrote this version, if it was this session's.
func (k *knowledge) written(version int64) (attempt, bool) {
	for _, a := range k.attempts {
		if a.version == version {
			return a, true
		}
	}
	return attempt{}, false
}
