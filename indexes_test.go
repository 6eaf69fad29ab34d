package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestR17NativeRemovalMakesATTLIndexOnce(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, ttlServer(t))
	for range 2 {
		p.store(nil)
		wantTTL(t, p.coll, "expires_1")
	}
	if n := len(indexes(t, p.coll)); n != 2 {
		t.Errorf("%d indexes, want that of _id and that of expires", n)
	}
}

func TestR17UserIndexIsMadeIfUsersAreNamed(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, ttlServer(t)) // FerretDB, which has no TTL indexes, forgets that one is sparse
	p.store(nil)
	if _, ok := indexes(t, p.coll)["user_1"]; ok {
		t.Error("there is an index of users that nobody names")
	}
	for range 2 {
		p.store(&mongostore.Config{UserID: nobody})
		index := indexes(t, p.coll)["user_1"]
		if sparse, _ := index.Lookup("sparse").BooleanOK(); !sparse || index.Lookup("key").String() != `{"user": {"$numberInt":"1"}}` {
			t.Errorf("the index of users is %v, want a sparse one", index)
		}
	}
}

func TestR17UserIndexThatExistsWithOtherOptionsIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	makeIndex(t, p.coll, bson.D{{Key: "key", Value: bson.D{{Key: "user", Value: 1}}}, {Key: "name", Value: "mine"}})
	p.store(&mongostore.Config{UserID: nobody})
	if _, ok := indexes(t, p.coll)["mine"]; !ok {
		t.Error("the index is gone")
	}
}

func TestR17OtherRemovalMakesAPlainIndex(t *testing.T) {
	t.Parallel()
	for _, auto := range []mongostore.AutoRemove{mongostore.AutoRemoveInterval, mongostore.AutoRemoveDisabled} {
		t.Run(auto.String(), func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			for range 2 {
				open(t, p.coll, &mongostore.Config{AutoRemove: auto})
				index := indexes(t, p.coll)["expires_1"]
				if _, err := index.LookupErr("expireAfterSeconds"); err == nil || index == nil {
					t.Errorf("the index is %v, want a plain one", index)
				}
			}
		})
	}
}

func TestR17OtherRemovalLeavesATTLIndexThatExists(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, ttlServer(t))
	p.store(nil)
	p.store(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	wantTTL(t, p.coll, "expires_1")
}

// onExpires describes an index on expires.
func onExpires(options ...bson.E) bson.D {
	return append(bson.D{{Key: "key", Value: bson.D{{Key: "expires", Value: 1}}}}, options...)
}

func TestR17IndexWithOtherOptionsIsPutRight(t *testing.T) {
	t.Parallel()
	server := ttlServer(t)
	named := func(name string) bson.E { return bson.E{Key: "name", Value: name} }
	after := func(seconds any) bson.E { return bson.E{Key: "expireAfterSeconds", Value: seconds} }
	for what, row := range map[string]struct {
		index bson.D
		plain bool // only mongod 5.1 and later can make it a TTL index
	}{
		"another expireAfterSeconds":                     {onExpires(named("expires_1"), after(3600)), false},
		"another expireAfterSeconds, under another name": {onExpires(named("mine"), after(3600)), false},
		"right, under another name":                      {onExpires(named("mine"), after(0)), false},
		"not a number":                                   {onExpires(named("expires_1"), after(math.NaN())), false},
		"a fraction":                                     {onExpires(named("expires_1"), after(0.5)), false},
		"plain":                                          {onExpires(named("expires_1")), true},
		"plain, under another name":                      {onExpires(named("mine")), true},
		"sparse":                                         {onExpires(named("expires_1"), bson.E{Key: "sparse", Value: true}), true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, server)
			if err := tryIndex(t, p.coll, row.index); err != nil {
				t.Skipf("%s makes no such index: %v", server, err)
			}
			_, err := p.open(nil)
			if row.plain && server.OlderThan(t, 5, 1) {
				wantText(t, err, `dropIndex("`)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantTTL(t, p.coll, indexName(row.index))
			p.store(nil)
		})
	}
}

func TestR17IndexThatCannotBePutRightIsReportedWithTheCommandThatWould(t *testing.T) {
	t.Parallel()
	server := ttlServer(t)
	for what, index := range map[string]bson.D{
		"partial": onExpires(bson.E{Key: "name", Value: "expires_1"},
			bson.E{Key: "partialFilterExpression", Value: bson.D{{Key: "user", Value: "alice"}}}),
		"partial TTL": onExpires(bson.E{Key: "name", Value: "expires_1"}, bson.E{Key: "expireAfterSeconds", Value: 0},
			bson.E{Key: "partialFilterExpression", Value: bson.D{{Key: "user", Value: "alice"}}}),
		"of another field": {
			{Key: "name", Value: "expires_1"},
			{Key: "key", Value: bson.D{{Key: "other", Value: 1}}},
		},
		"of two fields": {
			{Key: "name", Value: "expires_1"},
			{Key: "key", Value: bson.D{{Key: "expires", Value: 1}, {Key: "user", Value: 1}}},
		},
		"hashed": {
			{Key: "name", Value: "expires_1"},
			{Key: "key", Value: bson.D{{Key: "expires", Value: "hashed"}}},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, server)
			makeIndex(t, p.coll, index)
			_, err := p.open(nil)
			wantText(t, err, `dropIndex("expires_1")`)
			if err := p.coll.Indexes().DropOne(t.Context(), "expires_1"); err != nil {
				t.Fatal(err)
			}
			p.store(nil)
			wantTTL(t, p.coll, "expires_1")
		})
	}
}

func TestR17PlainIndexWhoseNameIsTakenIsReportedWithTheCommandThatHelps(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*mongostore.Config{
		"user_1":    {UserID: nobody},
		"expires_1": {AutoRemove: mongostore.AutoRemoveDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			makeIndex(t, p.coll, bson.D{{Key: "name", Value: name}, {Key: "key", Value: bson.D{{Key: "other", Value: 1}}}})
			_, err := p.open(cfg)
			wantText(t, err, `dropIndex("`+name+`")`)
			if err := p.coll.Indexes().DropOne(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			p.store(cfg)
		})
	}
}

func TestR17DescendingIndexServesAsWell(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, ttlServer(t))
	makeIndex(t, p.coll, bson.D{
		{Key: "name", Value: "expires_1"}, {Key: "key", Value: bson.D{{Key: "expires", Value: -1}}}, {Key: "expireAfterSeconds", Value: 60},
	})
	p.store(nil)
	wantTTL(t, p.coll, "expires_1")
}

func TestR17AnotherIndexOnExpiresIsNoHindrance(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, ttlServer(t))
	makeIndex(t, p.coll, bson.D{
		{Key: "name", Value: "mine"},
		{Key: "key", Value: bson.D{{Key: "expires", Value: 1}, {Key: "user", Value: 1}}},
	})
	p.store(nil)
	wantTTL(t, p.coll, "expires_1")
}

func TestR17ProcessesStartingTogetherAllSucceed(t *testing.T) {
	t.Parallel()
	server := ttlServer(t)
	for what, index := range map[string]bson.D{
		"nothing there":   nil,
		"an index to fix": onExpires(bson.E{Key: "name", Value: "expires_1"}, bson.E{Key: "expireAfterSeconds", Value: 60}),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, server)
			if index != nil {
				makeIndex(t, p.coll, index)
			}
			var starting sync.WaitGroup
			for range 16 {
				starting.Go(func() {
					if _, err := mongostore.New(t.Context(), mongotest.ForStore(t, p.coll), &mongostore.Config{UserID: nobody}, key); err != nil {
						t.Error(err)
					}
				})
			}
			starting.Wait()
			wantTTL(t, p.coll, "expires_1")
		})
	}
}

func TestR17AnIndexThatIsBeingBuiltIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, code := range []int32{117, 12587} { // ConflictingOperationInProgress, BackgroundOperationInProgressForNamespace
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			f := newUnreliable(t, mongotest.Standalone(t))
			f.fail(mongotest.Fail{Commands: []string{"createIndexes"}, ErrorCode: code, Times: 2})
			f.store(nil)
			wantTTL(t, f.coll, "expires_1")
		})
	}
}

func TestR17ServerWithoutTTLIndexesGetsAPlainOneAndIntervalRemoval(t *testing.T) {
	t.Parallel()
	for _, code := range []int32{2, 115, 238} { // a mongod that is told to answer 303, as DocumentDB does, hangs up
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			f := newUnreliable(t, mongotest.Standalone(t))
			log := new(journal)
			f.fail(mongotest.Fail{Commands: []string{"createIndexes"}, ErrorCode: code, Times: 1})
			store := open(t, f.coll, &mongostore.Config{Logger: log.logger(), RemoveInterval: time.Second})
			f.mend()
			wantFallback(t, store, log)
		})
	}
}

func TestR17ServerOfTheEnvironmentWithoutTTLIndexesGetsIntervalRemoval(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	if server.SupportsTTL(t) {
		t.Skip("it has TTL indexes")
	}
	log := new(journal)
	p := onMongoDB(t, server)
	wantFallback(t, open(t, p.coll, &mongostore.Config{Logger: log.logger(), RemoveInterval: time.Second}), log)
}

// wantFallback fails unless a Store has told that it removes expired sessions itself, does so, and stops.
func wantFallback(t *testing.T, store *mongostore.Store, log *journal) {
	t.Helper()
	if text := log.String(); !strings.Contains(text, "AutoRemoveInterval") || strings.Count(text, "level=WARN") != 1 {
		t.Errorf("logged: %q", text)
	}
	index := indexes(t, store.Collection())["expires_1"]
	if _, err := index.LookupErr("expireAfterSeconds"); err == nil || index == nil {
		t.Errorf("the index is %v, want a plain one", index)
	}
	insertExpired(t, store.Collection(), 3, time.Now().Add(-2*time.Minute))
	eventually(t, "the expired sessions are removed", func() bool { return documents(t, store.Collection()) == 0 })
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func TestR17OtherErrorsOfTheServerAreNoReasonToFallBack(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	f.fail(mongotest.Fail{Commands: []string{"createIndexes"}, ErrorCode: 14031, Times: 1}) // OutOfDiskSpace
	if _, err := f.open(nil); !mongoCode(err, 14031) {
		t.Errorf("New: %v, want the server's error", err)
	}
	f.store(nil)
	wantTTL(t, f.coll, "expires_1")
}

func TestR17MissingPermissionIsSaidWithTheWayOut(t *testing.T) {
	t.Parallel()
	server := mongotest.Secured(t)
	for what, row := range map[string]struct {
		actions []string
		index   bson.D
	}{
		"to create":        {nil, nil},
		"to change":        {[]string{"createIndex", "listIndexes"}, onExpires(bson.E{Key: "name", Value: "expires_1"}, bson.E{Key: "expireAfterSeconds", Value: 60})},
		"to list":          {[]string{"createIndex"}, onExpires(bson.E{Key: "name", Value: "expires_1"}, bson.E{Key: "expireAfterSeconds", Value: 60})},
		"to create a user": {nil, onExpires(bson.E{Key: "name", Value: "expires_1"}, bson.E{Key: "expireAfterSeconds", Value: 0})},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, server)
			if row.index != nil {
				makeIndex(t, p.coll, row.index)
			}
			p.coll = asUser(t, server, p.coll, append([]string{"find", "insert", "update", "remove"}, row.actions...)...)
			cfg := &mongostore.Config{UserID: nobody}
			_, err := p.open(cfg)
			for _, hint := range []string{"permission", "NoIndexes", "EnsureIndexes", "dbAdmin"} {
				wantText(t, err, hint)
			}
			if !mongoCode(err, 13) {
				t.Errorf("New: %v, want the server's error in the chain", err)
			}
			cfg.NoIndexes = true
			store := p.store(cfg)
			start(t, store, map[any]any{"n": 1}).wantValues(t, store, map[any]any{"n": 1})
		})
	}
}

func TestR17EnsureIndexesDoesForADeployScriptWhatNewDoes(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, ttlServer(t))
	store := p.store(&mongostore.Config{NoIndexes: true, UserID: nobody})
	if n := len(indexes(t, p.coll)); n != 0 {
		t.Fatalf("%d indexes with NoIndexes", n)
	}
	for range 2 {
		if err := store.EnsureIndexes(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantTTL(t, p.coll, "expires_1")
		if _, ok := indexes(t, p.coll)["user_1"]; !ok {
			t.Error("no index of users")
		}
	}
	memory, err := mongostore.NewMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := memory.EnsureIndexes(t.Context()); err != nil {
		t.Errorf("in memory: %v", err)
	}
}

func TestR17NoIndexesStartsWhileMongoDBIsDownWithoutAnyIO(t *testing.T) {
	t.Parallel()
	sent, watch := mongotest.Watch()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1"), watch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // whatever I/O there were would fail
	store, err := mongostore.New(ctx, client.Database("none").Collection("none"), &mongostore.Config{NoIndexes: true}, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if names := sent.Names(); len(names) > 0 {
		t.Errorf("sent %q", names)
	}
}

func TestR17NewIsBoundedByItsContextAndCanBeCalledAgain(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := mongostore.New(ctx, p.coll, &mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval}, key)
	wantIs(t, err, context.Canceled)
	p.store(nil)
}

func TestR17MongoDBItselfRemovesExpiredSessions(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Standalone(t)) // its TTL monitor wakes every second
	store := p.store(nil)
	live := start(t, store, map[any]any{"live": true})
	v := new(browser).load(t, store)
	v.Options.MaxAge = 1
	v.saved(t)
	if documents(t, p.coll) != 2 {
		t.Fatal("not stored")
	}
	eventually(t, "the server removes it", func() bool { return documents(t, p.coll) == 1 })
	live.wantValues(t, store, map[any]any{"live": true})
}

// nobody is a Config.UserID.
func nobody(*sessions.Session) string { return "" }

// ttlServer is the server of the environment, if it has TTL indexes.
func ttlServer(t *testing.T) *mongotest.Server {
	t.Helper()
	server := mongotest.Shared(t)
	if !server.SupportsTTL(t) {
		t.Skip("no TTL indexes: ", server)
	}
	return server
}

// open opens a Store that goes by the real clock, as one whose removal runs must.
func open(t *testing.T, coll *mongo.Collection, cfg *mongostore.Config) *mongostore.Store {
	t.Helper()
	store, err := mongostore.New(t.Context(), mongotest.ForStore(t, coll), cfg, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// asUser returns a collection as seen by a user of a secured server who may do only this.
func asUser(t *testing.T, server *mongotest.Server, coll *mongo.Collection, actions ...string) *mongo.Collection {
	t.Helper()
	uri := server.UserURI(t, mongotest.Privilege{Database: coll.Database().Name(), Collection: coll.Name(), Actions: actions})
	client := server.Client(t, options.Client().ApplyURI(uri).SetTLSConfig(server.TLSConfig()))
	return client.Database(coll.Database().Name()).Collection(coll.Name())
}

func makeIndex(t *testing.T, coll *mongo.Collection, index bson.D) {
	t.Helper()
	if err := tryIndex(t, coll, index); err != nil {
		t.Fatal(err)
	}
}

func tryIndex(t *testing.T, coll *mongo.Collection, index bson.D) error {
	t.Helper()
	return coll.Database().RunCommand(t.Context(), bson.D{
		{Key: "createIndexes", Value: coll.Name()}, {Key: "indexes", Value: bson.A{index}},
	}).Err()
}

func indexName(index bson.D) string {
	for _, e := range index {
		if e.Key == "name" {
			return e.Value.(string)
		}
	}
	return ""
}

// indexes are the indexes of a collection, by name.
func indexes(t *testing.T, coll *mongo.Collection) map[string]bson.Raw {
	t.Helper()
	cursor, err := coll.Indexes().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []bson.Raw
	if err := cursor.All(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]bson.Raw)
	for _, index := range list {
		byName[index.Lookup("name").StringValue()] = index
	}
	return byName
}

// wantTTL fails unless the index of this name, and no other, removes what has expired.
func wantTTL(t *testing.T, coll *mongo.Collection, name string) {
	t.Helper()
	for n, index := range indexes(t, coll) {
		if after, ok := index.Lookup("expireAfterSeconds").AsInt64OK(); ok != (n == name) || after != 0 {
			t.Errorf("index %v; want %q to be the TTL index", index, name)
		}
	}
	if _, ok := indexes(t, coll)[name]; !ok {
		t.Errorf("no index %q", name)
	}
}

func wantText(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one that says %q", err, part)
	}
}

// mongoCode reports whether err holds this error of the server.
func mongoCode(err error, code int) bool {
	var se mongo.ServerError
	return errors.As(err, &se) && se.HasErrorCode(code)
}

func TestR18PartialIndexOnExpiresIsNoIndexToRemoveBy(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, ttlServer(t))
	makeIndex(t, p.coll, onExpires(bson.E{Key: "name", Value: "expires_1"},
		bson.E{Key: "partialFilterExpression", Value: bson.D{{Key: "user", Value: "alice"}}}))
	_, err := p.open(&mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	wantText(t, err, `dropIndex("expires_1")`)
}
