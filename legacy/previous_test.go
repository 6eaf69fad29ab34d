package legacy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/legacy"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// successor is the store that takes the sessions over, in a collection of its own.
func (o *old) successor(t *testing.T) *mongostore.Store {
	t.Helper()
	coll := o.Collection.Database().Collection("logins")
	store, err := mongostore.New(t.Context(), mongotest.ForStore(t, coll), &mongostore.Config{Previous: legacy.MongoStore(o.Collection, signing)}, signing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// wantSessions fails unless the successor has so many.
func wantSessions(t *testing.T, store *mongostore.Store, want int64) {
	t.Helper()
	if n, err := store.Count(t.Context()); err != nil || n != want {
		t.Errorf("%d sessions, want %d; %v", n, want, err)
	}
}

func TestSessionsOfEachStoreGoOnInTheNewOne(t *testing.T) {
	t.Parallel()
	eachShape(t, day, func(t *testing.T, o *old) {
		store := o.successor(t)
		r, w := request(t.Context(), o.cookie), httptest.NewRecorder()
		session, err := store.Get(r, name)
		if err != nil || session.IsNew || session.Values["user"] != "ada" {
			t.Fatalf("new %v, values %v, error %v", session.IsNew, session.Values, err)
		}
		o.wantCount(t, 1)
		session.Values["n"] = 8
		if err := session.Save(r, w); err != nil {
			t.Fatal(err)
		}
		o.wantCount(t, 0)
		wantSessions(t, store, 1)
		session, err = store.Get(request(t.Context(), w.Result().Cookies()...), name)
		if err != nil || session.Values["n"] != 8 || fmt.Sprint(session.Values["cart"]) != "[tea milk]" {
			t.Errorf("values %v, error %v", session.Values, err)
		}
	})
}

func TestTheRequestsOfAPageTakeASessionOverTogether(t *testing.T) {
	t.Parallel()
	eachShape(t, day, func(t *testing.T, o *old) {
		store := o.successor(t)
		cookies := make([][]*http.Cookie, 6)
		var page sync.WaitGroup
		for i := range cookies {
			page.Go(func() {
				r, w := request(t.Context(), o.cookie), httptest.NewRecorder()
				session, err := store.Get(r, name)
				if err != nil {
					t.Error(err)
					return
				}
				if session.IsNew { // it came after another one had taken the session over
					return
				}
				session.Values[fmt.Sprint("request", i)] = true
				if err := session.Save(r, w); err != nil {
					t.Error(err)
				}
				cookies[i] = w.Result().Cookies()
			})
		}
		page.Wait()
		o.wantCount(t, 0)
		wantSessions(t, store, 1)
		saved := 0
		for _, c := range cookies {
			if len(c) == 0 {
				continue
			}
			saved++
			session, err := store.Get(request(t.Context(), c...), name)
			if err != nil || session.Values["user"] != "ada" {
				t.Errorf("values %v, error %v", session.Values, err)
			}
		}
		if saved == 0 {
			t.Error("no request took the session over")
		}
	})
}

func TestALogoutEndsTheSessionInTheStoreOfBefore(t *testing.T) {
	t.Parallel()
	eachShape(t, day, func(t *testing.T, o *old) {
		store := o.successor(t)
		r := request(t.Context(), o.cookie)
		session, err := store.Get(r, name)
		if err != nil {
			t.Fatal(err)
		}
		session.Options.MaxAge = -1
		if err := session.Save(r, httptest.NewRecorder()); err != nil {
			t.Fatal(err)
		}
		o.wantCount(t, 0)
		wantSessions(t, store, 0)
	})
}

func TestAnOutageOfTheStoreOfBeforeLogsNobodyOut(t *testing.T) {
	t.Parallel()
	server := mongotest.Failing(t)
	o := leaveOn(t, server.Database(t), shapes["kidstuff"], 0)
	store, err := mongostore.NewMemory(&mongostore.Config{Previous: legacy.MongoStore(o.Collection, signing)}, signing)
	if err != nil {
		t.Fatal(err)
	}
	mend := server.FailCommand(t, mongotest.Fail{Commands: []string{"find"}, ErrorCode: 13})
	r, w := request(t.Context(), o.cookie), httptest.NewRecorder()
	session, err := store.Get(r, name)
	if !errors.Is(err, mongostore.ErrUnavailable) {
		t.Fatalf("Get: %v", err)
	}
	session.Values["n"] = 1
	if err := session.Save(r, w); !errors.Is(err, mongostore.ErrUnavailable) || len(w.Header()) > 0 {
		t.Errorf("Save: %v, header %v", err, w.Header())
	}
	mend()
	if session, err := store.Get(request(t.Context(), o.cookie), name); err != nil || session.Values["user"] != "ada" {
		t.Errorf("afterwards: values %v, error %v", session.Values, err)
	}
}

func TestADamagedSessionOfBeforeIsReportedAndStays(t *testing.T) {
	t.Parallel()
	o := leave(t, shapes["kidstuff"], time.Hour)
	o.set(t, bson.D{{Key: "data", Value: "damaged"}})
	store := o.successor(t)
	r, w := request(t.Context(), o.cookie), httptest.NewRecorder()
	session, err := store.Get(r, name)
	if !errors.Is(err, mongostore.ErrDecode) || !session.IsNew {
		t.Fatalf("Get: new %v, error %v", session.IsNew, err)
	}
	if err := session.Save(r, w); err != nil || len(w.Header()) > 0 {
		t.Errorf("Save: %v, header %v", err, w.Header())
	}
	o.wantCount(t, 1)
	wantSessions(t, store, 0)
	session.Values["n"] = 1
	if err := session.Save(r, w); err != nil || len(w.Header()) == 0 {
		t.Errorf("Save of new values: %v", err)
	}
	o.wantCount(t, 1)
	wantSessions(t, store, 1)
}
