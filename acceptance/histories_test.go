package acceptance

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"pgregory.net/rapid"
)

// tally tells how much the histories of a test did.
type tally struct {
	*scenario.Scenario
	histories, steps, saves, races, lost atomic.Int64
}

// newTally begins the row of the histories in the table of scenarios.
func newTally(t *testing.T, name, load string) *tally {
	t.Helper()
	n := &tally{Scenario: scenario.New(t, name, load)}
	t.Cleanup(func() {
		n.Note("%d histories of %d steps, %d saves, %d races", n.histories.Load(), n.steps.Load(), n.saves.Load(), n.races.Load())
		n.Note("%d times two requests read the same flashes and both added some", n.lost.Load())
	})
	return n
}

// watch makes a failure of one kind of histories a violation.
func (n *tally) watch(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			n.Violation("%s: a history and the model differ", t.Name())
		}
	})
}

// kind is a configuration of the stores of a history, and what follows from it.
type kind struct {
	name   string
	config mongostore.Config
	rules  rules
}

func kinds() []kind {
	user := func(s *sessions.Session) string { user, _ := s.Values[userKey].(string); return user }
	base := func(change func(*mongostore.Config)) mongostore.Config {
		c := mongostore.Config{UserID: user, NoIndexes: true}
		change(&c)
		return c
	}
	return []kind{
		{name: "defaults", config: base(func(*mongostore.Config) {})},
		{
			name: "JSON sealed, empty sessions skipped",
			config: base(func(c *mongostore.Config) {
				c.PayloadCodec, c.SkipEmpty = mongostore.JSONCodec{}, true
				c.Sealer = mongostore.AESGCM(encryptionKey)
			}),
			rules: rules{skipEmpty: true},
		},
		{
			name: "plain ids, BSON",
			config: base(func(c *mongostore.Config) {
				c.PayloadCodec, c.PlainIDs, c.TransformID = mongostore.BSONCodec{}, true, mongostore.HashID(encryptionKey)
			}),
			rules: rules{plain: true},
		},
		{
			name:   "fail on conflict",
			config: base(func(c *mongostore.Config) { c.OnConflict = mongostore.OnConflictFail }),
			rules:  rules{onConflict: mongostore.OnConflictFail},
		},
		{
			name:   "overwrite on conflict",
			config: base(func(c *mongostore.Config) { c.OnConflict = mongostore.OnConflictOverwrite }),
			rules:  rules{onConflict: mongostore.OnConflictOverwrite},
		},
	}
}

const day = 24 * time.Hour

// TestHistories plays random histories of several browsers and several stores
// on one collection, and a model of them side by side. Each kind of
// configuration runs as many as -rapid.checks says; 10,000 in all in a full run.
func TestHistories(t *testing.T) {
	t.Parallel()
	all := kinds()
	n := newTally(t, "random histories beside a model", fmt.Sprintf("%d configurations, 3 stores, %d browsers", len(all), browsers))
	setDefault(t, "rapid.checks", strconv.Itoa(inFull(10_000, 1_000)/len(all)))
	setDefault(t, "rapid.nofailfile", "true")
	for _, k := range all {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			n.watch(t)
			k.rules.ttl, k.rules.slack, k.rules.remote = 14*day, 20*time.Second, true
			p, stores := onMongoDB(t, k.config)
			rapid.Check(t, func(rt *rapid.T) {
				w := newWorld(t.Context(), rt, n, p, stores, k.rules)
				p.clear(rt)
				w.run(steps().Draw(rt, "history"))
			})
		})
	}
}

// TestHistoriesOverTime plays them in memory, where days pass in no time.
func TestHistoriesOverTime(t *testing.T) {
	setDefault(t, "rapid.checks", strconv.Itoa(inFull(2_000, 200)))
	setDefault(t, "rapid.nofailfile", "true")
	n := newTally(t, "random histories over weeks, in memory", fmt.Sprintf("%d configurations, 1 store, %d browsers", len(kinds()), browsers))
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			n.watch(t)
			k.config.MaxLifetime, k.rules.maxLifetime, k.rules.ttl = 20*day, 20*day, 14*day
			k.rules.slack = 100 * time.Millisecond // those that conflict wait for each other
			rapid.Check(t, func(rt *rapid.T) {
				history := steps().Draw(rt, "history")
				inBubble(t, func(t *testing.T) {
					store, err := mongostore.NewMemory(&k.config, signingKey, encryptionKey)
					if err != nil {
						rt.Fatal(err)
					}
					newWorld(t.Context(), rt, n, inMemory{store}, []*mongostore.Store{store}, k.rules).run(history)
				})
			})
		})
	}
}

// inBubble runs f where time goes by when all wait for it. Rapid ends a test by
// a panic, which has to come out again.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	var failure any
	synctest.Test(t, func(t *testing.T) {
		defer func() { failure = recover() }()
		f(t)
	})
	if failure != nil {
		panic(failure)
	}
}

// setDefault sets a flag that the command line does not set, for one test.
func setDefault(t *testing.T, name, value string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return
	}
	f := flag.Lookup(name)
	old := f.Value.String()
	if err := f.Value.Set(value); err != nil { // flag.Set would make it look given
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(old) })
}

func newWorld(ctx context.Context, t *rapid.T, n *tally, p place, stores []*mongostore.Store, r rules) *world {
	n.histories.Add(1)
	return &world{T: t, ctx: ctx, tally: n, place: p, stores: stores, model: &model{rules: r, cookies: map[string]proof{}}}
}

// inDatabase is a collection that several stores share.
type inDatabase struct {
	coll  *mongo.Collection
	proxy *mongotest.Proxy
}

// onMongoDB opens three stores on a collection, as in three processes: each has
// a client of its own, the last one's answers can be made to get lost.
func onMongoDB(t *testing.T, config mongostore.Config) (*inDatabase, []*mongostore.Store) {
	t.Helper()
	server := mongotest.Standalone(t)
	p := &inDatabase{coll: server.Database(t).Collection("sessions"), proxy: server.Proxy(t)}
	var stores []*mongostore.Store
	for _, uri := range []string{server.URI(), server.URI(), p.proxy.URI()} {
		c := config
		c.Database, c.Collection = p.coll.Database().Name(), p.coll.Name()
		store, err := mongostore.Open(t.Context(), uri, &c, signingKey, encryptionKey)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		stores = append(stores, store)
	}
	if err := stores[0].EnsureIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, stores
}

func (p *inDatabase) now() time.Time { return time.Now() }

// pass lets a session be as if time had passed: it has expired, or it was not
// used for so long that it will expire within a day. The last is for socket: a
// process with a longer Config.TTL saved it.
func (p *inDatabase) pass(ctx context.Context, recordID string, n int) (time.Time, error) {
	expires := time.Now().Add([]time.Duration{day, -time.Hour, day, -time.Hour, day, -time.Hour, 20 * day}[n%7])
	res, err := p.coll.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: recordID}, {Key: "expires", Value: bson.D{{Key: "$gt", Value: time.Now()}}}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "expires", Value: expires}}}})
	if err != nil || res.MatchedCount == 0 {
		return time.Time{}, err
	}
	return expires, nil
}

func (p *inDatabase) count(ctx context.Context) (int64, error) {
	return p.coll.CountDocuments(ctx, bson.D{{Key: "expires", Value: bson.D{{Key: "$gt", Value: time.Now()}}}})
}

func (p *inDatabase) loseAnswer(command string) func() {
	p.proxy.DropReplies(command, 1)
	return func() { p.proxy.DropReplies("", 0) }
}

func (p *inDatabase) clear(t *rapid.T) {
	if _, err := p.coll.DeleteMany(context.Background(), bson.D{}); err != nil {
		t.Fatal(err)
	}
}

// inMemory is one store in a synctest bubble.
type inMemory struct{ store *mongostore.Store }

func (p inMemory) now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// pass lets the time of the bubble go on.
func (p inMemory) pass(_ context.Context, _ string, n int) (time.Time, error) {
	spans := []time.Duration{400 * time.Millisecond, 3 * time.Second, time.Minute, time.Hour, day, 6 * day, 13 * day, 14 * day, 20 * day, 31 * day}
	<-time.After(spans[n%len(spans)])
	return time.Time{}, nil
}

func (p inMemory) count(ctx context.Context) (int64, error) { return p.store.Count(ctx) }

func (p inMemory) loseAnswer(string) func() { return nil }
