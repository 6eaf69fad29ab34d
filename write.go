package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mongostore/mongostore/internal/plan"
	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/token"
)

// write sends a draft and commits what was written. Neither written nor an error: read again what is stored.
func (sv *saver) write(ctx context.Context, b basis, d *draft) (outcome, error) {
	if d.change == record.Deadline {
		sv.event.Op = OpTouch
	}
	if err := sv.prepareCookie(b, d); err != nil {
		return refused, err
	}
	if err := sv.r.Context().Err(); err != nil && d.change == record.Renewal && b.target != nil {
		return refused, fmt.Errorf("mongostore: save: %w: the request has ended, so a new cookie would reach nobody; the old one stays good: %w", ErrUnavailable, err)
	}
	out, err := sv.send(ctx, b, d)
	switch {
	case out == written:
		sv.commit(b, d)
	case out == unknown && d.change != record.Deadline:
		sv.state.attempted(attempt{
			Attempt: plan.Attempt{
				ID: d.storedAs(b), Version: d.Version, Credentials: d.cred, Renews: d.change == record.Renewal,
			},
			snapshot: d.snapshot, own: sv.encoded, options: sv.options, op: opOf(b, d),
		})
	}
	if out == unknown && b.target == nil && !sv.again && connectionBroke(err) {
		sv.again, err = true, nil
	}
	return out, err
}

// storedAs is the _id that tells what became of a draft: of a plain id that is renewed, the old one, which is retired.
func (d *draft) storedAs(b basis) string {
	if b.target != nil {
		return b.target.ID
	}
	return d.ID
}

// send is one insert or update, or the three commands that renew a plain id.
func (sv *saver) send(ctx context.Context, b basis, d *draft) (outcome, error) {
	switch {
	case b.target == nil:
		return sv.store.server.insert(ctx, &d.Record)
	case d.change == record.Renewal && b.target.Token == nil:
		return sv.renewPlain(ctx, b, d)
	}
	return sv.store.server.update(ctx, b.target.Match(sv.store.now()), &d.Record, d.change)
}

// forgetAfter is how long, beyond Config.Timeout, a record stays that is there for the time of a renewal only.
const forgetAfter = 5 * time.Minute

// renewPlain gives a session with a plain id another one, that is, another record. (1) The successor is inserted pending,
// which nobody sees. (2) The old record becomes a tombstone that names it. This commits the renewal: a later logout ends
// the successor too. (3) The successor is activated. If the session has changed or ended, (2) misses.
func (sv *saver) renewPlain(ctx context.Context, b basis, d *draft) (outcome, error) {
	st, server, now := sv.state, sv.store.server, sv.store.now()
	st.next = token.Credentials{} // nobody can hold this id: another attempt takes another
	pending := d.Record
	pending.Expires, pending.Replaces, pending.Forget = time.Time{}, b.target.ID, now.Add(sv.store.cfg.Timeout+forgetAfter)
	out, concern := server.insert(ctx, &pending)
	switch {
	case out == unknown: // perhaps it is stored, but it is never live, and goes by itself
		return refused, concern
	case out != written:
		return out, concern
	}
	tombstone := record.Record{UpdatedAt: now, Next: d.ID, By: d.Version, Forget: pending.Forget}
	out, err := server.update(ctx, b.target.Match(sv.store.now()), &tombstone, record.Retire)
	switch out {
	case missed, refused:
		_, _ = server.delete(ctx, d.ID, []byte{})
		return out, err
	case unknown:
		return out, err
	}
	concern = errors.Join(concern, err)
	active, err := sv.store.activate(ctx, &pending, d.Expires)
	switch {
	case active != nil:
		d.Record = *active
	case errors.Is(err, errEnded):
		return refused, err
	}
	return written, errors.Join(concern, err)
}

// activate brings a pending record to life, whose predecessor has been retired. The record is nil if that failed: errEnded
// means that the session has ended; after any other error it may be active. An error beside the record is a write concern's.
func (s *Store) activate(ctx context.Context, pending *record.Record, expires time.Time) (*record.Record, error) {
	active := *pending
	active.Expires, active.UpdatedAt = expires, s.now()
	if !active.Expires.After(active.UpdatedAt) || pending.Forget.Before(active.UpdatedAt) {
		return nil, errEnded
	}
	active.Forget, active.Replaces = time.Time{}, ""
	match := record.Match{ID: pending.ID, Token: pending.Token, Version: pending.Version}
	out, err := s.server.update(ctx, match, &active, record.Activate)
	if out == written {
		return &active, err
	}
	if err != nil {
		return nil, err
	}
	rec, err := s.server.find(ctx, pending.ID) // another request may have activated it
	switch {
	case err != nil:
		return nil, err
	case rec == nil, !s.live(rec, s.now()), !rec.Had(pending.Version):
		return nil, errEnded
	}
	return rec, nil
}

// activateNamed activates a pending record whose predecessor has been retired in its favour, as that is a commitment.
func (s *Store) activateNamed(ctx context.Context, pending *record.Record) (*record.Record, error) {
	old, err := s.server.find(ctx, pending.Replaces)
	if err != nil {
		return nil, err
	}
	if old == nil || !old.Retired() || old.Next != pending.ID || old.By != pending.Version || old.By == 0 {
		return nil, ErrNotFound
	}
	expires := s.lifetimes.deadline(pending.UpdatedAt, pending.CreatedAt, s.maxAgeOf(ctx, pending))
	active, err := s.activate(ctx, pending, expires)
	if active != nil {
		return active, nil
	}
	return nil, err
}
