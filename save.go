package mongostore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// saving is one Save under way.
type saving struct {
	*Store
	r       *http.Request
	session *sessions.Session
	state   *state
	options sessions.Options // of the cookie

	own    bson.RawValue // the session's values, encoded; zero: not yet
	origin bson.RawValue // the payload of which mine is a change; zero: there is none
	mine   map[any]any   // this request's values in stored form; nil: those of own
	values map[any]any   // what is to be stored, merged with others' changes; nil: session.Values
	target *snapshot     // the record to replace, as it was last seen; nil: none, so insert
	landed Op            // target is what an earlier attempt of this session wrote; "": it is not
	joined bool          // target is what another request stored of the session that both took over
	misses int
	guess  bool    // target is what a Save before this one left in the stripe: only a write tells whether it is still so
	lock   *stripe // held once another request was there first; nil: not held
	event  Event   // Op is "" before anything is done that Observe should hear of
}

// draft is a record as it shall be written.
type draft struct {
	snapshot
	cred   credentials
	scope  scope
	now    time.Time
	maxAge int    // in effect; as in Options
	cookie string // encoded; "": none is to be set
}

// run stores the session. It returns what was written if a cookie for it may be set: only a Save whose
// own command wrote the record sets one.
func (sv *saving) run(ctx context.Context) (*draft, error) {
	st := sv.state
	if sv.nothingToStore() {
		return nil, nil
	}
	if sv.target = st.base; sv.target != nil {
		sv.origin = sv.target.plain
	}
	defer func() {
		if sv.lock != nil {
			sv.lock.release()
		}
	}()
	if err := sv.settle(ctx); err != nil {
		return nil, sv.failed(sv.outline(), err)
	}
	if err := sv.settleTaken(ctx); err != nil {
		return nil, sv.late(sv.failed(sv.outline(), err))
	}
	for {
		d, err := sv.draft(ctx)
		if sv.guess && (err != nil || d.scope == deadline) {
			if err := sv.refresh(ctx, sv.target.id); err != nil {
				return nil, sv.late(explain(ctx, sv.misses, err))
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if outlived := sv.target != nil && sv.lifetimes.outlived(&sv.target.record, d.now); outlived && d.scope == deadline {
			return nil, nil
		} else if outlived {
			return nil, errEnded
		}
		if d.scope == deadline {
			return sv.keep(ctx, d)
		}
		if done, err := sv.write(ctx, d); done {
			return d, err
		} else if err != nil {
			return nil, explain(ctx, sv.misses, err)
		}
		if err := sv.refresh(ctx, d.id); err != nil {
			return nil, sv.late(explain(ctx, sv.misses, err))
		}
	}
}

// nothingToStore reports whether the session is a new one without values that should leave no trace.
func (sv *saving) nothingToStore() bool {
	st := sv.state
	return (st.quiet || sv.cfg.SkipEmpty) && len(sv.session.Values) == 0 &&
		st.base == nil && st.replaced == nil && st.taken == nil && len(st.attempts) == 0
}

// draft encodes the session and finds out what of its record has changed.
func (sv *saving) draft(ctx context.Context) (*draft, error) {
	d := sv.outline()
	session := sv.copied(d)
	plain, err := sv.payloads.encodeRecord(session, sv.stored(), d.maxAge, d.expires)
	if err != nil {
		return nil, sv.failed(d, err)
	}
	if sv.values == nil {
		sv.own = plain
	}
	d.user = sv.userOf(session, d.user)
	if d.scope == deadline {
		changed, err := sv.changed(d, plain)
		if err != nil {
			return nil, sv.failed(d, err)
		}
		if !changed {
			d.plain = sv.target.plain
			return d, nil
		}
		d.scope = payload
	}
	if d.scope == renewal {
		d.labels = sv.labelsOf(sv.r, session)
		if err := sv.renewCredentials(d); err != nil {
			return nil, sv.failed(d, err)
		}
	}
	if d.createdAt.IsZero() { // a record that Express made
		d.createdAt, d.born = d.now, true
	}
	d.plain, d.version = plain, newVersion()
	d.record.session, err = sv.payloads.seal(ctx, &d.record, plain)
	return d, sv.failed(d, err)
}

// stored returns the payload that a draft is to replace; zero if there is none.
func (sv *saving) stored() bson.RawValue {
	if sv.target == nil {
		return bson.RawValue{}
	}
	return sv.target.plain
}

// outline returns a draft that lacks what depends on the session's values.
func (sv *saving) outline() *draft {
	now := sv.now()
	d := &draft{cred: sv.state.cookie, scope: deadline, now: now, maxAge: sv.options.MaxAge}
	switch {
	case sv.target != nil:
		d.record = sv.target.record
	case sv.state.replaced != nil:
		d.record = *sv.state.replaced
	default:
		d.record.name = sv.session.Name()
		if sv.state.base != nil { // a login beside another one
			d.record.maxAge = sv.state.base.maxAge
		}
	}
	if sv.target == nil || sv.state.renew && !sv.joined {
		d.createdAt, d.scope = now, renewal
	}
	if sv.options.MaxAge != sv.state.handed.MaxAge {
		maxAge := sv.options.MaxAge // a copy: the record outlives this Save, which must not keep the session in use
		d.record.maxAge = &maxAge
	} else if d.record.maxAge != nil {
		d.maxAge = *d.record.maxAge
	}
	d.expires, d.updatedAt = sv.lifetimes.deadline(now, d.createdAt, d.maxAge), now
	return d
}

// copied returns the session as it is to be stored, for the functions of the configuration.
func (sv *saving) copied(d *draft) *sessions.Session {
	session, options := *sv.session, sv.options
	if sv.values != nil {
		session.Values = sv.values
	}
	options.MaxAge = cookieMaxAge(d.maxAge, d.now, d.expires)
	session.Options = &options
	return &session
}

// renewCredentials gives a draft a new secret, or a new plain id. They stay the same in each attempt: new
// ones each time would leave a record, or a token, that nobody holds.
func (sv *saving) renewCredentials(d *draft) (err error) {
	next := &sv.state.next
	if next.id == "" {
		if *next, err = sv.newCredentials(); err != nil {
			return err
		}
	}
	if sv.target != nil && sv.target.token != nil {
		next.handle, next.id = sv.target.id, sv.target.id
		if next.secret == "" {
			next.secret = newSecret()
		}
	} else {
		d.name = sv.session.Name() // which a record that Express made lacks
	}
	d.cred, d.id, d.token = *next, next.id, next.token()
	return nil
}

// changed reports whether a draft differs from its target in more than its deadline. Values are compared
// in stored form, and only if their encodings differ.
func (sv *saving) changed(d *draft, plain bson.RawValue) (bool, error) {
	was, is := sv.target.maxAge, d.record.maxAge
	if sv.target.createdAt.IsZero() && sv.lifetimes.max > 0 { // from now on, its age counts
		return true, nil
	}
	if d.user != sv.target.user || (was == nil) != (is == nil) || was != nil && *was != *is {
		return true, nil
	}
	if plain.Equal(sv.target.plain) {
		return false, nil
	}
	if different, known := sv.payloads.differ(plain, sv.target.plain); known {
		return different, nil
	}
	a, err := sv.payloads.values(plain)
	if err != nil {
		return false, fmt.Errorf("mongostore: the session's values would not come back: %w", err)
	}
	b, err := sv.payloads.valuesAs(plain, sv.target.plain)
	return !sameValues(a, b), err
}

// prepareCookie encodes the cookie, before the record is written: a session whose cookie cannot be handed
// out must not be stored. One that ends with the browser is sent again only if something about it changed.
func (sv *saving) prepareCookie(d *draft) (err error) {
	st := sv.state
	if d.scope != renewal && sv.landed == "" && !st.stale && d.maxAge == 0 && sv.options == st.handed {
		return nil
	}
	if d.cookie, err = sv.encodeCookie(sv.session.Name(), d.cred); err != nil {
		return fmt.Errorf("mongostore: the cookie cannot be encoded: %w", err)
	}
	return nil
}

// keep ends a Save that has nothing to change in its target: it moves the deadline if that is worth a
// command. If the record has changed, ended or been renewed meanwhile, then not, and that is no error.
func (sv *saving) keep(ctx context.Context, d *draft) (*draft, error) {
	settled := sv.landed != "" || sv.joined || sv.misses > 0 // the target was read a moment ago
	if !settled && !sv.lifetimes.worthTouching(sv.target.expires, d.expires, d.maxAge) {
		return nil, nil
	}
	if settled {
		d.record = sv.target.record
	}
	if err := sv.prepareCookie(d); err != nil {
		return nil, sv.failed(d, err)
	}
	if settled {
		sv.commit(d)
		if sv.landed == "" {
			return nil, nil
		}
		sv.event = eventOf(sv.landed, &d.record, nil)
		return d, nil
	}
	sv.event = eventOf(OpTouch, &d.record, nil)
	written, err := sv.twice(func() (bool, error) {
		return sv.backend.update(ctx, sv.target.guard(sv.now()), &d.record, deadline)
	})
	switch {
	case written:
		sv.commit(d)
	case err == nil:
		sv.event.Err = errEnded
		return nil, nil
	default:
		d = nil
	}
	return d, unavailable(err)
}

// write sends a draft, and once more if the connection broke. Not done without an error means that another
// request was there first. What was not done is remembered, for the server may have it all the same.
func (sv *saving) write(ctx context.Context, d *draft) (done bool, err error) {
	if err := sv.prepareCookie(d); err != nil {
		return false, sv.failed(d, err)
	}
	sv.event = eventOf(sv.opOf(d), &d.record, nil)
	if d.scope == renewal && sv.target != nil && sv.target.token == nil {
		if retired, err := sv.retire(ctx); !retired {
			return false, unavailable(err)
		}
	}
	done, err = sv.twice(func() (bool, error) {
		if sv.target == nil {
			return sv.backend.insert(ctx, &d.record)
		}
		return sv.backend.update(ctx, sv.target.guard(sv.now()), &d.record, d.scope)
	})
	if done {
		sv.commit(d)
	} else {
		sv.state.attempts = append(sv.state.attempts, attempt{d.snapshot, d.cred, sv.own, sv.event.Op})
	}
	return done, refused(err)
}

// retire deletes the record of a plain id that is renewed: its successor has another _id. From then on the
// successor is inserted, by the next Save if this one fails to.
func (sv *saving) retire(ctx context.Context) (bool, error) {
	deleted, err := sv.twice(func() (bool, error) {
		return sv.backend.deleteGuarded(ctx, sv.target.guard(sv.now()))
	})
	if deleted {
		replaced := sv.target.record
		sv.state.replaced, sv.state.base, sv.target = &replaced, nil, nil
	}
	return deleted, err
}

// twice repeats a write once if the connection broke: the driver does so on replica sets only, and a write
// that had arrived is known by its version.
func (s *Store) twice(write func() (bool, error)) (bool, error) {
	written, err := write()
	if !written && mongo.IsNetworkError(err) && !mongo.IsTimeout(err) {
		return write()
	}
	return written, err
}

// opOf says what writing a draft is for those who watch.
func (sv *saving) opOf(d *draft) Op {
	switch {
	case d.scope != renewal:
		return OpUpdate
	case sv.target != nil || sv.state.replaced != nil:
		return OpRegenerate
	}
	return OpCreate
}

// failed notes what Observe shall hear of a draft that was not sent; a nil error stays nil.
func (sv *saving) failed(d *draft, err error) error {
	if err != nil {
		sv.event = eventOf(sv.opOf(d), &d.record, nil)
	}
	return err
}

// settle finds out whether the attempt of an earlier Save whose answer was lost is stored.
func (sv *saving) settle(ctx context.Context) error {
	attempts := sv.state.attempts
	if len(attempts) == 0 {
		return nil
	}
	rec, err := sv.backend.find(ctx, attempts[len(attempts)-1].id)
	if errors.Is(err, errNoRecord) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, mine := sv.state.written(rec); !mine {
		return nil
	}
	if confirmed, err := sv.confirm(ctx, rec); !confirmed || err != nil {
		return err
	}
	_, err = sv.adopt(rec)
	return err
}

// confirm has what an earlier attempt wrote acknowledged as a write is. That a read found it says nothing of a
// majority: a primary that is cut off shows what a failover undoes. Not confirmed without an error means that the
// record has changed, ended, or been undone since: the write that follows finds out which.
func (sv *saving) confirm(ctx context.Context, rec *record) (bool, error) {
	confirmed, err := sv.twice(func() (bool, error) {
		return sv.backend.update(ctx, rec.guard(sv.now()), rec, editing)
	})
	return confirmed, unavailable(err)
}

// refresh reads the record again after another request was there first, and merges what it changed.
// From here on, only one Save of this process works on the session.
func (sv *saving) refresh(ctx context.Context, id string) error {
	if sv.target != nil {
		id = sv.target.id // of a plain id that is renewed, the old one
	}
	if err := sv.pause(ctx, id); err != nil {
		return err
	}
	rec, err := sv.latest(ctx, id)
	switch {
	case errors.Is(err, errNoRecord) && sv.target == nil && sv.misses > 1:
		return errTaken
	case errors.Is(err, errNoRecord) && sv.target == nil:
		return nil
	case errors.Is(err, errNoRecord):
		return errEnded
	case err != nil:
		return err
	}
	if adopted, err := sv.adopt(rec); adopted || err != nil {
		return err
	}
	switch {
	case sv.target == nil && sv.join(rec):
		return sv.reconcile(ctx, rec)
	case sv.target == nil && sv.state.taken != nil && !sv.state.renew:
		return errEnded // of the session that both took over, one was renewed
	case sv.target == nil: // the id is another's
		sv.state.next = credentials{}
		return nil
	case !sv.lifetimes.live(rec, sv.now()):
		return errEnded
	case !sv.state.cookie.fit(rec):
		return sv.startOver(rec)
	}
	return sv.reconcile(ctx, rec)
}

// latest returns the record as it is now, or as another Save of this process has just left it: if it has changed
// since, that shows at the next write.
func (sv *saving) latest(ctx context.Context, id string) (*record, error) {
	rec := sv.lock.last
	sv.guess = sv.misses == 1 && sv.target != nil && rec != nil && rec.id == id && sv.cfg.OnConflict != OnConflictFail &&
		rec.version != sv.target.version && sv.lifetimes.live(rec, sv.now()) && sv.state.cookie.fit(rec)
	if sv.guess {
		return rec, nil
	}
	return sv.backend.find(ctx, id)
}

var errEnded = fmt.Errorf("mongostore: save: %w: it ended, or another request renewed it", ErrNotFound)

// errTaken tells of an index that is none of the store's.
var errTaken = fmt.Errorf("mongostore: save: %w: the server reports a duplicate key, but the _id is free: the collection has a unique index of its own", ErrUnavailable)

// pause takes the striped lock, and lets other processes go first if that alone was not enough.
func (sv *saving) pause(ctx context.Context, id string) error {
	sv.misses++
	if sv.lock != nil {
		return jitter(ctx, sv.misses)
	}
	lock, err := sv.locks.take(ctx, id)
	sv.lock = lock
	return unavailable(err)
}

// jitter waits a moment that varies, and grows a little with the number of attempts.
func jitter(ctx context.Context, attempts int) error {
	return unavailable(rest(ctx, rand.N(time.Duration(min(attempts, 10))*time.Millisecond))) //nolint:gosec // no secret
}

// explain turns the end of Timeout, after others were there first again and again, into a conflict. The driver
// gives up a little before ctx does.
func explain(ctx context.Context, misses int, err error) error {
	timeout := ctx.Err() != nil || mongo.IsTimeout(err)
	if misses > 1 && timeout && errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("mongostore: save: %w %d times, until Config.Timeout: %w", ErrConflict, misses, err)
	}
	return err
}

// adopt makes the record the one to go on from, if an attempt of this session wrote it. Values that the
// application has changed since are changes to it.
func (sv *saving) adopt(rec *record) (bool, error) {
	st := sv.state
	a, ok := st.written(rec)
	if !ok {
		return false, nil
	}
	if sv.own.IsZero() {
		var err error
		if sv.own, err = sv.payloads.encode(sv.copied(&draft{now: sv.now(), snapshot: a.snapshot})); err != nil {
			return false, err
		}
	}
	sv.origin, sv.mine = a.mine, nil
	merged, _, err := sv.mergeWith(a.plain)
	if err != nil {
		return false, err
	}
	if a.cred != st.cookie {
		st.cookie, st.next, st.renew = a.cred, credentials{}, false
	}
	sv.target, sv.landed = &snapshot{*rec, a.plain}, a.op
	sv.origin, sv.mine, sv.values = a.plain, merged, merged
	return true, nil
}

// startOver lets a login that lost to another login of the same visitor store a record of its own. Any
// other session under another secret has ended for this request.
func (sv *saving) startOver(rec *record) error {
	st := sv.state
	login := st.renew && sv.cfg.UserID != nil && st.base != nil && st.base.user == "" && rec.user != ""
	if !login || sv.userOf(sv.session, "") == "" {
		return errEnded
	}
	sv.target, sv.values, st.next = nil, nil, credentials{}
	return nil
}

// reconcile makes what another request stored the target, and merges its changes into this one's.
func (sv *saving) reconcile(ctx context.Context, rec *record) error {
	if rec.damage != nil {
		return rec.damage
	}
	plain, err := sv.payloads.unseal(ctx, rec)
	if err != nil {
		return err
	}
	sv.target, sv.landed = &snapshot{*rec, plain}, ""
	if sv.cfg.OnConflict == OnConflictOverwrite {
		return nil
	}
	merged, conflicts, err := sv.mergeWith(plain)
	if err != nil {
		return err
	}
	if len(conflicts) > 0 && sv.cfg.OnConflict == OnConflictFail {
		return fmt.Errorf("mongostore: save: %w: both changed %s", ErrConflict, keyName(conflicts[0]))
	}
	sv.values = merged
	return nil
}

// mergeWith merges this request's changes with those that made another payload of the same origin.
func (sv *saving) mergeWith(theirs bson.RawValue) (map[any]any, []any, error) {
	if sv.own.IsZero() {
		own, err := sv.payloads.encode(sv.copied(sv.outline()))
		if err != nil {
			return nil, nil, err
		}
		sv.own = own
	}
	if sv.mine == nil {
		mine, err := sv.payloads.values(sv.own)
		if err != nil {
			return nil, nil, err
		}
		sv.mine = mine
	}
	base, err := sv.payloads.valuesAs(sv.own, sv.origin)
	if err != nil {
		return nil, nil, err
	}
	other, err := sv.payloads.valuesAs(sv.own, theirs)
	if err != nil {
		return nil, nil, err
	}
	merged, conflicts := merge(base, sv.mine, other, sv.isSingle)
	return merged, conflicts, nil
}

// isSingle reports whether the application holds something else than a []any under this key, which a codec
// may well store as a list.
func (sv *saving) isSingle(key any) bool {
	value, ok := sv.session.Values[key]
	_, list := value.([]any)
	return ok && !list
}

// commit makes what was written the state of the session, and brings its values in line with it.
func (sv *saving) commit(d *draft) {
	session, st := sv.session, sv.state
	if sv.values != nil {
		sv.bringHome()
	}
	if sv.lock != nil {
		written := d.record
		sv.lock.last = &written
	}
	session.ID = d.cred.handle
	if session.Options != nil && d.maxAge != sv.options.MaxAge {
		session.Options.MaxAge = d.maxAge
	}
	handed, base := sv.options, d.snapshot
	handed.MaxAge = d.maxAge
	took := st.taken
	st.knowledge = knowledge{
		id: session.ID, base: &base, cookie: d.cred, proven: true, handed: handed,
		stale: st.stale && d.cookie == "",
	}
	if err := sv.endPrevious(took); err != nil {
		sv.cfg.Logger.Warn("mongostore: a session that was taken over goes on where it came from", "id", publicID(&base.record), "error", err)
	}
}

// bringHome puts into session.Values, the same map, what others changed.
func (sv *saving) bringHome() {
	own, err := sv.payloads.values(sv.own)
	if err != nil {
		own = nil
	}
	maps.DeleteFunc(sv.session.Values, func(key, _ any) bool {
		_, stays := sv.values[key]
		return !stays
	})
	for key, value := range sv.values {
		if mine, ok := own[key]; !ok || !sameValue(mine, value) {
			sv.session.Values[key] = value
		}
	}
}
