package mongostore

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// removalGrace is how long an expired record is left alone: the clocks of several machines differ.
const removalGrace = time.Minute

// removalRest is how much longer than a batch took it rests before the next one: a backlog is to be removed
// without requests noticing, and there is no hurry.
const removalRest = 4

// removal is the goroutine that deletes expired sessions each RemoveInterval.
type removal struct {
	mu     sync.Mutex
	cancel context.CancelFunc // nil: not running
	done   chan struct{}
}

func (l *removal) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.done = cancel, make(chan struct{})
	go l.run(ctx, s)
}

// stop ends the goroutine and waits for it; one that does not run is fine.
func (l *removal) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
		<-l.done
		l.cancel = nil
	}
}

func (l *removal) run(ctx context.Context, s *Store) {
	defer close(l.done)
	for {
		interval := s.cfg.RemoveInterval
		if rest(ctx, interval-interval/10+rand.N(interval/5)) != nil { //nolint:gosec // jitter
			return
		}
		if _, err := s.RemoveExpired(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("mongostore: removing expired sessions failed; it will be tried again", "error", err, "in", interval)
		}
	}
}

// RemoveExpired deletes the sessions that expired a minute ago or more, in small batches with rests, so that
// requests do not notice, and returns how many.
// It is for AutoRemoveDisabled, called from cron; running it beside another removal is harmless. Each
// batch takes Config.Timeout at most; ctx bounds the whole. Errors are ErrUnavailable, and removed counts
// what was deleted before.
func (s *Store) RemoveExpired(ctx context.Context) (removed int64, err error) {
	done := s.watch(ctx)
	until := s.now().Add(-removalGrace)
	for found := removalBatch; found == removalBatch && err == nil; {
		var n int64
		began := time.Now()
		found, n, err = s.removeBatch(ctx, until)
		removed += n
		if found == removalBatch && err == nil {
			err = rest(ctx, removalRest*time.Since(began))
		}
	}
	err = unavailable(err)
	done(Event{Op: OpRemoveExpired, Removed: removed, Err: err})
	return removed, err
}

func (s *Store) removeBatch(ctx context.Context, until time.Time) (int, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.backend.removeBatch(ctx, until)
}

// rest waits, unless ctx ends before: then with its error.
func rest(ctx context.Context, d time.Duration) error {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
