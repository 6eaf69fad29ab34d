package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mongostore/mongostore/internal/record"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// EnsureIndexes creates the indexes that the configuration needs and repairs those that exist with other options. New
// calls it unless Config.NoIndexes is set; then call it from a deploy script whose role may create indexes. You may
// call it again, and from several processes at once. Only ctx bounds it.
//
// On a server without TTL indexes it creates a plain index and logs that expired sessions need AutoRemoveInterval.
//
// ErrUnavailable: MongoDB did not answer; try again. An error without a sentinel, such as a missing permission or an
// index in the way, says what to do.
func (s *Store) EnsureIndexes(ctx context.Context) error {
	_, err := s.ensureIndexes(ctx)
	return err
}

// ensureIndexes also reports whether the server itself deletes expired records.
func (s *Store) ensureIndexes(ctx context.Context) (native bool, err error) {
	collection, ok := s.server.backend.(*record.Collection)
	if !ok { // in memory
		return true, nil
	}
	c := indexed{collection}
	_, err = c.Update(ctx, record.Match{}, new(record.Record), record.Deadline) // matches nothing, but tries the write concern
	switch {
	case errors.Is(err, record.ErrUnacknowledged):
		return false, fmt.Errorf("mongostore: %w", err)
	case mongo.IsTimeout(err): // no need to wait once more; what else is wrong, the index commands report more clearly
		return false, c.explainIndexError(err)
	}
	native = s.cfg.AutoRemove == AutoRemoveNative
	err = c.ensureIndex(ctx, "expires", options.Index(), native)
	if native && hasCode(err, codeBadValue, codeCommandNotSupported, codeNotImplemented, codeNotSupported) {
		s.cfg.Logger.Warn("mongostore: the server has no TTL indexes; expired sessions are removed by AutoRemoveInterval instead",
			"interval", s.cfg.RemoveInterval, "error", err)
		native = false
		err = c.ensureIndex(ctx, "expires", options.Index(), native)
	}
	if err == nil && s.cfg.PlainIDs { // by it pending records and tombstones go, of which there are few
		err = c.ensureIndex(ctx, "forget", options.Index().SetSparse(true), native)
	}
	if err == nil && s.cfg.UserID != nil {
		err = c.ensureIndex(ctx, "user", options.Index().SetSparse(true), false)
	}
	return native, c.explainIndexError(err)
}

// indexed is a collection with indexes.
type indexed struct{ *record.Collection }

// ensureIndex creates an index on one field, unless there is one. If it must be a TTL index, it changes an existing one.
func (c indexed) ensureIndex(ctx context.Context, field string, opts *options.IndexOptionsBuilder, ttl bool) error {
	name := field + "_1"
	opts.SetName(name)
	if ttl {
		opts.SetExpireAfterSeconds(0)
	}
	err := c.retry(ctx, func() error {
		_, err := c.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: opts})
		return err
	})
	if !hasCode(err, codeIndexOptionsConflict, codeIndexKeySpecsConflict) {
		return err
	}
	existing, found, listErr := c.indexOn(ctx, field)
	after, isNumber := existing.ExpireAfterSeconds.AsFloat64OK()
	switch {
	case listErr != nil:
		return listErr
	case !found: // another index has the name
		return fmt.Errorf("%w; drop the index that is in the way: %s", err, c.dropIndex(name))
	case len(existing.PartialFilter) > 0:
		return fmt.Errorf("index %q does not cover every document; drop it: %s", existing.Name, c.dropIndex(existing.Name))
	case !ttl || isNumber && after == 0:
		return nil
	}
	return c.makeTTL(ctx, existing.Name)
}

// makeTTL turns an index into a TTL index.
func (c indexed) makeTTL(ctx context.Context, name string) error {
	err := c.retry(ctx, func() error {
		return c.Database().RunCommand(ctx, bson.D{
			{Key: "collMod", Value: c.Name()},
			{Key: "index", Value: bson.D{{Key: "name", Value: name}, {Key: "expireAfterSeconds", Value: 0}}},
		}).Err()
	})
	if err != nil {
		return fmt.Errorf("index %q exists with other options and could not be changed: %w; to do it by hand: %s",
			name, err, c.dropIndex(name))
	}
	return nil
}

// dropIndex returns the mongosh command that drops an index, whatever the collection is called.
func (c indexed) dropIndex(name string) string {
	return fmt.Sprintf("db.getCollection(%q).dropIndex(%q)", c.Name(), name)
}

// retry repeats a command while another process's index build or collMod is in its way.
func (c indexed) retry(ctx context.Context, command func() error) error {
	for {
		err := command()
		if !hasCode(err, codeConflictingOperation, codeBackgroundOperationRunning) || sleep(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// index is one entry of listIndexes. IndexView.ListSpecifications fails on an expireAfterSeconds that is not whole.
type index struct {
	Name               string        `bson:"name"`
	Key                bson.Raw      `bson:"key"`
	ExpireAfterSeconds bson.RawValue `bson:"expireAfterSeconds"`
	PartialFilter      bson.Raw      `bson:"partialFilterExpression"`
}

// indexOn returns the index whose only key is this field, ascending or descending. collMod would also make a TTL index
// of a hashed one, but MongoDB deletes nothing by it.
func (c indexed) indexOn(ctx context.Context, field string) (index, bool, error) {
	cursor, err := c.Indexes().List(ctx)
	if err != nil {
		return index{}, false, err
	}
	var all []index
	if err := cursor.All(ctx, &all); err != nil {
		return index{}, false, err
	}
	for _, i := range all {
		keys, err := i.Key.Elements()
		if err == nil && len(keys) == 1 && keys[0].Key() == field && keys[0].Value().IsNumber() {
			return i, true, nil
		}
	}
	return index{}, false, nil
}

// explainIndexError says what to do about an error of the server.
func (c indexed) explainIndexError(err error) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, codeUnauthorized):
		return fmt.Errorf("mongostore: no permission to create or change indexes of %q: "+
			"let a deploy script with the role dbAdmin call EnsureIndexes and set Config.NoIndexes here: %w", c.Name(), err)
	case mongo.IsNetworkError(err), mongo.IsTimeout(err), hasCode(err, passing...):
		return fmt.Errorf("mongostore: indexes: %w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("mongostore: indexes: %w", err)
}
