package mongostore

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/sessions"
)

// queue is a store whose Saves are made to wait for one lock. These tests are in the package, since nothing outside
// can tell who waits.
type queue struct {
	*testing.T
	store  *Store
	cookie *http.Cookie
}

func (q *queue) load() (*http.Request, *sessions.Session) {
	r := httptest.NewRequestWithContext(q.Context(), http.MethodGet, "https://example.com/", nil)
	if q.cookie != nil {
		r.AddCookie(q.cookie)
	}
	session, err := q.store.New(r, "sid")
	if err != nil {
		q.Fatal(err)
	}
	return r, session
}

func (q *queue) save(r *http.Request, session *sessions.Session) error {
	w := httptest.NewRecorder()
	err := q.store.Save(r, w, session)
	if cookies := w.Result().Cookies(); len(cookies) > 0 && q.cookie == nil {
		q.cookie = cookies[0]
	}
	return err
}

// set changes one value in a request of its own.
func (q *queue) set(key, value string) {
	q.Helper()
	r, session := q.load()
	session.Values[key] = value
	if err := q.save(r, session); err != nil {
		q.Fatal(err)
	}
}

// wait returns when so many are at a lock, one of them with it in hand.
func (q *queue) wait(k *lock, n int) {
	q.Helper()
	users := func() int {
		k.locks.mu.Lock()
		defer k.locks.mu.Unlock()
		return k.users
	}
	for end := time.Now().Add(time.Minute); users() != n; runtime.Gosched() {
		if time.Now().After(end) {
			q.Fatalf("%d are at the lock, want %d", users(), n)
		}
	}
}

// saveAfter saves a change of a session that was loaded after the last write of those who had the lock before.
func saveAfter(t *testing.T, cfg *Config, value string) (map[any]any, error) {
	t.Helper()
	store, err := NewMemory(cfg, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{T: t, store: store}
	q.set("a", "1")
	r1, first := q.load()
	id := first.ID
	stranger, _ := store.locks.take(t.Context(), id, time.Minute) // that another Save holds
	q.set("x", "1")                                               // so that the first one has to merge
	first.Values["first"] = "1"
	firstDone, failing := make(chan error), make(chan *lock)
	go func() { firstDone <- q.save(r1, first) }()
	q.wait(stranger, 2)
	go func() { s, _ := store.locks.take(t.Context(), id, time.Minute); failing <- s }() // of a Save that will fail
	q.wait(stranger, 3)
	stranger.release()
	if err := <-firstDone; err != nil {
		t.Fatal(err)
	}
	held := <-failing
	if held.last.ID != id {
		t.Fatal("nothing is left for those who wait")
	}
	q.set("a", "2") // needs no lock
	r2, second := q.load()
	q.set("b", "9")
	second.Values["a"] = value
	secondDone := make(chan error)
	go func() { secondDone <- q.save(r2, second) }()
	q.wait(held, 2)
	held.release()
	err = <-secondDone
	_, now := q.load()
	return now.Values, err
}

func TestR09WhatIsLeftForThoseWhoWaitMayBeOlderThanWhatTheyLoaded(t *testing.T) {
	t.Parallel()
	if values, err := saveAfter(t, &Config{Timeout: time.Minute}, "1"); err != nil || values["a"] != "1" || values["b"] != "9" {
		t.Errorf("stored: %v, %v; want the change back to 1", values, err)
	}
	if values, err := saveAfter(t, &Config{Timeout: time.Minute, OnConflict: OnConflictFail}, "3"); err != nil || values["a"] != "3" {
		t.Errorf("stored: %v, %v; want no conflict", values, err)
	}
}
