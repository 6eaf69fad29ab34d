package mongostore

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/token"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// This file is all that the checker knows of the package's inside: the backend that it stands in front of, and where
// a Store keeps it and its clock.

// gate parks each command of an actor until the search says what becomes of it. Commands of nobody pass.
type gate struct {
	record.Backend
	ids *sync.Map // of the records that were ever inserted
}

func newGate(kept []*record.Record) *gate {
	g := &gate{record.NewMemory(nil), new(sync.Map)}
	for _, rec := range kept {
		_, _ = g.Backend.Insert(context.Background(), rec)
		g.ids.Store(rec.ID, nil)
	}
	return g
}

// copied returns what is stored now, to look at: a load may write, for it activates a successor.
func (g *gate) copied() record.Backend {
	memory := record.NewMemory(nil)
	for id := range g.ids.Range {
		if rec, _ := g.Backend.Find(context.Background(), id.(string)); rec != nil {
			_, _ = memory.Insert(context.Background(), rec)
		}
	}
	return memory
}

func (g *gate) Load(ctx context.Context, ids ...string) ([]record.Record, error) {
	return pass(ctx, command{verb: "load", id: strings.Join(ids, ",")}, func() ([]record.Record, bool) {
		records, err := g.Backend.Load(ctx, ids...)
		return records, err == nil
	})
}

func (g *gate) Find(ctx context.Context, id string) (*record.Record, error) {
	return pass(ctx, command{verb: "find", id: id}, func() (*record.Record, bool) {
		rec, err := g.Backend.Find(ctx, id)
		return rec, err == nil
	})
}

func (g *gate) Insert(ctx context.Context, rec *record.Record) (bool, error) {
	sent := *rec
	c := command{verb: "insert", id: rec.ID, write: true, creates: rec.ID, writes: true}
	if rec.Pending() { // nobody sees it before the old record is retired
		c = command{verb: "insert pending", id: rec.ID, write: true}
	}
	return pass(ctx, c, func() (bool, bool) {
		inserted, _ := g.Backend.Insert(ctx, &sent)
		g.ids.Store(rec.ID, nil)
		return inserted, inserted
	})
}

// verbs are the changes in words.
var verbs = map[record.Change]string{
	record.Deadline: "touch", record.Prolong: "touch as an administrator", record.Payload: "update", record.Renewal: "renew",
	record.Edit: "update as an administrator", record.Retire: "retire", record.Activate: "activate",
}

func (g *gate) Update(ctx context.Context, m record.Match, rec *record.Record, change record.Change) (bool, error) {
	sent := *rec
	c := command{verb: verbs[change], id: m.ID, write: true}
	switch change {
	case record.Payload, record.Edit:
		c.writes = rec.Version != m.Version
	case record.Renewal:
		c.renews, c.writes = true, true
	case record.Retire:
		c.renews, c.writes, c.next = true, true, rec.Next
	}
	if change == record.Edit && !c.writes {
		c.verb = "confirm"
	}
	return pass(ctx, c, func() (bool, bool) {
		matched, _ := g.Backend.Update(ctx, m, &sent, change)
		return matched, matched
	})
}

func (g *gate) Delete(ctx context.Context, id string, token []byte) (int64, error) {
	c := command{verb: "delete", id: id, write: true, ends: true}
	if rec, _ := g.Backend.Find(ctx, id); rec != nil && g.uncommitted(ctx, rec) { // it is no session yet
		c.verb, c.ends = "delete pending", false
	}
	return pass(ctx, c, func() (int64, bool) {
		n, _ := g.Backend.Delete(ctx, id, token)
		return n, n > 0
	})
}

func (g *gate) DeleteUser(ctx context.Context, user string, except []string) (int64, error) {
	return pass(ctx, command{verb: "delete those of the user", write: true, ends: true}, func() (int64, bool) {
		n, _ := g.Backend.DeleteUser(ctx, user, except)
		return n, n > 0
	})
}

// rewrite does what a program does that knows nothing of versions, such as Express with connect-mongo: it changes the
// record with this id, whatever that is by then. It makes one if there is none and change is willing.
func (g *gate) rewrite(ctx context.Context, c command, change func(rec *record.Record) bool) (done bool) {
	done, _ = pass(ctx, c, func() (bool, bool) {
		rec, _ := g.Backend.Find(ctx, c.id)
		old := rec != nil
		if !old {
			rec = &record.Record{ID: c.id}
		}
		if !change(rec) {
			return false, false
		}
		if old {
			_, _ = g.Backend.Delete(ctx, c.id, nil)
		}
		done, _ := g.Backend.Insert(ctx, rec)
		g.ids.Store(c.id, nil)
		return done, done
	})
	return done
}

// uncommitted reports whether a record is a successor whose predecessor is no tombstone that names it.
func (g *gate) uncommitted(ctx context.Context, rec *record.Record) bool {
	if !rec.Pending() {
		return false
	}
	old, _ := g.Backend.Find(ctx, rec.Replaces)
	return old == nil || !old.Retired() || old.Next != rec.ID
}

// revoke is somebody who puts another token into the record by hand, and changes nothing else: no cookie fits it then.
var revoke = call{name: "revoke", ends: true, do: func(ctx context.Context, s *Store, id string) error {
	c := command{verb: "another token by hand", id: id, write: true, ends: true, renews: true, blind: true}
	if !s.server.backend.(*gate).rewrite(ctx, c, func(rec *record.Record) bool {
		rec.Token = bytes.Repeat([]byte{9}, 32)
		return !rec.Expires.IsZero()
	}) {
		return ErrNotFound
	}
	return nil
}}

// express is a visit of the session through connect-mongo: it loads by the _id and an expires that is ahead, and then
// touches, or stores what it has loaded with one key more, by the _id alone.
type express struct {
	name string
	sets string
}

func (x express) title() string { return x.name }

func (x express) act(a *actor) {
	g, ctx, id := a.store().server.backend.(*gate), a.context(), a.run.id
	a.visit.request = request{name: x.name, sets: x.sets}
	rec, _ := g.Load(ctx, id)
	a.visit.loaded, a.visit.at = true, a.run.steps
	t := told{began: a.run.steps}
	if len(rec) > 0 && rec[0].Expires.After(a.run.clock) {
		session, expires := rec[0].Session, a.run.clock.Add(14*24*time.Hour)
		a.saving = 1
		if x.sets == "" {
			g.rewrite(ctx, command{verb: "touch of Express", id: id, write: true, blind: true}, func(rec *record.Record) bool {
				rec.Expires = expires
				return !rec.UpdatedAt.IsZero()
			})
		} else {
			text, _ := session.StringValueOK()
			text = strings.TrimSuffix(text, "}") + `,"` + x.sets + `":"` + x.name + `"}`
			kind, value, _ := bson.MarshalValue(text)
			g.rewrite(ctx, command{verb: "set of Express", id: id, write: true, writes: true, blind: true}, func(rec *record.Record) bool {
				rec.Session, rec.Expires = bson.RawValue{Type: kind, Value: value}, expires
				return true
			})
		}
		a.saved(&t, 1)
		a.visit.saves = append(a.visit.saves, t)
	}
}

// Errors as the driver returns them.
var (
	errBroken   = mongo.CommandError{Labels: []string{"NetworkError"}, Message: "connection reset by peer"}
	errTimedOut = mongo.CommandError{Labels: []string{"NetworkError"}, Message: "timed out", Wrapped: context.DeadlineExceeded}
)

// errNotReplicated is what the driver returns for a write that was done and that no majority has acknowledged.
func errNotReplicated(done bool) error {
	n := int32(0)
	if done {
		n = 1
	}
	raw, _ := bson.Marshal(bson.D{{Key: "n", Value: n}, {Key: "ok", Value: 1}})
	return mongo.WriteException{
		WriteConcernError: &mongo.WriteConcernError{Code: 64, Message: "waiting for replication timed out"}, Raw: raw,
	}
}

// processes are stores that share one memory, like processes that share a collection.
type processes struct {
	stores []*Store
	looker *Store           // looks at copies of what they have stored
	kept   []*record.Record // what was stored at the end of the setup
	clock  time.Time
	began  time.Time
}

// open makes the stores of n processes.
func open(n int, cfg *Config) (*processes, error) {
	p := &processes{}
	p.clock = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.AutoRemove = AutoRemoveDisabled
	for range n + 1 {
		store, err := NewMemory(cfg, []byte("0123456789abcdef0123456789abcdef"))
		if err != nil {
			return nil, err
		}
		SetClock(store, func() time.Time { return p.clock })
		if len(p.stores) > 0 {
			ShareMemory(store, p.stores[0])
		}
		p.stores = append(p.stores, store)
	}
	p.stores, p.looker = p.stores[:n], p.stores[n]
	return p, nil
}

// keep remembers what is stored now, and when it is.
func (p *processes) keep() {
	p.kept, p.began = nil, p.clock
	p.stores[0].server.backend.List(context.Background(), record.Live{Now: p.clock}, "", func(rec *record.Record, _ error) bool {
		p.kept = append(p.kept, rec)
		return true
	})
}

// restore brings back what keep remembered, behind a gate.
func (p *processes) restore() {
	p.clock = p.began
	g := newGate(p.kept)
	for _, store := range p.stores {
		store.server.backend = g
	}
}

// frozen returns a store that shows what is stored now, and changes nothing of it.
func (p *processes) frozen() *Store {
	if g, ok := p.stores[0].server.backend.(*gate); ok {
		p.looker.server.backend = g.copied()
	}
	return p.looker
}

// pendingLeft returns the id of a pending record, "" if there is none.
func (p *processes) pendingLeft() (id string) {
	g, _ := p.stores[0].server.backend.(*gate)
	for key := range g.ids.Range {
		if rec, _ := g.Backend.Find(context.Background(), key.(string)); rec != nil && rec.Pending() {
			id = rec.ID
		}
	}
	return id
}

// uncommitted returns cookies of the successors that replace nothing yet.
func (p *processes) uncommitted() (cookies []*http.Cookie) {
	g, _ := p.stores[0].server.backend.(*gate)
	for key := range g.ids.Range {
		rec, _ := g.Backend.Find(context.Background(), key.(string))
		if rec == nil || !g.uncommitted(context.Background(), rec) || p.stores[0].cfg.TransformID != nil {
			continue
		}
		value, _ := p.stores[0].encodeCookie("sid", token.Credentials{Handle: rec.ID, ID: rec.ID})
		cookies = append(cookies, &http.Cookie{Name: "sid", Value: value})
	}
	return cookies
}
