package main

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/boj/redistore"
	"github.com/gin-contrib/sessions/mongo/mongodriver"
	"github.com/gorilla/sessions"
	mongov1 "go.mongodb.org/mongo-driver/mongo"
	optionsv1 "go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// openGin opens the store that gin-contrib/sessions has for MongoDB, which is a
// gorilla store: without gin around it, and without gin's own session, which
// leaves out the Save of what did not change.
func openGin(ctx context.Context, s *stage) (app, error) {
	opts := optionsv1.Client().ApplyURI(s.uri)
	if s.majority {
		opts.SetWriteConcern(writeconcern.Majority())
	}
	client, err := mongov1.Connect(ctx, opts)
	if err != nil {
		return nil, err
	}
	store := mongodriver.NewStore(client.Database(s.database).Collection("gin"), int(lifetime.Seconds()), true, signingKey)
	g := gorilla{store, s.values, deleteFirst}
	return &inProcess{page(g.serve), []func(){func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }}}, nil
}

func openRedis(_ context.Context, s *stage) (app, error) {
	if s.redis == "" {
		return nil, errNotRun("redis-server not found")
	}
	store, err := redistore.NewRediStore(100, "tcp", s.redis, "", "", signingKey)
	if err != nil {
		return nil, err
	}
	store.SetMaxLength(0)
	store.SetMaxAge(int(lifetime.Seconds()))
	g := gorilla{store, s.values, deleteFirst}
	return &inProcess{page(g.serve), []func(){func() { _ = store.Close() }}}, nil
}

func openFiles(_ context.Context, s *stage) (app, error) {
	dir, err := os.MkdirTemp(s.dir, "files-")
	if err != nil {
		return nil, err
	}
	store := sessions.NewFilesystemStore(dir, signingKey)
	store.MaxLength(0)
	g := gorilla{store, s.values, deleteFirst}
	missingIsNew := func(w http.ResponseWriter, r *http.Request, o op, count int) error {
		err := g.serve(w, r, o, count)
		if errors.Is(err, os.ErrNotExist) {
			return errNoSession
		}
		return err
	}
	return &inProcess{page(missingIsNew), []func(){func() { _ = os.RemoveAll(dir) }}}, nil
}

func openCookie(_ context.Context, s *stage) (app, error) {
	g := gorilla{sessions.NewCookieStore(signingKey), s.values, deleteFirst}
	return &inProcess{page(g.serve), nil}, nil
}

// scsApp is an application on scs. Loading has a manager of its own: with an
// IdleTimeout, which moves the deadline, scs writes the session at each request.
type scsApp struct {
	manager *scs.SessionManager
	values  values
}

func openSCS(ctx context.Context, s *stage) (app, error) {
	coll, end, err := s.collection(ctx, "scs")
	if err != nil {
		return nil, err
	}
	_, err = coll.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "token", Value: 1}}})
	if err != nil {
		end()
		return nil, err
	}
	gob.Register([]any{})
	plain, idle := newManager(coll), newManager(coll)
	idle.IdleTimeout = lifetime
	idle.Lifetime = 2 * lifetime // the deadline would stay at it
	reading := plain.LoadAndSave(page(scsApp{plain, s.values}.serve))
	writing := idle.LoadAndSave(page(scsApp{idle, s.values}.serve))
	mux := http.NewServeMux()
	mux.Handle("/", writing)
	mux.Handle("/"+string(load), reading)
	mux.Handle("/"+string(read), reading)
	return &inProcess{mux, []func(){end}}, nil
}

func newManager(coll *mongo.Collection) *scs.SessionManager {
	m := scs.New()
	m.Store, m.Lifetime, m.Cookie.Name = scsStore{coll}, lifetime, cookieName
	return m
}

func (a scsApp) serve(w http.ResponseWriter, r *http.Request, o op, count int) error {
	ctx, m := r.Context(), a.manager
	if o == create {
		for key, value := range a.values.with(count) {
			m.Put(ctx, key, value)
		}
		return nil
	}
	if !m.Exists(ctx, countKey) {
		return errNoSession
	}
	found := m.GetInt(ctx, countKey)
	switch o {
	case read:
		all := make(map[string]any)
		for _, key := range m.Keys(ctx) {
			all[key] = m.Get(ctx, key)
		}
		return json.NewEncoder(w).Encode(all)
	case change:
		m.Put(ctx, countKey, count)
	case regenerate:
		if err := m.RenewToken(ctx); err != nil {
			return err
		}
	}
	return writeCount(w, found)
}

// scsStore does what scs's mongodbstore does, with the same document, but on
// driver v2 and with the index on token that one lacks: without it, each
// request reads the whole collection.
type scsStore struct{ coll *mongo.Collection }

type scsItem struct {
	Token      string `bson:"token"`
	Object     []byte `bson:"object"`
	Expiration int64  `bson:"expiration"` // in nanoseconds
}

var _ scs.CtxStore = scsStore{}

func (s scsStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var item scsItem
	err := s.coll.FindOne(ctx, bson.M{"token": token}).Decode(&item)
	if errors.Is(err, mongo.ErrNoDocuments) || err == nil && time.Now().UnixNano() > item.Expiration {
		return nil, false, nil
	}
	return item.Object, err == nil, err
}

func (s scsStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	item := scsItem{token, b, expiry.UnixNano()}
	_, err := s.coll.UpdateOne(ctx, bson.M{"token": token}, bson.M{"$set": item}, options.UpdateOne().SetUpsert(true))
	return err
}

func (s scsStore) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.coll.DeleteOne(ctx, bson.M{"token": token})
	return err
}

func (s scsStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s scsStore) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

func (s scsStore) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// What a payload within a cookie, or within securecookie's limit, cannot be.
const (
	cookieLimit = "a cookie holds 4096 bytes"
	codecLimit  = "its payload goes through securecookie, 4096 bytes encoded"
	noEnd       = "a copy of the old cookie works on"
)

func ginLimit(size int, _ op) string {
	if size > 2000 {
		return codecLimit
	}
	return ""
}

func cookieStoreLimit(size int, o op) string {
	switch {
	case size > 2000:
		return cookieLimit
	case o == regenerate:
		return noEnd
	}
	return ""
}

// peers are the stores that others wrote.
func peers() []*contestant {
	return []*contestant{
		{key: "gin", name: "gin-contrib/sessions, mongodriver", open: openGin, limit: ginLimit, deadline: deadline{"gin", "modified"}},
		{key: "scs", name: "scs, its mongodbstore with an index", open: openSCS, deadline: deadline{"scs", "expiration"}},
		{key: "redis", name: "redistore, on Redis", open: openRedis},
		{key: "file", name: "FilesystemStore", open: openFiles},
		{key: "cookie", name: "CookieStore", open: openCookie, limit: cookieStoreLimit},
	}
}
