package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// openOn opens a store on a collection, as another process would.
func openOn(t *testing.T, server *mongotest.Server, coll *mongo.Collection, cfg mongostore.Config) *mongostore.Store {
	t.Helper()
	cfg.Database, cfg.Collection = coll.Database().Name(), coll.Name()
	store, err := mongostore.Open(t.Context(), server.URI(), &cfg, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// fill stores many sessions: copies of one that the store saved, but for what
// change sets.
func fill(t *testing.T, store *mongostore.Store, n int, change func(i int) bson.D) {
	t.Helper()
	save(t, store, "template")
	coll := store.Collection().Clone(options.Collection().SetWriteConcern(writeconcern.W1()))
	var template bson.D
	if err := coll.FindOneAndDelete(t.Context(), bson.D{}).Decode(&template); err != nil {
		t.Fatal(err)
	}
	const batch = 5000
	documents := make([]any, 0, batch)
	for i := range n {
		document := slices.Clone(template)
		for j, field := range document {
			if field.Key == "_id" {
				document[j].Value = fmt.Sprintf("SESSION%019d", i)
			}
		}
		for _, field := range change(i) {
			document = slices.DeleteFunc(document, func(e bson.E) bool { return e.Key == field.Key })
			document = append(document, field)
		}
		documents = append(documents, document)
		if len(documents) == batch || i == n-1 {
			if _, err := coll.InsertMany(t.Context(), documents, options.InsertMany().SetOrdered(false)); err != nil {
				t.Fatal(err)
			}
			documents = documents[:0]
		}
	}
}

// expired makes a session one that expired an hour ago or more, in no order.
func expired(i int) bson.D {
	return bson.D{{Key: "expires", Value: time.Now().Add(-time.Hour - time.Duration(i*7919%100_003)*time.Millisecond)}}
}

func count(t *testing.T, coll *mongo.Collection) int {
	t.Helper()
	n, err := coll.CountDocuments(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// latencies are how long requests took.
type latencies []time.Duration

func (l latencies) quantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[min(len(l)-1, int(float64(len(l))*q))]
}

func (l latencies) String() string {
	return fmt.Sprintf("%d requests, median %v, 99 %% within %v, slowest %v", len(l),
		l.quantile(.5).Round(10*time.Microsecond), l.quantile(.99).Round(10*time.Microsecond), l.quantile(1).Round(10*time.Microsecond))
}

// visitors send requests that load a session and save a change, two at a time,
// until done is closed.
func visitors(t *testing.T, store *mongostore.Store, done <-chan struct{}) latencies {
	t.Helper()
	var mu sync.Mutex
	var all latencies
	var running sync.WaitGroup
	for range 2 {
		cookie := save(t, store, "begin")
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				start := time.Now()
				err := visitOnce(t, store, cookie, strconv.Itoa(i))
				took := time.Since(start)
				if err != nil {
					t.Errorf("a request during the removal: %v", err)
					return
				}
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return all
}

func visitOnce(t *testing.T, store *mongostore.Store, cookie *http.Cookie, value string) error {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, site.String(), nil)
	r.AddCookie(cookie)
	session, err := store.Get(r, name)
	if err != nil {
		return err
	}
	if session.IsNew {
		return fmt.Errorf("its session is gone")
	}
	session.Values["a"] = value
	return session.Save(r, httptest.NewRecorder())
}

// TestBacklogIsRemovedWithoutRequestsNoticing removes a large backlog of
// expired sessions, 500,000 in a full run, while visitors come.
func TestBacklogIsRemovedWithoutRequestsNoticing(t *testing.T) {
	row := scenario.New(t, "a backlog of expired sessions is removed", "4 visitors")
	server := mongotest.Standalone(t)
	coll := server.Database(t).Collection("sessions")
	commands, watching := mongotest.Watch()
	remover := openOn(t, server, coll, mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled, ClientOptions: watching})
	if err := remover.EnsureIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	requests := openOn(t, server, coll, mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	backlog := inFull(500_000, 10_000)
	fill(t, requests, backlog, expired)

	calm, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	before := visitors(t, requests, calm.Done())
	t.Logf("without a removal: %v", before)

	profile(t, coll.Database())
	commands.Take()
	yardstick := mongotest.NewYardstick(t)
	busy := make(chan struct{})
	var removed int64
	var err error
	start := time.Now()
	go func() {
		defer close(busy)
		removed, err = remover.RemoveExpired(t.Context())
	}()
	during := visitors(t, requests, busy)
	took := time.Since(start)
	t.Logf("during it: %v", during)

	row.Requests.Add(int64(len(during)))
	row.Note("%d sessions, %.0f a second; 99 %% of the requests within %v, without a removal %v", removed, float64(removed)/took.Seconds(),
		during.quantile(.99).Round(time.Millisecond), before.quantile(.99).Round(time.Millisecond))
	if err != nil || removed != int64(backlog) {
		row.Violation("%d sessions removed (%v), want %d", removed, err, backlog)
	}
	if left := count(t, coll); left != 4 {
		row.Violation("%d sessions left, want the visitors' 4", left)
	}
	bound := yardstick.Margin() // what is meant is that no request waits for the removal's end
	if p99 := during.quantile(.99); p99 > bound {
		row.Violation("99 %% of the requests took up to %v, want %v at most", p99, bound)
	}
	checkBatches(t, commands.Take(), backlog)
	checkProfile(t, coll.Database())
}

// profile makes the server note what it does for deletes.
func profile(t *testing.T, db *mongo.Database) {
	t.Helper()
	err := db.RunCommand(t.Context(), bson.D{
		{Key: "profile", Value: 1}, {Key: "filter", Value: bson.D{{Key: "op", Value: "remove"}}},
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
}

// checkProfile checks that each delete looked at little more than it removed,
// and not at all of the backlog. The server keeps notes of the last ones.
func checkProfile(t *testing.T, db *mongo.Database) {
	t.Helper()
	if err := db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: 0}}).Err(); err != nil {
		t.Fatal(err)
	}
	var notes []struct {
		Examined int `bson:"docsExamined"`
		Deleted  int `bson:"ndeleted"`
	}
	cursor, err := db.Collection("system.profile").Find(t.Context(), bson.D{})
	if err == nil {
		err = cursor.All(t.Context(), &notes)
	}
	if err != nil || len(notes) == 0 {
		t.Fatalf("%d notes of deletes (%v)", len(notes), err)
	}
	for _, n := range notes {
		if n.Examined > n.Deleted+1000 {
			t.Errorf("a delete of %d sessions looked at %d", n.Deleted, n.Examined)
		}
	}
}

// checkBatches checks that the commands of a removal are of bounded size.
func checkBatches(t *testing.T, commands []mongotest.Command, backlog int) {
	t.Helper()
	const largest = 50
	deletes := 0
	for _, c := range commands {
		if c.Name != "delete" {
			continue
		}
		deletes++
		ids, err := c.Body.LookupErr("deletes", "0", "q", "_id", "$in")
		if err != nil {
			t.Fatalf("a delete that is not by ids: %v", c.Body)
		}
		values, err := ids.Array().Values()
		if err != nil || len(values) > largest {
			t.Errorf("a delete has %d ids (%v), want %d at most", len(values), err, largest)
		}
		if _, err := c.Body.LookupErr("deletes", "0", "q", "expires"); err != nil {
			t.Error("a delete does not look at the deadline again")
		}
	}
	if want := (backlog + largest - 1) / largest; deletes < want || deletes > want+1 {
		t.Errorf("%d deletes, want %d", deletes, want)
	}
}

// TestRemovalUsesTheWriteConcern reads it in the commands.
func TestRemovalUsesTheWriteConcern(t *testing.T) {
	server := mongotest.Standalone(t)
	for _, test := range []struct {
		name    string
		concern *writeconcern.WriteConcern
		want    string
	}{
		{"the collection's", nil, `{"w": {"$numberInt":"1"}}`},
		{"the one configured", writeconcern.Majority(), `{"w": "majority"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			coll := server.Database(t).Collection("sessions")
			commands, watching := mongotest.Watch()
			store := openOn(t, server, coll, mongostore.Config{
				AutoRemove: mongostore.AutoRemoveDisabled, WriteConcern: test.concern,
				ClientOptions: watching.SetWriteConcern(writeconcern.W1()),
			})
			fill(t, store, 10, expired)
			commands.Take()
			if n, err := store.RemoveExpired(t.Context()); err != nil || n != 10 {
				t.Fatalf("%d removed (%v), want 10", n, err)
			}
			for _, c := range commands.Take() {
				if c.Name != "delete" {
					continue
				}
				var want bson.Raw
				if err := bson.UnmarshalExtJSON([]byte(test.want), false, &want); err != nil {
					t.Fatal(err)
				}
				if got := c.Body.Lookup("writeConcern"); got.String() != want.String() {
					t.Errorf("the write concern is %v, want %v", got, want)
				}
			}
		})
	}
}

// TestSeveralProcessesRemoveTogether lets three processes with an interval
// share a backlog: each session is removed once, and nothing else is.
func TestSeveralProcessesRemoveTogether(t *testing.T) {
	removeInProcesses(t, roleInterval, 3, inFull(100_000, 10_000))
}

// TestRemoveExpiredFromCron lets two processes that do nothing else start at once.
func TestRemoveExpiredFromCron(t *testing.T) {
	removeInProcesses(t, roleCron, 2, inFull(100_000, 10_000))
}

func removeInProcesses(t *testing.T, role string, n, backlog int) {
	t.Helper()
	server := mongotest.Standalone(t)
	coll := server.Database(t).Collection("sessions")
	store := openOn(t, server, coll, mongostore.Config{NoIndexes: true})
	fill(t, store, backlog, expired)
	cookie := save(t, store, "live")
	justNow := bson.D{{Key: "_id", Value: "just expired"}, {Key: "expires", Value: time.Now().Add(-time.Second)}}
	if _, err := coll.InsertOne(t.Context(), justNow); err != nil {
		t.Fatal(err)
	}

	processes := startProcesses(t, n, role, server.DatabaseURI(coll.Database().Name()))
	begin(t, processes)
	for _, p := range processes {
		p.expect(t, "opened")
	}
	if role == roleInterval {
		waitUntil(t, func() bool { return count(t, coll) == 2 })
	}
	total := 0
	for i, p := range processes {
		n := p.removed(t)
		t.Logf("process %d removed %d", i, n)
		total += n
	}
	if left := count(t, coll); total != backlog || left != 2 {
		t.Errorf("%d sessions removed and %d left, want %d, and 2: the live one and the one that expired just now", total, left, backlog)
	}
	if err := visitOnce(t, store, cookie, "still there"); err != nil {
		t.Error(err)
	}
}

// waitUntil asks ten times a second.
func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited a minute in vain")
		}
	}
}

// TestProcessesThatStartTogetherAgreeOnTheIndex starts several processes at
// once on a collection whose index on expires is missing, or has other options.
func TestProcessesThatStartTogetherAgreeOnTheIndex(t *testing.T) {
	server := mongotest.Standalone(t)
	for _, test := range []struct {
		name   string
		before *options.IndexOptionsBuilder // nil: no index
	}{
		{"none", nil},
		{"another expireAfterSeconds", options.Index().SetExpireAfterSeconds(3600)},
		{"no TTL", options.Index()},
		{"another name", options.Index().SetName("old").SetExpireAfterSeconds(60)},
	} {
		t.Run(test.name, func(t *testing.T) {
			coll := server.Database(t).Collection("sessions")
			store := openOn(t, server, coll, mongostore.Config{NoIndexes: true})
			fill(t, store, inFull(20_000, 2_000), func(int) bson.D { return nil }) // so that making an index takes a moment
			if test.before != nil {
				model := mongo.IndexModel{Keys: bson.D{{Key: "expires", Value: 1}}, Options: test.before}
				if _, err := coll.Indexes().CreateOne(t.Context(), model); err != nil {
					t.Fatal(err)
				}
			}
			processes := startProcesses(t, 4, roleNative, server.DatabaseURI(coll.Database().Name()))
			begin(t, processes)
			for _, p := range processes {
				p.expect(t, "opened")
			}
			for _, p := range processes {
				p.removed(t)
			}
			checkTTLIndex(t, coll)
		})
	}
}

// checkTTLIndex checks that there is one index on expires, and that it is the right one.
func checkTTLIndex(t *testing.T, coll *mongo.Collection) {
	t.Helper()
	specifications, err := coll.Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range specifications {
		if _, err := s.KeysDocument.LookupErr("expires"); err != nil {
			continue
		}
		n++
		if s.ExpireAfterSeconds == nil || *s.ExpireAfterSeconds != 0 {
			t.Errorf("index %q has expireAfterSeconds %v, want 0", s.Name, s.ExpireAfterSeconds)
		}
	}
	if n != 1 {
		t.Errorf("%d indexes on expires, want 1", n)
	}
}
