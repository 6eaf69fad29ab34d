package mongostore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// Defaults of [Config].
const (
	defaultTTL            = 14 * 24 * time.Hour
	defaultTouchAfter     = time.Second
	defaultRemoveInterval = 10 * time.Minute
	defaultMaxBytes       = 1 << 20
	defaultTimeout        = 5 * time.Second
)

// maxPayload leaves room for the other fields in a document of 16 MiB, the most that MongoDB stores.
const maxPayload = 15 << 20

// Config holds the options of a [Store]. The zero value of every field is its default, so a nil Config
// is a good one. New, Open and NewMemory copy it: later changes have no effect. They report every field that is
// out of its bounds.
//
// The functions and interfaces in it are called by many requests at once and must be safe for that.
type Config struct {
	// Lifetime

	// TTL is how long a session lives after its last Save when its MaxAge is 0 (a cookie that ends with
	// the browser), and, in seconds, rounded up, what Options.MaxAge starts as. A positive MaxAge replaces
	// it. Default: 14 days. At least a second, at most ten years.
	TTL time.Duration
	// MaxLifetime bounds a session's whole life, counted from its creation or its last Regenerate, however
	// active it is: the absolute timeout of OWASP. Nothing replaces it. A limit that is introduced or
	// shortened later holds for the sessions that exist. Default: none. At least a second, at most ten years.
	MaxLifetime time.Duration
	// TouchAfter spares writes: a session whose values did not change is written only if that moves its
	// deadline by at least this much, or by half its lifetime if that is less. A larger value means fewer
	// writes and an idle timeout that is shorter by up to as much. Default: one second, and less counts as
	// that. At most ten years.
	TouchAfter time.Duration
	// SkipEmpty leaves a new session without values alone: nothing is stored and no cookie is set, so
	// crawlers and health checks leave no sessions behind. Default: they are stored, as in other stores.
	SkipEmpty bool

	// Removal

	// AutoRemove says who deletes expired sessions. It is about disk space alone: a session past its
	// deadline is never valid, deleted or not. Default: AutoRemoveNative.
	AutoRemove AutoRemove
	// RemoveInterval is the pause between two removals under AutoRemoveInterval, which varies by a tenth
	// so that many processes do not act at once. Default: 10 minutes. At least a second.
	RemoveInterval time.Duration
	// NoIndexes keeps New from making and checking indexes; a deploy script calls Store.EnsureIndexes
	// instead. New then does no I/O, needs no permission for it, and succeeds while MongoDB is down. It does not
	// notice a server without TTL indexes either: there, nobody removes under AutoRemoveNative.
	NoIndexes bool

	// Payload

	// PayloadCodec turns a session's values into what is stored. Default: GobCodec{}.
	PayloadCodec Codec
	// MaxBytes bounds the encoded values of one session; Save answers ErrTooLarge beyond it. Default:
	// 1 MiB (1 << 20). At least 64, at most 15 MiB, since a MongoDB document ends at 16.
	MaxBytes int
	// Sealer encrypts the payload at rest; AESGCM makes one. Records it cannot open are ErrDecode, unsealed
	// ones too unless AcceptUnsealed. Default: none, so whoever reads the database reads the values.
	Sealer Sealer
	// AcceptUnsealed, with a Sealer, still reads records that were written before there was one; they are
	// sealed at their next change. Whoever writes to the database can then plant unsealed ones: switch it
	// off when TTL has passed. Default: false.
	AcceptUnsealed bool
	// UserID names the user a session belongs to, "" for nobody. It is asked at each Save, stored in the
	// field "user" and indexed. What it is given is a copy of the session, with the values that other requests
	// stored meanwhile; it must only read it. If it panics, the session keeps its user and Logger is told.
	// Default: none.
	UserID func(*sessions.Session) string
	// Labels are kept with a session in the clear, for a page like "your devices": the user agent, say.
	// They are taken when a session is created and at Regenerate, from the request of that Save. It must
	// only read the session. Values are cut at 512 bytes, and 16 are kept. Default: none.
	Labels func(*http.Request, *sessions.Session) map[string]string
	// OnConflict says what becomes of a key that two requests changed at the same time.
	// Default: OnConflictMerge.
	OnConflict OnConflict

	// Cookie and id

	// CookieCodecs sign the cookie instead of codecs made from key pairs: the first one encodes, each may
	// decode. Their values are []byte. New switches off the age limit of those that are
	// *securecookie.SecureCookie (30 days otherwise), since the record's deadline is the authority.
	// Default: none; give New either keys or codecs.
	CookieCodecs []securecookie.Codec
	// PlainIDs puts the session's id itself into the cookie, and stores it as _id, as connect-mongo does:
	// for a collection that is shared with Express. It gives up what split tokens give: whoever has the
	// signing key and reads the database, or a log of queries, can use the sessions (TransformID prevents
	// that), and a renewal is two commands. Sessions with split tokens stay valid under it; without it, plain ones are not.
	PlainIDs bool
	// LastModified writes the field "lastModified" with each write but a deletion, the time in it as in "updatedAt": for a
	// collection that is shared with connect-mongo under touchAfter, which knows by that field when it last wrote a
	// session. Without it, Express works all the same, but does not spare the write of a session that was made here.
	// Default: false.
	LastModified bool
	// TransformID makes the stored _id from the cookie's id; HashID is a good one. Only with PlainIDs.
	// Default: the id itself.
	TransformID func(id string) string
	// Previous is the store that this one replaces. A session that only it knows is taken over with its
	// values; the first Save stores it here, sets this store's cookie and ends it there. A CookieStore's
	// sessions cannot be ended: their old cookies stay good until their age limit. Of its errors ErrUnavailable
	// and ErrDecode are passed on; any other one means that it does not know the session. Default: none.
	Previous sessions.Store

	// MongoDB

	// WriteConcern is used for all writes. Default: majority for those that must survive a failover (a
	// new session, a new secret, a deletion), the collection's own for the rest. It must be acknowledged.
	WriteConcern *writeconcern.WriteConcern
	// ReadPreference of loads. Anything but the primary may miss a session that was just stored, or show
	// one that was just ended. Default: primary, whatever the client says.
	ReadPreference *readpref.ReadPref
	// Timeout bounds a whole load and a whole Save, repetitions included. It takes the place of the
	// request's own cancellation, so a closed browser tab loses no logout. Default: 5 seconds. At least a
	// millisecond, at most an hour.
	Timeout time.Duration

	// Watching

	// Observe is told of each operation, after it, in its goroutine, so it must not block. If it panics
	// Logger is told. Default: none.
	Observe func(context.Context, Event)
	// Logger is told of failures in the background and of fallbacks, never of secrets or values.
	// Default: slog.Default().
	Logger *slog.Logger

	// Open only

	// ClientOptions are the driver's options, over those of the URI: a TLS configuration, a command
	// monitor. Default: none.
	ClientOptions *options.ClientOptions
	// Database has the collection. Default: the URI's database; neither is an error.
	Database string
	// Collection has the sessions. Default: "sessions".
	Collection string
}

// AutoRemove says who deletes expired sessions.
type AutoRemove int

const (
	// AutoRemoveNative leaves it to MongoDB, by a TTL index on "expires" that New makes or repairs. On a
	// server without TTL indexes the store falls back to AutoRemoveInterval and logs that.
	AutoRemoveNative AutoRemove = iota
	// AutoRemoveInterval lets every process that has a Store delete them each RemoveInterval.
	AutoRemoveInterval
	// AutoRemoveDisabled leaves it to you, for example by Store.RemoveExpired from cron. No TTL index is
	// made; one that exists still removes.
	AutoRemoveDisabled
)

// String returns the constant's name without its prefix.
func (a AutoRemove) String() string {
	names := [...]string{"Native", "Interval", "Disabled"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("AutoRemove(%d)", int(a))
	}
	return names[a]
}

// OnConflict says what becomes of a session that two requests changed at the same time. Changes of
// different keys never conflict, except under OnConflictOverwrite, and neither do additions to a []any,
// as AddFlash makes them.
type OnConflict int

const (
	// OnConflictMerge keeps the changes of both; where they changed the same key, the later Save wins.
	OnConflictMerge OnConflict = iota
	// OnConflictOverwrite stores the values of the later Save whole, as other stores do.
	OnConflictOverwrite
	// OnConflictFail keeps the changes of both, but where they changed the same key the later Save
	// answers ErrConflict and stores nothing.
	OnConflictFail
)

// String returns the constant's name without its prefix.
func (o OnConflict) String() string {
	names := [...]string{"Merge", "Overwrite", "Fail"}
	if o < 0 || int(o) >= len(names) {
		return fmt.Sprintf("OnConflict(%d)", int(o))
	}
	return names[o]
}

// withDefaults returns a copy of c, which may be nil, with every default filled in.
func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	d.TTL = orDefault(d.TTL, defaultTTL)
	d.TouchAfter = orDefault(d.TouchAfter, defaultTouchAfter)
	d.RemoveInterval = orDefault(d.RemoveInterval, defaultRemoveInterval)
	d.MaxBytes = orDefault(d.MaxBytes, defaultMaxBytes)
	d.Timeout = orDefault(d.Timeout, defaultTimeout)
	d.ReadPreference = orDefault(d.ReadPreference, readpref.Primary())
	d.Logger = orDefault(d.Logger, slog.Default())
	if d.PayloadCodec == nil {
		d.PayloadCodec = GobCodec{}
	}
	return d
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// validate reports every field that is out of bounds; c has its defaults.
func (c *Config) validate() error {
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
		check(c.MaxBytes >= 64 && c.MaxBytes <= maxPayload, "MaxBytes is %d, not between 64 and %d (15 MiB)", c.MaxBytes, maxPayload),
		check(c.TransformID == nil || c.PlainIDs, "TransformID is set without PlainIDs; split tokens are stored as a hash anyway"),
		check(!c.AcceptUnsealed || c.Sealer != nil, "AcceptUnsealed is set without a Sealer"),
		checkSealer(c.Sealer),
		checkCodec(c.PayloadCodec),
		check(c.WriteConcern == nil || c.WriteConcern.Acknowledged(),
			"WriteConcern is w:0, unacknowledged: the store could not tell whether a session was stored; use w:1 or more"),
	)
}

func durationWithin(field string, value, least, most time.Duration) error {
	return check(value >= least && value <= most, "%s is %v, not between %v and %v", field, value, least, most)
}

// checkSealer reports what is wrong with the keys of AESGCM.
func checkSealer(sealer Sealer) error {
	if s, ok := sealer.(*aesGCM); ok {
		return s.err
	}
	return nil
}

func checkCodec(codec Codec) error {
	if c, ok := codec.(RecordCodec); ok {
		return c.Check()
	}
	return nil
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("mongostore: Config."+format, args...)
}

// newCodecs returns the codecs of the cookie, from key pairs or from Config.CookieCodecs, each tried out:
// securecookie itself notices a bad key at the first request only, or falls back to an older pair.
func newCodecs(codecs []securecookie.Codec, keyPairs [][]byte) ([]securecookie.Codec, error) {
	switch {
	case len(codecs) > 0 && len(keyPairs) > 0:
		return nil, errors.New("mongostore: both Config.CookieCodecs and keys are set; give one of the two")
	case len(codecs) == 0 && len(keyPairs) == 0:
		return nil, errors.New("mongostore: no keys: New needs an authentication key, 32 or 64 random bytes, or Config.CookieCodecs")
	case len(codecs) == 0:
		if err := checkKeyPairs(keyPairs); err != nil {
			return nil, err
		}
		codecs = securecookie.CodecsFromPairs(keyPairs...)
		for _, codec := range codecs {
			codec.(*securecookie.SecureCookie).SetSerializer(securecookie.NopEncoder{})
		}
	}
	codecs = slices.Clone(codecs)
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
	for i := 0; i < len(keyPairs); i += 2 {
		if len(keyPairs[i]) == 0 {
			return fmt.Errorf("mongostore: authentication key %d is empty; use 32 or 64 random bytes (keys come in pairs: authentication, encryption or nil)", i/2+1)
		}
		if i+1 == len(keyPairs) {
			break
		}
		switch n := len(keyPairs[i+1]); n {
		case 0, 16, 24, 32:
		default:
			return fmt.Errorf("mongostore: encryption key %d has %d bytes; AES needs 16, 24 or 32, nil means no encryption", i/2+1, n)
		}
	}
	return nil
}

// tryCodec round-trips a value through one codec.
func tryCodec(codec securecookie.Codec) error {
	const name = "mongostore"
	value := credentials{handle: newSecret(), secret: newSecret()}.value() // of full length, since codecs have a maximum
	encoded, err := codec.Encode(name, []byte(value))
	if err != nil {
		return err
	}
	var decoded []byte
	if err := codec.Decode(name, encoded, &decoded); err != nil {
		return err
	}
	if string(decoded) != value {
		return errors.New("a []byte does not come back as it was")
	}
	return nil
}
