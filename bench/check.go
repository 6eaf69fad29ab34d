package main

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// prove takes a visitor through an operation and reads back what it did.
func prove(ctx context.Context, a app, o op, vs values) error {
	v := &visitor{count: 1}
	if err := v.visit(ctx, a, create); err != nil {
		return err
	}
	before := v.cookie
	if o != create {
		if err := v.visit(ctx, a, o); err != nil {
			return err
		}
	}
	if err := v.readBack(ctx, a, vs); err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	if o != regenerate {
		return nil
	}
	if v.cookie == before {
		return errors.New("regenerate: the cookie is the same as before")
	}
	return refused(ctx, a, before)
}

// provesLimit sees to it that a contestant cannot do what it is said not to:
// the table must not leave out what a newer version can.
func (c *contestant) provesLimit(ctx context.Context, s *scene, o op) error {
	a, err := c.open(ctx, &s.stage)
	if err != nil {
		return err
	}
	defer a.close()
	if prove(ctx, a, o, s.values) == nil {
		return fmt.Errorf("%s is listed as impossible (%s), but it works", o, c.cannot(s.size, o))
	}
	return nil
}

// check reads back some of the sessions of a slice, of which before are the
// cookies and latest is the latest deadline of then.
func (e *entrant) check(ctx context.Context, s *scene, o op, done []*visitor, before []string, latest int64) error {
	for i := 0; i < len(done); i += 1 + len(done)/8 {
		if err := done[i].readBack(ctx, e.app, s.values); err != nil {
			return err
		}
		if o != regenerate {
			continue
		}
		if err := refused(ctx, e.app, before[i]); err != nil {
			return err
		}
	}
	if o != unchanged || e.deadline.field == "" {
		return nil
	}
	now, err := e.latest(ctx, s)
	if err == nil && now <= latest {
		err = errors.New("it did not move the deadline")
	}
	return err
}

// deadline is where a contestant on MongoDB has the time that an unchanged
// Save moves.
type deadline struct{ collection, field string }

// latest returns the latest such time, in the contestant's own unit.
func (e *entrant) latest(ctx context.Context, s *scene) (int64, error) {
	if e.deadline.field == "" {
		return 0, nil
	}
	last := options.FindOne().SetSort(bson.D{{Key: e.deadline.field, Value: -1}})
	doc, err := s.client.Database(s.database).Collection(e.deadline.collection).FindOne(ctx, bson.D{}, last).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return 0, err
	}
	switch value := doc.Lookup(e.deadline.field); value.Type {
	case bson.TypeDateTime:
		return value.DateTime(), nil
	case bson.TypeInt64:
		return value.Int64(), nil
	}
	return 0, fmt.Errorf("no time in %s of %s", e.deadline.field, e.deadline.collection)
}
