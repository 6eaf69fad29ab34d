package mongostore_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// The commands of the table in DESIGN.md, as shape writes them.
const (
	load       = "find {_id}"
	create     = "insert majority"
	touch      = "update {_id token version expires.$gt} $set(expires updatedAt)"
	change     = "update {_id token version expires.$gt} $set(expires session updatedAt version versions) $unset"
	regenerate = "update {_id token version expires.$gt} $set(createdAt expires session token updatedAt version versions) $unset majority"
	logout     = "delete {_id} majority"
	logoutOf   = "delete {_id token} majority" // of a session whose secret is not proven
)

// wire is a visitor with a stored session, and what the store sends for that visitor.
type wire struct {
	*testing.T
	*place
	*browser
	store *mongostore.Store
	sent  *mongotest.Commands
}

func (w *wire) visit() *visit { return w.browser.load(w.T, w.store) }

// renew logs the visitor in, in a request of its own.
func (w *wire) renew() {
	v := w.visit()
	w.store.Regenerate(v.Session)
	v.saved(w.T)
	v.arrive()
}

// end logs the visitor out, in a request of its own.
func (w *wire) end() {
	v := w.visit()
	v.Options.MaxAge = -1
	v.saved(w.T)
}

// wireRow is one row of the table: what is sent by the function that prepare returns.
type wireRow struct {
	what    string
	cfg     *mongostore.Config
	prepare func(w *wire) (run func())
	want    []string
}

func (row wireRow) run(t *testing.T, server *mongotest.Server) {
	t.Helper()
	p, sent := watched(t, server)
	store := p.store(row.cfg)
	w := &wire{t, p, start(t, store, map[any]any{"n": 0}), store, sent}
	run := row.prepare(w)
	sent.Take()
	run()
	commands := sent.Take()
	if got := shapes(commands); !slices.Equal(got, row.want) {
		t.Errorf("sent:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(row.want, "\n\t"))
	}
	wantPlain(t, commands)
}

func runRows(t *testing.T, rows []wireRow) {
	t.Helper()
	server := mongotest.Shared(t)
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			t.Parallel()
			row.run(t, server)
		})
	}
}

func TestR06RequestsOfOneVisitorSendNoMoreThanTheTableSays(t *testing.T) {
	t.Parallel()
	runRows(t, []wireRow{
		{"load", nil, func(w *wire) func() {
			return func() { w.visit() }
		}, []string{load}},
		{"second Get in a request", nil, func(w *wire) func() {
			v := w.visit()
			return func() { _, _ = w.store.Get(v.r, name) }
		}, nil},
		{"load without a cookie", nil, func(w *wire) func() {
			return func() { new(browser).load(w.T, w.store) }
		}, nil},
		{"load with a forged cookie", nil, func(w *wire) func() {
			return func() { sending("handle.secret").load(w.T, w.store) }
		}, nil},
		{"first Save", nil, func(w *wire) func() {
			v := new(browser).load(w.T, w.store)
			return func() { v.saved(w.T) }
		}, []string{create}},
		{"first Save of nothing, with SkipEmpty", &mongostore.Config{SkipEmpty: true}, func(w *wire) func() {
			v := new(browser).load(w.T, w.store)
			return func() { v.saved(w.T) }
		}, nil},
		{"changed value", nil, func(w *wire) func() {
			v := w.visit()
			v.Values["n"] = 1
			return func() { v.saved(w.T) }
		}, []string{change}},
		{"changed MaxAge", nil, func(w *wire) func() {
			v := w.visit()
			v.Options.MaxAge = 3600
			return func() { v.saved(w.T) }
		}, []string{"update {_id token version expires.$gt} $set(expires maxAge session updatedAt version versions) $unset"}},
		{"changed value and back", nil, func(w *wire) func() {
			v := w.visit()
			v.Values["n"] = 1
			v.Values["n"] = 0
			return func() { v.saved(w.T) }
		}, nil},
		{"unchanged, an hour later", nil, func(w *wire) func() {
			v := w.visit()
			w.clock.Advance(time.Hour)
			return func() { v.saved(w.T) }
		}, []string{touch}},
		{"unchanged, within the second", nil, func(w *wire) func() {
			w.clock.Advance(999 * time.Millisecond)
			v := w.visit()
			return func() { v.saved(w.T) }
		}, nil},
		{"second Save of one request", nil, func(w *wire) func() {
			v := w.visit()
			v.Values["n"] = 1
			v.saved(w.T)
			return func() { v.saved(w.T) }
		}, nil},
		{"Regenerate", nil, func(w *wire) func() {
			v := w.visit()
			w.store.Regenerate(v.Session)
			return func() { v.saved(w.T) }
		}, []string{regenerate}},
		{"Regenerate and a changed value", nil, func(w *wire) func() {
			v := w.visit()
			w.store.Regenerate(v.Session)
			v.Values["user"] = "alice"
			return func() { v.saved(w.T) }
		}, []string{regenerate}},
		{"KeepAlive", nil, func(w *wire) func() {
			w.clock.Advance(time.Hour)
			h := w.store.KeepAlive(name)(http.NotFoundHandler())
			v := &visit{browser: w.browser, r: w.request(w.T)}
			return func() { h.ServeHTTP(httptest.NewRecorder(), v.r) }
		}, []string{load, touch}},
	})
}

func TestR16UnchangedSessionIsWrittenWhenItsDeadlineMovesByTouchAfterOrHalfItsLifetime(t *testing.T) {
	t.Parallel()
	row := func(what string, maxAge int, after time.Duration, want ...string) wireRow {
		return wireRow{what, &mongostore.Config{TouchAfter: time.Hour}, func(w *wire) func() {
			v := w.visit()
			v.Options.MaxAge = maxAge
			v.saved(w.T)
			v.arrive()
			w.clock.Advance(after)
			v = w.visit()
			return func() { v.saved(w.T) }
		}, want}
	}
	runRows(t, []wireRow{
		row("just short of TouchAfter", 86400, time.Hour-time.Millisecond),
		row("at TouchAfter", 86400, time.Hour, touch),
		row("just short of half a short life", 60, 30*time.Second-time.Millisecond),
		row("at half a short life", 60, 30*time.Second, touch),
	})
}

func TestR05LogoutIsOneDelete(t *testing.T) {
	t.Parallel()
	leave := func(w *wire, v *visit) func() {
		v.Options.MaxAge = -1
		return func() { v.saved(w.T) }
	}
	runRows(t, []wireRow{
		{"of a loaded session", nil, func(w *wire) func() {
			return leave(w, w.visit())
		}, []string{logout}},
		{"of a session that is new", nil, func(w *wire) func() {
			return leave(w, new(browser).load(w.T, w.store))
		}, nil},
		{"of a session stored in this request", nil, func(w *wire) func() {
			v := new(browser).load(w.T, w.store)
			v.saved(w.T)
			return leave(w, v)
		}, []string{logout}},
		{"with the secret from before the login", nil, func(w *wire) func() {
			old := &browser{cookies: slices.Clone(w.cookies)}
			w.renew()
			return leave(w, old.load(w.T, w.store))
		}, []string{logoutOf}},
		{"of a session that is gone", nil, func(w *wire) func() {
			v := w.visit()
			w.end()
			return leave(w, v)
		}, []string{logout}},
		{"with a second session's cookie", nil, func(w *wire) func() {
			w.cookies = append(w.cookies, start(w.T, w.store, nil).cookies...)
			return leave(w, w.visit())
		}, []string{logout, logoutOf}},
		{"and a second logout", nil, func(w *wire) func() {
			v := w.visit()
			v.Options.MaxAge = -1
			v.saved(w.T)
			return func() { v.saved(w.T) }
		}, []string{logoutOf}},
	})
}

func TestR09ConflictIsOneFindAndOneUpdateMore(t *testing.T) {
	t.Parallel()
	runRows(t, []wireRow{
		{"another request changed it", nil, func(w *wire) func() {
			mine, theirs := w.visit(), w.visit()
			theirs.Values["theirs"] = 1
			theirs.saved(w.T)
			mine.Values["mine"] = 1
			return func() { mine.saved(w.T) }
		}, []string{change, load, change}},
		{"two other requests changed it", nil, func(w *wire) func() {
			mine := w.visit()
			for range 2 {
				theirs := w.visit()
				theirs.Values["theirs"] = theirs.Values["theirs"] == nil
				theirs.saved(w.T)
			}
			mine.Values["mine"] = 1
			return func() { mine.saved(w.T) }
		}, []string{change, load, change}},
		{"another request made the same change", nil, func(w *wire) func() {
			mine, theirs := w.visit(), w.visit()
			theirs.Values["n"] = 1
			theirs.saved(w.T)
			mine.Values["n"] = 1
			return func() { mine.saved(w.T) }
		}, []string{change, load}},
		{"another request moved the deadline", nil, func(w *wire) func() {
			mine, theirs := w.visit(), w.visit()
			w.clock.Advance(time.Hour)
			theirs.saved(w.T)
			mine.Values["mine"] = 1
			return func() { mine.saved(w.T) }
		}, []string{change}},
		{"mine is unchanged", nil, func(w *wire) func() {
			mine, theirs := w.visit(), w.visit()
			theirs.Values["theirs"] = 1
			theirs.saved(w.T)
			w.clock.Advance(time.Hour)
			return func() { mine.saved(w.T) }
		}, []string{touch, load, touch}},
		{"the same key, with OnConflictFail", &mongostore.Config{OnConflict: mongostore.OnConflictFail}, func(w *wire) func() {
			mine, theirs := w.visit(), w.visit()
			theirs.Values["n"] = 1
			theirs.saved(w.T)
			mine.Values["n"] = 2
			return func() { wantIs(w.T, mine.save(), mongostore.ErrConflict) }
		}, []string{change, load}},
	})
}

func TestR10LateSaveFindsOutWithOneUpdateAndOneFind(t *testing.T) {
	t.Parallel()
	late := func(what string, end func(*wire), changed bool, want ...string) wireRow {
		return wireRow{what, nil, func(w *wire) func() {
			v := w.visit()
			end(w)
			if !changed {
				w.clock.Advance(time.Hour)
				return func() { v.saved(w.T) }
			}
			v.Values["late"] = true
			return func() { wantIs(w.T, v.save(), mongostore.ErrNotFound) }
		}, want}
	}
	runRows(t, []wireRow{
		late("changed, after a logout", (*wire).end, true, change, load),
		late("changed, after a login", (*wire).renew, true, change, load),
		late("changed, after the deadline", func(w *wire) { w.clock.Advance(15 * 24 * time.Hour) }, true, change, load),
		late("unchanged, after a logout", (*wire).end, false, touch, load),
		late("unchanged, after a login", (*wire).renew, false, touch, load),
		late("unchanged, after the deadline", func(w *wire) { w.clock.Advance(15 * 24 * time.Hour) }, false, touch, load),
	})
}

func TestR18AdministrationSendsNoMoreThanTheTableSays(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	p, sent := watched(t, server)
	store := p.store(nil)
	start(t, store, nil)
	for _, c := range []struct {
		what string
		run  func(context.Context) error
		want []string
	}{
		{"Destroy", func(ctx context.Context) error { return store.Destroy(ctx, "nobody") }, []string{logout}},
		{"Count", func(ctx context.Context) error { _, err := store.Count(ctx); return err }, []string{"aggregate"}},
		{
			"RemoveExpired of nothing",
			func(ctx context.Context) error { _, err := store.RemoveExpired(ctx); return err },
			[]string{"find {expires.$lte}"},
		},
		{
			"RemoveExpired",
			func(ctx context.Context) error {
				p.clock.Advance(15 * 24 * time.Hour)
				_, err := store.RemoveExpired(ctx)
				return err
			},
			[]string{"find {expires.$lte}", "delete {_id.$in expires.$lte} multi"},
		},
	} {
		sent.Take()
		if err := c.run(t.Context()); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if got := shapes(sent.Take()); !slices.Equal(got, c.want) {
			t.Errorf("%s sent %q, want %q", c.what, got, c.want)
		}
	}
}

func TestR13InsertWhoseIDIsAnothersTakesANewHandle(t *testing.T) {
	t.Parallel()
	p, sent := meddling(t, mongotest.Shared(t), "insert", func(coll *mongo.Collection, c mongotest.Command) error {
		_, err := coll.InsertOne(t.Context(), bson.D{
			{Key: "_id", Value: c.Body.Lookup("documents", "0", "_id").StringValue()}, {Key: "version", Value: int64(1)},
		})
		return err
	})
	store := p.store(nil)
	sent.Take()
	b := start(t, store, map[any]any{"mine": true})
	if got := shapes(sent.Take()); !slices.Equal(got, []string{create, load, create}) {
		t.Errorf("sent %q", got)
	}
	b.wantValues(t, store, map[any]any{"mine": true})
	if n, err := p.coll.CountDocuments(t.Context(), bson.D{}); n != 2 || err != nil {
		t.Errorf("%d documents, %v; want the other's and mine", n, err)
	}
}

func TestR13InsertWhoseAnswerIsLostIsNotRepeatedUnderAnotherID(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	proxy := server.Proxy(t)
	sent, watch := mongotest.Watch()
	client := server.Client(t, watch, options.Client().ApplyURI(proxy.URI()))
	p := onMongoDB(t, server)
	p.coll = client.Database(p.coll.Database().Name()).Collection(p.coll.Name())
	store := p.store(nil)
	sent.Take()
	proxy.DropReplies("insert", 1)
	b := start(t, store, map[any]any{"mine": true})
	got := shapes(sent.Take())
	confirm := "update {_id token version expires.$gt} $set(session version) $unset majority"
	want := []string{create, load, confirm}
	if server.IsReplicaSet() { // there the driver repeats it, and the server recognises the repetition
		want = []string{create, create}
	}
	if !slices.Equal(got, want) || proxy.Dropped() != 1 {
		t.Errorf("sent %q, want %q; dropped %d", got, want, proxy.Dropped())
	}
	b.wantValues(t, store, map[any]any{"mine": true})
	if n := p.count(); n != 1 {
		t.Errorf("%d sessions, want one", n)
	}
}

func TestR22ConfiguredWriteConcernIsThatOfEveryWrite(t *testing.T) {
	t.Parallel()
	p, sent := watched(t, mongotest.Shared(t))
	journaled := true
	store := p.store(&mongostore.Config{WriteConcern: &writeconcern.WriteConcern{W: 1, Journal: &journaled}})
	sent.Take()
	w := &wire{t, p, start(t, store, nil), store, sent}
	w.renew()
	p.clock.Advance(time.Hour)
	w.visit().saved(t)
	w.end()
	for _, c := range sent.Take() {
		if c.Name == "find" {
			continue
		}
		if wc := c.Body.Lookup("writeConcern").String(); !strings.Contains(wc, `"j": true`) {
			t.Errorf("%s has write concern %s", shape(c), wc)
		}
	}
}

func TestR14LoadsAskThePrimaryForLocalDataWhateverTheClientSays(t *testing.T) {
	t.Parallel()
	server := mongotest.ReplicaSet(t)
	p, sent := watched(t, server, options.Client().
		SetReadPreference(readpref.SecondaryPreferred()).SetReadConcern(readconcern.Majority()))
	store := p.store(nil)
	b := start(t, store, map[any]any{"n": 1})
	sent.Take()
	b.wantValues(t, store, map[any]any{"n": 1})
	command := sent.Take()[0]
	if mode, err := command.Body.LookupErr("$readPreference", "mode"); err == nil && mode.StringValue() != "primary" {
		t.Errorf("the load's read preference is %s", mode.StringValue())
	}
	if level := command.Body.Lookup("readConcern", "level").StringValue(); level != "local" {
		t.Errorf("the load's read concern is %s", level)
	}
}

func TestR14ConfiguredReadPreferenceReachesLoads(t *testing.T) {
	t.Parallel()
	p, sent := watched(t, mongotest.ReplicaSet(t))
	store := p.store(&mongostore.Config{ReadPreference: readpref.PrimaryPreferred(), Timeout: ample})
	b := start(t, store, nil)
	sent.Take()
	wantErr(t, b.load(t, store).err, nil)
	if mode, _ := sent.Take()[0].Body.Lookup("$readPreference", "mode").StringValueOK(); mode != "primaryPreferred" {
		t.Errorf("the load's read preference is %q", mode)
	}
}

func TestR14OnlyLoadsGoByTheConfiguredReadPreference(t *testing.T) { // P5
	t.Parallel()
	for kind, cfg := range map[string]*mongostore.Config{"split": {}, "plain": {PlainIDs: true}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newUnreliable(t, mongotest.ReplicaSet(t))
			cfg.ReadPreference, cfg.Timeout = readpref.PrimaryPreferred(), ample
			store := f.store(cfg)
			b := start(t, store, map[any]any{"n": 0})
			fromPrimary := func(what string, do func(id string)) {
				t.Helper()
				v := b.load(t, store)
				f.sent.Take()
				do(v.ID)
				finds := 0
				for _, c := range f.sent.Take() {
					mode, _ := c.Body.Lookup("$readPreference", "mode").StringValueOK()
					if c.Name == "find" && mode != "" && mode != "primary" {
						t.Errorf("%s: the find asks for %q", what, mode)
					}
					finds += map[string]int{"find": 1}[c.Name]
				}
				if finds == 0 {
					t.Errorf("%s: no find was sent", what)
				}
			}
			mine, theirs := b.load(t, store), b.load(t, store)
			theirs.Values["theirs"] = 1
			theirs.saved(t)
			mine.Values["mine"] = 1
			fromPrimary("a conflict", func(string) { mine.saved(t) })

			lost := b.load(t, store)
			lost.Values["lost"] = 1
			mongostore.SetTimeout(store, scant)
			f.fail(mongotest.Fail{Commands: []string{"update"}, CloseConnection: true})
			wantErr(t, lost.save(), mongostore.ErrUnavailable)
			f.mend()
			fromPrimary("a lost answer", func(string) { lost.saved(t) })
			fromPrimary("Find", func(id string) { _, err := store.Find(t.Context(), id); wantErr(t, err, nil) })
			fromPrimary("Touch", func(id string) { wantErr(t, store.Touch(t.Context(), id), nil) })
			fromPrimary("Update", func(id string) {
				wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error { values["u"] = 1; return nil }), nil)
			})
		})
	}
}

// meddling returns a place whose client, before it sends its first command of this name, lets somebody
// else do something in the collection.
func meddling(t *testing.T, server *mongotest.Server, command string, meddle func(*mongo.Collection, mongotest.Command) error) (*place, *mongotest.Commands) {
	t.Helper()
	sent, watch := mongotest.Watch()
	p := onMongoDB(t, server)
	theirs := p.coll
	record, done := watch.Monitor.Started, false
	watch.Monitor.Started = func(ctx context.Context, e *event.CommandStartedEvent) {
		record(ctx, e)
		if e.CommandName != command || done {
			return
		}
		done = true
		if err := meddle(theirs, mongotest.Command{Name: command, Body: e.Command}); err != nil {
			t.Errorf("before %s: %v", command, err)
		}
	}
	p.coll = server.Client(t, watch).Database(theirs.Database().Name()).Collection(theirs.Name())
	return p, sent
}

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error %v, want %v", err, target)
	}
}

// wantPlain fails if a command of the request path is not by _id, or uses an operator that not every server
// of MongoDB's protocol has.
func wantPlain(t *testing.T, commands []mongotest.Command) {
	t.Helper()
	allowed := []string{"$set", "$unset", "$max", "$gt", "$lte", "$in"} // the last one where several cookies come
	for _, c := range commands {
		for _, part := range statements(c) {
			for _, op := range operators(part) {
				if !slices.Contains(allowed, op) {
					t.Errorf("%s uses %s", shape(c), op)
				}
			}
		}
		if c.Name != "insert" && !strings.Contains(shape(c), "{_id") {
			t.Errorf("%s is not by _id", shape(c))
		}
	}
}

// statements are the filters and updates in a command.
func statements(c mongotest.Command) []bson.Raw {
	var parts []bson.Raw
	for _, path := range [][]string{{"filter"}, {"updates", "0", "q"}, {"updates", "0", "u"}, {"deletes", "0", "q"}} {
		if doc, ok := c.Body.Lookup(path...).DocumentOK(); ok {
			parts = append(parts, doc)
		}
	}
	return parts
}

func operators(doc bson.Raw) (found []string) {
	elements, _ := doc.Elements()
	for _, e := range elements {
		if strings.HasPrefix(e.Key(), "$") {
			found = append(found, e.Key())
		}
		if sub, ok := e.Value().DocumentOK(); ok {
			found = append(found, operators(sub)...)
		}
	}
	return found
}

func shapes(commands []mongotest.Command) []string {
	var all []string
	for _, c := range commands {
		all = append(all, shape(c))
	}
	return all
}

// shape writes a command without its values: what it filters by, what it writes, and how.
func shape(c mongotest.Command) string {
	words := []string{c.Name}
	for _, part := range statements(c) {
		if keys := operators(part); len(keys) > 0 && strings.HasPrefix(firstKey(part), "$") {
			words = append(words, updateShape(part))
		} else {
			words = append(words, filterShape(part))
		}
	}
	if upsert, _ := c.Body.Lookup("updates", "0", "upsert").BooleanOK(); upsert {
		words = append(words, "upsert")
	}
	if multi, _ := c.Body.Lookup("updates", "0", "multi").BooleanOK(); multi {
		words = append(words, "multi")
	}
	if limit, ok := c.Body.Lookup("deletes", "0", "limit").AsInt64OK(); ok && limit != 1 {
		words = append(words, "multi")
	}
	if w, _ := c.Body.Lookup("writeConcern", "w").StringValueOK(); w != "" {
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// filterShape writes a filter as {_id expires.$gt}.
func filterShape(filter bson.Raw) string {
	elements, _ := filter.Elements()
	var fields []string
	for _, e := range elements {
		field := e.Key()
		if sub, ok := e.Value().DocumentOK(); ok {
			field += "." + firstKey(sub)
		}
		fields = append(fields, field)
	}
	return "{" + strings.Join(fields, " ") + "}"
}

// updateShape writes an update as $set(a b) $unset; what need not be there may be unset.
func updateShape(update bson.Raw) string {
	elements, _ := update.Elements()
	var words []string
	for _, e := range elements {
		if e.Key() == "$unset" {
			words = append(words, e.Key())
			continue
		}
		var fields []string
		written, _ := e.Value().Document().Elements()
		for _, field := range written {
			fields = append(fields, field.Key())
		}
		slices.Sort(fields)
		words = append(words, e.Key()+"("+strings.Join(fields, " ")+")")
	}
	return strings.Join(words, " ")
}

func firstKey(doc bson.Raw) string {
	elements, _ := doc.Elements()
	if len(elements) == 0 {
		return ""
	}
	return elements[0].Key()
}

func TestR09RequestsAtOnceTakeThreeCommandsEach(t *testing.T) {
	t.Parallel()
	const requests = 32
	p, commands := watched(t, mongotest.Shared(t))
	store := p.store(&mongostore.Config{Timeout: time.Minute}) // they wait for each other
	least := requests * requests
	for range 5 { // who is late waits for nobody, and has to read the record
		b := start(t, store, map[any]any{})
		commands.Take()
		visits := make([]*visit, requests)
		for i := range visits {
			visits[i] = b.load(t, store)
			visits[i].Values[i] = i
		}
		var wg sync.WaitGroup
		for _, v := range visits {
			wg.Go(func() {
				if err := v.save(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		least = min(least, len(commands.Take()))
		if got := b.values(t, store); len(got) != requests {
			t.Errorf("%d of %d changes are stored", len(got), requests)
		}
	}
	if least > 3*requests+4 { // each with a find of its own: 126
		t.Errorf("%d requests took %d commands or more, want three each", requests, least)
	}
}
