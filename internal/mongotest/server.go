package mongotest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Server is a MongoDB that tests talk to. Its methods may be used by parallel
// tests, but for Stop, Start, Freeze and Thaw.
type Server struct {
	CAFile   string // of [Secured]: the certificate that signed the server's
	CertFile string // of [Secured]: a client's certificate and key, in one file

	uri       string
	from      string // what it was started with
	version   string
	ferret    string // FerretDB's own version
	setName   string
	client    *mongo.Client // for all tests that want no options of their own
	instances []instance
	files     string // the folder of CAFile and CertFile
	private   bool   // one test's: it may be stopped
	exclusive bool   // one test's at a time
	tls       *tls.Config
	fail      *failPoint
	ttl       func() (bool, error)
}

// open connects to the server at uri once it takes writes.
func open(ctx context.Context, uri, from string) (*Server, error) {
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetAppName("mongotest"))
	if err != nil {
		return nil, err
	}
	s := &Server{uri: uri, from: from, client: client, fail: newFailPoint()}
	s.ttl = sync.OnceValues(s.probeTTL)
	var hello struct {
		SetName  string `bson:"setName"`
		Writable bool   `bson:"isWritablePrimary"`
		Master   bool   `bson:"ismaster"` // what older servers and FerretDB say
	}
	var info struct {
		Version string `bson:"version"`
		Ferret  string `bson:"ferretdbVersion"`
	}
	admin := client.Database("admin")
	err = errors.Join(
		admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello),
		admin.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info))
	if err != nil {
		_ = client.Disconnect(ctx)
		return nil, fmt.Errorf("connect to %s: %w", from, err)
	}
	s.setName, s.version, s.ferret = hello.SetName, info.Version, info.Ferret
	clients.Store(client, &madeClient{server: s})
	return s, nil
}

// URI returns the connection string; what we start has no database in it.
func (s *Server) URI() string { return s.uri }

// DatabaseURI returns the connection string with a database in it.
func (s *Server) DatabaseURI(name string) string {
	scheme, rest, _ := strings.Cut(s.uri, "://")
	before, query, _ := strings.Cut(rest, "?")
	hosts, _, _ := strings.Cut(before, "/")
	if query != "" {
		query = "?" + query
	}
	return scheme + "://" + hosts + "/" + name + query
}

// Version returns the version of MongoDB that the server says it speaks.
func (s *Server) Version() string { return s.version }

// OlderThan tells whether the server's version is before this one.
func (s *Server) OlderThan(tb testing.TB, major, minor int) bool {
	tb.Helper()
	var a, b int
	if _, err := fmt.Sscanf(s.version, "%d.%d", &a, &b); err != nil {
		tb.Fatalf("mongotest: version %q: %v", s.version, err)
	}
	return a < major || a == major && b < minor
}

// String names the server for a reader: version, topology and where it is from.
func (s *Server) String() string {
	name := "mongod " + s.version
	switch s.ferret {
	case "":
	case "unknown": // when it is embedded
		name = "FerretDB as MongoDB " + s.version
	default:
		name = "FerretDB " + s.ferret + " as MongoDB " + s.version
	}
	kind := "standalone"
	if s.IsReplicaSet() {
		kind = "replica set"
	}
	if s.CAFile != "" {
		kind += " with TLS and logins"
	}
	return fmt.Sprintf("%s, %s (%s)", name, kind, s.from)
}

// IsReplicaSet tells whether the server is a member of a replica set.
func (s *Server) IsReplicaSet() bool { return s.setName != "" }

// Client returns a client of the test's own, with opts over the URI. It is
// disconnected when the test ends.
func (s *Server) Client(tb testing.TB, opts ...*options.ClientOptions) *mongo.Client {
	tb.Helper()
	client, err := mongo.Connect(append([]*options.ClientOptions{options.Client().ApplyURI(s.uri)}, opts...)...)
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	clients.Store(client, &madeClient{s, opts})
	tb.Cleanup(func() {
		clients.Delete(client)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.Disconnect(ctx) // that a test disconnected it already is fine
	})
	return client
}

var databases atomic.Int64

// Database returns a database of the test's own, dropped when the test ends.
// Without opts it is that of a client that other tests use too, so do not
// disconnect that one.
func (s *Server) Database(tb testing.TB, opts ...*options.ClientOptions) *mongo.Database {
	tb.Helper()
	client := s.client
	if len(opts) > 0 {
		client = s.Client(tb, opts...)
	}
	// Unique among the binaries that run at once, and over runs on a server that stays.
	name := fmt.Sprintf("mongotest_%s_%d_%d",
		strconv.FormatInt(time.Now().UnixMilli(), 36), os.Getpid(), databases.Add(1))
	tb.Cleanup(func() { s.drop(tb, name) })
	return client.Database(name)
}

// drop removes a database, by the client that no test has cut off.
func (s *Server) drop(tb testing.TB, name string) {
	tb.Helper()
	if s.private {
		return // it goes with its server
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.client.Database(name).Drop(ctx); err != nil {
		tb.Errorf("mongotest: drop the test's database: %v", err)
	}
}

// SupportsTTL tells whether the server has TTL indexes. FerretDB has not.
func (s *Server) SupportsTTL(tb testing.TB) bool {
	tb.Helper()
	ok, err := s.ttl()
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	return ok
}

func (s *Server) probeTTL() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db := s.client.Database(fmt.Sprintf("mongotest_ttl_%d", os.Getpid()))
	_, err := db.Collection("probe").Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "at", Value: 1}}, Options: options.Index().SetExpireAfterSeconds(0),
	})
	const notImplemented = 238
	if se := mongo.ServerError(nil); errors.As(err, &se) && se.HasErrorCode(notImplemented) {
		return false, db.Drop(ctx)
	}
	return true, errors.Join(err, db.Drop(ctx))
}

// remove disconnects the server's client and ends what we started.
func (s *Server) remove() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the server is about to go: do not tell it that the sessions end
	clients.Delete(s.client)
	_ = s.client.Disconnect(ctx)
	for _, i := range slices.Backward(s.instances) {
		i.remove()
	}
	if s.files != "" {
		_ = os.RemoveAll(s.files)
		leftovers.forget("dir", s.files)
	}
}

// Stop shuts a [Private] server down. Its data stay.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.control(tb, func(ctx context.Context, i instance) error { return i.stop(ctx) })
}

// Start starts a stopped [Private] server again, with its data and on its port,
// and returns when it answers.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.control(tb, func(ctx context.Context, i instance) error {
		if err := i.start(ctx); err != nil {
			return err
		}
		return ready(ctx, s.uri, i)
	})
}

// Freeze makes a [Private] server answer nothing, while its connections stay.
func (s *Server) Freeze(tb testing.TB) {
	tb.Helper()
	s.control(tb, func(ctx context.Context, i instance) error {
		if err := i.freeze(); err != nil {
			return err
		}
		for answers := true; answers; { // its threads stop one by one
			answers = ping(ctx, s.uri) == nil
		}
		return ctx.Err()
	})
}

// Thaw ends [Server.Freeze].
func (s *Server) Thaw(tb testing.TB) {
	tb.Helper()
	s.control(tb, func(_ context.Context, i instance) error { return i.thaw() })
}

func (s *Server) control(tb testing.TB, do func(context.Context, instance) error) {
	tb.Helper()
	if !s.private {
		tb.Fatal("mongotest: other tests use this server: stop and freeze only a Private one")
	}
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	if err := do(ctx, s.instances[0]); err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
}
