package mongostore

import (
	"context"
	"hash/maphash"
	"sync/atomic"
)

// locks let one Save of this process at a time work on a session that several are changing. They are striped:
// sessions share them, but a Save takes at most one.
type locks struct {
	seed    maphash.Seed
	stripes [256]stripe
}

type stripe struct {
	held   chan struct{}
	inside atomic.Int32 // who waits for it or holds it
	last   *record      // what a holder wrote, for those who wait; the holder's to read and write
}

func newLocks() *locks {
	l := &locks{seed: maphash.MakeSeed()}
	for i := range l.stripes {
		l.stripes[i].held = make(chan struct{}, 1)
	}
	return l
}

// take waits for the lock of a session.
func (l *locks) take(ctx context.Context, id string) (*stripe, error) {
	s := &l.stripes[maphash.String(l.seed, id)%uint64(len(l.stripes))]
	alone := s.inside.Add(1) == 1
	select {
	case s.held <- struct{}{}:
		if alone { // a waiter that gave up may have left it behind
			s.last = nil
		}
		return s, nil
	case <-ctx.Done():
	}
	select {
	case s.held <- struct{}{}:
		s.release()
	default:
		s.inside.Add(-1)
	}
	return nil, ctx.Err()
}

// release ends what take began. What nobody waits for is dropped, but for what a waiter leaves that gives up just then.
func (s *stripe) release() {
	if s.inside.Add(-1) == 0 {
		s.last = nil
	}
	<-s.held
}
