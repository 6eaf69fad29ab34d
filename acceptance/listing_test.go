package acceptance

import (
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// aFew is how many sessions the user of the listing has.
const aFew = 40

func fillForListing(t *testing.T, n int) (*mongostore.Store, *mongotest.Commands) {
	t.Helper()
	server := mongotest.Standalone(t)
	coll := server.Database(t).Collection("sessions")
	commands, watching := mongotest.Watch()
	store := openOn(t, server, coll, mongostore.Config{
		UserID:        func(*sessions.Session) string { return "" },
		ClientOptions: watching,
	})
	now := time.Now()
	fill(t, store, n, func(i int) bson.D {
		user := "many"
		if i%(n/aFew) == 0 {
			user = "few"
		}
		// Not in their order, as deadlines are not.
		return bson.D{
			{Key: "expires", Value: now.Add(time.Hour + time.Duration(i*7919%n)*time.Millisecond)},
			{Key: "user", Value: user},
		}
	})
	commands.Take()
	return store, commands
}

// TestAllTakesConstantMemory goes through a million sessions in a full run.
func TestAllTakesConstantMemory(t *testing.T) {
	n := inFull(1_000_000, 60_000)
	store, commands := fillForListing(t, n)
	const bound = 32 << 20
	before := heap()
	most, seen := before, 0
	last := time.Now().AddDate(100, 0, 0)
	start := time.Now()
	for record, err := range store.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if record.ExpiresAt.After(last) {
			t.Fatalf("session %d expires at %v, after the one before it", seen, record.ExpiresAt)
		}
		last = record.ExpiresAt
		if seen++; seen%(n/20) == 0 {
			most = max(most, heap())
		}
	}
	t.Logf("%d sessions in %v; the heap grew from %d KiB by %d KiB", seen, time.Since(start).Round(time.Millisecond),
		before>>10, (most-before)>>10)
	if seen != n {
		t.Errorf("%d sessions, want %d", seen, n)
	}
	if most-before > bound {
		t.Errorf("the heap grew by %d KiB, want %d at most", (most-before)>>10, bound>>10)
	}
	stages := explain(t, store.Collection(), commands)
	if stages["IXSCAN"] != "expires_1" || has(stages, "SORT") || has(stages, "COLLSCAN") {
		t.Errorf("All is planned as %v, want the index on expires and no sort", stages)
	}
}

// heap returns the bytes in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestListsUseIndexes asks the server for its plans, and stops early.
func TestListsUseIndexes(t *testing.T) {
	store, commands := fillForListing(t, 20_000)
	n := 0
	for _, err := range store.ByUser(t.Context(), "few") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != aFew {
		t.Errorf("ByUser yields %d sessions, want %d", n, aFew)
	}
	if stages := explain(t, store.Collection(), commands); stages["IXSCAN"] != "user_1" {
		t.Errorf("ByUser is planned as %v, want the index on user", stages)
	}

	for _, err := range store.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	names := commands.Names()
	for _, name := range names {
		if name == "getMore" {
			t.Errorf("All that stops at once sends %v, want no getMore", names)
		}
	}
	if stages := explain(t, store.Collection(), commands); stages["IXSCAN"] != "expires_1" {
		t.Errorf("All is planned as %v, want the index on expires", stages)
	}
	if count, err := store.Count(t.Context()); err != nil || count != 20_000 {
		t.Errorf("Count: %d (%v), want 20000", count, err)
	}
	if _, err := store.DestroyByUser(t.Context(), "few"); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands.Take() {
		if c.Name != "delete" {
			continue
		}
		query := c.Body.Lookup("deletes", "0", "q")
		if stages := plan(t, store.Collection(), bson.D{{Key: "find", Value: store.Collection().Name()}, {Key: "filter", Value: query}}); stages["IXSCAN"] != "user_1" {
			t.Errorf("DestroyByUser is planned as %v, want the index on user", stages)
		}
	}
}

// explain returns the plan of the find among the commands since the last call.
func explain(t *testing.T, coll *mongo.Collection, commands *mongotest.Commands) map[string]string {
	t.Helper()
	for _, c := range commands.Take() {
		if c.Name != "find" {
			continue
		}
		find := bson.D{}
		for _, key := range []string{"find", "filter", "sort"} {
			find = append(find, bson.E{Key: key, Value: c.Body.Lookup(key)})
		}
		return plan(t, coll, find)
	}
	t.Fatal("no find was sent")
	return nil
}

// plan returns the stages of the winning plan, with the index that each uses.
func plan(t *testing.T, coll *mongo.Collection, find bson.D) map[string]string {
	t.Helper()
	explained, err := coll.Database().RunCommand(t.Context(), bson.D{
		{Key: "explain", Value: find}, {Key: "verbosity", Value: "queryPlanner"},
	}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]string{}
	collect(explained.Lookup("queryPlanner", "winningPlan"), stages)
	return stages
}

func collect(v bson.RawValue, stages map[string]string) {
	if list, ok := v.ArrayOK(); ok {
		values, _ := list.Values()
		for _, value := range values {
			collect(value, stages)
		}
		return
	}
	document, ok := v.DocumentOK()
	if !ok {
		return
	}
	if stage, ok := document.Lookup("stage").StringValueOK(); ok {
		stages[stage], _ = document.Lookup("indexName").StringValueOK()
	}
	elements, _ := document.Elements()
	for _, e := range elements {
		collect(e.Value(), stages)
	}
}

func has(stages map[string]string, stage string) bool {
	_, ok := stages[stage]
	return ok
}
