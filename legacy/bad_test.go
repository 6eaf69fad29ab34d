package legacy_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/legacy"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

func TestCookiesThatDoNotVerifyAreInvalid(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	ofAnother := sign(t, "another", o.id.(bson.ObjectID).Hex(), time.Now())
	for what, value := range map[string]string{
		"garbage":                 "garbage",
		"an altered byte":         "A" + o.cookie.Value[1:],
		"of another session name": ofAnother,
		"beyond 4096 bytes":       strings.Repeat("A", 5000),
		"another value":           signed(t, 7, 0),
		"an empty id":             signed(t, "", 0),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantUnknown(t, legacy.MongoStore(o.Collection, signing), mongostore.ErrInvalidCookie, "", &http.Cookie{Name: name, Value: value})
		})
	}
	t.Run("other keys", func(t *testing.T) {
		t.Parallel()
		store := legacy.MongoStore(o.Collection, encryption)
		wantUnknown(t, store, mongostore.ErrInvalidCookie, "not valid", o.cookie)
		_, err := store.New(request(t.Context(), o.cookie), name)
		if e := securecookie.Error(nil); !errors.As(err, &e) || !e.IsDecode() {
			t.Errorf("%v is no securecookie.Error of decoding", err)
		}
		o.wantCount(t, 1)
	})
}

func TestDamagedDocumentsAreNamedAndStay(t *testing.T) {
	t.Parallel()
	ofAnother := sign(t, "another", values, time.Now())
	for what, c := range map[string]struct {
		update bson.D
		why    string
	}{
		"no data":                        {bson.D{{Key: "$unset", Value: bson.D{{Key: "data", Value: ""}}}}, `no field "data"`},
		"data of another type":           {bson.D{{Key: "$set", Value: bson.D{{Key: "data", Value: 7}}}}, "BSON 32-bit integer"},
		"data cut":                       {bson.D{{Key: "$set", Value: bson.D{{Key: "data", Value: "MTIzfGFi"}}}}, "these keys"},
		"data of another session name":   {bson.D{{Key: "$set", Value: bson.D{{Key: "data", Value: ofAnother}}}}, "this session name"},
		"data that is no map":            {bson.D{{Key: "$set", Value: bson.D{{Key: "data", Value: signed(t, "text", 0)}}}}, "gob"},
		"a date that is none":            {bson.D{{Key: "$set", Value: bson.D{{Key: "modified", Value: "today"}}}}, `"modified" is a BSON string`},
		"a deadline that is none":        {bson.D{{Key: "$set", Value: bson.D{{Key: "expires_at", Value: 1}}}}, `"expires_at" is a BSON`},
		"a document with damaged values": {bson.D{{Key: "$set", Value: bson.D{{Key: "data", Value: bson.D{{Key: "p", Value: bson.RawValue{Type: bson.TypeString, Value: []byte{2, 0, 0, 0, 0xff, 0}}}}}}}}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := leave(t, shapes["kidstuff"], 0)
			if _, err := o.UpdateByID(t.Context(), o.id, c.update); err != nil {
				t.Fatal(err)
			}
			store := legacy.MongoStore(o.Collection, signing)
			if c.why == "" { // it may be read, but nothing panics
				_, _ = store.New(request(t.Context(), o.cookie), name)
			} else {
				wantUnknown(t, store, mongostore.ErrDecode, c.why, o.cookie)
			}
			o.wantCount(t, 1)
		})
	}
}

func TestAMissingDocumentIsASessionThatEnded(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	for _, id := range []string{bson.NewObjectID().Hex(), "no hex", strings.Repeat("z", 24)} {
		wantUnknown(t, legacy.MongoStore(o.Collection, signing), mongostore.ErrNotFound, "ended", &http.Cookie{Name: name, Value: signed(t, id, 0)})
	}
}

func TestWrongArgumentsDoNotLookLikeALogout(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	for why, store := range map[string]*legacy.Store{
		"no collection": legacy.MongoStore(nil, signing),
		"no keys":       legacy.MongoStore(o.Collection),
		"key pair 1":    legacy.MongoStore(o.Collection, nil),
		"key pair 2":    legacy.MongoStore(o.Collection, signing, nil, signing, []byte("fifteen bytes..")),
	} {
		wantUnknown(t, store, mongostore.ErrUnavailable, why, o.cookie)
		session := sessions.NewSession(store, name)
		session.Options, session.ID = &sessions.Options{MaxAge: -1}, "x"
		if err := session.Save(request(t.Context()), httptest.NewRecorder()); !errors.Is(err, mongostore.ErrUnavailable) {
			t.Errorf("Save: %v", err)
		}
	}
}

func TestAnOutageIsNoLogout(t *testing.T) {
	t.Parallel()
	server := mongotest.Failing(t)
	o := leaveOn(t, server.Database(t), shapes["kidstuff"], 0)
	store := legacy.MongoStore(o.Collection, signing)
	session := wantKnown(t, store, o.cookie)

	mend := server.FailCommand(t, mongotest.Fail{Commands: []string{"find", "delete"}, ErrorCode: 13})
	wantUnknown(t, store, mongostore.ErrUnavailable, "", o.cookie)
	session.Options.MaxAge = -1
	w := httptest.NewRecorder()
	if err := session.Save(request(t.Context()), w); !errors.Is(err, mongostore.ErrUnavailable) || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("Save: %v, header %v", err, w.Header())
	}
	mend()
	wantKnown(t, store, o.cookie)

	server.FailCommand(t, mongotest.Fail{Commands: []string{"delete"}, CloseConnection: true, Times: 1})
	if err := session.Save(request(t.Context()), httptest.NewRecorder()); err != nil {
		t.Errorf("after a connection that broke once: %v", err)
	}
	o.wantCount(t, 0)
}

func TestARequestThatWasGivenUpStillFindsAndEndsItsSession(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	store := legacy.MongoStore(o.Collection, signing)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	session, err := store.New(request(ctx, o.cookie), name)
	if err != nil || session.IsNew {
		t.Fatalf("new %v, error %v", session.IsNew, err)
	}
	past, cancelPast := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancelPast()
	if _, err := store.New(request(past, o.cookie), name); !errors.Is(err, mongostore.ErrUnavailable) {
		t.Errorf("after the request's deadline: %v", err)
	}
	session.Options.MaxAge = -1
	if err := session.Save(request(ctx, o.cookie), httptest.NewRecorder()); err != nil {
		t.Error(err)
	}
	o.wantCount(t, 0)
}

func TestAnApplicationsTransactionTakesNoPart(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], 0)
	client := o.Collection.Database().Client()
	ours, err := client.StartSession()
	if err != nil {
		t.Fatal(err)
	}
	ours.EndSession(t.Context())
	ctx := mongo.NewSessionContext(t.Context(), ours) // one that has ended fails every command
	session, err := legacy.MongoStore(o.Collection, signing).New(request(ctx, o.cookie), name)
	if err != nil || session.IsNew {
		t.Errorf("new %v, error %v", session.IsNew, err)
	}
}
