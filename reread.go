package mongostore

import (
	"context"
	"errors"
	"fmt"

	"github.com/mongostore/mongostore/internal/plan"
	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// resolveUnknownWrites finds out whether a write of an earlier Save whose answer was lost is stored.
func (sv *saver) resolveUnknownWrites(ctx context.Context, b basis) (basis, error) {
	st := sv.state
	if len(st.unknown) == 0 {
		return b, nil
	}
	last := st.unknown[len(st.unknown)-1]
	rec, err := sv.findActive(ctx, last.ID)
	if err != nil {
		return b, err
	}
	if last.op == OpCreate { // perhaps beside the session that was loaded: a login beside another one
		b, st.next = sv.absent(), last.Credentials
	}
	seen, own := sv.see(rec)
	verdict := plan.Judge(b.source, seen)
	if verdict == plan.Current { // it has not arrived, or not yet
		return b, nil
	}
	return sv.goOn(ctx, b, verdict, own, rec)
}

// reread reads the record again, from here on as the only Save of this process that works on the session.
func (sv *saver) reread(ctx context.Context, b basis, d *draft) (_ basis, err error) {
	id := d.storedAs(b)
	if sv.conflicts++; sv.conflicts == 1 {
		sv.lock, err = sv.store.locks.take(ctx, id, sv.store.cfg.Timeout/2)
	} else { // that alone was not enough: let others go first
		err = backOff(ctx, sv.conflicts)
	}
	if err != nil {
		return b, err
	}
	if last := sv.cached(b, id); last != nil {
		return sv.merge(ctx, b, last, plan.Cached)
	}
	rec, err := sv.findActive(ctx, id)
	if err != nil {
		return b, err
	}
	seen, own := sv.see(rec)
	return sv.goOn(ctx, b, plan.Judge(b.source, seen), own, rec)
}

// findActive reads a record. One that a renewal of this session left pending it activates, as a load does.
func (sv *saver) findActive(ctx context.Context, id string) (*record.Record, error) {
	rec, err := sv.store.server.find(ctx, id)
	if rec == nil || !rec.Pending() || !sv.state.cookie.Matches(rec.ID, rec.Token) {
		return rec, err
	}
	active, err := sv.store.activateNamed(ctx, rec)
	if errors.Is(err, ErrNotFound) { // it may have been retired in favour of a successor of its own
		if active, err = sv.store.server.find(ctx, id); active != nil && active.Pending() {
			active = nil
		}
	}
	return active, err
}

// cached returns the record as the Save before this one has left it with the lock, nil if that is no news.
func (sv *saver) cached(b basis, id string) *record.Record {
	st, s := sv.state, sv.store
	if sv.lock == nil || sv.conflicts > 1 || len(st.unknown) > 0 || b.target == nil || s.cfg.OnConflict == OnConflictFail {
		return nil
	}
	rec := sv.lock.last
	if rec.ID != id || rec.Version == b.target.Version || !s.live(&rec, s.now()) || !st.cookie.Matches(rec.ID, rec.Token) {
		return nil
	}
	return &rec
}

// see says what a record is to this Save, and which attempt wrote it, if one did.
func (sv *saver) see(rec *record.Record) (plan.Seen, *attempt) {
	if rec == nil {
		return plan.Seen{}, nil
	}
	st := sv.state
	seen := plan.Seen{
		Exists: true, Live: sv.store.live(rec, sv.store.now()), Retired: rec.Retired(), Fits: st.cookie.Matches(rec.ID, rec.Token),
	}
	var mine *attempt
	if len(st.unknown) > 0 {
		attempts := make([]plan.Attempt, len(st.unknown))
		for i, a := range st.unknown {
			attempts[i] = a.Attempt
		}
		var i int
		i, seen.Own = plan.Recognise(attempts, plan.Stamp{
			ID: rec.ID, Token: rec.Token, Version: rec.Version, Before: rec.Versions, By: rec.By,
		})
		if seen.Own != plan.NotOwn {
			mine = &st.unknown[i]
			seen.Fits = seen.Fits || mine.Credentials.Matches(rec.ID, rec.Token)
			seen.Named = seen.Retired && rec.By == mine.Version && rec.Next == mine.snapshot.ID
		}
	}
	seen.Shared = st.imported != nil && st.base == nil && st.next.Matches(rec.ID, rec.Token)
	return seen, mine
}

// goOn returns the basis of the next step after a verdict, or an error that ends the Save.
func (sv *saver) goOn(ctx context.Context, b basis, verdict plan.Verdict, own *attempt, rec *record.Record) (basis, error) {
	switch verdict {
	case plan.Free:
		if sv.conflicts > 2 {
			return b, errForeignUniqueIndex
		}
		if st := sv.state; len(st.unknown) > 0 && (st.imported == nil || sv.renew) { // an import shares its own with others
			st.lost()
		}
		return b, nil
	case plan.Foreign:
		if sv.state.imported != nil && !sv.renew {
			return b, errEnded // of the session that both imported, one was renewed
		}
		sv.state.startsOver()
		return b, nil
	case plan.Renewed:
		return sv.startOver(b, rec)
	case plan.Overtaken:
		return b, sv.overtaken(own)
	case plan.Mine:
		return sv.recover(ctx, b, own, rec)
	case plan.Current:
		if b.target == nil {
			sv.state.shared()
		}
		return sv.merge(ctx, b, rec, plan.Reread)
	}
	return b, errEnded
}

// startOver lets a login that lost to another login of the visitor store a record of its own. All else has ended.
func (sv *saver) startOver(b basis, rec *record.Record) (basis, error) {
	st := sv.state
	login := sv.renew && sv.store.cfg.UserID != nil && st.base != nil && st.base.User == "" && rec.User != ""
	if !login || sv.store.userOf(sv.session, "") == "" {
		return b, errEnded
	}
	st.startsOver()
	return sv.absent(), nil
}

// overtaken ends a Save whose earlier attempt was stored and since renewed by another request: well, if that is all.
func (sv *saver) overtaken(own *attempt) error {
	encoded, err := sv.encode()
	if err != nil {
		return err
	}
	changed, err := sv.store.payloads.changed(encoded, own.own)
	if err != nil || changed || own.options != sv.options || sv.renewsOn(basis{op: own.op}) {
		return errEnded
	}
	merged, _, err := sv.mergeWith(basis{base: own.own}, own.snapshot.plain)
	if err != nil {
		return err
	}
	sv.applyMerged(merged)
	sv.renew = false
	sv.state.overtaken(own)
	return errNothing
}

// recover goes on from the record that an attempt wrote. What the application has changed since are changes to that.
func (sv *saver) recover(ctx context.Context, b basis, own *attempt, rec *record.Record) (basis, error) {
	var concern error
	switch {
	case rec.Retired():
		pending := own.snapshot.Record
		pending.Forget = rec.Forget
		active, err := sv.store.activate(ctx, &pending, own.snapshot.Expires)
		if active == nil {
			return b, err
		}
		rec, concern = active, err
	default: // a majority may not have it yet, so write it once more
		out, err := sv.store.server.update(ctx, rec.Match(sv.store.now()), rec, record.Edit)
		if out != written { // if it missed, the next write finds out why
			return b, err
		}
		concern = errors.Join(b.concern, err)
	}
	b.base, b.ours = own.own, nil
	merged, _, err := sv.mergeWith(b, own.snapshot.plain)
	if err != nil {
		return b, err
	}
	topmost := rec.Version == own.Version && rec.Session.Equal(own.snapshot.Session)
	a := *own
	sv.state.recovered(a)
	b = basis{
		source: plan.Recovered, target: &snapshot{*rec, a.snapshot.plain},
		base: a.snapshot.plain, ours: merged, values: merged, op: a.op, concern: concern,
		options: sv.store.optionsIn(rec, a.snapshot.plain),
	}
	if topmost {
		return b, nil
	}
	return sv.merge(ctx, b, rec, plan.Recovered)
}

// merge makes what another request stored the target, and merges its changes into this one's.
func (sv *saver) merge(ctx context.Context, b basis, rec *record.Record, source plan.Source) (basis, error) {
	plain, err := sv.store.payloads.unseal(ctx, rec)
	if err != nil {
		return b, err
	}
	b.source, b.target, b.options = source, &snapshot{*rec, plain}, sv.store.optionsIn(rec, plain)
	mode := sv.store.cfg.OnConflict
	if mode == OnConflictOverwrite && sv.changedValues(b) {
		b.values = b.ours
		return b, nil
	}
	merged, conflicts, err := sv.mergeWith(b, plain)
	switch {
	case err != nil:
		return b, err
	case mode == OnConflictFail && len(conflicts) > 0:
		return b, fmt.Errorf("mongostore: save: %w: both changed %s", ErrConflict, keyName(conflicts[0]))
	case mode == OnConflictFail:
		if _, both := mergeOptions(sv.state.handed, sv.options, b.options); both {
			return b, fmt.Errorf("mongostore: save: %w: both changed the cookie's options", ErrConflict)
		}
	}
	b.values = merged
	return b, nil
}

// encode returns the session's values as they are, encoded once in a Save.
func (sv *saver) encode() (bson.RawValue, error) {
	if !sv.encoded.IsZero() {
		return sv.encoded, nil
	}
	b := sv.absent()
	encoded, err := sv.store.payloads.encode(sv.copied(b, sv.outline(b)))
	if err == nil {
		sv.encoded = encoded
	}
	return encoded, err
}

// changedValues reports whether this request has changed a value.
func (sv *saver) changedValues(b basis) bool {
	ours, base, err := sv.oursAndBase(b)
	return err != nil || !values.EqualMaps(ours, base)
}

// oursAndBase returns this request's values and those it started from, in stored form.
func (sv *saver) oursAndBase(b basis) (ours, base map[any]any, err error) {
	encoded, err := sv.encode()
	if err != nil {
		return nil, nil, err
	}
	if ours = b.ours; ours == nil {
		if ours, err = sv.store.payloads.values(encoded); err != nil {
			return nil, nil, err
		}
	}
	base, err = sv.store.payloads.valuesAs(encoded, b.base)
	return ours, base, err
}

// mergeWith merges this request's changes with those that made another payload of the same base.
func (sv *saver) mergeWith(b basis, plain bson.RawValue) (merged map[any]any, conflicts []any, err error) {
	ours, base, err := sv.oursAndBase(b)
	if err != nil {
		return nil, nil, err
	}
	theirs, err := sv.store.payloads.valuesAs(sv.encoded, plain)
	if err != nil {
		return nil, nil, err
	}
	single := func(key any) bool { // to the application it is no []any, though a codec may store it as a list
		value, ok := sv.session.Values[key]
		_, list := value.([]any)
		return ok && !list
	}
	merged, conflicts = values.Merge(base, ours, theirs, single)
	return merged, conflicts, nil
}
