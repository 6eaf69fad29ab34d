package record_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/bsonraw"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/internal/record"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

var now = time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC)

// both are the two backends, with the same records.
type both struct {
	*testing.T
	memory, collection record.Backend
}

func newBoth(t *testing.T, records ...*record.Record) both {
	t.Helper()
	coll := mongotest.Shared(t).Database(t).Collection("sessions")
	b := both{t, record.NewMemory(nil), record.NewCollection(coll, record.Options{ReadPreference: readpref.Primary(), Forgets: true})}
	for _, rec := range records {
		b.same("Insert", func(backend record.Backend) any {
			if coll, ok := backend.(*record.Collection); ok && rec.Version == 0 { // as Express inserts it
				_, err := coll.InsertOne(t.Context(), bson.D{
					{Key: "_id", Value: rec.ID}, {Key: "session", Value: rec.Session}, {Key: "expires", Value: rec.Expires},
				})
				return answer(true, err)
			}
			return answer(backend.Insert(t.Context(), rec))
		})
	}
	return b
}

// answer is what a command returned.
func answer[T any](result T, err error) any { return fmt.Sprint(result, " ", err) }

// same fails unless a command has the same answer from both backends, which it returns.
func (b both) same(what string, do func(record.Backend) any) any {
	b.Helper()
	memory, collection := do(b.memory), do(b.collection)
	if memory != collection {
		b.Errorf("%s: %v in memory, %v in MongoDB", what, memory, collection)
	}
	return collection
}

// record returns a record, which both must have or lack alike.
func (b both) record(id string) string {
	b.Helper()
	return fmt.Sprint(b.same("the record "+id, func(backend record.Backend) any {
		return found(backend.Find(b.Context(), id))
	}))
}

// found writes a record out; nil and what is stored as null are the same.
func found(rec *record.Record, err error) string {
	if rec == nil || err != nil {
		return fmt.Sprint("none ", err)
	}
	out := *rec
	if out.Session.Type == bson.TypeNull {
		out.Session = bson.RawValue{}
	}
	maxAge := -1
	if out.MaxAge != nil {
		maxAge, out.MaxAge = *out.MaxAge, nil
	}
	return fmt.Sprintf("%q %v(%v) maxAge %d pending %v retired %v %+v", out.ID, out.Token, out.Token == nil, maxAge, out.Pending(), out.Retired(), out)
}

// The records of these tests.
func split() *record.Record {
	return &record.Record{
		ID: "split", Token: slices.Repeat([]byte{7}, 32), Name: "sid", Session: text("values"),
		Expires: now.Add(time.Hour), CreatedAt: now.Add(-time.Hour), UpdatedAt: now.Add(-time.Minute), Version: 11,
	}
}

func plain() *record.Record {
	rec := split()
	rec.ID, rec.Token = "plain", nil
	return rec
}

func undated() *record.Record { // as Express makes it
	return &record.Record{ID: "undated", Session: text("values"), Expires: now.Add(time.Hour)}
}

func full() *record.Record {
	rec := split()
	maxAge := 60
	rec.ID, rec.User, rec.MaxAge, rec.Versions = "full", "ada", &maxAge, record.History{3, 2, 1}
	rec.Labels = bsonraw.Build(32).String("device", "x").End()
	rec.Cookie = bsonraw.Build(32).String("path", "/a").End()
	return rec
}

func pending() *record.Record {
	rec := plain()
	rec.ID, rec.Expires, rec.Replaces, rec.Forget = "pending", time.Time{}, "plain", now.Add(5*time.Minute)
	return rec
}

func text(s string) bson.RawValue {
	d := bsonraw.Build(32).String("x", s).End()
	return d.Lookup("x")
}

// written is what a change writes: every field is another one.
func written(id string) *record.Record {
	maxAge := 90
	return &record.Record{
		ID: id, Token: slices.Repeat([]byte{8}, 32), Name: "sid", Session: text("more"),
		Expires: now.Add(2 * time.Hour), CreatedAt: now, UpdatedAt: now.Add(time.Second), Version: 12,
		Versions: record.History{11, 3, 2, 1}, User: "bob", MaxAge: &maxAge,
		Labels: bsonraw.Build(32).String("device", "y").End(), Cookie: bsonraw.Build(32).String("path", "/b").End(),
		Forget: now.Add(5 * time.Minute), Next: "next", By: 12,
	}
}

// bare is the same without what a record need not have, and with an earlier deadline.
func bare(id string) *record.Record {
	rec := written(id)
	rec.User, rec.MaxAge, rec.Labels, rec.Cookie, rec.Versions = "", nil, nil, nil, record.History{}
	rec.Expires = now.Add(time.Minute)
	return rec
}

func changes() map[string]record.Change {
	return map[string]record.Change{
		"Deadline": record.Deadline, "Prolong": record.Prolong, "Payload": record.Payload, "Edit": record.Edit,
		"Renewal": record.Renewal, "Retire": record.Retire, "Activate": record.Activate,
	}
}

func TestBothBackendsMakeEveryChangeAlike(t *testing.T) {
	t.Parallel()
	for what, change := range changes() {
		for _, old := range []*record.Record{split(), plain(), undated(), full(), pending()} {
			for kind, rec := range map[string]*record.Record{"all": written(old.ID), "bare": bare(old.ID)} {
				if change == record.Renewal && old.Token == nil || (change == record.Activate) != (old.ID == "pending") {
					continue // a plain id is renewed otherwise, and only a pending record is activated
				}
				t.Run(what+" of "+old.ID+" to "+kind, func(t *testing.T) {
					t.Parallel()
					b := newBoth(t, old)
					at := now
					if old.ID == "pending" {
						at = time.Time{}
					}
					before := b.record(old.ID)
					got := b.same("Update", func(backend record.Backend) any {
						return answer(backend.Update(t.Context(), old.Match(at), rec, change))
					})
					if got != "true <nil>" {
						t.Errorf("Update: %v", got)
					}
					after := b.record(old.ID)
					if after == before && (change != record.Prolong || kind == "all") {
						t.Error("it changed nothing")
					}
				})
			}
		}
	}
}

func TestBothBackendsMatchAlike(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		old  *record.Record
		edit func(m *record.Match)
		want bool
	}{
		"as it is":                      {split(), func(*record.Match) {}, true},
		"as it is, plain":               {plain(), func(*record.Match) {}, true},
		"as it is, without a version":   {undated(), func(*record.Match) {}, true},
		"another id":                    {split(), func(m *record.Match) { m.ID = "other" }, false},
		"another token":                 {split(), func(m *record.Match) { m.Token = slices.Repeat([]byte{9}, 32) }, false},
		"a shorter token":               {split(), func(m *record.Match) { m.Token = m.Token[:31] }, false},
		"no token":                      {split(), func(m *record.Match) { m.Token = nil }, false},
		"an empty token":                {split(), func(m *record.Match) { m.Token = []byte{} }, false},
		"a token of a plain record":     {plain(), func(m *record.Match) { m.Token = slices.Repeat([]byte{7}, 32) }, false},
		"an empty one of a plain one":   {plain(), func(m *record.Match) { m.Token = []byte{} }, false},
		"another version":               {split(), func(m *record.Match) { m.Version++ }, false},
		"no version":                    {split(), func(m *record.Match) { m.Version = 0 }, false},
		"a version where none is":       {undated(), func(m *record.Match) { m.Version = 1 }, false},
		"another payload":               {plain(), func(m *record.Match) { m.Session = text("other") }, false},
		"no payload is asked for":       {plain(), func(m *record.Match) { m.Session = bson.RawValue{} }, true},
		"the payload of a split record": {split(), func(m *record.Match) { m.Session = text("values") }, true},
		"a millisecond before its end":  {split(), func(m *record.Match) { m.Now = now.Add(time.Hour - time.Millisecond) }, true},
		"at its end":                    {split(), func(m *record.Match) { m.Now = now.Add(time.Hour) }, false},
		"a live one as pending":         {plain(), func(m *record.Match) { m.Now = time.Time{} }, false},
		"a pending one as pending":      {pending(), func(m *record.Match) { m.Now = time.Time{} }, true},
		"a pending one as live":         {pending(), func(*record.Match) {}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBoth(t, c.old)
			m := c.old.Match(now)
			c.edit(&m)
			got := b.same("Update", func(backend record.Backend) any {
				return answer(backend.Update(t.Context(), m, written(c.old.ID), record.Deadline))
			})
			if want := fmt.Sprint(c.want, " <nil>"); got != want {
				t.Errorf("Update: %v, want %v", got, want)
			}
			b.record(c.old.ID)
		})
	}
}

func TestBothBackendsInsertLoadAndDeleteAlike(t *testing.T) {
	t.Parallel()
	all := []*record.Record{split(), plain(), undated(), full(), pending()}
	b := newBoth(t, all...)
	for _, rec := range all {
		if got := b.record(rec.ID); got != found(rec, nil) {
			t.Errorf("inserted:\n%s\nread:\n%s", found(rec, nil), got)
		}
		again := b.same("a second Insert", func(backend record.Backend) any { return answer(backend.Insert(t.Context(), written(rec.ID))) })
		if again != "false <nil>" {
			t.Errorf("a second Insert: %v", again)
		}
	}
	for _, ids := range [][]string{{"nobody"}, {"split"}, {"split", "nobody", "plain"}, {"pending", "full", "undated"}, {""}} {
		b.same(fmt.Sprint("Load of ", ids), func(backend record.Backend) any {
			records, err := backend.Load(t.Context(), ids...)
			var loaded []string
			for _, rec := range records {
				loaded = append(loaded, found(&rec, nil))
			}
			slices.Sort(loaded)
			return answer(loaded, err)
		})
	}
	for _, c := range []struct {
		id    string
		token []byte
		want  string
	}{
		{"nobody", nil, "0 <nil>"},
		{"split", []byte{}, "0 <nil>"},
		{"split", slices.Repeat([]byte{8}, 32), "0 <nil>"},
		{"split", slices.Repeat([]byte{7}, 32), "1 <nil>"},
		{"split", nil, "0 <nil>"},
		{"plain", slices.Repeat([]byte{7}, 32), "0 <nil>"},
		{"plain", []byte{}, "1 <nil>"},
		{"undated", nil, "1 <nil>"},
		{"full", nil, "1 <nil>"},
		{"pending", []byte{}, "1 <nil>"},
	} {
		if got := b.same("Delete", func(backend record.Backend) any { return answer(backend.Delete(t.Context(), c.id, c.token)) }); got != c.want {
			t.Errorf("Delete of %s with %v: %v, want %v", c.id, c.token, got, c.want)
		}
		b.record(c.id)
	}
}

func TestATombstoneIsNotDeletedAsAPlainRecord(t *testing.T) {
	t.Parallel()
	b := newBoth(t, plain())
	b.same("Update", func(backend record.Backend) any {
		return answer(backend.Update(t.Context(), plain().Match(now), written("plain"), record.Retire))
	})
	for _, c := range []struct {
		token []byte
		want  string
	}{{[]byte{}, "0 <nil>"}, {slices.Repeat([]byte{8}, 32), "0 <nil>"}, {nil, "1 <nil>"}} {
		if got := b.same("Delete", func(backend record.Backend) any { return answer(backend.Delete(t.Context(), "plain", c.token)) }); got != c.want {
			t.Errorf("Delete with %v: %v, want %v", c.token, got, c.want)
		}
	}
}

func TestBothBackendsForgetAndRemoveAlike(t *testing.T) {
	t.Parallel()
	var all []*record.Record
	for i := range 2*record.RemovalBatch + 10 {
		rec := plain()
		if i%2 == 0 {
			rec = pending()
			rec.Forget = now.Add(time.Duration(i-60) * time.Millisecond)
		} else {
			rec.Expires = now.Add(time.Duration(i-60) * time.Millisecond)
		}
		rec.ID = fmt.Sprint("r", i)
		all = append(all, rec)
	}
	b := newBoth(t, all...)
	removed := b.same("RemoveBatch", func(backend record.Backend) any {
		sum := int64(0)
		for found := record.RemovalBatch; found == record.RemovalBatch; {
			var n int64
			var err error
			if found, n, err = backend.RemoveBatch(t.Context(), now); err != nil {
				return err.Error()
			}
			sum += n
		}
		return sum
	})
	if removed != int64(61) { // of 0 to 60, at which it is due
		t.Errorf("removed %v, want 61", removed)
	}
	for _, rec := range all {
		b.record(rec.ID)
	}
}

func TestBothBackendsListAndCountAlike(t *testing.T) {
	t.Parallel()
	expired := split()
	expired.ID, expired.Expires = "expired", now
	later := full()
	later.ID, later.Expires, later.UpdatedAt = "later", now.Add(3*time.Hour), now
	touched := plain() // a tombstone whose deadline Express has moved
	touched.ID, touched.Token, touched.Next = "touched", []byte{}, "later"
	b := newBoth(t, split(), plain(), undated(), full(), pending(), expired, later, touched)
	for what, live := range map[string]record.Live{
		"now":                        {Now: now, Plain: true},
		"later":                      {Now: now.Add(2 * time.Hour), Plain: true},
		"with a limit":               {Now: now, CreatedAfter: now.Add(-time.Hour), Plain: true},
		"with a longer one":          {Now: now, CreatedAfter: now.Add(-time.Hour - time.Millisecond), Plain: true},
		"with a longer one, no ids":  {Now: now, CreatedAfter: now.Add(-time.Hour - time.Millisecond)},
		"with a shorter one, no ids": {Now: now, CreatedAfter: now.Add(-time.Minute)},
	} {
		b.same("Count "+what, func(backend record.Backend) any { return answer(backend.Count(t.Context(), live)) })
		for _, user := range []string{"", "ada", "nobody"} {
			b.same("List "+what+" "+user, func(backend record.Backend) any {
				var listed []string
				backend.List(t.Context(), live, user, func(rec *record.Record, err error) bool {
					listed = append(listed, found(rec, err))
					return true
				})
				if user == "" {
					slices.Sort(listed) // several have one deadline
				}
				return fmt.Sprint(listed)
			})
		}
	}
	for _, except := range [][]string{{"full"}, nil} {
		b.same("DeleteUser", func(backend record.Backend) any { return answer(backend.DeleteUser(t.Context(), "ada", except)) })
		b.record("full")
		b.record("later")
	}
	b.same("Clear", func(backend record.Backend) any { return answer(backend.Clear(t.Context())) })
	b.same("Count", func(backend record.Backend) any {
		return answer(backend.Count(t.Context(), record.Live{Now: now, Plain: true}))
	})
}
