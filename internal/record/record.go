// Package record is a session as it is stored, and the commands on it, in MongoDB and in memory. It knows nothing of
// cookies, values or requests, and imports nothing of the module but [bsonraw].
package record

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mongostore/mongostore/internal/bsonraw"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Record is a session as it is stored. Its byte slices are never written to, so copies may share them.
//
// While a plain id is renewed there are two more kinds of record, neither of which is live. A pending record is the
// successor before it counts: it has Replaces and no Expires. A tombstone is the old record once it has been retired: it
// has an empty token, which no cookie fits, and Next. Both have Forget.
type Record struct {
	ID                            string        // _id: the handle, or what TransformID makes of a plain id
	Token                         []byte        // SHA-256 of the cookie's secret; nil with a plain id
	Name                          string        // the cookie's name
	Session                       bson.RawValue // the payload
	Expires, CreatedAt, UpdatedAt time.Time     // in UTC, whole milliseconds
	Version                       int64         // random, new at each write of the payload; 0: absent
	Versions                      History       // those before it
	User                          string        // absent if empty
	Labels                        bson.Raw      // absent if nil
	MaxAge                        *int          // Options.MaxAge, if the application set one
	Cookie                        bson.Raw      // the attributes that differ from the store's; absent if nil

	Forget   time.Time // when a pending record or a tombstone may be removed
	Replaces string    // of a pending record: the _id of the one that it is to replace
	Next     string    // of a tombstone: the _id of its successor
	By       int64     // of a tombstone: the version of the successor, whose renewal retired it

	Damage error // ErrDamaged, for a document that was edited into a shape it must not have
}

// ErrDamaged means that a document has a field of a type or value that it must not have.
var ErrDamaged = errors.New("the record is damaged")

// Pending reports whether a record is a successor that has not been activated.
func (rec *Record) Pending() bool { return rec.Replaces != "" && rec.Expires.IsZero() }

// Retired reports whether a record is a tombstone, whatever its deadline: connect-mongo's touch moves any.
func (rec *Record) Retired() bool { return rec.Token != nil && len(rec.Token) == 0 && rec.Next != "" }

// History is the versions that a record had before, the latest first, 0 for none: others may have built on a lost write.
type History [4]int64

// Then returns the history of a record after a write that gives it another version.
func (h History) Then(version int64) History {
	if version == 0 {
		return h
	}
	return History{version, h[0], h[1], h[2]}
}

// Had reports whether a record has this version, or had it before.
func (rec *Record) Had(version int64) bool {
	return rec.Version == version || slices.Contains(rec.Versions[:], version)
}

// NewVersion returns a random tag, which is not 0.
func NewVersion() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:])                             // never fails
	return int64(binary.LittleEndian.Uint64(b[:]) | 1) //nolint:gosec // any 63 bits will do
}

// Match is the filter of every update: the record as it was when it was read, and not expired since.
type Match struct {
	ID      string
	Token   []byte
	Version int64
	Session bson.RawValue // with a plain id only: Express does not change the version
	Now     time.Time     // it expires later than this; zero: it is pending
	Undated bool          // it has no createdAt, as those that Express makes: the update gives it one
}

// Match returns the filter that a record passes as long as nobody has written to it.
func (rec *Record) Match(now time.Time) Match {
	m := Match{ID: rec.ID, Token: rec.Token, Version: rec.Version, Now: now, Undated: rec.CreatedAt.IsZero()}
	if rec.Token == nil {
		m.Session = rec.Session
	}
	return m
}

// Change says which fields of a record an update writes.
type Change int

// The changes that there are.
const (
	Deadline Change = iota // Expires and UpdatedAt
	Prolong                // Expires alone, and only to a later moment
	Payload                // Deadline, and all that a handler can change
	Edit                   // Payload without Deadline, by an administrator
	Renewal                // Payload, and what makes it a new session: the old cookie is dead
	Retire                 // what is left is a tombstone
	Activate               // a pending record comes to life
)

// durable reports whether a change must survive a failover once it has been acknowledged.
func (c Change) durable() bool { return c >= Edit }

// rewrites reports whether a change writes the payload.
func (c Change) rewrites() bool { return c == Payload || c == Edit || c == Renewal }

// dates reports whether a change sets Expires and UpdatedAt, by which a Save tells how long the browser has its cookie.
func (c Change) dates() bool { return c != Prolong && c != Edit }

// Backend is where records live: in a MongoDB collection or, for tests and demos, in memory.
type Backend interface {
	Sessions
	Admin
}

// Sessions are the commands of requests. Each touches one record by its id, but Load, which takes several ids.
//
// Errors are the driver's. A write that reports both that it was done and an error did not meet its write concern.
type Sessions interface {
	// Load returns the records that there are, in any order, by Config.ReadPreference.
	Load(ctx context.Context, ids ...string) ([]Record, error)
	// Find returns a record from the primary; nil: there is none.
	Find(ctx context.Context, id string) (*Record, error)
	// Insert reports false if the id is taken.
	Insert(ctx context.Context, rec *Record) (inserted bool, err error)
	// Update reports false if no record passes the match.
	Update(ctx context.Context, m Match, rec *Record, c Change) (matched bool, err error)
	// Delete removes the record with this id and, unless it is nil, this token; an empty one means none.
	Delete(ctx context.Context, id string, token []byte) (deleted int64, err error)
}

// Admin are the commands on many records.
type Admin interface {
	Count(ctx context.Context, live Live) (int64, error)
	// List yields the live records, of all users or of one; it stops when yield says so.
	List(ctx context.Context, live Live, user string, yield func(*Record, error) bool)
	DeleteUser(ctx context.Context, user string, except []string) (int64, error)
	Clear(ctx context.Context) (int64, error)
	// RemoveBatch deletes some of what expired, or was to be forgotten, by then, and reports how many it found.
	RemoveBatch(ctx context.Context, until time.Time) (found int, removed int64, err error)
}

// Live is the filter of the records that are live now.
type Live struct {
	Now          time.Time
	CreatedAfter time.Time // zero without a MaxLifetime
	Plain        bool      // there are plain ids
}

// Document returns the record as it is inserted.
func (rec *Record) Document(lastModified bool) bson.Raw {
	d := bsonraw.Build(rec.size()).String("_id", rec.ID)
	if rec.Token != nil {
		d = d.Binary("token", rec.Token)
	}
	d = d.String("name", rec.Name).Value("session", rec.Session).Date("expires", rec.Expires).
		Date("createdAt", rec.CreatedAt).Date("updatedAt", rec.UpdatedAt).Int64("version", rec.Version)
	if lastModified {
		d = d.Date("lastModified", rec.UpdatedAt)
	}
	for _, field := range allOptional {
		d, _ = rec.optional(d, field)
	}
	return d.End()
}

// filter returns the match as a filter, where null stands for an absent field too.
func (m Match) filter() bson.Raw {
	d := bsonraw.Build(128+len(m.Session.Value)).String("_id", m.ID).Binary("token", m.Token)
	if m.Version == 0 {
		d = d.Null("version")
	} else {
		d = d.Int64("version", m.Version)
	}
	start := 0
	if m.Now.IsZero() {
		d = d.Null("expires")
	} else {
		d, start = d.Begin("expires")
		d = d.Date("$gt", m.Now).EndAt(start)
	}
	if !m.Session.IsZero() { // with $eq: a document by itself could be read as operators
		d, start = d.Begin("session")
		d = d.Value("$eq", m.Session).EndAt(start)
	}
	return d.End()
}

// The fields that a record need not have, and which of them each change sets or, where the record lacks them, removes.
var (
	allOptional = []string{"labels", "user", "maxAge", "cookie", "versions", "forget", "replaces", "next", "by"}
	optional    = [...][]string{
		Payload:  allOptional[1:5],
		Edit:     allOptional[1:5],
		Renewal:  allOptional[:5],
		Retire:   {"user", "labels", "maxAge", "cookie", "lastModified", "forget", "next", "by"},
		Activate: {"forget", "replaces"},
	}
)

// optional appends one of these fields, or reports false if the record lacks it.
func (rec *Record) optional(d bsonraw.Builder, field string) (bsonraw.Builder, bool) {
	switch {
	case field == "labels" && rec.Labels != nil:
		return d.Document(field, rec.Labels), true
	case field == "user" && rec.User != "":
		return d.String(field, rec.User), true
	case field == "maxAge" && rec.MaxAge != nil:
		return d.Int32(field, *rec.MaxAge), true
	case field == "cookie" && rec.Cookie != nil:
		return d.Document(field, rec.Cookie), true
	case field == "versions" && rec.Versions[0] != 0:
		return d.Value(field, rec.Versions.value()), true
	case field == "forget" && !rec.Forget.IsZero():
		return d.Date(field, rec.Forget), true
	case field == "replaces" && rec.Replaces != "":
		return d.String(field, rec.Replaces), true
	case field == "next" && rec.Next != "":
		return d.String(field, rec.Next), true
	case field == "by" && rec.By != 0:
		return d.Int64(field, rec.By), true
	}
	return d, false
}

// update returns the update that makes a change to the record that passes a match.
func (rec *Record) update(m Match, c Change, lastModified bool) bson.Raw {
	d, start := bsonraw.Build(128), 0
	switch {
	case c.rewrites():
		d = bsonraw.Build(rec.size())
	case c == Retire:
		rec = &Record{UpdatedAt: rec.UpdatedAt, Forget: rec.Forget, Next: rec.Next, By: rec.By}
	case c == Activate:
		rec = &Record{Expires: rec.Expires, UpdatedAt: rec.UpdatedAt}
	}
	if c == Prolong {
		d, start = d.Begin("$max")
		if d = d.Date("expires", rec.Expires).EndAt(start); !lastModified { // MongoDB refuses an empty $set
			return d.End()
		}
	}
	d, start = d.Begin("$set")
	d = rec.required(d, m, c)
	if lastModified && c != Retire && c != Edit {
		d = d.Date("lastModified", rec.UpdatedAt)
	}
	lacking := make([]string, 0, len(allOptional))
	for _, field := range optional[c] {
		has := false
		if d, has = rec.optional(d, field); !has {
			lacking = append(lacking, field)
		}
	}
	if d = d.EndAt(start); len(lacking) == 0 {
		return d.End()
	}
	d, start = d.Begin("$unset")
	for _, field := range lacking {
		d = d.String(field, "")
	}
	return d.EndAt(start).End()
}

// required appends the fields that a change sets in any case.
func (rec *Record) required(d bsonraw.Builder, m Match, c Change) bsonraw.Builder {
	if c.dates() {
		d = d.Date("expires", rec.Expires).Date("updatedAt", rec.UpdatedAt)
	}
	if c.rewrites() {
		d = d.Value("session", rec.Session).Int64("version", rec.Version)
	}
	if c == Renewal || c.rewrites() && m.Undated && !rec.CreatedAt.IsZero() {
		d = d.Date("createdAt", rec.CreatedAt)
	}
	switch c {
	case Renewal:
		d = d.Binary("token", rec.Token)
	case Retire:
		d = d.Binary("token", []byte{}).Null("session")
	}
	return d
}

// size is about how long a document of all of a record is.
func (rec *Record) size() int {
	return 320 + len(rec.ID) + len(rec.Name) + len(rec.Session.Value) + len(rec.Labels) + len(rec.User) + len(rec.Cookie)
}

// value returns the history as a BSON array.
func (h History) value() bson.RawValue {
	d := bsonraw.Build(5 + len(h)*11)
	for i, version := range h {
		if version != 0 {
			d = d.Int64(string(rune('0'+i)), version)
		}
	}
	return bson.RawValue{Type: bson.TypeArray, Value: d.End()}
}

// Parse reads a document, whoever wrote or edited it. A token or deadline of a wrong type is like none, so that the
// session is not valid. Any other field of a wrong type is Damage. The result keeps parts of raw.
func Parse(raw bson.Raw) (rec Record) {
	e := bsonraw.Walk(raw)
	for e.Next() {
		if !rec.set(string(e.Key), e.Value) && rec.Damage == nil {
			rec.Damage = fmt.Errorf("%w: field %q has a wrong type or value", ErrDamaged, e.Key)
		}
	}
	if e.Err != nil {
		rec.Damage = fmt.Errorf("%w: %w", ErrDamaged, e.Err)
	}
	return rec
}

// set takes one field of a document, and reports false if it has a type it must not have.
func (rec *Record) set(field string, value bson.RawValue) (ok bool) {
	switch field {
	case "_id":
		rec.ID, ok = value.StringValueOK()
	case "token":
		_, token, _ := value.BinaryOK()
		rec.Token, ok = append([]byte{}, token...), true
	case "name":
		rec.Name, ok = value.StringValueOK()
	case "session":
		rec.Session, ok = value, true
	case "expires":
		rec.Expires, _ = dateOf(value)
		ok = true
	case "createdAt":
		rec.CreatedAt, ok = dateOf(value)
	case "updatedAt":
		rec.UpdatedAt, ok = dateOf(value)
	case "version":
		rec.Version, ok = value.Int64OK()
		ok = ok && rec.Version != 0
	case "versions":
		rec.Versions, ok = historyOf(value)
	case "labels":
		rec.Labels, ok = value.DocumentOK()
	case "user":
		rec.User, ok = value.StringValueOK()
	case "maxAge":
		rec.MaxAge, ok = maxAgeOf(value)
	case "cookie":
		rec.Cookie, ok = value.DocumentOK()
	case "forget":
		rec.Forget, ok = dateOf(value)
	case "replaces":
		rec.Replaces, ok = value.StringValueOK()
	case "next":
		rec.Next, ok = value.StringValueOK()
	case "by":
		rec.By, ok = value.Int64OK()
	default:
		ok = true
	}
	return ok
}

func maxAgeOf(value bson.RawValue) (*int, bool) {
	n, ok := value.AsInt64OK()
	maxAge := int(max(0, min(n, MaxMaxAge)))
	return &maxAge, ok && n >= 0
}

// MaxMaxAge is the largest MaxAge that is stored, in seconds: more than ten years counts as ten.
const MaxMaxAge = 10 * 365 * 24 * 60 * 60

func historyOf(value bson.RawValue) (h History, ok bool) {
	array, ok := value.ArrayOK()
	e := bsonraw.Walk(array)
	for i := 0; ok && i < len(h) && e.Next(); i++ {
		h[i], ok = e.Value.Int64OK()
	}
	return h, ok && e.Err == nil
}

func dateOf(value bson.RawValue) (time.Time, bool) {
	t, ok := value.TimeOK()
	return t.UTC(), ok
}
