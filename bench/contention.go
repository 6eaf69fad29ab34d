package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

const contenders = 32

// contention has very many requests at once change one session, each a key of
// its own, through one store and through several, as several processes have.
func (sc scaling) contention(ctx context.Context, b *bed) error {
	b.printf("## Contention\n\n%d requests at once change one session, each a key of its own, in %d rounds, each of a new session; afterwards all keys must be there.\n\n", contenders, sc.clashes)
	b.printf("| | failures | commands per request |\n|---|---|---|\n")
	for _, n := range []int{1, 4} {
		stores, err := storesOn(ctx, b, n)
		if err != nil {
			return err
		}
		before, err := mongoCommands(ctx, b.client)
		if err != nil {
			return err
		}
		failures := 0
		for range sc.clashes {
			failed, err := contend(ctx, stores)
			if err != nil {
				return err
			}
			failures += failed
		}
		after, err := mongoCommands(ctx, b.client)
		if err != nil {
			return err
		}
		// The session's creation and the look at the end are not the requests'.
		commands := float64(after-before-int64(2*sc.clashes)) / float64(contenders*sc.clashes)
		b.printf("| %d %s | %d of %d | %.1f |\n", n, plural(n, "process", "processes"), failures, contenders*sc.clashes, commands)
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// storesOn opens stores that share a collection and no locks.
func storesOn(ctx context.Context, b *bed, n int) ([]*mongostore.Store, error) {
	var stores []*mongostore.Store
	for range n {
		store, err := mongostore.New(ctx, b.database.Collection("contended"), nil, signingKey)
		if err != nil {
			return nil, err
		}
		stores = append(stores, store)
	}
	return stores, nil
}

// contend runs one round and returns how many requests failed.
func contend(ctx context.Context, stores []*mongostore.Store) (failed int, err error) {
	cookie, err := setKey(ctx, stores[0], "", "first")
	if err != nil {
		return 0, err
	}
	var failures atomic.Int64
	var requests sync.WaitGroup
	for i := range contenders {
		requests.Go(func() {
			if _, err := setKey(ctx, stores[i%len(stores)], cookie, fmt.Sprint("key", i)); err != nil {
				failures.Add(1)
			}
		})
	}
	requests.Wait()
	failed = int(failures.Load())
	session, err := stores[0].New(requestWith(ctx, cookie), cookieName)
	if want := 1 + contenders - failed; err == nil && len(session.Values) != want {
		err = fmt.Errorf("the contended session has %d keys, and %d were stored", len(session.Values), want)
	}
	return failed, err
}

// setKey is a request that sets one key of a session.
func setKey(ctx context.Context, store sessions.Store, cookie, key string) (string, error) {
	r, w := requestWith(ctx, cookie), httptest.NewRecorder()
	session, err := store.Get(r, cookieName)
	if err != nil {
		return "", err
	}
	session.Values[key] = true
	if err := session.Save(r, w); err != nil {
		return "", err
	}
	return cookieOf(w.Header())
}

func requestWith(ctx context.Context, cookie string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}
