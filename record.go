package mongostore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// record is a session as it is stored. Its byte slices are never written to, so copies may share them.
type record struct {
	id                            string        // _id: the handle, or what TransformID makes of a plain id
	token                         []byte        // SHA-256 of the cookie's secret; nil with a plain id
	name                          string        // the cookie's name
	session                       bson.RawValue // the payload
	expires, createdAt, updatedAt time.Time     // in UTC, whole milliseconds
	version                       int64         // random, new at each write of the payload; 0: absent
	user                          string        // absent if empty
	labels                        bson.Raw      // absent if nil
	maxAge                        *int          // Options.MaxAge, if the application set one

	born   bool  // createdAt is new with this write: a record that Express made lacks it
	damage error // ErrDecode, for a document that was edited into a shape it must not have
}

// guard is the filter of every update: the record as it was when it was read, and not expired.
type guard struct {
	id      string
	token   []byte
	version int64
	session bson.RawValue // with a plain id only: Express does not change version
	now     time.Time
}

// scope says which fields of a record an update writes.
type scope int

const (
	deadline scope = iota // expires and updatedAt
	payload               // those, and all that a handler can change
	renewal               // those, and what makes it a new session: the old cookie is dead
	editing               // payload, by an administrator: it never shortens the session's life
)

var errNoRecord = errors.New("no such record")

// backend is where records live: in a MongoDB collection or, for tests and demos, in memory. Its methods
// are the commands of this package; every one but those of the last group touches one record by its id.
type backend interface {
	find(ctx context.Context, id string) (*record, error) // errNoRecord, ErrUnavailable
	// insert reports false if the id is taken.
	insert(ctx context.Context, rec *record) (inserted bool, err error)
	// update reports false if no record fits the guard. Both may report true with an error: the record is
	// written, but the write concern was not met.
	update(ctx context.Context, g guard, rec *record, s scope) (matched bool, err error)
	// delete removes the record with this id and, unless it is nil, this token; an empty one means none.
	delete(ctx context.Context, id string, token []byte) (deleted int64, err error)
	// deleteGuarded removes a record that is about to be replaced.
	deleteGuarded(ctx context.Context, g guard) (deleted bool, err error)
	// prolong moves the deadline of a live record forward, never back.
	prolong(ctx context.Context, id string, now, expires time.Time) (matched bool, err error)

	count(ctx context.Context, alive alive) (int64, error)
	// list yields the live records, of all users or of one; it stops when yield says so.
	list(ctx context.Context, alive alive, user string, yield func(*record, error) bool)
	deleteUser(ctx context.Context, user string, except []string) (int64, error)
	clear(ctx context.Context) (int64, error)
	// removeBatch deletes some of what expired at or before a moment, and reports how many it found.
	removeBatch(ctx context.Context, until time.Time) (found int, removed int64, err error)
}

// alive is the filter of the records that are live now.
type alive struct {
	now          time.Time
	createdAfter time.Time // zero without a MaxLifetime
	plain        bool      // there are plain ids
}

// newVersion returns a random tag, which is not 0.
func newVersion() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:])                             // never fails
	return int64(binary.LittleEndian.Uint64(b[:]) | 1) //nolint:gosec // any 63 bits will do
}

// collection is the backend in MongoDB.
type collection struct {
	*mongo.Collection                   // reads from the primary, writes with the collection's write concern
	durable           *mongo.Collection // writes with majority
	reads             *options.RunCmdOptionsBuilder
	lastModified      bool // write that field too
}

// newCollection pins what must not depend on the client's settings.
func newCollection(coll *mongo.Collection, cfg *Config) *collection {
	pinned := options.Collection().SetReadPreference(cfg.ReadPreference).SetReadConcern(readconcern.Local())
	if cfg.WriteConcern != nil {
		pinned.SetWriteConcern(cfg.WriteConcern)
	}
	c := &collection{
		Collection: coll.Clone(pinned), reads: options.RunCmd().SetReadPreference(cfg.ReadPreference), lastModified: cfg.LastModified,
	}
	if c.durable = c.Collection; cfg.WriteConcern == nil {
		c.durable = c.Clone(options.Collection().SetWriteConcern(writeconcern.Majority()))
	}
	return c
}

// find filters by _id alone, which takes the server's fast path; the caller checks the rest. The driver does the
// bare command with less ado than FindOne, but only FindOne repeats a read that failed, on the new primary say.
func (c *collection) find(ctx context.Context, id string) (*record, error) {
	var raw bson.Raw
	var err error
	inSession := mongo.SessionFromContext(ctx) != nil // of which the bare command, with its own readConcern, knows nothing
	if !inSession {
		raw, err = firstOf(c.Database().RunCommand(ctx, c.findCommand(id), c.reads).Raw())
	}
	if inSession || err != nil && ctx.Err() == nil && !mongo.IsTimeout(err) {
		raw, err = c.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Raw()
	}
	if errors.Is(err, mongo.ErrNoDocuments) || err == nil && raw == nil {
		return nil, errNoRecord
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return parseRecord(raw), nil
}

func (c *collection) findCommand(id string) bson.Raw {
	d, start := newDocument(128+len(id)).string("find", c.Name()).begin("filter")
	d, start = d.string("_id", id).endAt(start).int32("limit", 1).bool("singleBatch", true).begin("readConcern")
	return d.string("level", "local").endAt(start).end()
}

// firstOf returns the first document of the reply to a find, nil if there is none.
func firstOf(reply bson.Raw, err error) (bson.Raw, error) {
	if err != nil {
		return nil, err
	}
	batch, err := reply.LookupErr("cursor", "firstBatch")
	if err != nil {
		return nil, err
	}
	docs := elementsOf(batch.Value)
	docs.next()
	return bson.Raw(docs.value.Value), docs.err
}

func (c *collection) insert(ctx context.Context, rec *record) (bool, error) {
	_, err := c.durable.InsertOne(ctx, rec.document(c.lastModified))
	if mongo.IsDuplicateKeyError(err) {
		return false, nil
	}
	return err == nil || onlyConcern(err), err
}

func (c *collection) update(ctx context.Context, g guard, rec *record, s scope) (bool, error) {
	coll := c.Collection
	if s == renewal || s == editing {
		coll = c.durable
	}
	res, err := coll.UpdateOne(ctx, g.filter(), rec.changes(s, c.lastModified))
	if err != nil {
		return matchedAnyway(err), err
	}
	if !res.Acknowledged {
		return false, errUnacknowledged
	}
	return res.MatchedCount > 0, nil
}

func (c *collection) delete(ctx context.Context, id string, token []byte) (int64, error) {
	filter := bson.D{{Key: "_id", Value: id}}
	switch {
	case len(token) > 0:
		filter = append(filter, bson.E{Key: "token", Value: token})
	case token != nil:
		filter = append(filter, bson.E{Key: "token", Value: nil})
	}
	return deletedCount(c.durable.DeleteOne(ctx, filter))
}

func (c *collection) deleteGuarded(ctx context.Context, g guard) (bool, error) {
	res, err := c.durable.DeleteOne(ctx, g.filter())
	if err != nil {
		return matchedAnyway(err), err
	}
	return res.DeletedCount > 0, nil
}

func (c *collection) prolong(ctx context.Context, id string, now, expires time.Time) (bool, error) {
	res, err := c.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: id}, {Key: "expires", Value: bson.D{{Key: "$gt", Value: now}}}},
		prolongation(now, expires, c.lastModified))
	if err != nil {
		return matchedAnyway(err), err
	}
	return res.MatchedCount > 0, nil
}

func deletedCount(res *mongo.DeleteResult, err error) (int64, error) {
	if res == nil {
		return 0, err
	}
	return res.DeletedCount, err
}

var errUnacknowledged = errors.New("the collection's write concern is w:0, unacknowledged: set Config.WriteConcern")

// onlyConcern reports whether err says no more than that the write concern was not met: then the primary
// has done what it was told, and only its replication is in doubt.
func onlyConcern(err error) bool {
	var we mongo.WriteException
	return errors.As(err, &we) && we.WriteConcernError != nil && len(we.WriteErrors) == 0
}

// matchedAnyway reports whether an update that ended with err matched a record and wrote it.
func matchedAnyway(err error) bool {
	var we mongo.WriteException
	if !onlyConcern(err) || !errors.As(err, &we) {
		return false
	}
	n, err := we.Raw.LookupErr("n")
	return err == nil && n.IsNumber() && n.AsInt64() > 0
}

func (a alive) filter() bson.D {
	filter := bson.D{{Key: "expires", Value: bson.D{{Key: "$gt", Value: a.now}}}}
	switch {
	case a.createdAfter.IsZero():
	case a.plain: // a record that Express made has no createdAt, and no limit
		filter = append(filter, bson.E{Key: "createdAt", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$lte", Value: a.createdAfter}}}}})
	default:
		filter = append(filter, bson.E{Key: "createdAt", Value: bson.D{{Key: "$gt", Value: a.createdAfter}}})
	}
	return filter
}

func (c *collection) count(ctx context.Context, alive alive) (int64, error) {
	return c.CountDocuments(ctx, alive.filter())
}

// list sorts all records by the TTL index, which needs no memory for it, and those of one user, which are
// few, by their activity.
func (c *collection) list(ctx context.Context, alive alive, user string, yield func(*record, error) bool) {
	filter, sort := alive.filter(), bson.D{{Key: "expires", Value: -1}}
	if user != "" {
		filter = append(bson.D{{Key: "user", Value: user}}, filter...)
		sort = bson.D{{Key: "updatedAt", Value: -1}}
	}
	cursor, err := c.Collection.Find(ctx, filter, options.Find().SetSort(sort))
	if err != nil {
		yield(nil, err)
		return
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	for cursor.Next(ctx) {
		if !yield(parseRecord(slices.Clone(cursor.Current)), nil) { // not a part of a batch, which is large
			return
		}
	}
	if err := cursor.Err(); err != nil {
		yield(nil, err)
	}
}

func (c *collection) deleteUser(ctx context.Context, user string, except []string) (int64, error) {
	filter := bson.D{{Key: "user", Value: user}}
	if len(except) > 0 {
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$nin", Value: except}}})
	}
	return deletedCount(c.durable.DeleteMany(ctx, filter))
}

func (c *collection) clear(ctx context.Context) (int64, error) {
	return deletedCount(c.durable.DeleteMany(ctx, bson.D{}))
}

// removalBatch bounds one delete, so that it never holds up requests for long.
const removalBatch = 50

func (c *collection) removeBatch(ctx context.Context, until time.Time) (int, int64, error) {
	past := bson.E{Key: "expires", Value: bson.D{{Key: "$lte", Value: until}}}
	cursor, err := c.Find(ctx, bson.D{past}, options.Find().
		SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "expires", Value: 1}}).
		SetSort(bson.D{{Key: "expires", Value: 1}}).
		SetLimit(removalBatch))
	if err != nil {
		return 0, 0, err
	}
	var found []struct {
		ID      bson.RawValue `bson:"_id"`
		Expires bson.RawValue `bson:"expires"`
	}
	if err := cursor.All(ctx, &found); err != nil || len(found) == 0 {
		return 0, 0, err
	}
	ids := make(bson.A, len(found))
	for i, f := range found {
		ids[i] = f.ID
	}
	// The deadline is in the filter again: a session may have been prolonged since. It is the last one of this
	// batch, for the server may go by the index on it and not by the ids: through this batch then, and not through
	// all that has expired.
	if last := found[len(found)-1].Expires; last.Type == bson.TypeDateTime {
		past.Value = bson.D{{Key: "$lte", Value: last}}
	}
	res, err := c.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}, past})
	if err != nil {
		return 0, 0, err
	}
	return len(found), res.DeletedCount, nil
}

// guard returns the filter that a record as it is here must pass.
func (rec *record) guard(now time.Time) guard {
	g := guard{id: rec.id, token: rec.token, version: rec.version, now: now}
	if rec.token == nil {
		g.session = rec.session
	}
	return g
}

func (g guard) filter() bson.Raw {
	d := newDocument(128+len(g.session.Value)).string("_id", g.id)
	if g.token == nil {
		d = d.null("token") // which an absent field equals
	} else {
		d = d.binary("token", g.token)
	}
	if g.version == 0 {
		d = d.null("version")
	} else {
		d = d.int64("version", g.version)
	}
	d, start := d.begin("expires")
	d = d.date("$gt", g.now).endAt(start)
	if !g.session.IsZero() { // with $eq: a document by itself could be read as operators
		d, start = d.begin("session")
		d = d.value("$eq", g.session).endAt(start)
	}
	return d.end()
}

// document returns the record as it is inserted.
func (rec *record) document(lastModified bool) bson.Raw {
	d := newDocument(rec.size()).string("_id", rec.id)
	if rec.token != nil {
		d = d.binary("token", rec.token)
	}
	d = d.string("name", rec.name).
		value("session", rec.session).
		date("expires", rec.expires).
		date("createdAt", rec.createdAt).
		updated(rec.updatedAt, lastModified).
		int64("version", rec.version)
	return rec.optional(d, renewal).end()
}

// changes returns the update that writes the fields of a scope.
func (rec *record) changes(s scope, lastModified bool) bson.Raw {
	if s == deadline {
		d, start := newDocument(64).begin("$set")
		return d.date("expires", rec.expires).updated(rec.updatedAt, lastModified).endAt(start).end()
	}
	d, start := newDocument(rec.size()), 0
	if s == editing {
		d, start = d.begin("$max")
	} else {
		d, start = d.begin("$set")
	}
	d = d.date("expires", rec.expires)
	if s == editing {
		d, start = d.endAt(start).begin("$set")
	}
	d = d.updated(rec.updatedAt, lastModified).value("session", rec.session).int64("version", rec.version)
	if s == renewal || rec.born {
		d = d.date("createdAt", rec.createdAt)
	}
	if s == renewal {
		d = d.binary("token", rec.token)
	}
	d = rec.optional(d, s).endAt(start)
	if absent := rec.absent(s); len(absent) > 0 {
		d, start = d.begin("$unset")
		for _, field := range absent {
			d = d.string(field, "")
		}
		d = d.endAt(start)
	}
	return d.end()
}

// prolongation returns the update that moves a deadline forward, never back.
func prolongation(now, expires time.Time, lastModified bool) bson.Raw {
	d, start := newDocument(96).begin("$set")
	d, start = d.updated(now, lastModified).endAt(start).begin("$max")
	return d.date("expires", expires).endAt(start).end()
}

// updated appends the time of a write, for connect-mongo also under its name for it.
func (d document) updated(at time.Time, lastModified bool) document {
	if d = d.date("updatedAt", at); lastModified {
		return d.date("lastModified", at)
	}
	return d
}

// size is about how long a document of all of a record is.
func (rec *record) size() int {
	return 256 + len(rec.id) + len(rec.name) + len(rec.session.Value) + len(rec.labels) + len(rec.user)
}

// optional appends those of the fields that a record need not have which it has. Labels are of a scope's
// business only if the session is a new one.
func (rec *record) optional(d document, s scope) document {
	if rec.labels != nil && s == renewal {
		d = d.value("labels", bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: rec.labels})
	}
	if rec.user != "" {
		d = d.string("user", rec.user)
	}
	if rec.maxAge != nil {
		d = d.int32("maxAge", min(*rec.maxAge, maxMaxAge))
	}
	return d
}

// absent returns the names of those that it lacks.
func (rec *record) absent(s scope) []string {
	fields := make([]string, 0, 3)
	if rec.labels == nil && s == renewal {
		fields = append(fields, "labels")
	}
	if rec.user == "" {
		fields = append(fields, "user")
	}
	if rec.maxAge == nil {
		fields = append(fields, "maxAge")
	}
	return fields
}

// parseRecord reads a document, whoever wrote or edited it. What decides whether a session is valid is
// taken strictly: a token or deadline of another type is like none. Other fields of a wrong type make the
// record undecodable. The result keeps parts of raw, which is not to be written to.
func parseRecord(raw bson.Raw) *record {
	rec := new(record)
	e := elementsOf(raw)
	for e.next() {
		if !rec.set(string(e.key), e.value) && rec.damage == nil {
			rec.damage = fmt.Errorf("mongostore: %w: field %q has a wrong type or value", ErrDecode, e.key)
		}
	}
	if e.err != nil {
		rec.damage = fmt.Errorf("mongostore: %w: %w", ErrDecode, e.err)
	}
	return rec
}

// set takes one field of a document, and reports false if it has a type it must not have.
func (rec *record) set(field string, value bson.RawValue) (ok bool) {
	switch field {
	case "_id":
		rec.id, ok = value.StringValueOK()
	case "token":
		_, token, _ := value.BinaryOK()
		rec.token, ok = append([]byte{}, token...), true
	case "name":
		rec.name, ok = value.StringValueOK()
	case "session":
		rec.session, ok = value, true
	case "expires":
		rec.expires, _ = dateOf(value)
		ok = true
	case "createdAt":
		rec.createdAt, ok = dateOf(value)
	case "updatedAt":
		rec.updatedAt, ok = dateOf(value)
	case "version":
		rec.version, ok = value.Int64OK()
		ok = ok && rec.version != 0
	case "labels":
		rec.labels, ok = value.DocumentOK()
	case "user":
		rec.user, ok = value.StringValueOK()
	case "maxAge":
		var n int64
		n, ok = value.AsInt64OK()
		ok = ok && n >= 0
		maxAge := int(max(0, min(n, int64(maxMaxAge))))
		rec.maxAge = &maxAge
	default:
		ok = true
	}
	return ok
}

func dateOf(value bson.RawValue) (time.Time, bool) {
	t, ok := value.TimeOK()
	return t.UTC(), ok
}
