package mongostore_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// collect returns the records of a list, which must not fail.
func collect(t *testing.T, list iter.Seq2[mongostore.Record, error]) (records []mongostore.Record) {
	t.Helper()
	for rec, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	return records
}

// ids returns the Record.ID of each.
func ids(records []mongostore.Record) (ids []string) {
	for _, rec := range records {
		ids = append(ids, rec.ID)
	}
	return ids
}

// fill inserts so many sessions of user without a browser.
func (p *place) fill(n int, user string) {
	p.t.Helper()
	docs := make([]any, n)
	now := p.clock.Now()
	for i := range docs {
		docs[i] = bson.D{
			{Key: "_id", Value: fmt.Sprintf("%s-%05d", user, i)},
			{Key: "token", Value: make([]byte, 32)},
			{Key: "name", Value: name},
			{Key: "session", Value: `{"n":1}`},
			{Key: "expires", Value: now.Add(time.Hour + time.Duration(i)*time.Second)},
			{Key: "createdAt", Value: now},
			{Key: "updatedAt", Value: now.Add(time.Duration(i) * time.Second)},
			{Key: "version", Value: int64(i + 1)},
			{Key: "user", Value: user},
		}
	}
	if _, err := p.coll.InsertMany(p.t.Context(), docs); err != nil {
		p.t.Fatal(err)
	}
}

// users is a configuration with users.
func users() *mongostore.Config { return &mongostore.Config{UserID: userID} }

func TestAllYieldsTheLatestDeadlineFirstAndByUserTheNewestActivity(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(users())
		want := make(map[string]string) // by what was done to them
		var short *visit
		for what, maxAge := range map[string]int{"short": 100, "long": 1000, "middle": 500} {
			p.clock.Advance(time.Second)
			b := new(browser)
			v := b.load(t, store)
			v.Values["user"], v.Options.MaxAge = "ada", maxAge
			v.saved(t)
			if want[what] = v.ID; what == "short" {
				short = v
			}
		}
		p.clock.Advance(time.Second)
		start(t, store, map[any]any{"user": "bob"})
		short.Values["n"] = 1
		short.saved(t)
		wantErr(t, store.Update(t.Context(), want["long"], func(values map[any]any) error { values["n"] = 1; return nil }), nil)

		all := ids(collect(t, store.All(t.Context())))
		if len(all) != 4 || !slices.Equal(all[1:], []string{want["long"], want["middle"], want["short"]}) {
			t.Errorf("All: %q, want %v after bob's", all, want)
		}
		hers := collect(t, store.ByUser(t.Context(), "ada"))
		if len(hers) != 3 || hers[0].ID != want["short"] || hers[0].UserID != "ada" {
			t.Errorf("ByUser: %v, want that of the last Save first: %v", ids(hers), want)
		}
		if !slices.IsSortedFunc(hers, func(a, b mongostore.Record) int { return b.UpdatedAt.Compare(a.UpdatedAt) }) {
			t.Errorf("ByUser is not sorted by UpdatedAt: %v", hers)
		}
		if got := collect(t, store.ByUser(t.Context(), "nobody")); len(got) > 0 {
			t.Errorf("ByUser of nobody: %v", got)
		}
	})
}

func TestR12ListsAndCountsHoldOnlyWhatIsLive(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		start(t, p.store(users()), map[any]any{"user": "ada"})
		p.clock.Advance(time.Hour)
		store := p.store(&mongostore.Config{UserID: userID, MaxLifetime: 2 * time.Hour})
		young := start(t, store, map[any]any{"user": "ada"}).load(t, store).ID
		p.clock.Advance(time.Hour) // now the first one is past the limit that is younger than it
		for what, list := range map[string]iter.Seq2[mongostore.Record, error]{
			"All": store.All(t.Context()), "ByUser": store.ByUser(t.Context(), "ada"),
		} {
			if got := ids(collect(t, list)); !slices.Equal(got, []string{young}) {
				t.Errorf("%s: %q, want %q", what, got, young)
			}
		}
		p.wantCount(1)
		p.clock.Advance(time.Hour)
		if got := collect(t, store.All(t.Context())); len(got) > 0 {
			t.Errorf("All after the deadline: %v", got)
		}
		p.wantCount(0)
		_, err := store.Find(t.Context(), young)
		wantErr(t, err, mongostore.ErrNotFound)
	})
}

func TestR12ASessionThatExpiresWhileItIsListedIsNotYielded(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for i := range 3 {
			v := new(browser).load(t, store)
			v.Options.MaxAge = 100 + i
			v.saved(t)
		}
		n := 0
		for _, err := range store.All(t.Context()) {
			wantErr(t, err, nil)
			n++
			p.clock.Advance(time.Hour)
		}
		if n != 1 {
			t.Errorf("%d records, want the first one alone", n)
		}
	})
}

func TestR12ARecordThatExpressMadeIsListedAndCountedUnderMaxLifetime(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	cfg := connectMongoLike()
	cfg.MaxLifetime = time.Hour
	store := p.store(cfg)
	express(t, p.coll, "sid", `{"n":1}`, p.clock.Now().Add(time.Hour))
	if got := ids(collect(t, store.All(t.Context()))); !slices.Equal(got, []string{"sid"}) {
		t.Errorf("All: %q", got)
	}
	p.wantCount(1)
}

func TestListsStopWhenTheCallerDoes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(users())
		for range 5 {
			start(t, store, map[any]any{"user": "ada"})
		}
		for _, list := range []iter.Seq2[mongostore.Record, error]{store.All(t.Context()), store.ByUser(t.Context(), "ada")} {
			for range 2 { // it can be used again
				n := 0
				for _, err := range list {
					wantErr(t, err, nil)
					if n++; n == 2 {
						break
					}
				}
				if n != 2 {
					t.Errorf("%d records", n)
				}
			}
		}
	})
}

func TestSessionsMayBeDestroyedWhileTheyAreListed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for range 5 {
			start(t, store, nil)
		}
		for rec, err := range store.All(t.Context()) {
			wantErr(t, err, nil)
			wantErr(t, store.Destroy(t.Context(), rec.ID), nil)
		}
		p.wantCount(0)
	})
}

func TestAllStreamsAndStopsEarly(t *testing.T) {
	t.Parallel()
	p, sent := watched(t, mongotest.Shared(t))
	store := p.store(users())
	const many = 1000
	p.fill(many, "ada")
	sent.Take()
	for rec, err := range store.All(t.Context()) {
		wantErr(t, err, nil)
		if rec.ID != fmt.Sprintf("ada-%05d", many-1) {
			t.Errorf("the first is %q", rec.ID)
		}
		break
	}
	if got := sent.Names(); !slices.Equal(got, []string{"find", "killCursors"}) {
		t.Errorf("to see the first of many it sent %q", got)
	}
	sent.Take()
	if n := len(collect(t, store.All(t.Context()))); n != many {
		t.Errorf("%d records", n)
	}
	if got := sent.Names(); !slices.Contains(got, "getMore") {
		t.Errorf("for all of them it sent %q: not in batches", got)
	}
}

// wantIndex fails unless the server answers a command that was sent by this index, and without sorting in memory
// unless that is said.
func wantIndex(t *testing.T, p *place, command mongotest.Command, index string, sorts bool) {
	t.Helper()
	body, err := command.Body.Elements()
	wantErr(t, err, nil)
	var explained bson.D
	for _, e := range body {
		if key := e.Key(); key != "lsid" && !strings.HasPrefix(key, "$") && key != "writeConcern" && key != "txnNumber" && key != "readConcern" {
			explained = append(explained, bson.E{Key: key, Value: e.Value()})
		}
	}
	var plan bson.Raw
	err = p.coll.Database().RunCommand(t.Context(), bson.D{{Key: "explain", Value: explained}, {Key: "verbosity", Value: "queryPlanner"}}).Decode(&plan)
	if err != nil {
		t.Fatalf("explain %s: %v", command.Name, err)
	}
	text := plan.String()
	if winner, err := plan.LookupErr("queryPlanner", "winningPlan"); err == nil {
		text = winner.String()
	}
	if !strings.Contains(text, `"indexName": "`+index+`"`) && !strings.Contains(text, `"indexName":"`+index+`"`) || strings.Contains(text, "COLLSCAN") {
		t.Errorf("%s does not use %s: %s", command.Name, index, text)
	}
	if got := strings.Contains(text, `"SORT"`); got != sorts {
		t.Errorf("%s sorts in memory: %v, want %v: %s", command.Name, got, sorts, text)
	}
}

func TestAdministrationUsesIndexes(t *testing.T) {
	t.Parallel()
	p, sent := watched(t, ttlServer(t))
	store := p.store(users())
	p.fill(100, "ada")
	p.fill(100, "bob")
	for what, test := range map[string]struct {
		run   func(context.Context) error
		index string
		sorts bool
	}{
		"All":    {func(ctx context.Context) error { return drain(store.All(ctx)) }, "expires_1", false},
		"ByUser": {func(ctx context.Context) error { return drain(store.ByUser(ctx, "ada")) }, "user_1", true},
		"Count":  {func(ctx context.Context) error { _, err := store.Count(ctx); return err }, "expires_1", false},
		"DestroyByUser": {func(ctx context.Context) error {
			_, err := store.DestroyByUser(ctx, "nobody")
			return err
		}, "user_1", false},
		"RemoveExpired": {func(ctx context.Context) error { _, err := store.RemoveExpired(ctx); return err }, "expires_1", false},
	} {
		sent.Take()
		wantErr(t, test.run(t.Context()), nil)
		commands := sent.Take()
		if len(commands) == 0 {
			t.Fatalf("%s sent nothing", what)
		}
		wantIndex(t, p, commands[0], test.index, test.sorts)
	}
}

func drain(list iter.Seq2[mongostore.Record, error]) (last error) {
	for _, err := range list {
		last = err
	}
	return last
}

func TestOneBadRecordFailsAlone(t *testing.T) {
	t.Parallel()
	for what, update := range map[string]bson.D{
		"payload": set("session", "not json"), "version": set("version", "1"), "labels": set("labels", 1),
		"user": set("user", "ada"), "createdAt": set("createdAt", "today"), "maxAge": set("maxAge", "long"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			store := p.store(users())
			bad := start(t, store, map[any]any{"user": "ada"}).load(t, store).ID
			start(t, store, map[any]any{"user": "ada"})
			edit(t, p.coll, bad, update)
			n := 0
			for rec, err := range store.ByUser(t.Context(), "ada") {
				wantErr(t, err, nil)
				n++
				values, err := rec.Values(t.Context())
				if rec.ID == bad && what != "user" {
					wantErr(t, err, mongostore.ErrDecode)
				} else if err != nil || values["user"] != "ada" {
					t.Errorf("%v, %v", values, err)
				}
			}
			if n != 2 {
				t.Errorf("%d records", n)
			}
		})
	}
}

func TestARecordWhoseDeadlineIsNoDateIsNotListed(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(nil)
	id := start(t, store, nil).load(t, store).ID
	for _, expires := range []any{bson.A{p.clock.Now().Add(time.Hour)}, "2999-01-01", int64(1) << 60, nil} {
		replaceField(t, p.coll, id, "expires", expires)
		if got := collect(t, store.All(t.Context())); len(got) > 0 {
			t.Errorf("expires %v: %v", expires, got)
		}
		_, err := store.Find(t.Context(), id)
		wantErr(t, err, mongostore.ErrNotFound)
		wantErr(t, store.Touch(t.Context(), id), mongostore.ErrNotFound)
		wantErr(t, store.Update(t.Context(), id, func(map[any]any) error { return nil }), mongostore.ErrNotFound)
	}
}

func TestRecordsDecodeTheirValuesAtEachCallAnew(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(sealing())
		v := start(t, store, map[any]any{"user": "ada"}).load(t, store)
		rec, err := store.Find(t.Context(), v.ID)
		wantErr(t, err, nil)
		for range 2 {
			values, err := rec.Values(t.Context())
			if err != nil || !maps.Equal(values, map[any]any{"user": "ada"}) {
				t.Errorf("Values: %v, %v", values, err)
			}
			values["user"] = "mallory"
		}
		if _, err := (mongostore.Record{}).Values(t.Context()); !errors.Is(err, mongostore.ErrDecode) {
			t.Errorf("Values of an empty Record: %v", err)
		}
		_, err = store.Find(t.Context(), "nobody")
		wantErr(t, err, mongostore.ErrNotFound)
	})
}

func TestR21ARecordShowsNoSecretHoweverItIsPrinted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{UserID: userID})
		b := start(t, store, map[any]any{"user": "ada", "pin": "s3cret"})
		v := b.load(t, store)
		rec, _ := store.Record(v.Session)
		_, secret := credentials(t, store, b.cookies[0])
		token, _ := p.mustDocument(v.ID)["token"].(bson.Binary)
		for _, text := range []string{fmt.Sprint(rec), fmt.Sprintf("%+v", rec), fmt.Sprintf("%#v", rec), fmt.Sprintf("%+v", &rec)} {
			for _, hidden := range []string{secret, "s3cret", fmt.Sprintf("%d", token.Data), hex.EncodeToString(token.Data)} {
				if strings.Contains(text, hidden) {
					t.Errorf("it shows %q: %s", hidden, text)
				}
			}
		}
	})
}

func TestTouchMovesADeadlineAsASaveWouldButNeverBack(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TTL: time.Hour, MaxLifetime: 3 * time.Hour})
		b := start(t, store, map[any]any{"n": 1})
		id := b.load(t, store).ID
		before := p.mustDocument(id)
		p.clock.Advance(30 * time.Minute)
		wantErr(t, store.Touch(t.Context(), id), nil)
		p.wantDeadline(id, time.Hour)
		rec, _ := store.Find(t.Context(), id)
		if after := p.mustDocument(id); after["version"] != before["version"] || !rec.UpdatedAt.Equal(rec.CreatedAt) {
			t.Errorf("the record is %v", after)
		}
		shorter := p.store(&mongostore.Config{TTL: time.Minute})
		wantErr(t, shorter.Touch(t.Context(), id), nil)
		p.wantDeadline(id, time.Hour)

		for range 3 {
			p.clock.Advance(40 * time.Minute)
			wantErr(t, store.Touch(t.Context(), id), nil)
		}
		p.wantDeadline(id, 30*time.Minute) // the absolute limit
		p.clock.Advance(30 * time.Minute)
		for _, gone := range []string{id, "nobody", ""} {
			wantErr(t, store.Touch(t.Context(), gone), mongostore.ErrNotFound)
		}
		b.wantGone(t, store)
	})
}

func TestTouchGoesByTheMaxAgeOfTheSession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		v.Options.MaxAge = 90 * 86400
		v.saved(t)
		p.clock.Advance(time.Hour)
		wantErr(t, store.Touch(t.Context(), v.ID), nil)
		p.wantDeadline(v.ID, 90*24*time.Hour)
	})
}

func TestUpdateChangesASessionFromOutside(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"user": "ada", "gone": "x"})
		v := b.load(t, store)
		id := stored(t, store, v)
		before := p.mustDocument(id)
		p.clock.Advance(time.Hour)
		wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error {
			values["user"], values["admin"] = "bob", true
			delete(values, "gone")
			return nil
		}), nil)
		b.wantValues(t, store, map[any]any{"user": "bob", "admin": true})
		after := p.mustDocument(id)
		if after["user"] != "bob" || after["version"] == before["version"] {
			t.Errorf("the record is %v", after)
		}
		for _, field := range []string{"expires", "createdAt", "updatedAt", "name"} {
			if after[field] != before[field] {
				t.Errorf("%s changed from %v to %v", field, before[field], after[field])
			}
		}
	})
}

func TestR09RequestsUnderWayMergeWithAnUpdate(t *testing.T) { // P11
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"role": "user"})
		changed, unchanged := b.load(t, store), b.load(t, store)
		wantErr(t, store.Update(t.Context(), stored(t, store, changed), func(values map[any]any) error {
			values["role"] = "admin"
			return nil
		}), nil)
		p.clock.Advance(time.Hour)
		unchanged.saved(t)
		unchanged.wantCookie(t)
		p.wantDeadline(stored(t, store, unchanged), 14*24*time.Hour)
		changed.Values["cart"] = "full"
		changed.saved(t)
		b.wantValues(t, store, map[any]any{"role": "admin", "cart": "full"})
	})
}

func TestUpdateRunsAgainIfAnotherRequestWasFirst(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		seen := new(audit)
		cfg.Observe = seen.observe
		store := p.store(cfg)
		b := start(t, store, map[any]any{"a": "0"})
		id := stored(t, store, b.load(t, store))
		runs := 0
		wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error {
			if runs++; runs == 1 {
				v := b.load(t, store)
				v.Values["theirs"] = "1"
				v.saved(t)
			}
			values["a"] = fmt.Sprint(values["a"], runs)
			return nil
		}), nil)
		b.wantValues(t, store, map[any]any{"a": "02", "theirs": "1"})
		events := seen.take()
		last := events[slices.IndexFunc(events, func(e mongostore.Event) bool { return e.Conflicts > 0 })]
		if runs != 2 || last.Op != mongostore.OpUpdate || last.Conflicts != 1 || last.Err != nil {
			t.Errorf("it ran %d times; %+v", runs, last)
		}
	})
}

func TestUpdateGivesUpAtTimeoutIfOthersAreAlwaysFirst(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		others := p.store(nil)
		store := p.store(&mongostore.Config{Timeout: 500 * time.Millisecond})
		b := start(t, others, map[any]any{"n": 0})
		id := b.load(t, others).ID
		n := 0
		err := store.Update(t.Context(), id, func(values map[any]any) error {
			v := b.load(t, others)
			n++
			v.Values["n"] = n
			v.saved(t)
			values["mine"] = 1
			return nil
		})
		if !errors.Is(err, mongostore.ErrConflict) && !errors.Is(err, mongostore.ErrUnavailable) { // as Timeout ends between commands, or in one
			t.Errorf("Update: %v", err)
		}
		b.wantValues(t, others, map[any]any{"n": n})
	})
}

func TestUpdateThatFailsStoresNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{MaxBytes: 1000})
		b := start(t, store, map[any]any{"n": 1})
		id := b.load(t, store).ID
		before := p.mustDocument(id)
		ours := errors.New("not allowed")
		for what, test := range map[string]struct {
			change func(map[any]any) error
			is     error
			says   string
		}{
			"its own error": {func(values map[any]any) error { values["n"] = 2; return ours }, ours, ""},
			"too large":     {func(values map[any]any) error { values["n"] = strings.Repeat("x", 1001); return nil }, mongostore.ErrTooLarge, `Values["n"]`},
			"not encodable": {func(values map[any]any) error { values["n"] = unknown{}; return nil }, nil, "gob.Register"},
		} {
			err := store.Update(t.Context(), id, test.change)
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", what, err)
			}
			p.wantDocument(id, before)
		}
		p.clock.Advance(15 * 24 * time.Hour)
		for _, gone := range []string{id, "nobody", ""} {
			wantErr(t, store.Update(t.Context(), gone, func(map[any]any) error { t.Error("change ran"); return nil }), mongostore.ErrNotFound)
		}
	})
}

func TestR13AnUpdateWhoseAnswerIsLostRunsOnce(t *testing.T) {
	t.Parallel()
	for lost, want := range map[int]error{1: nil, 2: mongostore.ErrUnavailable} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			t.Parallel()
			p, proxy := behindProxy(t)
			store := p.store(nil)
			b := start(t, store, map[any]any{"n": 0})
			id := b.load(t, store).ID
			proxy.DropReplies("update", lost)
			runs := 0
			wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error {
				runs++
				values["n"] = values["n"].(int) + 1
				return nil
			}), want)
			if runs != 1 {
				t.Errorf("it ran %d times", runs)
			}
			b.wantValues(t, store, map[any]any{"n": 1})
		})
	}
}

func TestR05TheCodecOfAnUpdateSeesTheDeadlineThatStays(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		var seen []int
		codec := buggy{}
		codec.encode = func(s *sessions.Session) (bson.RawValue, error) {
			seen = append(seen, s.Options.MaxAge)
			return codec.GobCodec.Encode(s)
		}
		store := p.store(&mongostore.Config{PayloadCodec: codec})
		v := new(browser).load(t, store)
		v.Options.MaxAge = 3600
		v.saved(t)
		p.clock.Advance(10 * time.Minute)
		wantErr(t, store.Update(t.Context(), v.ID, func(map[any]any) error { return nil }), nil)
		if !slices.Equal(seen, []int{3600, 3000}) {
			t.Errorf("the codec saw MaxAge %v, want 3600 and what is left of it", seen)
		}
	})
}

func TestDestroyByUserEndsEverySessionOfAUserButSome(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(users())
		ada := map[any]any{"user": "ada"}
		here, there, second := start(t, store, ada), start(t, store, ada), start(t, store, ada)
		bob, anonymous := start(t, store, map[any]any{"user": "bob"}), start(t, store, map[any]any{"n": 1})
		late := there.load(t, store)
		n, err := store.DestroyByUser(t.Context(), "ada", here.load(t, store).Session, nil, new(browser).load(t, store).Session)
		if n != 2 || err != nil {
			t.Errorf("DestroyByUser: %d, %v; want 2", n, err)
		}
		late.Values["n"] = 1
		wantErr(t, late.save(), mongostore.ErrNotFound)
		there.wantGone(t, store)
		second.wantGone(t, store)
		here.wantValues(t, store, ada)
		bob.wantValues(t, store, map[any]any{"user": "bob"})
		n, err = store.DestroyByUser(t.Context(), "ada")
		if n != 1 || err != nil {
			t.Errorf("DestroyByUser: %d, %v; want 1", n, err)
		}
		anonymous.wantValues(t, store, map[any]any{"n": 1})
		p.wantCount(2)
	})
}

func TestR22UsersNeedAUserID(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		start(t, p.store(nil), map[any]any{"user": "ada"})
		for what, test := range map[string]struct {
			cfg  *mongostore.Config
			user string
			says string
		}{
			"no Config.UserID": {nil, "ada", "Config.UserID"},
			"empty":            {users(), "", "empty"},
		} {
			store := p.store(test.cfg)
			_, err := store.DestroyByUser(t.Context(), test.user)
			wantNames(t, what, err, test.says)
			n := 0
			for rec, err := range store.ByUser(t.Context(), test.user) {
				wantNames(t, what, err, test.says)
				n++
				if rec.ID != "" {
					t.Errorf("%s: a record beside the error", what)
				}
			}
			if n != 1 {
				t.Errorf("%s: ByUser yields %d times, want the error", what, n)
			}
		}
		p.wantCount(1)
	})
}

func TestDestroyByUserKeepsNoSessionThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(users())
		v := start(t, store, map[any]any{"user": "ada"}).load(t, store)
		copied := *v.Session
		_, err := store.DestroyByUser(t.Context(), "ada", &copied)
		wantNames(t, "a copy", err, "copy")
		p.wantCount(1)
	})
}

func TestClearEndsAllSessionsAndKeepsTheIndexes(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(users())
		b := start(t, store, map[any]any{"user": "ada"})
		late := b.load(t, store)
		start(t, store, nil)
		var before map[string]bson.Raw
		if p.coll != nil {
			before = indexes(t, p.coll)
		}
		for range 2 {
			wantErr(t, store.Clear(t.Context()), nil)
		}
		p.wantCount(0)
		late.Values["n"] = 1
		wantErr(t, late.save(), mongostore.ErrNotFound)
		b.wantGone(t, store)
		if p.coll != nil && !maps.EqualFunc(before, indexes(t, p.coll), func(a, b bson.Raw) bool { return a.String() == b.String() }) {
			t.Errorf("the indexes are %v, were %v", indexes(t, p.coll), before)
		}
	})
}

// device is Config.Labels in these tests.
func device(r *http.Request, _ *sessions.Session) map[string]string {
	return map[string]string{"agent": r.UserAgent()}
}

// labels returns those of the record of a session.
func labels(t *testing.T, store *mongostore.Store, v *visit) map[string]string {
	t.Helper()
	rec, err := store.Find(t.Context(), stored(t, store, v))
	wantErr(t, err, nil)
	return rec.Labels
}

func TestLabelsAreTakenAtCreationAndRegenerateAlone(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		cfg.Labels = device
		store := p.store(cfg)
		b := new(browser)
		from := func(agent string) *visit {
			v := b.load(t, store)
			v.r.Header.Set("User-Agent", agent)
			return v
		}
		v := from("one")
		v.Values["n"] = "1"
		v.saved(t)
		v.arrive()
		v = from("two")
		v.Values["n"] = "2"
		v.saved(t)
		p.clock.Advance(time.Hour)
		v.saved(t)
		if got := labels(t, store, v)["agent"]; got != "one" {
			t.Errorf("after a change the label is %q", got)
		}
		wantErr(t, store.Update(t.Context(), stored(t, store, v), func(values map[any]any) error { values["n"] = "3"; return nil }), nil)
		v = from("three")
		store.Regenerate(v.Session)
		v.saved(t)
		v.arrive()
		rec, _ := store.Record(v.Session)
		if got := labels(t, store, v)["agent"]; got != "three" || rec.Labels["agent"] != "three" {
			t.Errorf("after Regenerate the label is %q, and %q in Record", got, rec.Labels["agent"])
		}
		b.wantValues(t, store, map[any]any{"n": "3"})
	})
}

func TestLabelsAreClipped(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		many := make(map[string]string)
		for i := range 100 {
			many[fmt.Sprintf("label %02d", i)] = "x"
		}
		for what, test := range map[string]struct{ give, want map[string]string }{
			"none":          {nil, nil},
			"empty":         {map[string]string{}, nil},
			"long":          {map[string]string{"a": strings.Repeat("x", 2000)}, map[string]string{"a": strings.Repeat("x", 512)}},
			"in a rune":     {map[string]string{"a": "x" + strings.Repeat("ä", 300)}, map[string]string{"a": "x" + strings.Repeat("ä", 255)}},
			"not text":      {map[string]string{"a": "\xffa\x00b", "b\x00": "\x00"}, map[string]string{"a": "ab", "b": ""}},
			"odd names":     {map[string]string{"a b": "1", "": "2"}, map[string]string{"a b": "1", "": "2"}},
			"too many kept": {many, nil},
		} {
			store := p.store(&mongostore.Config{Labels: func(*http.Request, *sessions.Session) map[string]string { return test.give }})
			v := new(browser).load(t, store)
			v.saved(t)
			got := labels(t, store, v)
			if what == "too many kept" {
				if len(got) != 16 || got["label 00"] != "x" || got["label 15"] != "x" {
					t.Errorf("%s: %v", what, got)
				}
				continue
			}
			if !maps.Equal(got, test.want) {
				t.Errorf("%s: %q, want %q", what, got, test.want)
			}
			for _, text := range got {
				if !utf8.ValidString(text) {
					t.Errorf("%s: %q is not UTF-8", what, text)
				}
			}
		}
	})
}

func TestLabelsThatPanicFailNoRequest(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		log := new(journal)
		store := p.store(&mongostore.Config{
			Logger: log.logger(),
			Labels: func(*http.Request, *sessions.Session) map[string]string { panic("s3cret") },
		})
		b := start(t, store, map[any]any{"n": 1})
		b.wantValues(t, store, map[any]any{"n": 1})
		if got := labels(t, store, b.load(t, store)); got != nil {
			t.Errorf("labels %v", got)
		}
		if text := log.String(); !strings.Contains(text, "Config.Labels") || strings.Contains(text, "s3cret") {
			t.Errorf("the log says %q", text)
		}
	})
}

func TestR03AdministrationDuringAnOutageIsErrUnavailable(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(users())
	b := start(t, store, map[any]any{"user": "ada"})
	id := b.load(t, store).ID
	calls := map[string]func(context.Context) error{
		"All":           func(ctx context.Context) error { return drain(store.All(ctx)) },
		"ByUser":        func(ctx context.Context) error { return drain(store.ByUser(ctx, "ada")) },
		"Find":          func(ctx context.Context) error { _, err := store.Find(ctx, id); return err },
		"Count":         func(ctx context.Context) error { _, err := store.Count(ctx); return err },
		"Touch":         func(ctx context.Context) error { return store.Touch(ctx, id) },
		"Update":        func(ctx context.Context) error { return store.Update(ctx, id, func(map[any]any) error { return nil }) },
		"Destroy":       func(ctx context.Context) error { return store.Destroy(ctx, id) },
		"DestroyByUser": func(ctx context.Context) error { _, err := store.DestroyByUser(ctx, "ada"); return err },
		"Clear":         func(ctx context.Context) error { return store.Clear(ctx) },
		"RemoveExpired": func(ctx context.Context) error { _, err := store.RemoveExpired(ctx); return err },
	}
	f.fail(mongotest.Fail{Commands: []string{"find", "update", "delete", "aggregate"}, ErrorCode: 13})
	for what, call := range calls {
		if err := call(t.Context()); !errors.Is(err, mongostore.ErrUnavailable) || !mongoCode(err, 13) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f.mend()
	b.wantValues(t, store, map[any]any{"user": "ada"})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for what, call := range calls {
		if err := call(cancelled); !errors.Is(err, mongostore.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", what, err)
		}
	}
	b.wantValues(t, store, map[any]any{"user": "ada"})
}

func TestAListThatFailsOnTheWayYieldsTheErrorLast(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(nil)
	f.place.fill(300, "ada")
	f.fail(mongotest.Fail{Commands: []string{"getMore"}, ErrorCode: 13})
	n, last := 0, error(nil)
	for rec, err := range store.All(t.Context()) {
		if last != nil {
			t.Fatal("it goes on after an error")
		}
		if last = err; err == nil {
			n++
		} else if rec.ID != "" {
			t.Error("a record beside the error")
		}
	}
	wantErr(t, last, mongostore.ErrUnavailable)
	if n == 0 || n >= 300 {
		t.Errorf("%d records before the error", n)
	}
}

// huge is an id that no record has, and that a server would refuse, quoting it.
var huge = strings.Repeat("secret-id ", 17<<20/10)

func TestR21AnIDOf17MBIsNotFoundAndNotQuoted(t *testing.T) {
	t.Parallel()
	for kind, cfg := range map[string]*mongostore.Config{"split": {}, "plain": {PlainIDs: true}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				own := *cfg
				store, seen := p.observed(&own)
				start(t, store, map[any]any{"n": 1})
				seen.take()
				mongotest.NewYardstick(t).Within(t, "all of them", scant, func() {
					_, err := store.Find(t.Context(), huge)
					wantShort(t, "Find", err, mongostore.ErrNotFound)
					wantShort(t, "Touch", store.Touch(t.Context(), huge), mongostore.ErrNotFound)
					wantShort(t, "Update", store.Update(t.Context(), huge, nil), mongostore.ErrNotFound)
					wantShort(t, "Destroy", store.Destroy(t.Context(), huge), nil)
				})
				p.wantCount(1)
			})
		})
	}
}

// wantShort fails unless err is target, nil for none, and as short as an error should be.
func wantShort(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: the error is another one than %v", what, target)
	}
	if err != nil && (len(err.Error()) > 500 || strings.Contains(err.Error(), "secret-id")) {
		t.Errorf("%s: the error takes %d bytes: %.200s", what, len(err.Error()), err)
	}
}
