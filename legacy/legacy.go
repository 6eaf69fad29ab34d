// Package legacy reads the sessions that other stores for gorilla/sessions left in MongoDB: those of
// kidstuff/mongostore and its forks, of laziness-coders/mongostore, which is the Mongo backend of
// gin-contrib/sessions, of 2-72/gorilla-sessions-mongodb, mcquackers/gorilla-sessions-mongo,
// go-playground/mongostore and go-stuff/mongostore. It is for Config.Previous of a mongostore.Store, so that
// nobody has to log in again because of the swap:
//
//	old := client.Database("app").Collection("sessions") // as it was
//	store, err := mongostore.New(ctx, client.Database("app").Collection("logins"), &mongostore.Config{
//		Previous: legacy.MongoStore(old, key), // the key and session name as they were, too
//	}, key)
//
// The sessions keep their cookies until they are first saved in the new store, which ends them in the old one.
package legacy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

const (
	// codecAge is the age limit of securecookie, which most of these stores left as it is.
	codecAge = 30 * 24 * time.Hour
	// timeout bounds a load and a Save, as Config.Timeout does in the store that takes the sessions over.
	timeout = 5 * time.Second
	// maxCookies is how many cookies of one name are looked up.
	maxCookies = 4
)

// Store finds and ends the sessions of another store; it stores none. It is safe for concurrent use.
//
// Every error of New is one of mongostore's, to be told apart with errors.Is.
type Store struct {
	coll    *mongo.Collection
	cookies []securecookie.Codec
	data    []securecookie.Codec // take values of any length
	maxAge  time.Duration
	wrong   error // with the arguments of MongoStore
}

var _ sessions.Store = (*Store)(nil)

// MongoStore returns a Store of the sessions in coll, the collection of before, whose cookies and values these
// keys sign and encrypt, as they were given to that store: in pairs, of which any may fit. The client is one of
// the current driver.
//
// Nothing is asked of the server. If the arguments are wrong, every request that brings a cookie gets
// ErrUnavailable with the reason: a wrong key must not look like users who have logged out.
func MongoStore(coll *mongo.Collection, keyPairs ...[]byte) *Store {
	s := &Store{maxAge: codecAge}
	if coll == nil {
		s.wrong = fmt.Errorf("legacy: %w: MongoStore was given no collection", mongostore.ErrUnavailable)
		return s
	}
	s.coll = coll.Clone(options.Collection().SetReadPreference(readpref.Primary()).SetWriteConcern(writeconcern.Majority()))
	s.cookies, s.data = codecs(keyPairs), codecs(keyPairs)
	for _, codec := range s.data {
		codec.(*securecookie.SecureCookie).MaxLength(0)
	}
	if len(keyPairs) == 0 {
		s.wrong = fmt.Errorf("legacy: %w: MongoStore was given no keys", mongostore.ErrUnavailable)
	}
	for i, codec := range s.cookies {
		if _, err := codec.Encode("legacy", ""); err != nil {
			s.wrong = fmt.Errorf("legacy: %w: key pair %d of MongoStore does not work: %w", mongostore.ErrUnavailable, i+1, err)
		}
	}
	return s
}

// codecs returns those of key pairs, without an age limit: the Store has its own.
func codecs(keyPairs [][]byte) []securecookie.Codec {
	list := securecookie.CodecsFromPairs(keyPairs...)
	for _, codec := range list {
		codec.(*securecookie.SecureCookie).MaxAge(0)
	}
	return list
}

// MaxAge says for how many seconds a session lives after its last Save: the maxAge that the store of before was
// given. 0 means for as long as its document is there. Call it before the first request. Default: 30 days, the
// age limit of securecookie, which then ended cookies of that age in most of these stores. A go-stuff session
// has its own deadline.
//
// A TTL index of before goes on removing documents, whatever is set here.
func (s *Store) MaxAge(age int) { s.maxAge = time.Duration(age) * time.Second }

// Get returns the session of this name, looked up at most once in a request; otherwise it is as New.
func (s *Store) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New looks the session of this name up: with IsNew false, its values and its ID as the cookie has it. Otherwise
// the session is a new one, never nil, and unless there was no cookie the error says why.
//
// ErrInvalidCookie: no key verifies it under this name. ErrNotFound: the session has expired or ended.
// ErrDecode: its document is of no shape that is known here, its values do not verify, or hold a type that is not
// registered with gob. ErrUnavailable: MongoDB did not answer, or the arguments of MongoStore were wrong.
func (s *Store) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	session.IsNew, session.Options = true, &sessions.Options{Path: "/", MaxAge: int(s.maxAge / time.Second)}
	return session, s.load(r, session)
}

// load fills session from the first cookie whose document is a live session.
func (s *Store) load(r *http.Request, session *sessions.Session) error {
	cookies := r.CookiesNamed(session.Name())
	if len(cookies) == 0 {
		return nil
	}
	if s.wrong != nil {
		return s.wrong
	}
	ctx, cancel := loadContext(r)
	defer cancel()
	var failures []error
	asked := 0
	for _, cookie := range cookies {
		p, err := s.parse(session.Name(), cookie.Value)
		if err == nil && asked < maxCookies {
			asked++
			err = s.loadOne(ctx, p, session)
			if err == nil || errors.Is(err, mongostore.ErrUnavailable) {
				return err
			}
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// presented is what a cookie says.
type presented struct {
	id     string
	signed time.Time // by the Save that set it
}

// parse reads a cookie.
func (s *Store) parse(name, value string) (presented, error) {
	var id string
	if err := securecookie.DecodeMulti(name, value, &id, s.cookies...); err != nil {
		return presented{}, fmt.Errorf("legacy: %w: %w", mongostore.ErrInvalidCookie, err)
	}
	if id == "" {
		return presented{}, fmt.Errorf("legacy: %w: it names no session", mongostore.ErrInvalidCookie)
	}
	return presented{id, signedAt(value)}, nil
}

// signedAt returns when securecookie made a value, which has verified: it is "seconds|value|mac" in base64.
func signedAt(value string) time.Time {
	text, _ := base64.URLEncoding.DecodeString(value)
	seconds, _, _ := strings.Cut(string(text), "|")
	n, _ := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(n, 0)
}

// Save ends a session that New returned, if its Options.MaxAge is negative: it deletes the document, which may be
// gone already, and expires the cookie. ErrUnavailable: MongoDB did not answer. Any other Save is an error, for
// sessions are stored in the new store.
func (s *Store) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	if session == nil || session.Options == nil || session.Options.MaxAge >= 0 {
		return errors.New("legacy: this store ends sessions but stores none: save them in the store that has it as Config.Previous")
	}
	http.SetCookie(w, sessions.NewCookie(session.Name(), "", session.Options))
	if s.wrong != nil || session.ID == "" {
		return s.wrong
	}
	ctx, cancel := saveContext(r)
	defer cancel()
	_, err := s.coll.DeleteOne(ctx, byID(session.ID))
	if mongo.IsNetworkError(err) && !mongo.IsTimeout(err) { // the driver tries again on replica sets only
		_, err = s.coll.DeleteOne(ctx, byID(session.ID))
	}
	if err != nil {
		return fmt.Errorf("legacy: %w: %w", mongostore.ErrUnavailable, err)
	}
	return nil
}

// loadContext is the context of a load: with the request's deadline, but not its cancellation.
func loadContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := saveContext(r)
	deadline, ok := r.Context().Deadline()
	if !ok {
		return ctx, cancel
	}
	ctx, cancelEarlier := context.WithDeadline(ctx, deadline)
	return ctx, func() { cancelEarlier(); cancel() }
}

// saveContext is the context of a Save: a browser that goes away must not keep a session alive, nor an
// application's transaction take part.
func saveContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(r.Context())
	if mongo.SessionFromContext(ctx) != nil {
		ctx = mongo.NewSessionContext(ctx, nil)
	}
	return context.WithTimeout(ctx, timeout)
}
