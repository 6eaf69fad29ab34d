package mongotest

import (
	"context"
	"crypto/tls"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// RequestActions are all that a store does to its collection in requests, and
// in removing and listing sessions.
var RequestActions = []string{"find", "insert", "update", "remove"}

// IndexActions are what making the indexes, and putting them right, takes
// beside that.
var IndexActions = []string{"createIndex", "listIndexes", "collMod"}

// ForStore returns coll as an application's client sees it, which
// MONGOSTORE_TEST_STORE restricts. Without that, for a client that is not of
// this package, and for a role where there are no logins or the client has one
// of its own, it is coll itself. Of the options of coll it keeps none: set them
// after. Tests open stores on what it returns, while they make and look at
// documents through coll.
func ForStore(tb testing.TB, coll *mongo.Collection) *mongo.Collection {
	tb.Helper()
	restriction := os.Getenv("MONGOSTORE_TEST_STORE")
	value, ours := clients.Load(coll.Database().Client())
	if restriction == "" || !ours {
		return coll
	}
	made := value.(*madeClient)
	if restriction == "role" && (made.server.CAFile == "" || options.MergeClientOptions(made.opts...).Auth != nil) {
		return coll
	}
	key := storeKey{tb, coll.Database().Client(), coll.Database().Name(), coll.Name()}
	if known, ok := storeClients.Load(key); ok {
		return known.(*mongo.Collection)
	}
	client := made.server.Client(tb, append(made.opts, made.server.restricted(tb, restriction, coll, made.opts))...)
	clients.Delete(client)
	seen := client.Database(key.database).Collection(key.collection)
	storeClients.Store(key, seen)
	tb.Cleanup(func() { storeClients.Delete(key) })
	return seen
}

// storeKey is what one client of a store is for.
type storeKey struct {
	tb                   testing.TB
	client               *mongo.Client
	database, collection string
}

// madeClient is how a client was made.
type madeClient struct {
	server *Server
	opts   []*options.ClientOptions // over the URI
}

// clients are those of the tests, as *mongo.Client to *madeClient; storeClients
// those of their stores, as storeKey to *mongo.Collection.
var clients, storeClients sync.Map

// restricted returns the options of a client that may do no more than the
// restriction says.
func (s *Server) restricted(tb testing.TB, restriction string, coll *mongo.Collection, opts []*options.ClientOptions) *options.ClientOptions {
	tb.Helper()
	switch restriction {
	case "role":
		return s.asUser(tb, coll)
	case "strict":
		return options.Client().SetServerAPIOptions(
			options.ServerAPI(options.ServerAPIVersion1).SetStrict(true).SetDeprecationErrors(true))
	case "secondary":
		monitor := options.MergeClientOptions(opts...).Monitor
		return options.Client().SetReadPreference(readpref.SecondaryPreferred()).SetMonitor(s.onlyPrimary(tb, monitor))
	}
	tb.Fatalf("mongotest: MONGOSTORE_TEST_STORE=%s: want role, strict or secondary", restriction)
	return nil
}

// asUser logs in, with a client's certificate, as a user who may do nothing but
// what a store does to its collection.
func (s *Server) asUser(tb testing.TB, coll *mongo.Collection) *options.ClientOptions {
	tb.Helper()
	uri := s.UserURI(tb, Privilege{
		Database: coll.Database().Name(), Collection: coll.Name(), Actions: slices.Concat(RequestActions, IndexActions),
	})
	certificate, err := tls.LoadX509KeyPair(s.CertFile, s.CertFile)
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	config := s.TLSConfig()
	config.Certificates = []tls.Certificate{certificate}
	return options.Client().SetAuth(*options.Client().ApplyURI(uri).Auth).SetTLSConfig(config)
}

// onlyPrimary returns a monitor beside another one, which may be nil: it fails
// the test when a command goes to a member that is not the primary. A proxy
// stands in front of the primary.
func (s *Server) onlyPrimary(tb testing.TB, other *event.CommandMonitor) *event.CommandMonitor {
	tb.Helper()
	if !s.IsReplicaSet() {
		return other
	}
	secondaries, err := s.secondaries(tb)
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	monitor := event.CommandMonitor{}
	if other != nil {
		monitor = *other
	}
	started := monitor.Started
	monitor.Started = func(ctx context.Context, e *event.CommandStartedEvent) {
		if started != nil {
			started(ctx, e)
		}
		member, _, _ := strings.Cut(e.ConnectionID, "[")
		if slices.Contains(secondaries, member) && !ofDriver(e.CommandName) {
			tb.Errorf("mongotest: the store sent %s to %s, a secondary", e.CommandName, member)
		}
	}
	return &monitor
}

// secondaries returns the addresses of all members but the primary.
func (s *Server) secondaries(tb testing.TB) ([]string, error) {
	tb.Helper()
	var hello struct {
		Hosts   []string `bson:"hosts"`
		Primary string   `bson:"primary"`
	}
	err := s.client.Database("admin").RunCommand(tb.Context(), map[string]int{"hello": 1}).Decode(&hello)
	return slices.DeleteFunc(hello.Hosts, func(host string) bool { return host == hello.Primary }), err
}
