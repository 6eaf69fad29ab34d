package main

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

var (
	signingKey = []byte("0123456789abcdef0123456789abcdef")
	sealingKey = bytes.Repeat([]byte("k"), 32)
)

// ours are the configurations of mongostore that are measured.
func ours() []*contestant {
	sealer := mongostore.AESGCM(sealingKey)
	one := func(key, name string, cfg mongostore.Config) *contestant {
		return &contestant{key: key, name: "mongostore, " + name, open: openOurs(key, cfg), deadline: deadline{key, "expires"}}
	}
	touch := one("touchafter", "gob, within TouchAfter", mongostore.Config{TouchAfter: time.Hour})
	touch.ops = []op{unchanged} // the others are as without
	touch.deadline = deadline{}
	return []*contestant{
		one("gob", "gob (default)", mongostore.Config{}),
		one("json", "JSON", mongostore.Config{PayloadCodec: mongostore.JSONCodec{}}),
		one("bson", "BSON", mongostore.Config{PayloadCodec: mongostore.BSONCodec{}}),
		one("sealed", "BSON, sealed", mongostore.Config{PayloadCodec: mongostore.BSONCodec{}, Sealer: sealer}),
		one("sealedgob", "gob, sealed", mongostore.Config{Sealer: sealer}),
		touch,
	}
}

// openOurs returns how a configuration of mongostore is opened.
func openOurs(key string, cfg mongostore.Config) func(context.Context, *stage) (app, error) {
	return func(ctx context.Context, s *stage) (app, error) {
		coll, end, err := s.collection(ctx, key)
		if err != nil {
			return nil, err
		}
		o, err := newOurs(ctx, coll, &cfg, s.values)
		if err != nil {
			end()
			return nil, err
		}
		o.closes = append([]func(){end}, o.closes...)
		return &o.inProcess, nil
	}
}

// ourApp is an application on a mongostore.Store.
type ourApp struct {
	inProcess
	store *mongostore.Store
}

// newOurs makes one on a collection whose client stays the caller's.
func newOurs(ctx context.Context, coll *mongo.Collection, cfg *mongostore.Config, vs values) (*ourApp, error) {
	store, err := mongostore.New(ctx, coll, cfg, signingKey)
	if err != nil {
		return nil, err
	}
	renew := func(_ http.ResponseWriter, _ *http.Request, session *sessions.Session) error {
		store.Regenerate(session)
		return nil
	}
	g := gorilla{store, vs, renew}
	return &ourApp{inProcess{page(g.serve), []func(){func() { _ = store.Close() }}}, store}, nil
}
