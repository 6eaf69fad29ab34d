package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// secret is a value of every session: no error may tell it.
const secret = "hush-9f31"

// site is stores on one collection, and that collection by another client,
// which meets no fault.
type site struct {
	stores map[kind]*mongostore.Store
	calm   *mongo.Collection
}

// kind is how a store is configured.
type kind struct {
	plain     bool // PlainIDs
	impatient bool // the driver repeats a read that always fails until Timeout
}

func (k kind) timeout() time.Duration {
	if k.impatient {
		return 2 * time.Second
	}
	return 15 * time.Second
}

// newSite makes a site on a server; uri and opts are of the client that meets
// the fault.
func newSite(t *testing.T, server *mongotest.Server, uri string, opts ...*options.ClientOptions) *site {
	t.Helper()
	calm := server.Database(t).Collection("sessions")
	opts = append([]*options.ClientOptions{options.Client().ApplyURI(uri)}, opts...)
	client, err := mongo.Connect(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) })
	coll := client.Database(calm.Database().Name()).Collection(calm.Name())
	s := &site{make(map[kind]*mongostore.Store), calm}
	for _, k := range []kind{{}, {plain: true}, {impatient: true}, {plain: true, impatient: true}} {
		s.stores[k] = openStore(t, coll, k)
	}
	return s
}

func openStore(t *testing.T, coll *mongo.Collection, k kind) *mongostore.Store {
	t.Helper()
	cfg := &mongostore.Config{
		PayloadCodec: mongostore.JSONCodec{}, AutoRemove: mongostore.AutoRemoveNative, NoIndexes: true,
		Timeout: k.timeout(), PlainIDs: k.plain, UserID: userOf,
		Logger: slog.New(slog.DiscardHandler),
	}
	store, err := mongostore.New(t.Context(), coll, cfg, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func userOf(s *sessions.Session) string {
	user, _ := s.Values["user"].(string)
	return user
}

// visit is a browser with its session, and the last request that it sent.
type visit struct {
	*site
	kind
	store   *mongostore.Store
	t       *testing.T
	session *sessions.Session
	r       *http.Request
	w       *httptest.ResponseRecorder
	cookie  string              // the browser's; "": none
	first   string              // the cookie that it began with
	id      string              // of the record that it began with
	before  map[string]bson.Raw // what was stored before the fault
}

// load sends a request with the browser's cookie.
func (v *visit) load() error {
	v.request(v.cookie)
	var err error
	v.session, err = v.store.Get(v.r, cookieName)
	if v.session == nil {
		v.t.Fatal("Get returned a nil session")
	}
	return err
}

func (v *visit) request(cookie string) {
	v.r = httptest.NewRequestWithContext(v.t.Context(), http.MethodGet, "https://example.com/", nil)
	v.w = httptest.NewRecorder()
	if cookie != "" {
		v.r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	}
}

// save saves the session; the answer is a new one each time.
func (v *visit) save() error {
	v.w = httptest.NewRecorder()
	return v.session.Save(v.r, v.w)
}

// answered says what the answer does to the browser's cookie, and does it.
func (v *visit) answered() string {
	cookies := (&http.Response{Header: v.w.Header()}).Cookies()
	switch {
	case len(cookies) == 0:
		return "none"
	case len(cookies) > 1:
		return "several"
	case cookies[0].MaxAge < 0:
		v.cookie = ""
		return "expired"
	}
	v.cookie = cookies[0].Value
	return "set"
}

// start stores a session, which must work, and loads it.
func (v *visit) start() {
	v.t.Helper()
	v.works(v.load)
	v.session.Values["n"], v.session.Values["user"], v.session.Values["secret"] = "1", "ann", secret
	v.works(v.save)
	v.answered()
	v.first = v.cookie
	v.works(v.load)
}

// forget makes the browser a new visitor's.
func (v *visit) forget() {
	v.works(func() error { return v.store.Destroy(v.t.Context(), v.id) })
	v.cookie, v.first, v.id = "", "", ""
}

// works fails the test unless a call works in the end: the driver may not know
// yet that its server is well.
func (v *visit) works(call func() error) {
	v.t.Helper()
	v.must(patiently(call))
}

// patience is how long a server may take to recover, for a slow machine.
const patience = time.Minute

// patiently repeats a call while the store is unavailable.
func patiently(call func() error) error {
	err := call()
	for end := time.Now().Add(patience); nameOf(err) == "ErrUnavailable" && time.Now().Before(end); {
		err = call()
	}
	return err
}

func (v *visit) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// edit changes the stored session as the outside may.
func (v *visit) edit(field string, value any) {
	v.t.Helper()
	_, err := v.calm.UpdateOne(v.t.Context(), bson.D{{Key: "_id", Value: v.session.ID}},
		bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}})
	v.must(err)
}

// documents are the records as the server has them, by id.
func (v *visit) documents() map[string]bson.Raw {
	v.t.Helper()
	cursor, err := v.calm.Find(v.t.Context(), bson.D{})
	v.must(err)
	var all []bson.Raw
	v.must(cursor.All(v.t.Context(), &all))
	byID := make(map[string]bson.Raw, len(all))
	for _, raw := range all {
		byID[raw.Lookup("_id").StringValue()] = raw
	}
	return byID
}

// indexesByName are those of the collection.
func (v *visit) indexesByName() map[string]bson.Raw {
	v.t.Helper()
	cursor, err := v.calm.Indexes().List(v.t.Context())
	v.must(err)
	var all []bson.Raw
	v.must(cursor.All(v.t.Context(), &all))
	byName := make(map[string]bson.Raw, len(all))
	for _, raw := range all {
		byName[raw.Lookup("name").StringValue()] = raw
	}
	return byName
}

// sentinels are the errors of the store, by name.
var sentinels = map[string]error{
	"ErrNotFound": mongostore.ErrNotFound, "ErrInvalidCookie": mongostore.ErrInvalidCookie,
	"ErrUnavailable": mongostore.ErrUnavailable, "ErrDecode": mongostore.ErrDecode,
	"ErrConflict": mongostore.ErrConflict, "ErrTooLarge": mongostore.ErrTooLarge,
}

// nameOf says which sentinel an error is; it must be one alone.
func nameOf(err error) string {
	if err == nil {
		return "success"
	}
	var names []string
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "an error"
	}
	slices.Sort(names)
	return strings.Join(names, " and ")
}

// told returns what an error tells that it must not.
func (v *visit) told(err error) error {
	if err == nil {
		return nil
	}
	for _, cookie := range []string{v.cookie, v.first} {
		if cookie == "" {
			continue
		}
		var text []byte
		v.must(v.store.Codecs[0].Decode(cookieName, cookie, &text))
		_, proof, split := strings.Cut(string(text), ".")
		for _, hidden := range []string{cookie, proof, secret} {
			if (split || hidden != proof) && strings.Contains(fmt.Sprintf("%v %+v", err, err), hidden) {
				return fmt.Errorf("the error tells %q", hidden)
			}
		}
	}
	return nil
}
