package mongostore

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mongostore/mongostore/internal/record"
)

const (
	// removalGrace is how long an expired record is left alone, since the clocks of machines differ.
	removalGrace = time.Minute
	// removalRest is how many times as long as a batch took the removal rests after it, so that requests do not notice.
	removalRest = 4
)

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

// stop ends the goroutine, if it runs, and waits for it.
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
		if sleep(ctx, interval-interval/10+rand.N(interval/5)) != nil { //nolint:gosec // jitter
			return
		}
		if _, err := s.RemoveExpired(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("mongostore: removing expired sessions failed; it will be tried again", "error", err, "in", interval)
		}
	}
}

// RemoveExpired deletes the sessions that expired at least a minute ago and returns how many, also beside an error. It
// works in small batches with rests, so that requests do not notice. Call it from cron under AutoRemoveDisabled; several
// may run at once. Each batch takes at most Config.Timeout; ctx bounds the whole. Its error is ErrUnavailable.
func (s *Store) RemoveExpired(ctx context.Context) (removed int64, err error) {
	err = s.observed(ctx, func(ctx context.Context) (Event, error) {
		removed, err = s.removeBatches(ctx, s.now().Add(-removalGrace))
		return Event{Op: OpRemoveExpired, Removed: removed, Err: err}, err
	})
	return removed, err
}

func (s *Store) removeBatches(ctx context.Context, until time.Time) (removed int64, err error) {
	for found := record.RemovalBatch; found == record.RemovalBatch && err == nil; {
		var n int64
		began := time.Now()
		found, n, err = s.removeBatch(ctx, until)
		removed += n
		if found == record.RemovalBatch && err == nil {
			err = sleep(ctx, removalRest*time.Since(began))
		}
	}
	return removed, unavailable(err)
}

func (s *Store) removeBatch(ctx context.Context, until time.Time) (int, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.server.backend.RemoveBatch(ctx, until)
}
