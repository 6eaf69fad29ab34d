package mongostore

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// credentials are what a cookie carries. With a split token the handle says which record, and the secret
// proves it; with a plain id, which has no secret, the one id does both.
type credentials struct {
	handle string // session.ID
	secret string // "" with a plain id
	id     string // _id: the handle, or Config.TransformID of a plain id
}

// newSecret returns 130 random bits as text.
func newSecret() string { return rand.Text() }

// tokenLength is how long the text of newSecret is.
const tokenLength = 26

func isToken(text string) bool {
	return len(text) == tokenLength && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '2' || r > '7')
	})
}

// value is what the cookie carries. It is a secret, so there is no String method that a log would call.
func (c credentials) value() string {
	if c.secret == "" {
		return c.handle
	}
	return c.handle + "." + c.secret
}

// token is what a record keeps of the secret; nil with a plain id. A plain hash is enough for a random
// secret.
func (c credentials) token() []byte {
	if c.secret == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(c.secret))
	return sum[:]
}

// proof is the token that a record must have to be deleted by credentials alone; empty: it must have none.
func (c credentials) proof() []byte { return append([]byte{}, c.token()...) }

// fit reports whether these are the credentials of rec. The record decides: one with a token of 32 bytes
// wants the secret, one without the field the plain id, and any other nothing.
func (c credentials) fit(rec *record) bool {
	if c.secret == "" {
		return rec.token == nil && c.id == rec.id
	}
	return len(rec.token) == sha256.Size && subtle.ConstantTimeCompare(c.token(), rec.token) == 1
}

// parseCredentials reads the value of a cookie that verified. Not ok: it is not one of this store's. It takes
// printable ASCII only, which what was decrypted with the wrong key hardly ever is. A plain id may have a dot
// too, so where there are plain ids, only what this store makes is a handle and a secret.
func (s *Store) parseCredentials(cookie string) (c credentials, ok bool, err error) {
	if strings.ContainsFunc(cookie, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return credentials{}, false, nil
	}
	handle, secret, _ := strings.Cut(cookie, ".")
	split := handle != "" && secret != ""
	if s.cfg.PlainIDs {
		split = isToken(handle) && isToken(secret)
	}
	if split || !s.cfg.PlainIDs || cookie == "" {
		return credentials{handle, secret, handle}, split, nil
	}
	c, err = s.plainCredentials(cookie)
	return c, err == nil, err
}

// newCredentials returns those of a new session.
func (s *Store) newCredentials() (credentials, error) {
	if s.cfg.PlainIDs {
		return s.plainCredentials(newSecret())
	}
	handle := newSecret()
	return credentials{handle, newSecret(), handle}, nil
}

func (s *Store) plainCredentials(id string) (credentials, error) {
	if s.cfg.TransformID == nil {
		return credentials{handle: id, id: id}, nil
	}
	stored, err := guarded(func() (string, error) { return s.cfg.TransformID(id), nil })
	if err == nil && stored == "" {
		err = errors.New("it returned an empty id")
	}
	if err != nil {
		return credentials{}, fmt.Errorf("%w: %w", errTransformID, err)
	}
	return credentials{handle: id, id: stored}, nil
}

var errTransformID = errors.New("mongostore: Config.TransformID")

// publicID is the id of a session in logs and events: of a plain id, which is a secret, a short hash.
func publicID(rec *record) string {
	if rec.token != nil || rec.id == "" {
		return rec.id
	}
	sum := sha256.Sum256([]byte(rec.id))
	return hex.EncodeToString(sum[:6])
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
	op   Op
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
	replaced *record          // the record of a plain id that was renewed: deleted, its successor not yet stored
	taken    *taken           // what Config.Previous had, until it is stored here
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

// written returns the attempt that wrote a record, if it was this session's. Express, which shares plain ids, may
// have changed the payload since: it leaves version as it is.
func (k *knowledge) written(rec *record) (attempt, bool) {
	for _, a := range k.attempts {
		if a.version == rec.version && a.cred.fit(rec) && (rec.token != nil || a.session.Equal(rec.session)) {
			return a, true
		}
	}
	return attempt{}, false
}
