package record

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mongostore/mongostore/internal/bsonraw"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// Collection is the backend in MongoDB.
type Collection struct {
	*mongo.Collection                   // reads from the primary, writes with the collection's write concern
	durable           *mongo.Collection // writes with majority
	loads             reader            // by the configured preference
	primary           reader
	Options
}

// reader is how records are read.
type reader struct {
	coll *mongo.Collection
	opts *options.RunCmdOptionsBuilder
}

// Options are the settings of a collection.
type Options struct {
	ReadPreference *readpref.ReadPref         // of loads
	WriteConcern   *writeconcern.WriteConcern // nil: majority where it must be, else the collection's own
	LastModified   bool                       // write that field too
	Forgets        bool                       // there are pending records and tombstones to remove
}

// NewCollection pins what must not depend on the client's settings.
func NewCollection(coll *mongo.Collection, o Options) *Collection {
	pinned := options.Collection().SetReadPreference(readpref.Primary()).SetReadConcern(readconcern.Local())
	if o.WriteConcern != nil {
		pinned.SetWriteConcern(o.WriteConcern)
	}
	c := &Collection{Collection: coll.Clone(pinned), Options: o}
	c.primary = c.reader(readpref.Primary())
	c.loads = c.reader(o.ReadPreference)
	if c.durable = c.Collection; o.WriteConcern == nil {
		c.durable = c.Clone(options.Collection().SetWriteConcern(writeconcern.Majority()))
	}
	return c
}

func (c *Collection) reader(preference *readpref.ReadPref) reader {
	return reader{
		c.Clone(options.Collection().SetReadPreference(preference)),
		options.RunCmd().SetReadPreference(preference),
	}
}

// where is a condition on a field.
func where(field, operator string, value any) bson.E {
	return bson.E{Key: field, Value: bson.D{{Key: operator, Value: value}}}
}

// Load implements [Sessions]. It filters by _id alone, which takes the server's fast path; the caller checks the rest.
func (c *Collection) Load(ctx context.Context, ids ...string) ([]Record, error) {
	if len(ids) == 1 {
		raw, err := c.findOn(ctx, c.loads, ids[0])
		if raw == nil {
			return nil, err
		}
		return []Record{Parse(raw)}, nil
	}
	cursor, err := c.loads.coll.Find(ctx, bson.D{where("_id", "$in", ids)})
	if err != nil {
		return nil, err
	}
	var raws []bson.Raw
	err = cursor.All(ctx, &raws)
	records := make([]Record, len(raws))
	for i, raw := range raws {
		records[i] = Parse(raw)
	}
	return records, err
}

// Find implements [Sessions].
func (c *Collection) Find(ctx context.Context, id string) (*Record, error) {
	raw, err := c.findOn(ctx, c.primary, id)
	if raw == nil {
		return nil, err
	}
	rec := Parse(raw)
	return &rec, nil
}

// findOn returns a document or nil. RunCommand is cheaper; FindOne, after an error, is what the driver retries.
func (c *Collection) findOn(ctx context.Context, from reader, id string) (raw bson.Raw, err error) {
	inSession := mongo.SessionFromContext(ctx) != nil // of which the bare command, with its own readConcern, knows nothing
	if !inSession {
		raw, err = firstOf(c.Database().RunCommand(ctx, c.findCommand(id), from.opts).Raw())
	}
	if inSession || err != nil && ctx.Err() == nil && !mongo.IsTimeout(err) {
		raw, err = from.coll.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Raw()
	}
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	return raw, err
}

func (c *Collection) findCommand(id string) bson.Raw {
	d, start := bsonraw.Build(128+len(id)).String("find", c.Name()).Begin("filter")
	d, start = d.String("_id", id).EndAt(start).Int32("limit", 1).Bool("singleBatch", true).Begin("readConcern")
	return d.String("level", "local").EndAt(start).End()
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
	docs := bsonraw.Walk(batch.Value)
	docs.Next()
	return bson.Raw(docs.Value.Value), docs.Err
}

// Insert implements [Sessions].
func (c *Collection) Insert(ctx context.Context, rec *Record) (bool, error) {
	_, err := c.durable.InsertOne(ctx, rec.Document(c.LastModified))
	if mongo.IsDuplicateKeyError(err) {
		return false, nil
	}
	return err == nil || OnlyConcern(err), err
}

// Update implements [Sessions].
func (c *Collection) Update(ctx context.Context, m Match, rec *Record, change Change) (bool, error) {
	coll := c.Collection
	if change.durable() {
		coll = c.durable
	}
	res, err := coll.UpdateOne(ctx, m.filter(), rec.update(m, change, c.LastModified))
	if err != nil {
		return matchedAnyway(err), err
	}
	if !res.Acknowledged {
		return false, ErrUnacknowledged
	}
	return res.MatchedCount > 0, nil
}

// Delete implements [Sessions].
func (c *Collection) Delete(ctx context.Context, id string, token []byte) (int64, error) {
	filter := bson.D{{Key: "_id", Value: id}}
	switch {
	case len(token) > 0:
		filter = append(filter, bson.E{Key: "token", Value: token})
	case token != nil:
		filter = append(filter, bson.E{Key: "token"})
	}
	return deletedCount(c.durable.DeleteOne(ctx, filter))
}

func deletedCount(res *mongo.DeleteResult, err error) (int64, error) {
	if res == nil {
		return 0, err
	}
	return res.DeletedCount, err
}

// ErrUnacknowledged means that nobody can tell what became of a write.
var ErrUnacknowledged = errors.New("the collection's write concern is w:0, unacknowledged: set Config.WriteConcern")

// OnlyConcern reports whether only the write concern was not met: the primary has done what it was told.
func OnlyConcern(err error) bool {
	var we mongo.WriteException
	return errors.As(err, &we) && we.WriteConcernError != nil && len(we.WriteErrors) == 0
}

// matchedAnyway reports whether an update that ended with err matched a record and wrote it.
func matchedAnyway(err error) bool {
	var we mongo.WriteException
	if !OnlyConcern(err) || !errors.As(err, &we) {
		return false
	}
	n, err := we.Raw.LookupErr("n")
	return err == nil && n.IsNumber() && n.AsInt64() > 0
}

func (l Live) filter() bson.D {
	filter := bson.D{where("expires", "$gt", l.Now)}
	if l.Plain { // no tombstone, whatever deadline Express has given it
		filter = append(filter, bson.E{Key: "next"})
	}
	switch {
	case l.CreatedAfter.IsZero():
	case l.Plain: // a record that Express made has no createdAt, and no limit
		filter = append(filter, where("createdAt", "$not", bson.D{{Key: "$lte", Value: l.CreatedAfter}}))
	default:
		filter = append(filter, where("createdAt", "$gt", l.CreatedAfter))
	}
	return filter
}

// Count implements [Admin].
func (c *Collection) Count(ctx context.Context, live Live) (int64, error) {
	return c.CountDocuments(ctx, live.filter())
}

// List implements [Admin]. Sorting all records by the TTL index needs no memory; those of one user are few.
func (c *Collection) List(ctx context.Context, live Live, user string, yield func(*Record, error) bool) {
	filter, sort := live.filter(), bson.D{{Key: "expires", Value: -1}}
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
		rec := Parse(slices.Clone(cursor.Current)) // not a part of a batch, which is large
		if !yield(&rec, nil) {
			return
		}
	}
	if err := cursor.Err(); err != nil {
		yield(nil, err)
	}
}

// DeleteUser implements [Admin].
func (c *Collection) DeleteUser(ctx context.Context, user string, except []string) (int64, error) {
	filter := bson.D{{Key: "user", Value: user}, where("_id", "$nin", append([]string{}, except...))}
	return deletedCount(c.durable.DeleteMany(ctx, filter))
}

// Clear implements [Admin].
func (c *Collection) Clear(ctx context.Context) (int64, error) {
	return deletedCount(c.durable.DeleteMany(ctx, bson.D{}))
}

// RemovalBatch bounds one delete, so that it never holds up requests for long.
const RemovalBatch = 50

// RemoveBatch implements [Admin].
func (c *Collection) RemoveBatch(ctx context.Context, until time.Time) (found int, removed int64, err error) {
	found, removed, err = c.removePast(ctx, "expires", until)
	if err == nil && found < RemovalBatch && c.Forgets {
		var more int64
		found, more, err = c.removePast(ctx, "forget", until)
		removed += more
	}
	return found, removed, err
}

// removePast deletes some of the records in which a field holds a moment that is past.
func (c *Collection) removePast(ctx context.Context, field string, until time.Time) (int, int64, error) {
	cursor, err := c.Collection.Find(ctx, bson.D{where(field, "$lte", until)}, options.Find().
		SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: field, Value: 1}}).
		SetSort(bson.D{{Key: field, Value: 1}}).
		SetLimit(RemovalBatch))
	if err != nil {
		return 0, 0, err
	}
	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil || len(found) == 0 {
		return 0, 0, err
	}
	ids := make(bson.A, len(found))
	for i, f := range found {
		ids[i] = f.Lookup("_id")
	}
	// The moment is in the filter again, since a session may have been prolonged. It is the last of this batch: a server
	// that goes by the index on it then walks through this batch, not through all that has expired.
	past := where(field, "$lte", until)
	if last := found[len(found)-1].Lookup(field); last.Type == bson.TypeDateTime {
		past = where(field, "$lte", last)
	}
	n, err := deletedCount(c.DeleteMany(ctx, bson.D{where("_id", "$in", ids), past}))
	if err != nil {
		return 0, 0, err
	}
	return len(found), n, nil
}
