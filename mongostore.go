package mongostore

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
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
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Store keeps sessions in MongoDB. It implements gorilla's [sessions.Store].
//
// A Store is safe for concurrent use. Its two fields are to be set before the first request.
type Store struct {
	// Codecs sign, and with a block key encrypt, the cookie, as in every gorilla store.
	Codecs []securecookie.Codec
	// Options are the defaults of a session's cookie; each session gets a copy. They begin as Path "/",
	// HttpOnly, Secure, SameSite=Lax and a MaxAge of Config.TTL. Change fields rather than replace it:
	// over plain HTTP, on anything but localhost, set Secure to false or browsers drop the cookie.
	Options *sessions.Options

	cfg       Config
	lifetimes lifetimes
	payloads  payloads
	backend   backend
	states    states
	locks     *locks
	removal   removal
	client    *mongo.Client // Open's; nil if it is not this store's to disconnect
	closing   sync.Once
	now       func() time.Time // in whole milliseconds, as they are stored
}

var _ sessions.Store = (*Store)(nil)

// New returns a Store that keeps its sessions in coll, a collection of its own. It checks keys and config,
// creates or repairs the indexes unless Config.NoIndexes is set, and starts removing expired sessions if
// the server does not; ctx bounds that and is not kept. A nil cfg means the defaults. With
// context.Background a server that is down is waited for as long as the driver does, by default for 30
// seconds (serverSelectionTimeoutMS), and one that hangs for longer: give ctx a deadline.
//
// Keys come in pairs, an authentication key of 32 or 64 random bytes and an encryption key of 16, 24 or 32,
// or nil for none. The first pair makes cookies, every pair reads them. To replace a key without
// encryption: New(ctx, coll, nil, newKey, nil, oldKey, nil). How long or random an authentication key is, is
// not checked: what lets a browser in is the cookie's secret of 130 random bits, and the signature is a
// second line. Under Config.PlainIDs too the id is as random.
//
// ErrUnavailable: MongoDB did not answer. What else is wrong, in the configuration, the keys or the indexes,
// the error names, and no sentinel stands for it: it takes a change and not a second try.
//
// Call Close to stop the removal; coll's client stays yours to disconnect. A New that fails leaves nothing
// behind and can be called again.
func New(ctx context.Context, coll *mongo.Collection, cfg *Config, keyPairs ...[]byte) (*Store, error) {
	if coll == nil {
		return nil, errors.New("mongostore: the collection is nil")
	}
	if cfg != nil && (cfg.ClientOptions != nil || cfg.Database != "" || cfg.Collection != "") {
		return nil, errors.New("mongostore: Config.ClientOptions, Database and Collection are for Open; New is given a collection")
	}
	return newOn(ctx, coll, cfg, keyPairs)
}

// Open connects to the MongoDB at uri, which may have everything the driver knows, and returns a Store that
// owns the client: Close disconnects it. The database is Config.Database or the URI's, the collection
// Config.Collection or "sessions"; Config.ClientOptions go over the URI. Otherwise it is as New.
func Open(ctx context.Context, uri string, cfg *Config, keyPairs ...[]byte) (*Store, error) {
	if cfg == nil {
		cfg = new(Config)
	}
	database := orDefault(cfg.Database, databaseOf(uri))
	if database == "" {
		return nil, errors.New("mongostore: no database: put it into the URI, as in mongodb://host/database, or into Config.Database")
	}
	if err := checkConfig(cfg, keyPairs); err != nil {
		return nil, err
	}
	opts := []*options.ClientOptions{options.Client().ApplyURI(uri)}
	if cfg.ClientOptions != nil {
		opts = append(opts, cfg.ClientOptions)
	}
	client, err := mongo.Connect(opts...)
	if err != nil {
		return nil, fmt.Errorf("mongostore: Open: %w", withoutPassword(err))
	}
	s, err := newOn(ctx, client.Database(database).Collection(orDefault(cfg.Collection, "sessions")), cfg, keyPairs)
	if err != nil {
		disconnect(client) //nolint:contextcheck // ctx may be why it failed
		return nil, err
	}
	s.client = client
	return s, nil
}

// checkConfig tells of a bad configuration before there is a client to disconnect.
func checkConfig(cfg *Config, keyPairs [][]byte) error {
	_, err := newStore(cfg, keyPairs)
	return err
}

// withoutPassword replaces the one error about a connection string that quotes it: in a password, most often.
func withoutPassword(err error) error {
	var escape url.EscapeError
	if errors.As(err, &escape) {
		return errors.New("the URI has a % that begins no escape: write one that is meant as % as %25")
	}
	return err
}

// databaseOf returns the database of a connection string: what stands between the hosts and the options.
func databaseOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	rest, _, _ = strings.Cut(rest, "?")
	_, database, _ := strings.Cut(rest, "/")
	if name, err := url.PathUnescape(database); err == nil {
		return name
	}
	return database
}

func disconnect(client *mongo.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), defaultTimeout)
	defer cancel()
	_ = client.Disconnect(ctx) // it closes what is still in use when ctx ends
}

func newOn(ctx context.Context, coll *mongo.Collection, cfg *Config, keyPairs [][]byte) (*Store, error) {
	s, err := newStore(cfg, keyPairs)
	if err != nil {
		return nil, err
	}
	s.backend = newCollection(coll, &s.cfg)
	interval := s.cfg.AutoRemove == AutoRemoveInterval
	if !s.cfg.NoIndexes {
		native, err := s.ensureIndexes(ctx)
		if err != nil {
			return nil, err
		}
		interval = interval || s.cfg.AutoRemove == AutoRemoveNative && !native
	}
	if interval {
		s.removal.start(s) //nolint:contextcheck // it goes on until Close
	}
	return s, nil
}

// NewMemory returns a Store that keeps its sessions in the process, for tests and demos. All but what
// only MongoDB does is as in a Store made by New, and it works inside a testing/synctest bubble. Without
// keys it makes a random one. Its errors are those of the configuration. With AutoRemoveInterval it has a
// goroutine, which Close stops; otherwise it can be left to the garbage collector.
func NewMemory(cfg *Config, keyPairs ...[]byte) (*Store, error) {
	if len(keyPairs) == 0 && (cfg == nil || len(cfg.CookieCodecs) == 0) {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		keyPairs = [][]byte{key}
	}
	s, err := newStore(cfg, keyPairs)
	if err != nil {
		return nil, err
	}
	s.backend = &memory{
		records: make(map[string]record),
		sweep:   s.cfg.AutoRemove == AutoRemoveNative,
		now:     func() time.Time { return s.now() },
	}
	if s.cfg.AutoRemove == AutoRemoveInterval {
		s.removal.start(s)
	}
	return s, nil
}

// newStore returns a Store that lacks only its backend.
func newStore(cfg *Config, keyPairs [][]byte) (*Store, error) {
	s := &Store{
		cfg: cfg.withDefaults(),
		now: func() time.Time { return time.Now().UTC().Truncate(time.Millisecond) },
	}
	if err := s.cfg.validate(); err != nil {
		return nil, err
	}
	codecs, err := newCodecs(s.cfg.CookieCodecs, keyPairs)
	if err != nil {
		return nil, err
	}
	s.Codecs = codecs
	options := s.builtinOptions()
	s.Options = &options
	s.lifetimes = lifetimes{s.cfg.TTL, s.cfg.MaxLifetime, s.cfg.TouchAfter}
	s.payloads = payloads{s.cfg.PayloadCodec, s.cfg.MaxBytes, s.cfg.Sealer, s.cfg.AcceptUnsealed}
	s.locks = newLocks()
	return s, nil
}

func (s *Store) builtinOptions() sessions.Options {
	return sessions.Options{
		Path: "/", MaxAge: seconds(s.cfg.TTL), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// defaultOptions returns a copy of Options, or what they began as if they are nil.
func (s *Store) defaultOptions() sessions.Options {
	if s.Options == nil {
		return s.builtinOptions()
	}
	options := *s.Options
	options.MaxAge = min(options.MaxAge, maxMaxAge)
	return options
}

// Get returns the session of this name, loading it at its first call in a request; later calls return the
// same object. It never returns nil.
//
// No cookie, or one whose session has ended: a new session, and no error. Otherwise, beside a new session:
// ErrInvalidCookie (go on with it), ErrUnavailable (answer 503) or ErrDecode. The session beside an error
// is safe to save: nothing of what is stored is lost by it.
//
// What a middleware sets on a request after the first Get of it, a deadline say, does not reach the load.
func (s *Store) Get(r *http.Request, name string) (*sessions.Session, error) {
	session, err := sessions.GetRegistry(r).Get(s, name)
	if session == nil { // the name is invalid
		session, _ = s.New(r, name)
	}
	return session, err
}

// New loads the session of this name without keeping it for the request, so it also tries a failed load
// again. It returns what Get returns.
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

// Save stores the session and sets its cookie, before anything else is written to w.
//
// With Options.MaxAge < 0 it ends the session: the record is deleted and the cookie expired, which happens
// even if MongoDB fails. Otherwise a new session is inserted, a changed one updated, and of an unchanged
// one the deadline is moved if that is worth it. Changes that other requests made meanwhile are kept, and
// are in session.Values afterwards. The cookie is set only if this Save wrote the record.
//
// ErrNotFound: the session has ended since it was loaded, or another request renewed it; nothing is stored.
// ErrConflict, ErrTooLarge: as they say. ErrDecode: another request stored what this process cannot read.
// ErrUnavailable: MongoDB or the Sealer did not answer, or refused; if the error is of a write concern, the
// session is stored and the cookie set all the same. Errors without a sentinel are the program's: values that
// cannot be encoded (the error names the key), an invalid cookie name, a cookie that does not encode, a session
// that is another store's or a copy, an ID that was changed. The values are as they were after an error, and
// Save may be called again.
func (s *Store) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	st, err := s.stateOf(session)
	if err != nil {
		return s.refuse(r, w, session, err)
	}
	ctx, cancel := s.saveContext(r)
	defer cancel()
	done := s.watch(ctx)
	event, err := s.save(ctx, r, w, session, st)
	if event.Op != "" {
		done(event) // with the session unlocked: it may ask for its Record
	}
	return err
}

// save is Save of a session with a state, and what Observe shall hear of it, if Op is not "".
func (s *Store) save(ctx context.Context, r *http.Request, w http.ResponseWriter, session *sessions.Session, st *state) (Event, error) {
	st.mu.Lock()
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
		st.renew = true
	}
	if session.Values == nil {
		session.Values = make(map[any]any)
	}
	sv := &saving{Store: s, r: r, session: session, state: st, options: options}
	d, err := sv.run(ctx)
	if d != nil && d.cookie != "" {
		options.MaxAge = cookieMaxAge(d.maxAge, d.now, d.expires)
		setCookie(w, session.Name(), d.cookie, options)
	}
	sv.event.Conflicts = sv.misses
	if err != nil {
		sv.event.Err = err
	}
	return sv.event, err
}

// optionsOf returns the options of the cookie of a session.
func (s *Store) optionsOf(session *sessions.Session, st *state) sessions.Options {
	if session.Options == nil {
		options := s.defaultOptions()
		options.MaxAge = st.handed.MaxAge
		return options
	}
	options := *session.Options
	options.MaxAge = min(options.MaxAge, maxMaxAge)
	return options
}

// MaxAge sets Options.MaxAge, in seconds: the default for sessions whose own MaxAge the application does
// not set. 0 means cookies that end with the browser; with a negative age every Save is a logout. It puts a
// changed copy in the place of Options, so a pointer to the old ones is of no use afterwards. Call it before
// the first request.
func (s *Store) MaxAge(age int) {
	options := s.defaultOptions()
	options.MaxAge = age
	s.Options = &options
}

// Regenerate makes the next Save of session give it a new secret and cookie, after which the old cookie is
// dead. Call it whenever a visitor becomes somebody: at login, at a change of rights; it protects against
// session fixation (OWASP: renew the session ID after any privilege level change).
//
// MaxLifetime counts anew from then on, so do not call it from a timer. session.ID, which is a name and not
// a secret, stays as it is; under Config.PlainIDs it is the secret, and another one after that Save.
//
// For a session of another store, or a copy, it does nothing, and Save of that fails if it has an ID.
func (s *Store) Regenerate(session *sessions.Session) {
	if st := s.states.get(session); st != nil {
		st.mu.Lock()
		st.renew = true
		st.mu.Unlock()
	}
}

// KeepAlive returns a middleware that saves the session of this name, if the request brought one, before
// the handler runs: so that its lifetime counts from the last request, not from the last change. It costs a
// write only every Config.TouchAfter. Errors are left for the handler, which sees those of loading from its own
// Get; that of KeepAlive's Save is dropped, since the session is as good as before.
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

// Collection returns the collection in which sessions are stored, with the read preference and write
// concern that the Store uses; nil for NewMemory.
func (s *Store) Collection() *mongo.Collection {
	if c, ok := s.backend.(*collection); ok {
		return c.Collection
	}
	return nil
}

// Close stops the removal of expired sessions and waits until it has, and disconnects a client that Open
// made; one that New was given it leaves alone. It may be called more than once and at any moment.
func (s *Store) Close() error {
	s.removal.stop()
	s.closing.Do(func() {
		if s.client != nil {
			disconnect(s.client)
		}
	})
	return nil
}

// HashID returns a Config.TransformID: HMAC-SHA256 of the id, in hexadecimal, so that whoever reads the
// database cannot use the sessions. Every process needs the same key; an empty one makes it a plain hash,
// which is enough for random ids. Changing the key ends all sessions.
func HashID(key []byte) func(id string) string {
	key = append([]byte{}, key...)
	return func(id string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id))
		return hex.EncodeToString(mac.Sum(nil))
	}
}
