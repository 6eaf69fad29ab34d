package mongostore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Error codes of MongoDB and of servers that speak its protocol.
const (
	codeBadValue                   = 2
	codeUnauthorized               = 13
	codeIndexOptionsConflict       = 85
	codeIndexKeySpecsConflict      = 86
	codeCommandNotSupported        = 115
	codeConflictingOperation       = 117
	codeNotImplemented             = 238
	codeNotSupported               = 303
	codeObjectTooLarge             = 10334
	codeBackgroundOperationRunning = 12587
)

// passing are the codes of a server that shuts down, is not the primary, or lost its network or its time: those on
// which drivers repeat a command, and WriteConcernTimeout. A second try may find another primary.
var passing = []int{6, 7, 64, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}

// EnsureIndexes creates the indexes that the configuration asks for, or puts right those that exist with
// other options. It is what New does unless Config.NoIndexes is set; call it from a deploy script with a
// role that may. Calling it again, or in several processes at once, is fine.
//
// On a server without TTL indexes it makes a plain one and logs that expired sessions need
// AutoRemoveInterval there.
//
// ErrUnavailable: MongoDB did not answer; try again. An error without a sentinel, a missing right or an index
// in the way, says what to do. ctx alone bounds it.
func (s *Store) EnsureIndexes(ctx context.Context) error {
	_, err := s.ensureIndexes(ctx)
	return err
}

// ensureIndexes also reports whether the server deletes expired records by itself.
func (s *Store) ensureIndexes(ctx context.Context) (native bool, err error) {
	c, ok := s.backend.(*collection)
	if !ok {
		return true, nil
	}
	if err := c.checkAcknowledged(ctx); err != nil {
		return false, err
	}
	native = s.cfg.AutoRemove == AutoRemoveNative
	if native {
		err = c.ensureTTL(ctx)
		if ttlUnsupported(err) {
			s.cfg.Logger.Warn("mongostore: the server has no TTL indexes; expired sessions are removed by AutoRemoveInterval instead",
				"interval", s.cfg.RemoveInterval, "error", err)
			native, err = false, nil
		}
	}
	if err == nil && !native {
		err = c.ensureIndex(ctx, "expires", options.Index())
	}
	if err == nil && s.cfg.UserID != nil {
		err = c.ensureIndex(ctx, "user", options.Index().SetSparse(true))
	}
	return native, c.explainIndexError(err)
}

// checkAcknowledged tries the collection's write concern on an update that matches nothing.
func (c *collection) checkAcknowledged(ctx context.Context) error {
	nothing := guard{id: "", now: time.Unix(0, 0)}
	_, err := c.update(ctx, nothing, new(record), deadline)
	switch {
	case errors.Is(err, errUnacknowledged):
		return fmt.Errorf("mongostore: %w", err)
	case mongo.IsTimeout(err): // no need to wait once more
		return c.explainIndexError(err)
	}
	return nil // what else is wrong, the index commands say better
}

// ensureIndex makes a plain index on one field, unless any index on it is there.
func (c *collection) ensureIndex(ctx context.Context, field string, opts *options.IndexOptionsBuilder) error {
	err := c.createIndex(ctx, field, opts)
	if !hasCode(err, codeIndexOptionsConflict, codeIndexKeySpecsConflict) {
		return err
	}
	existing, found, listErr := c.indexOn(ctx, field)
	switch {
	case listErr != nil:
		return listErr
	case found && existing.partial():
		return c.notWhole(existing)
	case found:
		return nil
	}
	return c.inTheWay(err, field)
}

// notWhole tells of an index that does not cover every document.
func (c *collection) notWhole(existing index) error {
	return fmt.Errorf("index %q does not cover every document; drop it: %s", existing.Name, c.dropIndex(existing.Name))
}

// dropIndex is the command for mongosh that drops an index, whatever the collection is called.
func (c *collection) dropIndex(name string) string {
	return fmt.Sprintf("db.getCollection(%q).dropIndex(%q)", c.Name(), name)
}

// inTheWay says which index has the name of the one on field, but not its key.
func (c *collection) inTheWay(err error, field string) error {
	return fmt.Errorf("%w; drop the index that is in the way: %s", err, c.dropIndex(field+"_1"))
}

// ensureTTL makes the TTL index, or turns an index on expires that has other options into one.
func (c *collection) ensureTTL(ctx context.Context) error {
	err := c.createIndex(ctx, "expires", options.Index().SetExpireAfterSeconds(0))
	if !hasCode(err, codeIndexOptionsConflict, codeIndexKeySpecsConflict) {
		return err
	}
	existing, found, listErr := c.indexOn(ctx, "expires")
	switch {
	case listErr != nil:
		return listErr
	case !found:
		return c.inTheWay(err, "expires")
	case existing.isTTL():
		return nil
	case existing.partial():
		return c.notWhole(existing)
	}
	repaired := c.retry(ctx, func() error {
		return c.Database().RunCommand(ctx, bson.D{
			{Key: "collMod", Value: c.Name()},
			{Key: "index", Value: bson.D{{Key: "name", Value: existing.Name}, {Key: "expireAfterSeconds", Value: 0}}},
		}).Err()
	})
	if repaired != nil {
		return fmt.Errorf("index %q exists with other options and could not be changed: %w; to do it by hand: %s",
			existing.Name, repaired, c.dropIndex(existing.Name))
	}
	return nil
}

func (c *collection) createIndex(ctx context.Context, field string, opts *options.IndexOptionsBuilder) error {
	return c.retry(ctx, func() error {
		_, err := c.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: opts.SetName(field + "_1")})
		return err
	})
}

// retry repeats a command that another process's index build or collMod is in the way of.
func (c *collection) retry(ctx context.Context, command func() error) error {
	for {
		err := command()
		if !hasCode(err, codeConflictingOperation, codeBackgroundOperationRunning) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// index is one entry of listIndexes. It is read raw, since the driver's own IndexView.ListSpecifications
// fails on an expireAfterSeconds that is not a whole number.
type index struct {
	Name               string        `bson:"name"`
	Key                bson.Raw      `bson:"key"`
	ExpireAfterSeconds bson.RawValue `bson:"expireAfterSeconds"`
	PartialFilter      bson.Raw      `bson:"partialFilterExpression"`
}

func (i index) isTTL() bool {
	n, ok := i.ExpireAfterSeconds.AsFloat64OK()
	return ok && n == 0 && !i.partial()
}

func (i index) partial() bool { return len(i.PartialFilter) > 0 }

// indexOn returns the index whose only key is this field, ascending or descending: MongoDB lets collMod
// make a TTL index of a hashed one too, but deletes nothing by it.
func (c *collection) indexOn(ctx context.Context, field string) (index, bool, error) {
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

// explainIndexError says what to do where the server only says no.
func (c *collection) explainIndexError(err error) error {
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

func ttlUnsupported(err error) bool {
	return hasCode(err, codeBadValue, codeCommandNotSupported, codeNotImplemented, codeNotSupported)
}

func hasCode(err error, codes ...int) bool {
	return slices.ContainsFunc(mongo.ErrorCodes(err), func(code int) bool { return slices.Contains(codes, code) })
}
