package mongostore_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// opened is a Store of Open in a database of the test's own.
func opened(t *testing.T, uri string, cfg *mongostore.Config) *mongostore.Store {
	t.Helper()
	store, err := mongostore.Open(t.Context(), uri, cfg, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestOpenTakesTheDatabaseFromTheConfigurationOrTheURI(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	inURI, inConfig := server.Database(t).Name(), server.Database(t).Name()
	for what, test := range map[string]struct {
		uri                  string
		cfg                  *mongostore.Config
		database, collection string
	}{
		"URI":                {server.DatabaseURI(inURI), nil, inURI, "sessions"},
		"configuration":      {server.DatabaseURI(""), &mongostore.Config{Database: inConfig}, inConfig, "sessions"},
		"no slash":           {strings.TrimSuffix(server.URI(), "/"), &mongostore.Config{Database: inConfig}, inConfig, "sessions"},
		"both":               {server.DatabaseURI(inURI), &mongostore.Config{Database: inConfig}, inConfig, "sessions"},
		"with a collection":  {server.DatabaseURI(inURI), &mongostore.Config{Collection: "logins"}, inURI, "logins"},
		"escaped in the URI": {server.DatabaseURI(strings.ReplaceAll(url.PathEscape(inURI), "_", "%5F")), nil, inURI, "sessions"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store := opened(t, test.uri, test.cfg)
			coll := store.Collection()
			if coll.Database().Name() != test.database || coll.Name() != test.collection {
				t.Errorf("it stores in %s.%s, want %s.%s", coll.Database().Name(), coll.Name(), test.database, test.collection)
			}
			b := start(t, store, map[any]any{"n": 1})
			b.wantValues(t, store, map[any]any{"n": 1})
			n, err := server.Client(t).Database(test.database).Collection(test.collection).
				CountDocuments(t.Context(), bson.D{{Key: "_id", Value: b.load(t, store).ID}})
			if n != 1 || err != nil {
				t.Errorf("%d documents there, %v", n, err)
			}
		})
	}
}

func TestR22OpenSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	uri := mongotest.Shared(t).DatabaseURI("d")
	for what, test := range map[string]struct {
		uri  string
		cfg  *mongostore.Config
		keys [][]byte
		says []string
	}{
		"no database":       {"mongodb://127.0.0.1:1/?w=1", nil, [][]byte{key}, []string{"database", "Config.Database"}},
		"no URI":            {"", nil, [][]byte{key}, []string{"database"}},
		"no keys":           {uri, nil, nil, []string{"no keys"}},
		"a bad field":       {uri, &mongostore.Config{TTL: -1}, [][]byte{key}, []string{"Config.TTL"}},
		"another scheme":    {"postgres://127.0.0.1/d", nil, [][]byte{key}, []string{"Open", "scheme"}},
		"an unknown option": {"mongodb://127.0.0.1/d?w=-1", nil, [][]byte{key}, []string{"Open", `"w"`}},
		"no such CA file":   {"mongodb://127.0.0.1/d?tls=true&tlsCAFile=/nowhere", nil, [][]byte{key}, []string{"/nowhere"}},
		"w:0": {uri, &mongostore.Config{ClientOptions: options.Client().SetWriteConcern(writeconcern.Unacknowledged())}, [][]byte{key}, []string{
			"w:0",
		}},
	} {
		store, err := mongostore.Open(t.Context(), test.uri, test.cfg, test.keys...)
		wantNames(t, what, err, test.says...)
		if store != nil {
			t.Errorf("%s: a Store beside the error", what)
		}
	}
}

func TestR22NewIsNotOpen(t *testing.T) {
	t.Parallel()
	coll := mongotest.Shared(t).Database(t).Collection("sessions")
	for what, cfg := range map[string]*mongostore.Config{
		"ClientOptions": {ClientOptions: options.Client()}, "Database": {Database: "d"}, "Collection": {Collection: "c"},
	} {
		_, err := mongostore.New(t.Context(), coll, cfg, key)
		wantNames(t, what, err, what, "Open")
	}
}

func TestOpensClientOptionsGoOverTheURI(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	sent, watch := mongotest.Watch()
	hosts := options.Client().ApplyURI(server.URI()).Hosts
	uri := strings.Replace(server.DatabaseURI(server.Database(t).Name()), strings.Join(hosts, ","), "127.0.0.1:1", 1)
	store := opened(t, uri, &mongostore.Config{ClientOptions: watch.SetHosts(hosts)})
	start(t, store, nil).load(t, store)
	if names := sent.Names(); len(names) == 0 || names[len(names)-1] != "find" {
		t.Errorf("the monitor saw %q", names)
	}
}

func TestR21AURIThatIsWrongIsNotQuotedWithItsPassword(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"mongodb://ada:s3cr%et@127.0.0.1/d",
		"mongodb://ada:s3cr/et@127.0.0.1/d",
		"mongodb://ada:s3cr@et@127.0.0.1/d",
		"mongodb://ada:s3cr:et@127.0.0.1/d",
		"mongodb://ada:s3cr?et@127.0.0.1/d",
		"mongodb://ada:s3cr#et@127.0.0.1:x/d",
		"mongodb://ada:s3cr%ZZet@127.0.0.1/d",
		"mongo://ada:s3cret@127.0.0.1/d",
		"ada:s3cret@127.0.0.1/d",
		"mongodb://ada:s3cret@127.0.0.1:port/d",
		"mongodb://ada:s3cret@127.0.0.1:99999/d",
		"mongodb://ada:s3cret@/d",
		"mongodb://ada:s3cret@127.0.0.1/d?w=-1",
		"mongodb://127.0.0.1/d?tls=true&tlsCertificateKeyFile=/nowhere&tlsCertificateKeyFilePassword=s3cr%et",
		"mongodb://127.0.0.1/d?authMechanismProperties=AWS_SESSION_TOKEN:s3cr%et",
		"mongodb://127.0.0.1/d?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN=s3cret",
		"mongodb+srv://ada:s3cret@127.0.0.1/d",
		"mongodb+srv://ada:s3cret@nowhere.invalid/d",
		"mongodb://ada:s3cret@127.0.0.1/%ZZ",
	} {
		store, err := mongostore.Open(t.Context(), uri, nil, key)
		if err == nil {
			_ = store.Close()
			t.Errorf("%s: no error", uri)
			continue
		}
		for _, part := range []string{"s3cr", "%et", "%ZZ", "et@"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error tells of the password: %v", uri, err)
			}
		}
	}
}

// secured returns a database of a server that wants TLS and a login, and the URI of a user who may use it.
func secured(t *testing.T, options url.Values, actions ...string) (server *mongotest.Server, uri string) {
	t.Helper()
	server = mongotest.Secured(t)
	database := server.Database(t).Name()
	user, err := url.Parse(server.UserURI(t, mongotest.Privilege{Database: database, Actions: actions}))
	wantErr(t, err, nil)
	query := user.Query()
	for option, values := range options {
		query[option] = values
		if len(values) == 0 {
			query.Del(option)
		}
	}
	query.Set("authSource", "admin")
	user.Path, user.RawQuery = "/"+database, query.Encode()
	return server, user.String()
}

// sessionActions are all that the store needs.
var sessionActions = slices.Concat(mongotest.RequestActions, mongotest.IndexActions)

func TestOpenTakesTLSAndALoginFromTheURI(t *testing.T) {
	t.Parallel()
	server := mongotest.Secured(t)
	for what, query := range map[string]url.Values{
		"CA file":                      {"tls": {"true"}, "tlsCAFile": {server.CAFile}},
		"CA file and a client's":       {"tls": {"true"}, "tlsCAFile": {server.CAFile}, "tlsCertificateKeyFile": {server.CertFile}},
		"with a mechanism":             {"tls": {"true"}, "tlsCAFile": {server.CAFile}, "authMechanism": {"SCRAM-SHA-256"}},
		"with pool sizes and timeouts": {"tls": {"true"}, "tlsCAFile": {server.CAFile}, "maxPoolSize": {"3"}, "minPoolSize": {"1"}, "connectTimeoutMS": {"5000"}, "readPreference": {"secondaryPreferred"}, "readConcernLevel": {"majority"}, "w": {"majority"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, uri := secured(t, query, sessionActions...)
			store := opened(t, uri, users())
			values := map[any]any{"user": "ada"}
			b := start(t, store, values)
			b.wantValues(t, store, values)
			n, err := store.DestroyByUser(t.Context(), "ada")
			if n != 1 || err != nil {
				t.Errorf("DestroyByUser: %d, %v", n, err)
			}
		})
	}
}

func TestOpenTakesTLSFromClientOptions(t *testing.T) {
	t.Parallel()
	server, uri := secured(t, url.Values{"tls": nil, "tlsCAFile": nil, "ssl": nil}, sessionActions...)
	config := server.TLSConfig()
	certificate, err := tls.LoadX509KeyPair(server.CertFile, server.CertFile)
	wantErr(t, err, nil)
	config.Certificates = []tls.Certificate{certificate}
	store := opened(t, uri, &mongostore.Config{ClientOptions: options.Client().SetTLSConfig(config)})
	start(t, store, map[any]any{"n": 1}).wantValues(t, store, map[any]any{"n": 1})
}

func TestASecondaryInTheURIGetsNoCommand(t *testing.T) {
	t.Parallel()
	server := mongotest.ReplicaSet(t)
	var hello struct{ Primary string }
	err := server.Client(t).Database("admin").RunCommand(t.Context(), bson.D{{Key: "hello", Value: 1}}).Decode(&hello)
	wantErr(t, err, nil)
	var mu sync.Mutex
	sent := map[string]int{}
	cfg := users()
	cfg.ClientOptions = options.Client().SetMonitor(&event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		member, _, _ := strings.Cut(e.ConnectionID, "[")
		sent[e.CommandName]++
		if member != hello.Primary {
			t.Errorf("%s went to %s, and the primary is %s", e.CommandName, member, hello.Primary)
		}
	}})
	store := opened(t, server.DatabaseURI(server.Database(t).Name())+"&readPreference=secondaryPreferred", cfg)
	b := start(t, store, map[any]any{"user": "ada"})
	b.wantValues(t, store, map[any]any{"user": "ada"})
	wantErr(t, drained(store.All(t.Context())), nil)
	wantErr(t, drained(store.ByUser(t.Context(), "ada")), nil)
	if n, err := store.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	_, err = store.RemoveExpired(t.Context())
	wantErr(t, err, nil)
	v := b.load(t, store)
	v.Options.MaxAge = -1
	v.saved(t)
	mu.Lock()
	defer mu.Unlock()
	for _, command := range []string{"createIndexes", "insert", "find", "delete"} {
		if sent[command] == 0 {
			t.Errorf("no %s was seen: %v", command, sent)
		}
	}
}

func TestR21ALoginThatFailsIsNotQuotedWithItsPassword(t *testing.T) {
	t.Parallel()
	server, uri := secured(t, url.Values{"tls": {"true"}, "tlsCAFile": {mongotest.Secured(t).CAFile}}, sessionActions...)
	wrong, err := url.Parse(uri)
	wantErr(t, err, nil)
	wrong.User = url.UserPassword(wrong.User.Username(), "s3cret")
	untrusted := "mongodb://ada:s3cret@" + options.Client().ApplyURI(server.URI()).Hosts[0] + "/d?tls=true&serverSelectionTimeoutMS=300"
	for what, uri := range map[string]string{"wrong password": wrong.String(), "a certificate nobody knows": untrusted} {
		_, err := mongostore.Open(t.Context(), uri, nil, key)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestR17OpenWithoutPermissionForIndexesSaysWhatToDo(t *testing.T) {
	t.Parallel()
	_, uri := secured(t, url.Values{"tls": {"true"}, "tlsCAFile": {mongotest.Secured(t).CAFile}}, "find", "insert", "update", "remove")
	_, err := mongostore.Open(t.Context(), uri, nil, key)
	wantNames(t, "Open", err, "permission", "NoIndexes", "EnsureIndexes")
	store := opened(t, uri, &mongostore.Config{NoIndexes: true})
	start(t, store, map[any]any{"n": 1}).wantValues(t, store, map[any]any{"n": 1})
}

// wantClosed fails unless the client of a store is disconnected.
func wantClosed(t *testing.T, store *mongostore.Store) {
	t.Helper()
	_, err := store.Count(t.Context())
	if !errors.Is(err, mongostore.ErrUnavailable) || !errors.Is(err, mongo.ErrClientDisconnected) {
		t.Errorf("after Close: %v, want ErrClientDisconnected", err)
	}
}

func TestCloseDisconnectsWhatOpenConnectedAlone(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	client := server.Client(t)
	borrowed, err := mongostore.New(t.Context(), client.Database(server.Database(t).Name()).Collection("sessions"), nil, key)
	wantErr(t, err, nil)
	wantErr(t, borrowed.Close(), nil)
	if err := client.Ping(t.Context(), nil); err != nil {
		t.Errorf("a borrowed client after Close: %v", err)
	}
	if _, err := borrowed.Count(t.Context()); err != nil {
		t.Errorf("a store with a borrowed client after Close: %v", err)
	}

	store := opened(t, server.DatabaseURI(server.Database(t).Name()), nil)
	b := start(t, store, map[any]any{"n": 1})
	held := b.load(t, store)
	logout := b.load(t, store)
	for range 2 {
		wantErr(t, store.Close(), nil)
	}
	wantClosed(t, store)
	v := b.load(t, store)
	wantErr(t, v.err, mongostore.ErrUnavailable)
	held.Values["n"] = 2
	wantErr(t, held.save(), mongostore.ErrUnavailable)
	held.wantNoCookie(t)
	logout.Options.MaxAge = -1
	wantErr(t, logout.save(), mongostore.ErrUnavailable)
	logout.wantExpired(t)
}

func TestR15CloseMayComeWhileRequestsRun(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	store := opened(t, server.DatabaseURI(server.Database(t).Name()), &mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval})
	b := start(t, store, map[any]any{"n": 0})
	underWay, closed := make(chan struct{}, 4), make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				v := b.load(t, store)
				v.Values[i] = n
				err := v.save()
				if err != nil && !errors.Is(err, mongostore.ErrUnavailable) {
					t.Error(err)
				}
				if n == 0 {
					underWay <- struct{}{}
				}
				select {
				case <-closed:
					return
				default:
				}
			}
		})
	}
	for range 4 {
		<-underWay
	}
	for range 3 {
		wg.Go(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wantErr(t, store.Close(), nil)
	close(closed)
	wg.Wait()
	wantClosed(t, store)
}

func TestR15CloseMayComeWhileIndexesAreBuilt(t *testing.T) {
	t.Parallel()
	server := mongotest.Standalone(t)
	begun := make(chan struct{}, 10)
	app := bson.NewObjectID().Hex()
	store := opened(t, server.DatabaseURI(server.Database(t).Name()), &mongostore.Config{
		NoIndexes: true,
		ClientOptions: options.Client().SetAppName(app).SetMonitor(&event.CommandMonitor{
			Started: func(_ context.Context, e *event.CommandStartedEvent) {
				if e.CommandName == "createIndexes" {
					begun <- struct{}{}
				}
			},
		}),
	})
	server.FailCommand(t, mongotest.Fail{Commands: []string{"createIndexes"}, AppName: app, Block: 500 * time.Millisecond})
	done := make(chan error)
	go func() { done <- store.EnsureIndexes(t.Context()) }()
	<-begun
	wantErr(t, store.Close(), nil)
	if err := <-done; err != nil && !errors.Is(err, mongostore.ErrUnavailable) {
		t.Errorf("EnsureIndexes during Close: %v", err)
	}
	if err := store.EnsureIndexes(t.Context()); !errors.Is(err, mongo.ErrClientDisconnected) {
		t.Errorf("EnsureIndexes after Close: %v", err)
	}
}

func TestR17AnOpenThatFailsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	p := onMongoDB(t, server)
	makeIndex(t, p.coll, bson.D{
		{Key: "name", Value: "expires_1"}, {Key: "key", Value: bson.D{{Key: "other", Value: 1}}},
	})
	uri := server.DatabaseURI(p.coll.Database().Name())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for what, open := range map[string]func() (*mongostore.Store, error){
		"an index in the way": func() (*mongostore.Store, error) { return mongostore.Open(t.Context(), uri, nil, key) },
		"cancelled":           func() (*mongostore.Store, error) { return mongostore.Open(gone, uri, nil, key) },
		"nobody there": func() (*mongostore.Store, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			return mongostore.Open(ctx, "mongodb://127.0.0.1:1/d", nil, key)
		},
		"bad keys": func() (*mongostore.Store, error) { return mongostore.Open(t.Context(), uri, nil, nil) },
		"bad URI":  func() (*mongostore.Store, error) { return mongostore.Open(t.Context(), uri+"?w=-1", nil, key) },
	} {
		label := "open fails: " + what
		labelled(t, label, func() {
			if store, err := open(); err == nil || store != nil {
				t.Errorf("%s: %v, %v", what, store, err)
			}
		})
		eventually(t, what+": its goroutines end", func() bool { return goroutinesOf(t, label, "") == 0 })
	}
}

func TestR15AClosedStoreOfOpenLeavesNoGoroutine(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	uri := server.DatabaseURI(server.Database(t).Name())
	const label = "open and close"
	labelled(t, label, func() {
		for range 3 {
			store := opened(t, uri, &mongostore.Config{AutoRemove: mongostore.AutoRemoveInterval})
			start(t, store, nil).load(t, store)
			if n := goroutinesOf(t, label, ""); n == 0 {
				t.Error("an open store has no goroutine: this test sees none")
			}
			wantErr(t, store.Close(), nil)
		}
	})
	eventually(t, "the goroutines end", func() bool { return goroutinesOf(t, label, "") == 0 })
}

func TestR17OpenCanBeRepeatedAfterAFailure(t *testing.T) {
	t.Parallel()
	server := mongotest.Private(t)
	server.Stop(t)
	uri := server.DatabaseURI("d")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := mongostore.Open(ctx, uri, nil, key); !errors.Is(err, mongostore.ErrUnavailable) {
		t.Errorf("Open while the server is down: %v", err)
	}
	early := opened(t, uri, &mongostore.Config{NoIndexes: true})
	server.Start(t)
	store := opened(t, uri, nil)
	b := start(t, store, map[any]any{"n": 1})
	eventually(t, "the store that was opened during the outage works", func() bool {
		v := b.load(t, early)
		return v.err == nil && fmt.Sprint(v.Values["n"]) == "1"
	})
}

// TestR17OpenReturnsWhenItsContextEnds gives up on a server that takes connections and says nothing. If the driver has
// just begun a connection then, its Disconnect waits for that until the connect timeout.
func TestR17OpenReturnsWhenItsContextEnds(t *testing.T) { // P19
	t.Parallel()
	yardstick := mongotest.NewYardstick(t)
	uri := "mongodb://" + silent(t) + "/d?connectTimeoutMS=6000"
	const label = "open is given up"
	const times, most = 15, time.Millisecond
	const half = 3 * time.Second // of the connect timeout
	labelled(t, label, func() {
		var opening sync.WaitGroup
		for range 4 {
			opening.Go(func() {
				for i := range times {
					yardstick.Within(t, "Open", half, func() {
						ctx, cancel := context.WithTimeout(t.Context(), most*time.Duration(i)/times)
						defer cancel()
						_, err := mongostore.Open(ctx, uri, nil, key)
						wantIs(t, err, mongostore.ErrUnavailable)
					})
				}
			})
		}
		opening.Wait()
	})
	eventually(t, "its goroutines end", func() bool { return goroutinesOf(t, label, "") == 0 })
}

// silent returns the address of a server that takes connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
		}
	})
	t.Cleanup(func() { _ = listener.Close(); accepting.Wait() })
	return listener.Addr().String()
}
