package record

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory is the backend of NewMemory. It does what the collection's commands do, one at a time.
type Memory struct {
	mu      sync.Mutex
	records map[string]Record
	expired func() time.Time // what expired before this is deleted now and then, as by a TTL index; nil: never
	inserts int
}

// NewMemory returns an empty one.
func NewMemory(expired func() time.Time) *Memory {
	return &Memory{records: make(map[string]Record), expired: expired}
}

// sweepEvery is how many inserts pass between two sweeps.
const sweepEvery = 1000

// Load implements [Sessions].
func (m *Memory) Load(_ context.Context, ids ...string) (records []Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if rec, ok := m.records[id]; ok {
			records = append(records, rec)
		}
	}
	return records, nil
}

// Find implements [Sessions].
func (m *Memory) Find(_ context.Context, id string) (*Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rec, ok := m.records[id]; ok {
		return &rec, nil
	}
	return nil, nil
}

// Insert implements [Sessions].
func (m *Memory) Insert(ctx context.Context, rec *Record) (bool, error) {
	m.mu.Lock()
	_, taken := m.records[rec.ID]
	if !taken {
		m.records[rec.ID] = *rec
		m.inserts++
	}
	sweep := !taken && m.expired != nil && m.inserts%sweepEvery == 0
	m.mu.Unlock()
	if sweep {
		_, _, _ = m.RemoveBatch(ctx, m.expired())
	}
	return !taken, nil
}

// Update implements [Sessions].
func (m *Memory) Update(_ context.Context, match Match, rec *Record, c Change) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cur, ok := m.records[match.ID]
	if !ok || !match.passes(&cur) {
		return false, nil
	}
	m.records[match.ID] = cur.changed(match, rec, c)
	return true, nil
}

// passes reports whether a record with the match's ID is the one that it describes.
func (m Match) passes(cur *Record) bool {
	live := cur.Expires.After(m.Now)
	if m.Now.IsZero() {
		live = cur.Expires.IsZero()
	}
	return live && (cur.Token == nil) == (m.Token == nil) && bytes.Equal(cur.Token, m.Token) && cur.Version == m.Version &&
		(m.Session.IsZero() || m.Session.Equal(cur.Session))
}

// changed returns a record that passed a match after a change to what is in rec.
func (cur Record) changed(m Match, rec *Record, c Change) Record {
	if c == Retire {
		return Record{
			ID: cur.ID, Token: []byte{}, Name: cur.Name, CreatedAt: cur.CreatedAt, UpdatedAt: rec.UpdatedAt,
			Version: cur.Version, Versions: cur.Versions, Forget: rec.Forget, Next: rec.Next, By: rec.By,
		}
	}
	switch {
	case c.dates():
		cur.Expires, cur.UpdatedAt = rec.Expires, rec.UpdatedAt
	case c == Prolong && rec.Expires.After(cur.Expires):
		cur.Expires = rec.Expires
	}
	if c.rewrites() {
		cur.Session, cur.Version, cur.Versions, cur.User = rec.Session, rec.Version, rec.Versions, rec.User
		cur.MaxAge, cur.Cookie = rec.MaxAge, rec.Cookie
	}
	if c == Renewal || c.rewrites() && m.Undated {
		cur.CreatedAt = rec.CreatedAt
	}
	switch c {
	case Renewal:
		cur.Token, cur.Labels = rec.Token, rec.Labels
	case Activate:
		cur.Forget, cur.Replaces = time.Time{}, ""
	}
	return cur
}

// Delete implements [Sessions].
func (m *Memory) Delete(_ context.Context, id string, token []byte) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cur, ok := m.records[id]
	fits := token == nil || len(token) == 0 && cur.Token == nil || len(token) > 0 && bytes.Equal(cur.Token, token)
	if !ok || !fits {
		return 0, nil
	}
	delete(m.records, id)
	return 1, nil
}

// Count implements [Admin].
func (m *Memory) Count(ctx context.Context, live Live) (n int64, err error) {
	m.List(ctx, live, "", func(*Record, error) bool {
		n++
		return true
	})
	return n, nil
}

// List implements [Admin].
func (m *Memory) List(_ context.Context, live Live, user string, yield func(*Record, error) bool) {
	var all []Record
	m.mu.Lock()
	for _, rec := range m.records {
		young := rec.CreatedAt.After(live.CreatedAfter) || live.Plain && rec.CreatedAt.IsZero()
		if young && rec.Expires.After(live.Now) && (rec.Next == "" || !live.Plain) && (user == "" || rec.User == user) {
			all = append(all, rec)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b Record) int {
		if user != "" {
			return b.UpdatedAt.Compare(a.UpdatedAt)
		}
		return b.Expires.Compare(a.Expires)
	})
	for i := range all {
		if !yield(&all[i], nil) {
			return
		}
	}
}

// DeleteUser implements [Admin].
func (m *Memory) DeleteUser(_ context.Context, user string, except []string) (int64, error) {
	return m.remove(func(id string, rec Record) bool { return rec.User == user && !slices.Contains(except, id) }), nil
}

// Clear implements [Admin].
func (m *Memory) Clear(context.Context) (int64, error) {
	return m.remove(func(string, Record) bool { return true }), nil
}

// RemoveBatch implements [Admin].
func (m *Memory) RemoveBatch(_ context.Context, until time.Time) (int, int64, error) {
	past := func(moment time.Time) bool { return !moment.IsZero() && !moment.After(until) }
	return 0, m.remove(func(_ string, rec Record) bool { return past(rec.Expires) || past(rec.Forget) }), nil
}

func (m *Memory) remove(which func(id string, rec Record) bool) (removed int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.records)
	maps.DeleteFunc(m.records, which)
	return int64(before - len(m.records))
}
