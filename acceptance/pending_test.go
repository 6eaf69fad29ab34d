package acceptance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// TestAPendingRecordIsNobodysSession signs a cookie for the successor of a renewal of a plain id that was given up,
// as nobody has it: what its predecessor has become decides, and only a tombstone that names it lets it in.
func TestAPendingRecordIsNobodysSession(t *testing.T) {
	t.Parallel()
	n := scenario.New(t, "successors of renewals that were given up", "one request per case")
	coll := mongotest.Standalone(t).Database(t).Collection("sessions")
	store, err := mongostore.New(t.Context(), coll, &mongostore.Config{PlainIDs: true, PayloadCodec: mongostore.JSONCodec{}}, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	now := time.Now()
	common := bson.D{{Key: "name", Value: name}, {Key: "createdAt", Value: now}, {Key: "updatedAt", Value: now}}
	session := func(id string, more ...bson.E) bson.D {
		return append(append(bson.D{{Key: "_id", Value: id}}, common...), more...)
	}
	tombstone := func(id, next string, by int64) bson.D {
		return session(id, bson.E{Key: "token", Value: []byte{}}, bson.E{Key: "session", Value: nil}, bson.E{Key: "expires", Value: nil},
			bson.E{Key: "forget", Value: now.Add(time.Minute)}, bson.E{Key: "next", Value: next}, bson.E{Key: "by", Value: by})
	}
	live := func(id string) bson.D {
		return session(id, bson.E{Key: "session", Value: "{}"}, bson.E{Key: "expires", Value: now.Add(time.Hour)}, bson.E{Key: "version", Value: int64(1)})
	}
	const version = int64(7)
	for i, c := range []struct {
		name        string
		predecessor func(old, pending string) bson.D // nil: there is none
		in          bool
	}{
		{"predecessor live", func(old, _ string) bson.D { return live(old) }, false},
		{"predecessor gone", nil, false},
		{"predecessor renewed by another request", func(old, _ string) bson.D { return tombstone(old, "ANOTHER", 5) }, false},
		{"predecessor renewed by another attempt", func(old, pending string) bson.D { return tombstone(old, pending, 5) }, false},
		{"predecessor renewed by this one", func(old, pending string) bson.D { return tombstone(old, pending, version) }, true},
	} {
		old, pending := fmt.Sprintf("OLD%d", i), fmt.Sprintf("PENDING%d", i)
		docs := []any{session(pending, bson.E{Key: "session", Value: `{"a":"1"}`}, bson.E{Key: "expires", Value: nil},
			bson.E{Key: "version", Value: version}, bson.E{Key: "forget", Value: now.Add(time.Minute)}, bson.E{Key: "replaces", Value: old})}
		if c.predecessor != nil {
			docs = append(docs, c.predecessor(old, pending))
		}
		if _, err := coll.InsertMany(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
		got, err := loadsWith(t, store, pending)
		if err != nil {
			t.Fatal(err)
		}
		n.Requests.Add(1)
		if got != c.in {
			n.Violation("%s: the cookie of its successor lets in: %v, want %v", c.name, got, c.in)
		}
	}
}

// loadsWith sends a request with a cookie of this plain id, and tells whether a session was loaded.
func loadsWith(t *testing.T, store *mongostore.Store, id string) (bool, error) {
	t.Helper()
	value, err := securecookie.EncodeMulti(name, []byte(id), store.Codecs...)
	if err != nil {
		return false, err
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, site.String(), nil)
	r.AddCookie(&http.Cookie{Name: name, Value: value})
	s, err := store.Get(r, name)
	return !s.IsNew, err
}
