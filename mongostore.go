package mongostore

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/record"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Store keeps sessions in MongoDB. It implements gorilla's [sessions.Store].
//
// A Store is safe for concurrent use. Set its two fields before the first request.
type Store struct {
	// Codecs sign the cookie, and encrypt it if they have a block key, as in every gorilla store.
	Codecs []securecookie.Codec
	// Options are the defaults of a session's cookie; each session gets a copy. They start as Path "/", HttpOnly,
	// Secure, SameSite=Lax and Config.TTL as MaxAge. Change single fields rather than replacing Options. Over plain HTTP,
	// except on localhost, set Secure to false or browsers drop the cookie.
	Options *sessions.Options

	cfg       Config
	lifetimes lifetimes
	payloads  payloads
	server    server
	states    states
	locks     *locks
	closing   []func()         // what Close calls; each may be called again
	now       func() time.Time // in whole milliseconds, as times are stored
}

var _ sessions.Store = (*Store)(nil)

// New returns a Store that keeps its sessions in coll, a collection of its own. A nil cfg means the defaults. New
// creates or repairs the indexes unless Config.NoIndexes is set, and starts removing expired sessions if the server
// does not. ctx bounds that only. If MongoDB is down, New blocks until ctx ends or the driver gives up, by default after
// 30 seconds (serverSelectionTimeoutMS); a server that hangs can take longer, so give ctx a deadline.
//
// Keys come in pairs: an authentication key of 32 or 64 random bytes and an encryption key of 16, 24 or 32, or nil for
// none. The first pair makes cookies, every pair reads them. To replace a key without encryption:
// New(ctx, coll, nil, newKey, nil, oldKey, nil). New does not check how long or random an authentication key is: the
// signature is a second line of defence behind the cookie's secret of 130 random bits, also under Config.PlainIDs.
//
// ErrUnavailable: MongoDB did not answer; try again. Any other error is about the configuration, the keys or the
// indexes, and says what to change. After an error nothing is left behind, and New may be called again.
//
// Call Close to stop the removal. coll's client stays yours to disconnect.
func New(ctx context.Context, coll *mongo.Collection, cfg *Config, keyPairs ...[]byte) (*Store, error) {
	if coll == nil {
		return nil, errors.New("mongostore: the collection is nil")
	}
	if cfg != nil && (cfg.ClientOptions != nil || cfg.Database != "" || cfg.Collection != "") {
		return nil, errors.New("mongostore: Config.ClientOptions, Database and Collection are for Open; New is given a collection")
	}
	return newOn(ctx, coll, cfg, keyPairs)
}

// Open connects to the MongoDB at uri, which may hold any option of the driver, and returns a Store that owns the
// client: Close disconnects it. Config.ClientOptions override the URI. The database is Config.Database or the URI's, the
// collection is Config.Collection or "sessions". Open returns when ctx ends, even if the driver still waits for a
// connection. Everything else is as in New.
func Open(ctx context.Context, uri string, cfg *Config, keyPairs ...[]byte) (*Store, error) {
	s, err := newStore(cfg, keyPairs)
	if err != nil { // before there is a client to disconnect
		return nil, err
	}
	database := cmp.Or(s.cfg.Database, databaseOf(uri))
	if database == "" {
		return nil, errors.New("mongostore: no database: put it into the URI, as in mongodb://host/database, or into Config.Database")
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri), s.cfg.ClientOptions)
	if err != nil {
		return nil, fmt.Errorf("mongostore: Open: %w", withoutPassword(err))
	}
	s, err = newOn(ctx, client.Database(database).Collection(cmp.Or(s.cfg.Collection, "sessions")), cfg, keyPairs)
	if err != nil {
		abandon(ctx, client)
		return nil, err
	}
	s.closing = append(s.closing, sync.OnceFunc(func() { disconnect(client) })) //nolint:contextcheck // Close has none
	return s, nil
}

// withoutPassword replaces the one error that quotes the connection string, most often a password in it.
func withoutPassword(err error) error {
	var escape url.EscapeError
	if errors.As(err, &escape) {
		return errors.New("the URI has a % that begins no escape: write one that is meant as % as %25")
	}
	return err
}

// databaseOf returns the database of a connection string: the text between the hosts and the options.
func databaseOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	_, database, _ := strings.Cut(rest, "/")
	if name, err := url.PathUnescape(database); err == nil {
		return name
	}
	return database
}

// abandon disconnects the client of an Open that failed, and waits for that until ctx ends. The driver waits
// longer: for a connection that is being made, up to its connect timeout. Then it goes on in the background.
func abandon(ctx context.Context, client *mongo.Client) {
	waiting, done := context.WithCancel(ctx)
	go func() { //nolint:contextcheck // ctx may be why Open failed
		defer done()
		disconnect(client)
	}()
	<-waiting.Done()
}

func disconnect(client *mongo.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), defaultTimeout)
	defer cancel()
	_ = client.Disconnect(ctx) // when ctx ends, it closes what is still in use
}

// newOn returns a Store that keeps its sessions in coll, or in memory if that is nil.
func newOn(ctx context.Context, coll *mongo.Collection, cfg *Config, keyPairs [][]byte) (*Store, error) {
	s, err := newStore(cfg, keyPairs)
	if err != nil {
		return nil, err
	}
	s.server.backend = s.newBackend(coll)
	interval := s.cfg.AutoRemove == AutoRemoveInterval
	if !s.cfg.NoIndexes {
		native, err := s.ensureIndexes(ctx)
		if err != nil {
			return nil, err
		}
		interval = interval || s.cfg.AutoRemove == AutoRemoveNative && !native
	}
	if interval {
		s.closing = append(s.closing, s.startRemoval()) //nolint:contextcheck // it goes on until Close
	}
	return s, nil
}

func (s *Store) newBackend(coll *mongo.Collection) record.Backend {
	switch {
	case coll != nil:
		return record.NewCollection(coll, record.Options{
			ReadPreference: s.cfg.ReadPreference, WriteConcern: s.cfg.WriteConcern,
			LastModified: s.cfg.LastModified, Forgets: s.cfg.PlainIDs,
		})
	case s.cfg.AutoRemove == AutoRemoveNative:
		return record.NewMemory(func() time.Time { return s.now().Add(-removalGrace) })
	}
	return record.NewMemory(nil)
}

// NewMemory returns a Store that keeps its sessions in the process, for tests and demos. It behaves like a Store of New
// except for what only MongoDB does, and works inside a testing/synctest bubble. Without keys it makes a random one. Its
// errors are about the configuration. Only with AutoRemoveInterval does it need Close, which stops a goroutine.
func NewMemory(cfg *Config, keyPairs ...[]byte) (*Store, error) {
	if len(keyPairs) == 0 && (cfg == nil || len(cfg.CookieCodecs) == 0) {
		keyPairs = [][]byte{securecookie.GenerateRandomKey(32)}
	}
	return newOn(context.Background(), nil, cfg, keyPairs)
}

// newStore returns a Store that lacks only its backend.
func newStore(cfg *Config, keyPairs [][]byte) (*Store, error) {
	s := &Store{
		cfg: cfg.withDefaults(),
		now: func() time.Time { return time.Now().UTC().Truncate(time.Millisecond) },
	}
	err := s.cfg.validate()
	if err != nil {
		return nil, err
	}
	if s.Codecs, err = newCodecs(s.cfg.CookieCodecs, keyPairs); err != nil {
		return nil, err
	}
	options := s.builtinOptions()
	s.Options = &options
	s.lifetimes = lifetimes{s.cfg.TTL, s.cfg.MaxLifetime, s.cfg.TouchAfter}
	s.payloads = payloads{&s.cfg}
	s.locks = &locks{taken: make(map[string]*lock)}
	return s, nil
}

// Get returns the session of this name, never nil. The first call in a request loads it, later calls return the same
// object; a context that a middleware sets after the first call does not reach the load. Without a cookie, or if its
// session has ended, the session is new and the error nil.
//
// The errors are ErrInvalidCookie (go on with the session), ErrUnavailable (answer 503) and ErrDecode. The session beside
// an error is new and safe to save: saving it destroys no stored data.
func (s *Store) Get(r *http.Request, name string) (*sessions.Session, error) {
	session, err := sessions.GetRegistry(r).Get(s, name)
	if session == nil { // the name is invalid
		session, _ = s.New(r, name)
	}
	return session, err
}

// New is Get without keeping the session for the request, so it can retry a failed load.
func (s *Store) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	options := s.defaultOptions()
	session.IsNew, session.Options = true, &options

	st := new(state)
	err := s.load(r, session, st)
	st.handed = *session.Options
	s.states.put(session, st)
	return session, err
}

// Save stores the session and sets its cookie. Call it before writing anything else to w.
//
// With Options.MaxAge < 0 it ends the session: it deletes the record and expires the cookie, the latter even if MongoDB
// fails. Otherwise it inserts a new session, updates a changed one, and moves the deadline of an unchanged one if that is
// worth a write. It merges changes of other requests into session.Values. It sets the cookie only if it wrote the record.
//
// A request that comes with the old cookie within 10 seconds after another one renewed the session is late: its Save
// stores nothing and sets no cookie, which would replace the new one, and returns ErrNotFound if there are values. After
// Regenerate, or in a navigation (Sec-Fetch-Mode), it is stored.
//
// ErrNotFound: the session has ended since it was loaded, or another request renewed it; nothing is stored. ErrConflict,
// ErrTooLarge: see there. ErrDecode: another request stored something that this process cannot read. ErrUnavailable:
// MongoDB or the Sealer did not answer, or refused; a write may have landed, and the next Save of this object finds out. If
// only the write concern failed, the session is stored and the cookie set. Errors without a sentinel are a request that
// ended before a renewal was written, or mistakes in the program: values that cannot be encoded (the error names the key),
// an invalid cookie name, a cookie that does not encode, a changed ID, a session that is a copy or of another store. After
// any error the values are unchanged and Save may be called again.
func (s *Store) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	ctx, cancel := detached(r, s.cfg.Timeout)
	defer cancel()
	return s.observed(ctx, func(ctx context.Context) (Event, error) {
		st, err := s.stateOf(session)
		if err != nil {
			return s.refuse(ctx, r, w, session, err)
		}
		return s.save(ctx, r, w, session, st)
	})
}

// save is Save of a session with a state. When it returns, the session is unlocked: Config.Observe may ask for its Record.
func (s *Store) save(ctx context.Context, r *http.Request, w http.ResponseWriter, session *sessions.Session, st *state) (Event, error) {
	if err := st.lock(ctx, s.cfg.Timeout/2); err != nil {
		return Event{}, err
	}
	defer st.mu.Unlock()

	options := s.optionsOf(session, st)
	if options.MaxAge < 0 {
		return s.end(ctx, r, w, session, st, options)
	}
	if st.failed != nil {
		return Event{}, st.failed
	}
	if session.ID != st.id {
		if session.ID != "" {
			return Event{}, errors.New("mongostore: session.ID was changed; set it to \"\" or call Regenerate for a new secret")
		}
		st.renew.Store(true)
	}
	if session.Values == nil {
		session.Values = make(map[any]any)
	}
	sv := &saver{store: s, r: r, session: session, state: st, options: options, renew: st.renew.Swap(false)}
	d, err := sv.run(ctx)
	if sv.renew { // nothing was committed
		st.renew.Store(true)
	}
	if d != nil && d.cookie != "" {
		d.options.MaxAge = cookieMaxAge(d.options.MaxAge, d.now, d.Expires)
		setCookie(w, session.Name(), d.cookie, d.options)
	}
	sv.event.Conflicts = sv.conflicts
	if err != nil {
		sv.event.Err = err
	}
	return sv.event, err
}

// MaxAge sets Options.MaxAge, in seconds: the default for sessions whose MaxAge the application does not set. 0 means
// cookies that end with the browser; with a negative age every Save is a logout. MaxAge replaces Options by a changed
// copy, so do not keep a pointer to it. Call it before the first request.
func (s *Store) MaxAge(age int) {
	options := s.defaultOptions()
	options.MaxAge = age
	s.Options = &options
}

// Regenerate makes the next Save give the session a new secret and cookie, after which the old cookie is dead. Call it on
// every login and privilege change, to prevent session fixation (OWASP: renew the session ID after any privilege level
// change). Do not call it from a timer: MaxLifetime starts again.
//
// session.ID, which is a name and not a secret, stays the same; under Config.PlainIDs it is the secret, and changes with
// that Save. If the request has ended by then, Save writes nothing and returns an error, as the new cookie would reach
// nobody; the old one stays good. On a copy, or a session of another store, Regenerate does nothing, and Save fails if it
// has an ID.
func (s *Store) Regenerate(session *sessions.Session) {
	if st := s.states.get(session); st != nil {
		st.renew.Store(true)
	}
}

// KeepAlive returns a middleware that saves the session of this name before the handler runs, if the request brought one,
// so that its lifetime counts from the last request instead of the last change. It writes only every Config.TouchAfter.
// The handler's Get reports an error of the load; an error of the Save is dropped, since the session is as it was.
func (s *Store) KeepAlive(name string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session, err := s.Get(r, name)
			if err == nil && !session.IsNew {
				_ = session.Save(r, w)
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Collection returns the collection of the sessions, with the Store's read preference and write concern; nil in memory.
func (s *Store) Collection() *mongo.Collection {
	if c, ok := s.server.backend.(*record.Collection); ok {
		return c.Collection
	}
	return nil
}

// Close stops the removal of expired sessions, waits for it to end, and disconnects the client if Open created it. It may
// be called more than once, at any time, and always returns nil.
func (s *Store) Close() error {
	for _, end := range s.closing {
		end()
	}
	return nil
}

// HashID returns a Config.TransformID: the HMAC-SHA256 of the id in hexadecimal, so that whoever reads the database cannot
// use the sessions. Every process needs the same key, and changing it ends all sessions. An empty key makes a plain hash,
// which is enough for random ids.
func HashID(key []byte) func(id string) string {
	key = append([]byte{}, key...)
	return func(id string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id))
		return hex.EncodeToString(mac.Sum(nil))
	}
}
