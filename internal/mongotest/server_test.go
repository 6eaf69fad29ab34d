package mongotest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// kinds are the servers that tests share.
var kinds = map[string]func(testing.TB) *mongotest.Server{
	"shared": mongotest.Shared, "standalone": mongotest.Standalone,
	"replica set": mongotest.ReplicaSet, "secured": mongotest.Secured,
}

// insert adds a document and returns what stopped it.
func insert(ctx context.Context, coll *mongo.Collection) error {
	_, err := coll.InsertOne(ctx, bson.D{{Key: "at", Value: time.Now()}})
	return err
}

func count(t *testing.T, coll *mongo.Collection) int64 {
	t.Helper()
	n, err := coll.CountDocuments(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually polls until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

func TestEachKindOfServerTakesWrites(t *testing.T) {
	t.Parallel()
	for name, get := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := get(t)
			if s != get(t) {
				t.Error("two servers of one kind")
			}
			coll := s.Database(t).Collection("c")
			if err := insert(t.Context(), coll); err != nil {
				t.Fatal(err)
			}
			if n := count(t, coll); n != 1 {
				t.Errorf("%d documents, want 1", n)
			}
			if !strings.Contains(s.String(), ", ") || s.Version() == "" {
				t.Errorf("String %q, Version %q", s, s.Version())
			}
		})
	}
}

func TestReplicaSetHasThreeMembersAndAPrimary(t *testing.T) {
	t.Parallel()
	s := mongotest.ReplicaSet(t)
	if !s.IsReplicaSet() {
		t.Fatal("no replica set")
	}
	var hello struct {
		Hosts   []string `bson:"hosts"`
		Primary string   `bson:"primary"`
	}
	err := s.Database(t).RunCommand(t.Context(), bson.D{{Key: "hello", Value: 1}}).Decode(&hello)
	if err != nil || len(hello.Hosts) != 3 || hello.Primary == "" {
		t.Errorf("hello = %+v, %v; want three hosts and a primary", hello, err)
	}
	if err := s.Client(t).Ping(t.Context(), readpref.Secondary()); err != nil {
		t.Errorf("no secondary: %v", err)
	}
}

func TestTTLMonitorRemovesWithinSeconds(t *testing.T) {
	t.Parallel()
	s := mongotest.Standalone(t)
	if !s.SupportsTTL(t) {
		t.Fatal("a mongod without TTL indexes")
	}
	coll := s.Database(t).Collection("c")
	_, err := coll.Indexes().CreateOne(t.Context(), mongo.IndexModel{
		Keys: bson.D{{Key: "at", Value: 1}}, Options: options.Index().SetExpireAfterSeconds(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := insert(t.Context(), coll); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the document is removed", func() bool { return count(t, coll) == 0 })
}

func TestDatabaseIsTheTestsOwnAndGoesWithIt(t *testing.T) { //nolint:tparallel // its subtests end before its last lines
	t.Parallel()
	s := mongotest.Shared(t)
	var names []string
	for _, opts := range [][]*options.ClientOptions{nil, {options.Client().SetAppName("own")}} {
		t.Run("test", func(t *testing.T) {
			db := s.Database(t, opts...)
			if err := insert(t.Context(), db.Collection("c")); err != nil {
				t.Fatal(err)
			}
			names = append(names, db.Name())
		})
	}
	left, err := s.Client(t).ListDatabaseNames(t.Context(), bson.D{{Key: "name", Value: bson.D{{Key: "$in", Value: names}}}})
	if err != nil || len(left) > 0 || names[0] == names[1] {
		t.Errorf("of %v are left: %v, %v", names, left, err)
	}
}

func TestDatabaseURINamesTheDatabase(t *testing.T) {
	t.Parallel()
	for name, get := range kinds {
		s := get(t)
		parsed, err := connstring.ParseAndValidate(s.DatabaseURI("shop"))
		if err != nil || parsed.Database != "shop" {
			t.Errorf("%s: %s: %v", name, s.DatabaseURI("shop"), err)
		}
	}
}

func TestClientTakesOptionsOverTheURI(t *testing.T) {
	t.Parallel()
	commands, watch := mongotest.Watch()
	client := mongotest.Shared(t).Client(t, watch)
	if err := client.Ping(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := commands.Names(); len(got) != 1 || got[0] != "ping" {
		t.Errorf("commands = %v, want ping", got)
	}
	sent := commands.Take()
	if len(sent) != 1 || sent[0].Body.Lookup("ping").AsInt64() != 1 || len(commands.Names()) != 0 {
		t.Errorf("Take = %v, then %v", sent, commands.Names())
	}
}
