package legacy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/legacy"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// unasked returns a store whose server is never asked.
func unasked(tb testing.TB) *legacy.Store {
	tb.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:1"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return legacy.MongoStore(client.Database("app").Collection("sessions"), signing)
}

// Whatever a document holds, it is a session or an error that says what it is.
func FuzzDocument(f *testing.F) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	data := sign(f, name, values, now)
	for _, doc := range []bson.D{
		dated("modified")(data, now), dated("last_modified")(data[1:], now), native("", now),
		{{Key: "data", Value: 7}},
		{{Key: "data", Value: bson.D{}}, {Key: "expires_at", Value: "never"}},
		{},
	} {
		raw, err := bson.Marshal(doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, name)
	}
	f.Add([]byte("\x0f\x00\x00\x00\x02data\x00\x00\x00\x00\x00\x00"), name) // a string without its end
	store := unasked(f)
	f.Fuzz(func(t *testing.T, doc []byte, name string) {
		values, err := store.Open(doc, name, now)
		if err == nil && values == nil {
			t.Error("no values and no error")
		}
		if err != nil && !errors.Is(err, mongostore.ErrDecode) && !errors.Is(err, mongostore.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
}

// Whatever a cookie holds, it names a session or is invalid.
func FuzzCookie(f *testing.F) {
	now := time.Now()
	for _, cookie := range []string{sign(f, name, "id", now), sign(f, name, 7, now), "", "MTIzfGFifA=="} {
		f.Add(cookie, name)
	}
	store := unasked(f)
	f.Fuzz(func(t *testing.T, cookie, name string) {
		id, err := store.Parse(name, cookie)
		if (err == nil) != (id != "") || err != nil && !errors.Is(err, mongostore.ErrInvalidCookie) {
			t.Errorf("id %q, error %v", id, err)
		}
	})
}
