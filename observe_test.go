package mongostore_test

import (
	"context"
	"sync"

	"github.com/mongostore/mongostore"
)

// audit keeps the events of a store.
type audit struct {
	mu     sync.Mutex
	events []mongostore.Event
}

func (a *audit) observe(_ context.Context, e mongostore.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

// take returns the events since the last take.
func (a *audit) take() []mongostore.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	events := a.events
	a.events = nil
	return events
}
