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

// startRemoval deletes expired sessions each RemoveInterval, in a goroutine. stop ends it and waits for that.
func (s *Store) startRemoval() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	interval := s.cfg.RemoveInterval
	running.Go(func() {
		for sleep(ctx, interval-interval/10+rand.N(interval/5)) == nil { //nolint:gosec // jitter
			if _, err := s.RemoveExpired(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("mongostore: removing expired sessions failed; it will be tried again", "error", err, "in", interval)
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
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
	for {
		began := time.Now()
		found, n, err := s.removeBatch(ctx, until)
		removed += n
		if found == record.RemovalBatch && err == nil {
			err = sleep(ctx, removalRest*time.Since(began))
		}
		if found < record.RemovalBatch || err != nil {
			return removed, unavailable(err)
		}
	}
}

func (s *Store) removeBatch(ctx context.Context, until time.Time) (int, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.server.backend.RemoveBatch(ctx, until)
}
