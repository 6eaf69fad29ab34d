package mongostore

import (
	"bytes"
	"context"
	"slices"
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
	cur, ok := m.guarded(g)
	if !ok {
		return false, nil
	}
	if s != editing || rec.expires.After(cur.expires) {
		cur.expires = rec.expires
	}
	cur.updatedAt = rec.updatedAt
	if s != deadline {
		cur.session, cur.version, cur.user, cur.maxAge, cur.createdAt = rec.session, rec.version, rec.user, rec.maxAge, rec.createdAt
	}
	if s == renewal {
		cur.token, cur.labels = rec.token, rec.labels
	}
	m.records[g.id] = cur
	return true, nil
}

// guarded returns the record that passes the guard; m.mu is held.
func (m *memory) guarded(g guard) (record, bool) {
	cur, ok := m.records[g.id]
	ok = ok && bytes.Equal(cur.token, g.token) && cur.version == g.version && cur.expires.After(g.now) &&
		(g.session.IsZero() || g.session.Equal(cur.session))
	return cur, ok
}

func (m *memory) delete(_ context.Context, id string, token []byte) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cur, ok := m.records[id]; ok && (token == nil || bytes.Equal(cur.token, token)) {
		delete(m.records, id)
		return 1, nil
	}
	return 0, nil
}

func (m *memory) deleteGuarded(_ context.Context, g guard) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.guarded(g)
	if ok {
		delete(m.records, g.id)
	}
	return ok, nil
}

func (m *memory) prolong(_ context.Context, id string, now, expires time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cur, ok := m.records[id]
	if !ok || !cur.expires.After(now) {
		return false, nil
	}
	cur.updatedAt = now
	if expires.After(cur.expires) {
		cur.expires = expires
	}
	m.records[id] = cur
	return true, nil
}

func (a alive) fits(rec *record) bool {
	return rec.expires.After(a.now) && (a.plain && rec.createdAt.IsZero() || rec.createdAt.After(a.createdAfter))
}

func (m *memory) count(_ context.Context, alive alive) (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rec := range m.records {
		if alive.fits(&rec) {
			n++
		}
	}
	return n, nil
}

func (m *memory) list(_ context.Context, alive alive, user string, yield func(*record, error) bool) {
	m.mu.Lock()
	var all []record
	for _, rec := range m.records {
		if alive.fits(&rec) && (user == "" || rec.user == user) {
			all = append(all, rec)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b record) int {
		if user != "" {
			return b.updatedAt.Compare(a.updatedAt)
		}
		return b.expires.Compare(a.expires)
	})
	for i := range all {
		if !yield(&all[i], nil) {
			return
		}
	}
}

func (m *memory) deleteUser(_ context.Context, user string, except []string) (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, rec := range m.records {
		if rec.user == user && !slices.Contains(except, id) {
			delete(m.records, id)
			n++
		}
	}
	return n, nil
}

func (m *memory) clear(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.records)
	clear(m.records)
	return int64(n), nil
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
