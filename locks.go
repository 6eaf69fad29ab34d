package mongostore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mongostore/mongostore/internal/record"
)

// locks let one Save at a time work on a session that several are changing. A Save takes one, after a conflict.
type locks struct {
	mu    sync.Mutex
	taken map[string]*lock
}

// lock is that of one session, while anybody holds it or waits for it.
type lock struct {
	locks *locks
	id    string
	held  chan struct{}
	users int           // who hold it or wait for it; guarded by locks.mu
	last  record.Record // what a holder wrote, for those who wait; the holder's to read and set
}

// take waits for the lock of a session, but not longer than wait: who holds it may be waiting for this one, in a callback.
// Then the lock is nil, and one goes on without. The error is ErrUnavailable: ctx has ended.
func (l *locks) take(ctx context.Context, id string, wait time.Duration) (*lock, error) {
	l.mu.Lock()
	k, ok := l.taken[id]
	if !ok {
		k = &lock{locks: l, id: id, held: make(chan struct{}, 1)}
		l.taken[id] = k
	}
	k.users++
	l.mu.Unlock()
	select {
	case k.held <- struct{}{}:
		return k, nil
	case <-time.After(wait):
		k.leave()
		return nil, nil
	case <-ctx.Done():
		k.leave()
		return nil, fmt.Errorf("mongostore: %w: %w", ErrUnavailable, ctx.Err())
	}
}

// release ends what take began; a nil lock was not taken.
func (k *lock) release() {
	if k != nil {
		<-k.held
		k.leave()
	}
}

// leave drops a lock that nobody needs any more, and with it what was left there.
func (k *lock) leave() {
	k.locks.mu.Lock()
	defer k.locks.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(k.locks.taken, k.id)
	}
}

// backOff lets others go first: a moment that varies, and grows with the number of conflicts. Its error is ErrUnavailable.
func backOff(ctx context.Context, conflicts int) error {
	err := sleep(ctx, rand.N(time.Duration(min(conflicts, 10))*time.Millisecond)) //nolint:gosec // no secret
	if err != nil {
		return fmt.Errorf("mongostore: %w: %w", ErrUnavailable, err)
	}
	return nil
}

// sleep waits, unless ctx ends before: then with its error.
func sleep(ctx context.Context, d time.Duration) error {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
