package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// operation is one call of the store on a session that is stored. Its commands
// are those that it may send, each of which fails in turn.
type operation struct {
	name     string
	commands []string
	prepare  func(v *visit) // after the session was stored and loaded, before the fault
	run      func(v *visit) error
	// done tells whether the records are as after a success; nil: the operation
	// changes nothing.
	done func(v *visit, docs map[string]bson.Raw) bool
	// again is the same once the fault is gone, by the same session object; nil: run.
	again func(v *visit) error
	final string // what again gives: "" is success

	plain   bool // the store has PlainIDs
	indexes bool // it is about indexes, and not about records
	logout  bool // the cookie is expired whatever happens
	ends    bool // afterwards the session is over
	renews  bool // afterwards the first cookie is dead
	blind   bool // the session was not loaded, so Save refuses it
	skip    int  // how many of these commands succeed before the fault
}

func save(v *visit) error { return v.save() }

// holds reports whether a record has these texts among its values.
func holds(raw bson.Raw, texts ...string) bool {
	payload, _ := raw.Lookup("session").StringValueOK()
	return raw != nil && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(payload, text) })
}

func (v *visit) isGone(docs map[string]bson.Raw) bool { return docs[v.id] == nil }

var requests = []operation{
	{name: "load", commands: []string{"find"}, run: reload, blind: true},
	{
		name: "first Save", commands: []string{"insert"}, run: save,
		prepare: func(v *visit) {
			v.forget()
			v.works(v.load)
			v.session.Values["n"], v.session.Values["secret"] = "1", secret
		},
		done: func(_ *visit, docs map[string]bson.Raw) bool {
			return len(docs) == 1 && holds(slices.Collect(maps.Values(docs))[0], `"n":"1"`)
		},
	},
	{
		name: "Save, changed", commands: []string{"update"}, run: save,
		prepare: func(v *visit) { v.session.Values["n"] = "2" },
		done:    func(v *visit, docs map[string]bson.Raw) bool { return holds(docs[v.id], `"n":"2"`) },
	},
	{
		name: "Save, unchanged", commands: []string{"update"}, run: save,
		prepare: func(v *visit) {
			v.edit("expires", time.Now().Add(time.Hour))
			v.works(v.load)
		},
		done: func(v *visit, docs map[string]bson.Raw) bool {
			return docs[v.id].Lookup("expires").Time().After(time.Now().Add(24 * time.Hour))
		},
	},
	{
		name: "Save after Regenerate", commands: []string{"update"}, run: save, renews: true,
		prepare: func(v *visit) {
			v.session.Values["n"] = "2"
			v.store.Regenerate(v.session)
		},
		done: func(v *visit, docs map[string]bson.Raw) bool {
			return holds(docs[v.id], `"n":"2"`) && !docs[v.id].Lookup("token").Equal(v.before[v.id].Lookup("token"))
		},
	},
	{
		name: "Save after Regenerate, with PlainIDs", commands: []string{"insert", "update"}, run: save,
		plain: true, renews: true, prepare: renew, done: (*visit).isRenewed,
	},
	{
		name: "Save after Regenerate, with PlainIDs, the second update", commands: []string{"update"}, run: save, skip: 1,
		plain: true, renews: true, prepare: renew, done: (*visit).isRenewed,
	},
	{
		name: "Save, changed, after another request's", commands: []string{"find", "update"}, run: save,
		prepare: change(map[string]string{"other": "1"}),
		done:    func(v *visit, docs map[string]bson.Raw) bool { return holds(docs[v.id], `"n":"2"`, `"other":"1"`) },
	},
	{
		name: "Save, changed, after another request's, the second update", commands: []string{"update"}, run: save, skip: 1,
		prepare: change(map[string]string{"other": "1"}),
		done:    func(v *visit, docs map[string]bson.Raw) bool { return holds(docs[v.id], `"n":"2"`, `"other":"1"`) },
	},
	{
		name: "Save, changed, after a logout elsewhere", commands: []string{"find", "update"}, run: save, ends: true,
		prepare: func(v *visit) {
			v.session.Values["n"] = "2"
			_, err := v.calm.DeleteOne(v.t.Context(), bson.D{{Key: "_id", Value: v.id}})
			v.must(err)
		},
		final: "ErrNotFound",
	},
	{
		name: "logout", commands: []string{"delete"}, run: save, logout: true, ends: true,
		prepare: func(v *visit) { v.session.Options.MaxAge = -1 },
		done:    (*visit).isGone,
	},
	{
		name: "logout without a load", commands: []string{"find", "delete"}, logout: true, ends: true,
		prepare: func(v *visit) { v.request(v.cookie) },
		run: func(v *visit) error {
			v.session, _ = v.store.New(v.r, cookieName)
			v.session.Options.MaxAge = -1
			return v.save()
		},
		again: save,
		done:  (*visit).isGone,
	},
	{
		name: "logout, with PlainIDs", commands: []string{"delete"}, run: save, plain: true, logout: true, ends: true,
		prepare: func(v *visit) { v.session.Options.MaxAge = -1 },
		done:    (*visit).isGone,
	},
	{
		name: "logout, with PlainIDs, after another request's renewal", commands: []string{"delete", "find"}, run: save,
		plain: true, logout: true, ends: true, prepare: renewedElsewhere(func(v *visit) { v.session.Options.MaxAge = -1 }),
		done: hasTombstonesOnly,
	},
}

func renew(v *visit) {
	v.session.Values["n"] = "2"
	v.store.Regenerate(v.session)
}

// renewedElsewhere lets another request renew the session, whose answer does not arrive, before then.
func renewedElsewhere(then func(v *visit)) func(v *visit) {
	return func(v *visit) {
		other := &visit{site: v.site, store: v.store, t: v.t, cookie: v.cookie}
		v.works(other.load)
		v.store.Regenerate(other.session)
		v.works(other.save)
		then(v)
	}
}

// isRenewed reports whether the record of a plain id is a tombstone, and its successor live.
func (v *visit) isRenewed(docs map[string]bson.Raw) bool {
	next, ok := docs[v.id].Lookup("next").StringValueOK()
	return ok && len(docs) == 2 && holds(docs[next], `"n":"2"`) && !isPending(docs[next])
}

// isPending reports whether a record is a successor that has not been activated.
func isPending(raw bson.Raw) bool {
	_, ok := raw.Lookup("replaces").StringValueOK()
	return ok && raw.Lookup("expires").Type == bson.TypeNull
}

// isTombstone reports whether a record is one that was renewed.
func isTombstone(raw bson.Raw) bool {
	_, ok := raw.Lookup("next").StringValueOK()
	return ok
}

func hasTombstonesOnly(_ *visit, docs map[string]bson.Raw) bool {
	for _, raw := range docs {
		if !isTombstone(raw) {
			return false
		}
	}
	return true
}

// reload loads the session and looks whether it is the one that was stored.
func reload(v *visit) error {
	if err := v.load(); err != nil {
		return err
	}
	if v.session.IsNew || v.session.Values["n"] != "1" {
		return errors.New("a session that is none")
	}
	return nil
}

// change lets another request store values, and then changes the session.
func change(others map[string]string) func(v *visit) {
	return func(v *visit) {
		other := &visit{site: v.site, store: v.store, t: v.t, cookie: v.cookie}
		v.works(other.load)
		for key, value := range others {
			other.session.Values[key] = value
		}
		v.works(other.save)
		v.session.Values["n"] = "2"
	}
}

var calls = []operation{
	{name: "Find", commands: []string{"find"}, run: func(v *visit) error {
		rec, err := v.store.Find(v.t.Context(), v.id)
		return firstError(err, rec.ID == v.id)
	}},
	{name: "All", commands: []string{"find"}, run: func(v *visit) error { return listed(v.store.All(v.t.Context()), 2) }},
	{
		name: "All, a further batch", commands: []string{"getMore"}, prepare: many,
		run: func(v *visit) error { return listed(v.store.All(v.t.Context()), manyRecords+2) },
	},
	{name: "ByUser", commands: []string{"find"}, run: func(v *visit) error { return listed(v.store.ByUser(v.t.Context(), "ann"), 1) }},
	{name: "Count", commands: []string{"aggregate"}, run: func(v *visit) error {
		n, err := v.store.Count(v.t.Context())
		return firstError(err, n == 2)
	}},
	{
		name: "Touch", commands: []string{"find", "update"},
		prepare: func(v *visit) { v.edit("expires", time.Now().Add(time.Hour)) },
		run:     func(v *visit) error { return v.store.Touch(v.t.Context(), v.id) },
		done: func(v *visit, docs map[string]bson.Raw) bool {
			return docs[v.id].Lookup("expires").Time().After(time.Now().Add(24 * time.Hour))
		},
	},
	{
		name: "Update", commands: []string{"find", "update"},
		run: func(v *visit) error {
			return v.store.Update(v.t.Context(), v.id, func(values map[any]any) error { values["n"] = "2"; return nil })
		},
		done: func(v *visit, docs map[string]bson.Raw) bool { return holds(docs[v.id], `"n":"2"`) },
	},
	{
		name: "Destroy", commands: []string{"delete"}, ends: true, done: (*visit).isGone,
		run: func(v *visit) error { return v.store.Destroy(v.t.Context(), v.id) },
	},
	{
		name: "Destroy, with PlainIDs", commands: []string{"find", "delete"}, plain: true, ends: true, done: (*visit).isGone,
		run: func(v *visit) error { return v.store.Destroy(v.t.Context(), v.id) },
	},
	{
		name: "Destroy, with PlainIDs, after a renewal", commands: []string{"find", "delete"}, plain: true, ends: true,
		prepare: renewedElsewhere(func(*visit) {}), done: hasTombstonesOnly,
		run: func(v *visit) error { return v.store.Destroy(v.t.Context(), v.id) },
	},
	{
		name: "DestroyByUser", commands: []string{"delete"}, ends: true, done: (*visit).isGone,
		run: func(v *visit) error {
			_, err := v.store.DestroyByUser(v.t.Context(), "ann")
			return err
		},
	},
	{
		name: "Clear", commands: []string{"delete"}, ends: true,
		run:  func(v *visit) error { return v.store.Clear(v.t.Context()) },
		done: func(_ *visit, docs map[string]bson.Raw) bool { return len(docs) == 0 },
	},
	{
		name: "RemoveExpired", commands: []string{"find", "delete"}, ends: true, done: (*visit).isGone,
		prepare: func(v *visit) { v.edit("expires", time.Now().Add(-time.Hour)) },
		run: func(v *visit) error {
			_, err := v.store.RemoveExpired(v.t.Context())
			return err
		},
	},
	{
		name: "EnsureIndexes", commands: []string{"update", "createIndexes"}, indexes: true,
		prepare: func(v *visit) { v.must(v.calm.Indexes().DropAll(v.t.Context())) },
		run:     ensureIndexes, done: hasIndexes,
	},
	{
		name: "EnsureIndexes, an index with other options", commands: []string{"createIndexes", "listIndexes", "collMod"}, indexes: true,
		prepare: func(v *visit) {
			v.must(v.calm.Indexes().DropAll(v.t.Context()))
			_, err := v.calm.Indexes().CreateMany(v.t.Context(), []mongo.IndexModel{
				{Keys: bson.D{{Key: "expires", Value: 1}}, Options: options.Index().SetName("expires_1")},
				{Keys: bson.D{{Key: "user", Value: 1}}, Options: options.Index().SetName("user_1").SetSparse(true)},
			})
			v.must(err)
		},
		run: ensureIndexes, done: hasIndexes,
	},
}

func ensureIndexes(v *visit) error {
	ctx, cancel := context.WithTimeout(v.t.Context(), v.timeout())
	defer cancel()
	return v.store.EnsureIndexes(ctx)
}

func hasIndexes(_ *visit, indexes map[string]bson.Raw) bool {
	return isTTL(indexes) && indexes["user_1"] != nil
}

func isTTL(indexes map[string]bson.Raw) bool {
	seconds, err := indexes["expires_1"].LookupErr("expireAfterSeconds")
	return err == nil && seconds.AsInt64() == 0
}

func firstError(err error, right bool) error {
	if err == nil && !right {
		return errors.New("a success with a wrong answer")
	}
	return err
}

// listed returns the error of a list, or one if it is not n records long.
func listed(list func(func(mongostore.Record, error) bool), n int) error {
	got := 0
	for _, err := range list {
		if err != nil {
			return err
		}
		got++
	}
	if got != n {
		return fmt.Errorf("%d records, want %d", got, n)
	}
	return nil
}

// manyRecords are more than a first batch has, which is 101.
const manyRecords = 120

func many(v *visit) {
	docs := make([]any, manyRecords)
	for i := range docs {
		docs[i] = bystander(fmt.Sprintf("MANY%03d", i))
	}
	_, err := v.calm.InsertMany(v.t.Context(), docs)
	v.must(err)
}

// bystander is a session of somebody else.
func bystander(id string) bson.D {
	return bson.D{
		{Key: "_id", Value: id},
		{Key: "token", Value: make([]byte, 32)},
		{Key: "name", Value: cookieName},
		{Key: "session", Value: "{}"},
		{Key: "expires", Value: time.Now().Add(time.Hour)},
		{Key: "createdAt", Value: time.Now()},
		{Key: "updatedAt", Value: time.Now()},
		{Key: "version", Value: int64(1)},
	}
}
