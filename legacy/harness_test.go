package legacy_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

func TestMain(m *testing.M) {
	gob.Register(time.Time{})
	mongotest.Main(m)
}

const (
	name = "sid"
	day  = 24 * time.Hour
)

var (
	signing    = []byte("0123456789abcdef0123456789abcdef")
	encryption = []byte("fedcba9876543210fedcba9876543210")
	values     = map[any]any{"user": "ada", "cart": []any{"tea", "milk"}, "n": 7}
)

// shape is what one of the stores leaves in MongoDB, field by field.
type shape struct {
	id  func() (stored any, inCookie string)
	doc func(data string, written time.Time) bson.D // the rest
}

func objectID() (any, string) {
	id := bson.NewObjectID()
	return id, id.Hex()
}

func hexText() (any, string) {
	id := bson.NewObjectID().Hex()
	return id, id
}

func base32Text() (any, string) {
	id := strings.Repeat("MFRGGZDFMZTWQ2LK", 4)[:40] + strings.ToUpper(bson.NewObjectID().Hex()[12:])
	return id, id
}

// dated returns the fields of a store that keeps its values as text.
func dated(field string) func(string, time.Time) bson.D {
	return func(data string, written time.Time) bson.D {
		return bson.D{{Key: "data", Value: data}, {Key: field, Value: written}}
	}
}

// native are those of go-stuff, with a maxAge of 30 days.
func native(_ string, written time.Time) bson.D {
	return bson.D{
		{Key: "data", Value: bson.D{{Key: "user", Value: "ada"}, {Key: "cart", Value: bson.A{"tea", "milk"}}, {Key: "n", Value: int32(7)}}},
		{Key: "modified_at", Value: written},
		{Key: "expires_at", Value: written.Add(30 * day)},
		{Key: "ttl", Value: written},
	}
}

var shapes = map[string]shape{
	"kidstuff":         {objectID, dated("modified")},
	"laziness-coders":  {base32Text, dated("modified")},
	"2-72":             {objectID, dated("modified")},
	"mcquackers":       {objectID, dated("last_modified")},
	"go-playground":    {objectID, dated("lastAccessed")},
	"go-stuff":         {objectID, native},
	"an id as hex":     {hexText, dated("modified")},
	"without any date": {objectID, func(data string, _ time.Time) bson.D { return bson.D{{Key: "data", Value: data}} }},
}

// old is a collection of before with one session in it, and the browser's cookie.
type old struct {
	*mongo.Collection
	cookie *http.Cookie
	id     any
}

// eachShape runs a test with a session that was saved some time ago.
func eachShape(t *testing.T, ago time.Duration, test func(t *testing.T, o *old)) {
	t.Helper()
	for what, shape := range shapes {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			test(t, leave(t, shape, ago))
		})
	}
}

// leave stores a session of a shape.
func leave(t *testing.T, shape shape, ago time.Duration) *old {
	t.Helper()
	return leaveOn(t, mongotest.Shared(t).Database(t), shape, ago)
}

func leaveOn(t *testing.T, db *mongo.Database, shape shape, ago time.Duration) *old {
	t.Helper()
	o := &old{Collection: db.Collection("sessions")}
	stored, id := shape.id()
	o.id, o.cookie = stored, &http.Cookie{Name: name, Value: signed(t, id, ago)}
	doc := append(bson.D{{Key: "_id", Value: stored}}, shape.doc(signed(t, values, ago), time.Now().Add(-ago))...)
	if _, err := o.InsertOne(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	return o
}

// signed returns what securecookie made of a value some time ago.
func signed(t *testing.T, value any, ago time.Duration) string {
	t.Helper()
	return sign(t, name, value, time.Now().Add(-ago))
}

// sign is securecookie.EncodeMulti at another time, and without its bound on the length.
func sign(tb testing.TB, name string, value any, at time.Time) string {
	tb.Helper()
	var plain bytes.Buffer
	if err := gob.NewEncoder(&plain).Encode(value); err != nil {
		tb.Fatal(err)
	}
	text := fmt.Sprintf("%d|%s|", at.Unix(), base64.URLEncoding.EncodeToString(plain.Bytes()))
	mac := hmac.New(sha256.New, signing)
	mac.Write([]byte(name + "|" + text[:len(text)-1]))
	return base64.URLEncoding.EncodeToString(mac.Sum([]byte(text)))
}

// set changes fields of the document.
func (o *old) set(t *testing.T, fields bson.D) {
	t.Helper()
	if _, err := o.UpdateByID(t.Context(), o.id, bson.D{{Key: "$set", Value: fields}}); err != nil {
		t.Fatal(err)
	}
}

// wantCount fails unless there are so many documents of before.
func (o *old) wantCount(t *testing.T, want int64) {
	t.Helper()
	n, err := o.CountDocuments(t.Context(), bson.D{})
	if err != nil || n != want {
		t.Errorf("%d documents, want %d; %v", n, want, err)
	}
}

// request is one of a browser with these cookies.
func request(ctx context.Context, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://example.com/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// wantKnown fails unless the store has the session.
func wantKnown(t *testing.T, store sessions.Store, cookies ...*http.Cookie) *sessions.Session {
	t.Helper()
	session, err := store.New(request(t.Context(), cookies...), name)
	if err != nil || session.IsNew || session.ID == "" {
		t.Fatalf("New: id %q, new %v, error %v", session.ID, session.IsNew, err)
	}
	if !maps.EqualFunc(session.Values, values, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Fatalf("values %v", session.Values)
	}
	return session
}

// wantUnknown fails unless the store gives a new session and an error that is target and says why.
func wantUnknown(t *testing.T, store sessions.Store, target error, why string, cookies ...*http.Cookie) {
	t.Helper()
	session, err := store.New(request(t.Context(), cookies...), name)
	if session == nil || !session.IsNew || session.ID != "" || len(session.Values) > 0 || session.Options == nil {
		t.Errorf("the session is %+v", session)
	}
	if !errors.Is(err, target) || !strings.Contains(fmt.Sprint(err), why) || !strings.HasPrefix(fmt.Sprint(err), "legacy: ") {
		t.Errorf("error %v; want %v because of %q", err, target, why)
	}
	for _, c := range cookies {
		if strings.Contains(fmt.Sprint(err), c.Value) {
			t.Errorf("the error holds the cookie: %v", err)
		}
	}
}
