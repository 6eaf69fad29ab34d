package mongostore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/plan"
	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/token"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// saver is one Save under way. What it knows of the stored record goes from step to step as a basis.
type saver struct {
	store   *Store
	r       *http.Request
	session *sessions.Session
	state   *state
	options sessions.Options // of the cookie, as the handler left them

	renew     bool          // Regenerate was called
	encoded   bson.RawValue // session.Values; zero: not yet
	conflicts int           // how often another request was there first
	again     bool          // an insert was lost, and is sent a second time
	lock      *lock         // held from the first conflict on; nil: not held
	event     Event         // of the last step, for Config.Observe; without an Op there is nothing to tell
}

// basis is what a Save goes by, in git's words: theirs is the record as it is stored, base the payload that this
// request has changed, ours what it made of it. Each step takes a basis and returns one.
type basis struct {
	source  plan.Source
	target  *snapshot        // theirs; nil: there is no record
	base    bson.RawValue    // zero: there is none
	ours    map[any]any      // in stored form; nil: those of session.Values
	values  map[any]any      // merged, to be stored; nil: session.Values as they are
	op      Op               // of the attempt that was recovered
	concern error            // of the write concern, when that was confirmed
	options sessions.Options // of the cookie, as they are stored or, without a record, as New handed them out
}

// draft is a record as it is to be written.
type draft struct {
	snapshot
	cred    token.Credentials
	change  record.Change
	now     time.Time
	options sessions.Options // in effect, with those that other requests have changed
	cookie  string           // encoded; "": none is to be set
}

var (
	errEnded = fmt.Errorf("mongostore: save: %w: it ended, or another request renewed it", ErrNotFound)
	errLate  = fmt.Errorf("mongostore: save: %w: another request renewed it a moment ago, and the browser has its cookie", ErrNotFound)
	// errNothing ends a Save that has nothing to store, or whose earlier attempt was stored and renewed since: a success.
	errNothing = errors.New("nothing to store")
	// errForeignUniqueIndex tells of an index that is none of the store's.
	errForeignUniqueIndex = fmt.Errorf("mongostore: save: %w: the server reports a duplicate key, but the _id is free: the collection has a unique index of its own", ErrUnavailable)
)

// run stores the session. It returns what its own command wrote, for which a cookie may be set.
func (sv *saver) run(ctx context.Context) (*draft, error) {
	defer func() { sv.lock.release() }()
	b, err := sv.begin(ctx)
	if err != nil {
		if d := sv.outline(b); !errors.Is(err, errNothing) {
			sv.event = eventOf(opOf(b, d), &d.Record)
		}
		return nil, sv.quiet(b, err)
	}
	for {
		d, next, err := sv.step(ctx, b)
		if next == nil {
			return d, err
		}
		b = *next
	}
}

// begin returns the first basis.
func (sv *saver) begin(ctx context.Context) (basis, error) {
	b := sv.absent()
	if base := sv.state.base; base != nil {
		b.source, b.target, b.base = plan.Loaded, base, base.plain
	} else if err := sv.storesNothing(); err != nil {
		return b, err
	}
	b, err := sv.resolveUnknownWrites(ctx, b)
	if err != nil {
		return b, err
	}
	return sv.resolveImport(ctx, b)
}

// absent is the basis without a record.
func (sv *saver) absent() basis { return basis{source: plan.Absent, options: sv.state.handed} }

// storesNothing returns errNothing if the session is new and has no values to store, and errLate if it comes too late.
func (sv *saver) storesNothing() error {
	st, isLate := sv.state, sv.state.placeholder == late && !sv.renew
	switch {
	case st.imported != nil, len(st.unknown) > 0:
		return nil
	case len(sv.session.Values) == 0 && (sv.store.cfg.SkipEmpty || st.placeholder == untilValues || isLate):
		return errNothing
	case isLate:
		return errLate
	}
	return nil
}

// step decides what to do on a basis, and does it. Another basis means that it takes one more step.
func (sv *saver) step(ctx context.Context, b basis) (*draft, *basis, error) {
	d, facts, err := sv.draft(ctx, b)
	action := plan.Decide(facts)
	if action == plan.Nothing {
		sv.event = Event{}
		return nil, nil, nil
	}
	sv.event = eventOf(opOf(b, d), &d.Record)
	switch action {
	case plan.Fail:
		return nil, nil, err
	case plan.Refuse:
		return nil, nil, errEnded
	case plan.Accept:
		d, err = sv.accept(b, d)
		return d, nil, err
	case plan.Touch, plan.Write:
		out, err := sv.write(ctx, b, d)
		if out == written {
			return d, nil, errors.Join(b.concern, err)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	next, err := sv.reread(ctx, b, d)
	switch {
	case err == nil:
		return nil, &next, nil
	case errors.Is(err, errEnded) && d.change == record.Deadline: // an unchanged Save, which has nothing to lose
		sv.event.Err = err
		return nil, nil, nil
	}
	return nil, nil, sv.quiet(b, explain(ctx, sv.conflicts, len(sv.state.unknown) > 0, err))
}

// draft encodes the session and finds out what of its record has changed.
func (sv *saver) draft(ctx context.Context, b basis) (*draft, plan.Facts, error) {
	d := sv.outline(b)
	facts := plan.Facts{Source: b.source, Failed: true, Renew: sv.renewsOn(b)}
	session := sv.copied(b, d)
	var stored bson.RawValue
	if b.target != nil {
		stored = b.target.plain
	}
	plain, err := sv.store.payloads.encodeRecord(session, stored, d.options.MaxAge, d.Expires)
	if err != nil {
		return d, facts, err
	}
	if b.values == nil {
		sv.encoded = plain
	}
	d.User = sv.store.userOf(session, d.User)
	if b.target != nil {
		facts.Changed, err = sv.changed(b, d, plain)
		if err != nil {
			return d, facts, err
		}
		facts.Outlived = sv.store.lifetimes.outlived(b.target.CreatedAt, b.target.Token != nil, d.now)
		facts.Due = sv.state.imported == nil && sv.store.lifetimes.due(b.target.Expires, b.target.UpdatedAt, b.target.CreatedAt, d.Expires, d.options.MaxAge)
	}
	if b.target == nil || facts.Changed || facts.Renew {
		err = sv.complete(ctx, b, d, session, plain)
	} else {
		d.plain = b.target.plain
	}
	facts.Failed = err != nil
	return d, facts, err
}

// complete fills in what a draft has that is written whole.
func (sv *saver) complete(ctx context.Context, b basis, d *draft, session *sessions.Session, plain bson.RawValue) error {
	if d.change == record.Deadline {
		d.change = record.Payload
	}
	if d.change == record.Renewal {
		d.Labels = sv.store.labelsOf(sv.r, session)
		if err := sv.renewCredentials(b, d); err != nil {
			return err
		}
	}
	d.plain = plain
	return sv.store.rewrite(ctx, &d.Record, plain)
}

// renewsOn reports whether the session gets a new secret; an earlier attempt that was stored may have given it one.
func (sv *saver) renewsOn(b basis) bool {
	return sv.renew && b.op != OpRegenerate && b.op != OpCreate
}

// outline returns a draft that lacks what depends on the session's values.
func (sv *saver) outline(b basis) *draft {
	st, now := sv.state, sv.store.now()
	d := &draft{cred: st.cookie, now: now}
	if b.target != nil {
		d.Record = b.target.Record
	} else {
		d.Name = sv.session.Name()
		if st.base != nil { // a login beside another one
			d.MaxAge, d.Cookie = st.base.MaxAge, st.base.Cookie
		}
	}
	if b.target == nil || sv.renewsOn(b) {
		d.CreatedAt, d.change = now, record.Renewal
	}
	d.options, _ = mergeOptions(st.handed, sv.options, b.options)
	if sv.options.MaxAge != st.handed.MaxAge {
		maxAge := sv.options.MaxAge // a copy: the record outlives this Save, which must not keep the session in use
		d.MaxAge = &maxAge
	}
	if !sameAttributes(sv.options, st.handed) && !sv.store.payloads.keepOptions() {
		d.Cookie = sv.store.attributesOf(d.options)
	}
	d.Expires, d.UpdatedAt = sv.store.lifetimes.deadline(now, d.CreatedAt, d.options.MaxAge), now
	return d
}

// copied returns the session as it is to be stored, for the functions of the configuration.
func (sv *saver) copied(b basis, d *draft) *sessions.Session {
	session, options := *sv.session, d.options
	if b.values != nil {
		session.Values = b.values
	}
	options.MaxAge = cookieMaxAge(d.options.MaxAge, d.now, d.Expires)
	session.Options = &options
	return &session
}

// renewCredentials gives a draft a new secret or plain id, the same in each attempt: others would be left to nobody.
func (sv *saver) renewCredentials(b basis, d *draft) (err error) {
	next := &sv.state.next
	if next.IsZero() && sv.store.cfg.PlainIDs {
		if *next, err = sv.store.plainCredentials(token.NewSecret()); err != nil {
			return err
		}
	} else if next.IsZero() {
		*next = token.New()
	}
	if b.target != nil && b.target.Token != nil {
		next.Handle, next.ID = b.target.ID, b.target.ID
		if next.Secret == "" {
			next.Secret = token.NewSecret()
		}
	} else {
		d.Name = sv.session.Name() // which a record that Express made lacks
	}
	d.cred, d.ID, d.Token = *next, next.ID, next.Token()
	return nil
}

// changed reports whether a draft differs from its target in more than its deadline.
func (sv *saver) changed(b basis, d *draft, plain bson.RawValue) (bool, error) {
	theirs := b.target
	switch {
	case theirs.CreatedAt.IsZero() && sv.store.lifetimes.max > 0, // from now on, its age counts
		d.User != theirs.User, !sameMaxAge(d.MaxAge, theirs.MaxAge), string(d.Cookie) != string(theirs.Cookie),
		!sameAttributes(sv.options, sv.state.handed) && sv.store.payloads.keepOptions():
		return true, nil
	}
	return sv.store.payloads.changed(plain, theirs.plain)
}

func sameMaxAge(a, b *int) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// prepareCookie encodes the cookie before the record is written: what cannot be handed out must not be stored.
func (sv *saver) prepareCookie(b basis, d *draft) (err error) {
	st := sv.state // a cookie that ends with the browser is sent again only if something about it changed
	if d.change != record.Renewal && b.op == "" && !st.stale && d.options.MaxAge == 0 && d.options == st.handed {
		return nil
	}
	if d.cookie, err = sv.store.encodeCookie(sv.session.Name(), d.cred); err != nil {
		return fmt.Errorf("mongostore: the cookie cannot be encoded: %w", err)
	}
	return nil
}

// accept ends a Save whose values are stored: by an earlier attempt, whose cookie it may set, or by another request.
func (sv *saver) accept(b basis, d *draft) (*draft, error) {
	d.Record = b.target.Record
	if b.op == "" {
		sv.event = Event{}
		sv.commit(b, d)
		return nil, nil
	}
	sv.event = eventOf(b.op, &d.Record)
	if err := sv.prepareCookie(b, d); err != nil {
		return nil, err
	}
	sv.commit(b, d)
	return d, b.concern
}

// commit makes what was written the state of the session, and brings its values in line with it.
func (sv *saver) commit(b basis, d *draft) {
	session, st := sv.session, sv.state
	if b.values != nil {
		sv.applyMerged(b.values)
	}
	if sv.lock != nil {
		sv.lock.last = d.Record
	}
	session.ID = d.cred.Handle
	if session.Options != nil && *session.Options != d.options {
		options := d.options // not through the pointer: the application may share it among sessions
		session.Options = &options
	}
	sv.renew = false
	from := st.imported
	st.committed(&d.snapshot, d.cred, d.options, d.cookie != "")
	if err := sv.store.endImported(from); err != nil {
		sv.store.cfg.Logger.Warn("mongostore: a session that was imported goes on where it came from", "id", publicID(&d.Record), "error", err)
	}
}

// applyMerged puts into session.Values, the same map, what others changed.
func (sv *saver) applyMerged(merged map[any]any) {
	own, _ := sv.store.payloads.values(sv.encoded) // none: those of others replace all
	maps.DeleteFunc(sv.session.Values, func(key, _ any) bool {
		_, stays := merged[key]
		return !stays
	})
	for key, value := range merged {
		if mine, ok := own[key]; !ok || !values.Equal(mine, value) {
			sv.session.Values[key] = value
		}
	}
}

// opOf says what storing a draft is for those who watch.
func opOf(b basis, d *draft) Op {
	switch {
	case d.change != record.Renewal:
		return OpUpdate
	case b.target != nil:
		return OpRegenerate
	}
	return OpCreate
}

// explain turns the end of Timeout after several conflicts into ErrConflict, unless a write may have landed.
func explain(ctx context.Context, conflicts int, landed bool, err error) error {
	timeout := ctx.Err() != nil || mongo.IsTimeout(err)
	if conflicts > 1 && timeout && !landed && errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("mongostore: save: %w %d times, until Config.Timeout: %w", ErrConflict, conflicts, err)
	}
	return err
}
