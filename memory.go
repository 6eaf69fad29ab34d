package mongostore

import (
	"bytes"
	"context"
	"sync"
	"time"
)

// memory is the backend of NewMemory. It does what the collection's commands do, one at a time.
type memory struct {
	mu      sync.Mutex
	records map[string]record
	sweep   bool // delete expired records now and then, as a TTL index does
	inserts int
	now     func() time.Time
}

// sweepEvery is how many inserts pass between two sweeps.
const sweepEvery = 1000

func (m *memory) find(_ context.Context, id string) (*record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, ok := m.records[id]
	if !ok {
		return nil, errNoRecord
	}
	return &rec, nil
}

func (m *memory) insert(_ context.Context, rec *record) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.records[rec.id]; ok {
		return false, nil
	}
	m.records[rec.id] = *rec
	if m.inserts++; m.sweep && m.inserts%sweepEvery == 0 {
		m.remove(m.now().Add(-removalGrace))
	}
	return true, nil
}

func (m *memory) update(_ context.Context, g guard, rec *record, s scope) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cur, ok := m.records[g.id]
	if !ok || !bytes.Equal(cur.token, g.token) || cur.version != g.version || !cur.expires.After(g.now) {
		return false, nil
	}
	cur.expires, cur.updatedAt = rec.expires, rec.updatedAt
	if s >= payload {
		cur.session, cur.version, cur.user, cur.maxAge = rec.session, rec.version, rec.user, rec.maxAge
	}
	if s >= renewal {
		cur.token, cur.createdAt = rec.token, rec.createdAt
	}
	m.records[g.id] = cur
	return true, nil
}

func (m *memory) delete(_ context.Context, id string, token []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cur, ok := m.records[id]; ok && (token == nil || bytes.Equal(cur.token, token)) {
		delete(m.records, id)
	}
	return nil
}

func (m *memory) count(_ context.Context, expiresAfter, createdAfter time.Time) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n int64
	for _, rec := range m.records {
		if rec.expires.After(expiresAfter) && rec.createdAt.After(createdAfter) {
			n++
		}
	}
	return n, nil
}

func (m *memory) removeBatch(_ context.Context, until time.Time) (int, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 0, m.remove(until), nil
}

// remove deletes what expired at or before a moment; m.mu is held.
func (m *memory) remove(until time.Time) (removed int64) {
	for id, rec := range m.records {
		if !rec.expires.After(until) {
			delete(m.records, id)
			removed++
		}
	}
	return removed
}
