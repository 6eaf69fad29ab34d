package mongostore_test

import (
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// unauthorized is the code of the server's error for what a user may not do.
const unauthorized = 13

// without returns the actions but for one.
func without(actions []string, action string) []string {
	return slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a == action })
}

// drained returns the first error of a list.
func drained(list iter.Seq2[mongostore.Record, error]) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// inRequests are the things that a store without indexes to make does to its collection, each with the
// session of a browser that is logged in.
var inRequests = map[string]func(t *testing.T, store *mongostore.Store, b *browser) error{
	"load": func(t *testing.T, store *mongostore.Store, b *browser) error { return b.load(t, store).err },
	"login": func(t *testing.T, store *mongostore.Store, _ *browser) error {
		return new(browser).load(t, store).save()
	},
	"changed": func(t *testing.T, store *mongostore.Store, b *browser) error {
		v := b.load(t, store)
		v.Values["n"] = 2
		return v.save()
	},
	"regenerate": func(t *testing.T, store *mongostore.Store, b *browser) error {
		v := b.load(t, store)
		store.Regenerate(v.Session)
		return v.save()
	},
	"logout": func(t *testing.T, store *mongostore.Store, b *browser) error {
		v := b.load(t, store)
		v.Options.MaxAge = -1
		return v.save()
	},
	"All": func(t *testing.T, store *mongostore.Store, _ *browser) error { return drained(store.All(t.Context())) },
	"ByUser": func(t *testing.T, store *mongostore.Store, _ *browser) error {
		return drained(store.ByUser(t.Context(), "ada"))
	},
	"Count": func(t *testing.T, store *mongostore.Store, _ *browser) error {
		_, err := store.Count(t.Context())
		return err
	},
	"DestroyByUser": func(t *testing.T, store *mongostore.Store, _ *browser) error {
		_, err := store.DestroyByUser(t.Context(), "ada")
		return err
	},
	"RemoveExpired": func(t *testing.T, store *mongostore.Store, _ *browser) error {
		_, err := store.RemoveExpired(t.Context())
		return err
	},
	"Clear": func(t *testing.T, store *mongostore.Store, _ *browser) error { return store.Clear(t.Context()) },
}

// The README tells operators to give an application these actions and no more.
func TestTheRoleForRequestsIsEnoughAndNeedsEachOfItsActions(t *testing.T) {
	t.Parallel()
	server := mongotest.Secured(t)
	for lacking, want := range map[string][]string{
		"":       nil,
		"find":   {"All", "ByUser", "Count", "RemoveExpired", "changed", "load", "regenerate"},
		"insert": {"login"},
		"update": {"changed", "regenerate"},
		"remove": {"Clear", "DestroyByUser", "RemoveExpired", "logout"},
	} {
		t.Run("lacking "+lacking, func(t *testing.T) {
			t.Parallel()
			var refused []string
			for what, do := range inRequests {
				p := onMongoDB(t, server)
				cfg := users()
				cfg.AutoRemove = mongostore.AutoRemoveDisabled // no index of the server removes what RemoveExpired is to find
				b := start(t, p.store(cfg), map[any]any{"user": "ada"})
				expired := bson.D{{Key: "_id", Value: "x"}, {Key: "expires", Value: time.Now().Add(-time.Hour)}}
				if _, err := p.coll.InsertOne(t.Context(), expired); err != nil {
					t.Fatal(err)
				}
				p.coll = asUser(t, server, p.coll, without(mongotest.RequestActions, lacking)...)
				cfg.NoIndexes = true
				err := do(t, p.store(cfg), b)
				if err != nil && !strings.Contains(err.Error(), "not authorized") {
					t.Errorf("%s: %v, want one of permissions", what, err)
				}
				if err != nil {
					refused = append(refused, what)
				}
			}
			if slices.Sort(refused); !slices.Equal(refused, want) {
				t.Errorf("refused: %q, want %q", refused, want)
			}
		})
	}
}

// The README tells operators to make the indexes with these actions, at deploy or when the application starts.
func TestTheRoleForIndexesIsEnoughAndNeedsEachOfItsActions(t *testing.T) {
	t.Parallel()
	server := mongotest.Secured(t)
	other := onExpires(bson.E{Key: "name", Value: "expires_1"}, bson.E{Key: "expireAfterSeconds", Value: 60})
	for lacking, want := range map[string]struct{ fresh, repaired bool }{
		"":            {true, true},
		"createIndex": {false, false},
		"listIndexes": {true, false},
		"collMod":     {true, false},
	} {
		t.Run("lacking "+lacking, func(t *testing.T) {
			t.Parallel()
			ensure := func(index bson.D) error {
				p := onMongoDB(t, server)
				if index != nil {
					makeIndex(t, p.coll, index)
				}
				p.coll = asUser(t, server, p.coll, without(mongotest.IndexActions, lacking)...)
				cfg := users()
				cfg.NoIndexes = true
				return p.store(cfg).EnsureIndexes(t.Context())
			}
			for what, row := range map[string]struct {
				index bson.D
				works bool
			}{"a new collection": {nil, want.fresh}, "another expireAfterSeconds": {other, want.repaired}} {
				if err := ensure(row.index); (err == nil) != row.works || err != nil && !mongoCode(err, unauthorized) {
					t.Errorf("%s: %v, want success: %v", what, err, row.works)
				}
			}
		})
	}
}

func TestREADMERoleIsTheOneThatTheTestsUse(t *testing.T) {
	t.Parallel()
	readme := readFile(t, "README.md")
	for _, actions := range [][]string{mongotest.RequestActions, mongotest.IndexActions} {
		if quoted := `actions: ["` + strings.Join(actions, `", "`) + `"]`; !strings.Contains(readme, quoted) {
			t.Errorf("the README has no role with %s", quoted)
		}
	}
}
