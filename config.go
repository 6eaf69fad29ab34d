package mongostore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/token"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// Defaults of [Config] that others go by too.
const (
	defaultTouchAfter = time.Second
	defaultTimeout    = 5 * time.Second
)

// Config holds the options of a [Store]. The zero value of each field is its default, and a nil Config means all
// defaults. New, Open and NewMemory copy it, so later changes have no effect, and report every field that is out of
// bounds. Requests call its functions and interfaces concurrently; they must be safe for that.
type Config struct {
	// Lifetime

	// TTL is how long a session lives after its last Save, unless it has a positive MaxAge. Store.Options.MaxAge starts
	// as TTL in seconds, rounded up. 1 second to 10 years. Default: 14 days.
	TTL time.Duration
	// MaxLifetime is OWASP's absolute timeout: it bounds a session's life from its creation or last Regenerate. No MaxAge
	// extends it. It also applies to existing sessions. 1 second to 10 years. Default: none.
	MaxLifetime time.Duration
	// TouchAfter saves writes: an unchanged session is rewritten only if that moves its deadline, or that of the browser's
	// cookie, by at least this much, or by half its lifetime if that is less. The idle timeout may be shorter by as much. Up
	// to 10 years; less than a second counts as a second. Default: 1 second.
	TouchAfter time.Duration
	// SkipEmpty stores no new session without values and sets no cookie for it, so crawlers and health checks leave
	// no sessions behind. Default: false, they are stored, as in other stores.
	SkipEmpty bool

	// Removal

	// AutoRemove says who deletes expired sessions. It only frees disk space: a session past its deadline is never
	// valid, deleted or not. Default: AutoRemoveNative.
	AutoRemove AutoRemove
	// RemoveInterval is the pause between two removals under AutoRemoveInterval. It varies by a tenth, so that many
	// processes do not act at once. 1 second to 10 years. Default: 10 minutes.
	RemoveInterval time.Duration
	// NoIndexes keeps New from creating and checking indexes; a deploy script calls Store.EnsureIndexes instead. New
	// then does no I/O, needs no permission for it, and succeeds while MongoDB is down. It also does not notice a
	// server without TTL indexes, where AutoRemoveNative removes nothing. Default: false.
	NoIndexes bool

	// Payload

	// PayloadCodec encodes the values of a session. Default: GobCodec{}.
	PayloadCodec Codec
	// MaxBytes bounds the encoded values of one session; beyond it Save returns ErrTooLarge. 64 bytes to 15 MiB,
	// since a MongoDB document holds at most 16; under PlainIDs at most 7 MiB, since an update carries the old
	// values and the new ones. Default: 1 MiB (1 << 20).
	MaxBytes int
	// Sealer encrypts the stored values; AESGCM makes one. A record that it cannot open is ErrDecode, and so is an
	// unsealed one unless AcceptUnsealed is set. Default: none, so whoever reads the database reads the values.
	Sealer Sealer
	// AcceptUnsealed, with a Sealer, still reads unsealed records; they are sealed at their next change. Whoever can write
	// to the database can then plant some, so switch it off when TTL has passed. Default: false.
	AcceptUnsealed bool
	// UserID returns the user that a session belongs to, "" for nobody. Each Save calls it with a copy of the session
	// that includes the changes of concurrent requests; it must only read it. The result is stored in the field "user"
	// and indexed. If UserID panics, the session keeps its user and Logger is told. Default: none.
	UserID func(*sessions.Session) string
	// Labels returns what a page like "your devices" shows of a session, such as the user agent. It is called when a
	// session is created and at Regenerate, with the request of that Save, and must only read the session. Labels are
	// never encrypted. At most 16 are kept, and values are cut to 512 bytes. Default: none.
	Labels func(*http.Request, *sessions.Session) map[string]string
	// OnConflict says what happens if two requests change the same key. Default: OnConflictMerge.
	OnConflict OnConflict

	// Cookie and id

	// CookieCodecs sign the cookie in place of codecs made from key pairs: the first one encodes, any of them may
	// decode. Their values are []byte. New removes the age limit (by default 30 days) of each
	// *securecookie.SecureCookie, since the record has the deadline. Give New either keys or codecs. Default: none.
	CookieCodecs []securecookie.Codec
	// PlainIDs stores the id in the cookie as _id, as connect-mongo does, for a collection that is shared with Express. It
	// is weaker than split tokens: whoever has the signing key and reads the database, or a log of queries, can use the
	// sessions (TransformID prevents that), and a renewal takes three commands. With it, split tokens stay valid; without
	// it, plain ids are not. Default: false.
	PlainIDs bool
	// LastModified sets the field "lastModified" to now with each write that moves the deadline: for a collection that
	// is shared with connect-mongo under touchAfter, which finds its last write by that field. Without it, Express still
	// works, but rewrites sessions that were made here more often. Default: false.
	LastModified bool
	// TransformID returns the _id to store for the id in the cookie, with PlainIDs; HashID makes a good one. Default: none.
	TransformID func(id string) string
	// Previous is the store that this one replaces. A session that only it knows is imported: the first Save stores it
	// here, sets this store's cookie and ends it there. The cookies of a CookieStore stay valid until their age limit.
	// Its ErrUnavailable and ErrDecode are passed on; after any other error it does not know the session. Default: none.
	Previous sessions.Store

	// MongoDB

	// WriteConcern is for all writes and must be acknowledged. Default: majority for writes that must survive a
	// failover (a new session, a new secret, a deletion), the collection's own for the rest.
	WriteConcern *writeconcern.WriteConcern
	// ReadPreference is for loads only; a Save reads from the primary. Anything but the primary may miss a session that was
	// just stored, or show one that has just ended. Default: primary, whatever the client says.
	ReadPreference *readpref.ReadPref
	// Timeout bounds a whole load and a whole Save, retries included. It replaces the request's own cancellation, so
	// that closing the browser tab does not stop a logout. 1 millisecond to 1 hour. Default: 5 seconds.
	Timeout time.Duration

	// Watching

	// Observe is called after each operation and must not block it. If it panics, Logger is told. Default: none.
	Observe func(context.Context, Event)
	// Logger reports failures in the background and fallbacks, never secrets or values. Default: slog.Default().
	Logger *slog.Logger

	// Open only

	// ClientOptions are driver options that override the URI: a TLS configuration, a command monitor. Default: none.
	ClientOptions *options.ClientOptions
	// Database holds the collection. Default: the URI's database; it is an error if that names none either.
	Database string
	// Collection holds the sessions. Default: "sessions".
	Collection string
}

// AutoRemove says who deletes expired sessions.
type AutoRemove int

const (
	// AutoRemoveNative leaves it to MongoDB, by a TTL index on "expires" that New creates or repairs. On a server
	// without TTL indexes the store falls back to AutoRemoveInterval and logs that.
	AutoRemoveNative AutoRemove = iota
	// AutoRemoveInterval makes every process that has a Store delete them each RemoveInterval.
	AutoRemoveInterval
	// AutoRemoveDisabled leaves it to you, for example to a cron job that calls Store.RemoveExpired. No TTL index is
	// created; an existing one still deletes.
	AutoRemoveDisabled
)

// String returns the constant's name without its prefix.
func (a AutoRemove) String() string {
	return nameOf("AutoRemove", int(a), "Native", "Interval", "Disabled")
}

// OnConflict says what happens if two requests change a session at the same time. Changes of different keys conflict
// only under OnConflictOverwrite. Additions to a []any, as AddFlash makes them, never conflict, and neither does an
// addition by one request with Flashes in both.
type OnConflict int

const (
	// OnConflictMerge keeps the changes of both; where they changed the same key, the later Save wins.
	OnConflictMerge OnConflict = iota
	// OnConflictOverwrite stores all values of the later Save, as other stores do, unless it changed none.
	OnConflictOverwrite
	// OnConflictFail keeps the changes of both, but where they changed the same key the later Save returns ErrConflict
	// and stores nothing, even if both made the same change: a number that both counted up would be one short.
	OnConflictFail
)

// String returns the constant's name without its prefix.
func (o OnConflict) String() string {
	return nameOf("OnConflict", int(o), "Merge", "Overwrite", "Fail")
}

func nameOf(kind string, value int, names ...string) string {
	if value < 0 || value >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, value)
	}
	return names[value]
}

// withDefaults returns a copy of c, which may be nil, with every default filled in.
func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	d.TTL = cmp.Or(d.TTL, 14*24*time.Hour)
	d.TouchAfter = cmp.Or(d.TouchAfter, defaultTouchAfter)
	d.RemoveInterval = cmp.Or(d.RemoveInterval, 10*time.Minute)
	d.MaxBytes = cmp.Or(d.MaxBytes, 1<<20)
	d.Timeout = cmp.Or(d.Timeout, defaultTimeout)
	d.ReadPreference = cmp.Or(d.ReadPreference, readpref.Primary())
	d.Logger = cmp.Or(d.Logger, slog.Default())
	d.PayloadCodec = cmp.Or[Codec](d.PayloadCodec, GobCodec{})
	return d
}

// validate reports every field that is out of bounds. c has its defaults.
func (c *Config) validate() error {
	most, why := 15<<20, "" // MongoDB stores documents of 16 MiB
	if c.PlainIDs {         // both payloads share 16 MiB and 16 KiB: two of 8,396,000 bytes fit on MongoDB 6.0
		most, why = 7<<20, ", as an update under PlainIDs carries the old values too"
	}
	return errors.Join(
		durationWithin("TTL", c.TTL, time.Second, maxLifetime),
		durationWithin("MaxLifetime", c.MaxLifetime, 0, maxLifetime),
		durationWithin("TouchAfter", c.TouchAfter, 0, maxLifetime),
		durationWithin("RemoveInterval", c.RemoveInterval, time.Second, maxLifetime),
		durationWithin("Timeout", c.Timeout, time.Millisecond, time.Hour),
		check(c.MaxLifetime == 0 || c.MaxLifetime >= time.Second, "MaxLifetime is %v, less than a second; 0 means none", c.MaxLifetime),
		check(c.AutoRemove >= AutoRemoveNative && c.AutoRemove <= AutoRemoveDisabled,
			"AutoRemove is %d, not one of AutoRemoveNative, AutoRemoveInterval and AutoRemoveDisabled", int(c.AutoRemove)),
		check(c.OnConflict >= OnConflictMerge && c.OnConflict <= OnConflictFail,
			"OnConflict is %d, not one of OnConflictMerge, OnConflictOverwrite and OnConflictFail", int(c.OnConflict)),
		check(c.MaxBytes >= 64 && c.MaxBytes <= most,
			"MaxBytes is %d, not between 64 and %d (%d MiB)%s", c.MaxBytes, most, most>>20, why),
		check(c.TransformID == nil || c.PlainIDs, "TransformID is set without PlainIDs; split tokens are stored as a hash anyway"),
		check(!c.AcceptUnsealed || c.Sealer != nil, "AcceptUnsealed is set without a Sealer"),
		checkParts(c.Sealer, c.PayloadCodec),
		check(c.WriteConcern == nil || c.WriteConcern.Acknowledged(),
			"WriteConcern is w:0, unacknowledged: the store could not tell whether a session was stored; use w:1 or more"),
	)
}

func durationWithin(field string, value, least, most time.Duration) error {
	return check(value >= least && value <= most, "%s is %v, not between %v and %v", field, value, least, most)
}

// checkParts reports what AESGCM and a RecordCodec have to say about their own settings.
func checkParts(sealer Sealer, codec Codec) (err error) {
	if c, ok := codec.(RecordCodec); ok {
		err = c.Check()
	}
	if s, ok := sealer.(*aesGCM); ok {
		err = errors.Join(s.err, err)
	}
	return err
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("mongostore: Config."+format, args...)
}

// newCodecs returns the codecs of the cookie, from key pairs or Config.CookieCodecs, and tries out each: securecookie
// itself reports a bad key only at the first request, or falls back to an older pair.
func newCodecs(codecs []securecookie.Codec, keyPairs [][]byte) ([]securecookie.Codec, error) {
	switch err := checkKeyPairs(keyPairs); {
	case len(codecs) > 0 && len(keyPairs) > 0:
		return nil, errors.New("mongostore: both Config.CookieCodecs and keys are set; give one of the two")
	case len(codecs) == 0 && len(keyPairs) == 0:
		return nil, errors.New("mongostore: no keys: New needs an authentication key, 32 or 64 random bytes, or Config.CookieCodecs")
	case err != nil:
		return nil, err
	}
	made := securecookie.CodecsFromPairs(keyPairs...)
	for _, codec := range made {
		codec.(*securecookie.SecureCookie).SetSerializer(securecookie.NopEncoder{})
	}
	codecs = append(made, codecs...)
	for i, codec := range codecs {
		if codec == nil {
			return nil, fmt.Errorf("mongostore: Config.CookieCodecs[%d] is nil", i)
		}
		if sc, ok := codec.(*securecookie.SecureCookie); ok {
			sc.MaxAge(0)
		}
		if err := tryCodec(codec); err != nil {
			return nil, fmt.Errorf("mongostore: cookie codec %d does not work: %w", i+1, err)
		}
	}
	return codecs, nil
}

func checkKeyPairs(keyPairs [][]byte) error {
	for i, key := range keyPairs {
		switch n := len(key); {
		case i%2 == 0 && n == 0:
			return fmt.Errorf("mongostore: authentication key %d is empty; use 32 or 64 random bytes "+
				"(keys come in pairs: authentication, encryption or nil)", i/2+1)
		case i%2 == 1 && !slices.Contains([]int{0, 16, 24, 32}, n):
			return fmt.Errorf("mongostore: encryption key %d has %d bytes; AES needs 16, 24 or 32, nil means no encryption", i/2+1, n)
		}
	}
	return nil
}

// tryCodec round-trips a value through one codec.
func tryCodec(codec securecookie.Codec) error {
	const name = "mongostore"
	value := token.New().Value() // as long as a real one, since codecs have a maximum
	encoded, err := codec.Encode(name, []byte(value))
	var decoded []byte
	if err == nil {
		err = codec.Decode(name, encoded, &decoded)
	}
	if err == nil && string(decoded) != value {
		err = errors.New("a []byte does not come back as it was")
	}
	return err
}
