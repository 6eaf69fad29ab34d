package main

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/securecookie"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// population are many sessions that are copies of one that the store made: but
// for the id, the secret and the deadline, which follow from the copy's number.
type population struct {
	template bson.Raw
	name     byte // so that two populations share no id
}

// newPopulation has the store make the session that all others are copies of.
func newPopulation(ctx context.Context, o *ourApp, name byte) (*population, error) {
	v := &visitor{}
	if err := v.visit(ctx, o, create); err != nil {
		return nil, err
	}
	template, err := o.store.Collection().FindOneAndDelete(ctx, bson.D{}).Raw()
	return &population{template, name}, err
}

// identity returns what the README says a session's cookie and record have.
func (p *population) identity(i int) (handle, secret string) {
	seed := binary.BigEndian.AppendUint64([]byte{p.name}, uint64(i)) //nolint:gosec // a number of a session
	sum := sha256.Sum256(seed)
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	return text[:26], text[26:52]
}

// visitor returns the browser of a session.
func (p *population) visitor(o *ourApp, i, count int) (*visitor, error) {
	handle, secret := p.identity(i)
	value, err := securecookie.EncodeMulti(cookieName, []byte(handle+"."+secret), o.store.Codecs...)
	return &visitor{cookie: cookieName + "=" + value, count: count}, err
}

// document returns the record of a session, with what fields say instead of the
// template's.
func (p *population) document(i int, fields map[string]any) (bson.D, error) {
	handle, secret := p.identity(i)
	token := sha256.Sum256([]byte(secret))
	elements, err := p.template.Elements()
	if err != nil {
		return nil, err
	}
	doc := make(bson.D, 0, len(elements)+len(fields))
	for _, e := range elements {
		switch e.Key() {
		case "_id":
			doc = append(doc, bson.E{Key: "_id", Value: handle})
		case "token":
			doc = append(doc, bson.E{Key: "token", Value: token[:]})
		default:
			if _, replaced := fields[e.Key()]; !replaced {
				doc = append(doc, bson.E{Key: e.Key(), Value: e.Value()})
			}
		}
	}
	for key, value := range fields {
		doc = append(doc, bson.E{Key: key, Value: value})
	}
	return doc, nil
}

// evenly returns fields that make n sessions expire evenly from one moment on,
// over some time.
func evenly(from time.Time, over time.Duration, n int) func(i int) map[string]any {
	return func(i int) map[string]any {
		return map[string]any{"expires": from.Add(over / time.Duration(n) * time.Duration(i*7919%n))}
	}
}

// fill inserts the sessions from one number to another, in batches and by
// several connections at once.
func (p *population) fill(ctx context.Context, coll *mongo.Collection, from, to int, fields func(i int) map[string]any) error {
	const batch = 2000
	var next atomic.Int64
	next.Store(int64(from))
	var workers sync.WaitGroup
	failures := make([]error, 4)
	for w := range failures {
		workers.Go(func() {
			for failures[w] == nil {
				first := int(next.Add(batch)) - batch
				if first >= to {
					return
				}
				failures[w] = p.insert(ctx, coll, first, min(first+batch, to), fields)
			}
		})
	}
	workers.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	return nil
}

func (p *population) insert(ctx context.Context, coll *mongo.Collection, from, to int, fields func(i int) map[string]any) error {
	docs := make([]any, 0, to-from)
	for i := from; i < to; i++ {
		doc, err := p.document(i, fields(i))
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	_, err := coll.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	return err
}
