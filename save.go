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
	session *sessions.Session
	state   *state
	options sessions.Options // of the cookie

	own    bson.RawValue // the session's values, encoded; zero: not yet
	origin bson.RawValue // the payload of which mine is a change; zero: there is none
	mine   map[any]any   // this request's values in stored form; nil: those of own
	values map[any]any   // what is to be stored, merged with others' changes; nil: session.Values
	target *snapshot     // the record to replace, as it was last seen; nil: none, so insert
	landed bool          // target is what an earlier attempt of this session wrote
	misses int
	unlock func() // releases the striped lock; nil: not held
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

// save stores the session. It returns what was written if a cookie for it may be set: only a Save whose
// own command wrote the record sets one.
func (sv *saving) save(ctx context.Context) (*draft, error) {
	st := sv.state
	if st.base == nil && len(st.attempts) == 0 && len(sv.session.Values) == 0 && (st.quiet || sv.cfg.SkipEmpty) {
		return nil, nil
	}
	if sv.target = st.base; sv.target != nil {
		sv.origin = sv.target.plain
	}
	if err := sv.settle(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if sv.unlock != nil {
			sv.unlock()
		}
	}()
	for {
		d, err := sv.draft()
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
			return nil, sv.explain(ctx, err)
		}
		if err := sv.refresh(ctx, d.id); err != nil {
			return nil, sv.explain(ctx, err)
		}
	}
}

// draft encodes the session and finds out what of its record has changed.
func (sv *saving) draft() (*draft, error) {
	now := sv.now()
	d := &draft{cred: sv.state.cookie, scope: deadline, now: now, maxAge: sv.options.MaxAge}
	if sv.target != nil {
		d.record = sv.target.record
	} else {
		d.record.name = sv.session.Name()
	}
	if sv.target == nil || sv.state.renew {
		d.createdAt, d.scope = now, renewal
	}
	if sv.options.MaxAge != sv.state.handed.MaxAge {
		maxAge := sv.options.MaxAge // a copy: the record outlives this Save, which must not keep the session in use
		d.record.maxAge = &maxAge
	} else if d.record.maxAge != nil {
		d.maxAge = *d.record.maxAge
	}
	d.expires, d.updatedAt = sv.lifetimes.deadline(now, d.createdAt, d.maxAge), now

	session := sv.copied(d)
	plain, err := sv.payloads.encode(session)
	if err != nil {
		return nil, err
	}
	if sv.values == nil {
		sv.own = plain
	}
	d.user = sv.userOf(session, d.user)
	return d, sv.finish(d, plain)
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

// finish gives a draft that changes something its payload, its version and, if it is to have new ones, its
// credentials. These stay the same in each attempt: new ones each time would leave a record, or a token,
// that nobody holds.
func (sv *saving) finish(d *draft, plain bson.RawValue) error {
	if d.scope == deadline {
		changed, err := sv.changed(d, plain)
		if err != nil {
			return err
		}
		if !changed {
			d.plain = sv.target.plain
			return nil
		}
		d.scope = payload
	}
	d.plain, d.record.session, d.version = plain, plain, newVersion()
	if d.scope == payload {
		return nil
	}
	next := &sv.state.next
	if next.secret == "" {
		*next = credentials{newHandle(), newSecret()}
	}
	if sv.target != nil {
		next.handle = sv.target.id
	}
	d.cred, d.id, d.token = *next, next.handle, next.token()
	return nil
}

// changed reports whether a draft differs from its target in more than its deadline. Values are compared
// in stored form, and only if their encodings differ.
func (sv *saving) changed(d *draft, plain bson.RawValue) (bool, error) {
	was, is := sv.target.maxAge, d.record.maxAge
	if d.user != sv.target.user || (was == nil) != (is == nil) || was != nil && *was != *is {
		return true, nil
	}
	if plain.Equal(sv.target.plain) {
		return false, nil
	}
	a, err := sv.payloads.values(plain)
	if err != nil {
		return false, fmt.Errorf("mongostore: the session's values would not come back: %w", err)
	}
	b, err := sv.payloads.values(sv.target.plain)
	return !sameValues(a, b), err
}

// prepareCookie encodes the cookie, before the record is written: a session whose cookie cannot be handed
// out must not be stored. One that ends with the browser is sent again only if something about it changed.
func (sv *saving) prepareCookie(d *draft) (err error) {
	st := sv.state
	if d.scope != renewal && !sv.landed && !st.stale && d.maxAge == 0 && sv.options == st.handed {
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
	if sv.landed || sv.misses > 0 {
		d.record = sv.target.record
	} else if !sv.lifetimes.worthTouching(sv.target.expires, d.expires, d.maxAge) {
		return nil, nil
	}
	if err := sv.prepareCookie(d); err != nil {
		return nil, err
	}
	if sv.landed || sv.misses > 0 {
		sv.commit(d)
		if !sv.landed {
			return nil, nil
		}
		return d, nil
	}
	written, err := sv.twice(func() (bool, error) {
		return sv.backend.update(ctx, sv.target.guard(sv.now()), &d.record, deadline)
	})
	if written {
		sv.commit(d)
	} else {
		d = nil
	}
	return d, unavailable(err)
}

// write sends a draft, and once more if the connection broke. Not done without an error means that another
// request was there first. What was not done is remembered, for the server may have it all the same.
func (sv *saving) write(ctx context.Context, d *draft) (done bool, err error) {
	if err := sv.prepareCookie(d); err != nil {
		return false, err
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
		sv.state.attempts = append(sv.state.attempts, attempt{d.snapshot, d.cred, sv.own})
	}
	return done, unavailable(err)
}

// twice repeats a write once if the connection broke: the driver does so on replica sets only, and a write
// that had arrived is known by its version.
func (sv *saving) twice(write func() (bool, error)) (bool, error) {
	written, err := write()
	if !written && mongo.IsNetworkError(err) && !mongo.IsTimeout(err) {
		return write()
	}
	return written, err
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
		return fmt.Errorf("mongostore: save: %w", err)
	}
	_, err = sv.adopt(rec)
	return err
}

// refresh reads the record again after another request was there first, and merges what it changed.
// From here on, only one Save of this process works on the session.
func (sv *saving) refresh(ctx context.Context, id string) error {
	if err := sv.pause(ctx, id); err != nil {
		return err
	}
	rec, err := sv.backend.find(ctx, id)
	switch {
	case errors.Is(err, errNoRecord) && sv.target == nil && sv.misses > 1:
		return errTaken
	case errors.Is(err, errNoRecord) && sv.target == nil:
		return nil
	case errors.Is(err, errNoRecord):
		return errEnded
	case err != nil:
		return fmt.Errorf("mongostore: save: %w", err)
	}
	if adopted, err := sv.adopt(rec); adopted || err != nil {
		return err
	}
	switch {
	case sv.target == nil: // the handle is another's
		sv.state.next = credentials{}
		return nil
	case !sv.lifetimes.live(rec, sv.now()):
		return errEnded
	case !sv.state.cookie.fit(rec):
		return sv.startOver(rec)
	case rec.damage != nil:
		return rec.damage
	}
	return sv.reconcile(&snapshot{*rec, rec.session})
}

var errEnded = fmt.Errorf("mongostore: save: %w: it ended, or another request renewed it", ErrNotFound)

// errTaken tells of an index that is none of the store's.
var errTaken = fmt.Errorf("mongostore: save: %w: the server reports a duplicate key, but the _id is free: the collection has a unique index of its own", ErrUnavailable)

// pause takes the striped lock, and lets other processes go first if that alone was not enough.
func (sv *saving) pause(ctx context.Context, id string) error {
	sv.misses++
	if sv.unlock == nil {
		lock := sv.locks.of(id)
		select {
		case lock <- struct{}{}:
			sv.unlock = func() { <-lock }
			return nil
		case <-ctx.Done():
			return unavailable(ctx.Err())
		}
	}
	wait := time.NewTimer(rand.N(time.Duration(min(sv.misses, 10)) * time.Millisecond)) //nolint:gosec // jitter
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

// explain turns the end of Timeout, after others were there first again and again, into a conflict.
func (sv *saving) explain(ctx context.Context, err error) error {
	if sv.misses > 1 && ctx.Err() != nil {
		return fmt.Errorf("mongostore: save: %w %d times, until Config.Timeout: %w", ErrConflict, sv.misses, err)
	}
	return err
}

// adopt makes the record the one to go on from, if an attempt of this session wrote it. Values that the
// application has changed since are changes to it.
func (sv *saving) adopt(rec *record) (bool, error) {
	st := sv.state
	a, ok := st.written(rec.version)
	if !ok || !a.cred.fit(rec) {
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
	sv.target, sv.landed = &snapshot{*rec, a.plain}, true
	sv.origin, sv.mine, sv.values = a.plain, merged, merged
	return true, nil
}

// startOver lets a login that lost to another login of the same visitor store a record of its own. Any
// other session under another secret has ended for this request.
func (sv *saving) startOver(rec *record) error {
	st := sv.state
	login := st.renew && sv.cfg.UserID != nil && st.base.user == "" && rec.user != ""
	if !login || sv.userOf(sv.session, "") == "" {
		return errEnded
	}
	sv.target, sv.values, st.next = nil, nil, credentials{}
	return nil
}

// reconcile makes what another request stored the target, and merges its changes into this one's.
func (sv *saving) reconcile(theirs *snapshot) error {
	sv.target, sv.landed = theirs, false
	if sv.cfg.OnConflict == OnConflictOverwrite {
		return nil
	}
	merged, conflicts, err := sv.mergeWith(theirs.plain)
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
	if sv.mine == nil {
		mine, err := sv.payloads.values(sv.own)
		if err != nil {
			return nil, nil, err
		}
		sv.mine = mine
	}
	base, err := sv.payloads.values(sv.origin)
	if err != nil {
		return nil, nil, err
	}
	other, err := sv.payloads.values(theirs)
	if err != nil {
		return nil, nil, err
	}
	merged, conflicts := merge(base, sv.mine, other)
	return merged, conflicts, nil
}

// commit makes what was written the state of the session, and brings its values in line with it.
func (sv *saving) commit(d *draft) {
	session, st := sv.session, sv.state
	if sv.values != nil {
		sv.bringHome()
	}
	session.ID = d.id
	if session.Options != nil && d.maxAge != sv.options.MaxAge {
		session.Options.MaxAge = d.maxAge
	}
	handed := sv.options
	handed.MaxAge = d.maxAge
	base := d.snapshot
	st.knowledge = knowledge{
		id: d.id, base: &base, cookie: d.cred, proven: true, handed: handed,
		stale: st.stale && d.cookie == "",
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

// end deletes the session: the record of this session and of every cookie in the request that proves one.
// The cookie is expired first, whatever becomes of the rest, and the session object becomes a new one.
func (s *Store) end(ctx context.Context, r *http.Request, w http.ResponseWriter, session *sessions.Session, st *state, options sessions.Options) error {
	defaults := s.defaultOptions()
	options.Path = orDefault(options.Path, defaults.Path)
	options.Domain = orDefault(options.Domain, defaults.Domain)
	options.MaxAge = -1
	setCookie(w, session.Name(), "", options)

	deleted, err := s.deleteAll(ctx, r, session.Name(), st)
	if deleted {
		session.ID, session.IsNew = "", true
		clear(session.Values)
		st.knowledge = knowledge{handed: defaults}
	}
	return unavailable(err)
}

// deleteAll deletes the records of a session and of the cookies beside it. By the handle alone if the
// secret was proven, since a logout wins over a renewal at the same time; else by handle and token. Deleted
// may be true beside the error of a write concern.
func (s *Store) deleteAll(ctx context.Context, r *http.Request, name string, st *state) (deleted bool, failed error) {
	deleted = true
	done := make(map[string]bool) // by handle, or by handle and token
	remove := func(handle string, token []byte) {
		if handle == "" || done[handle] || done[handle+string(token)] {
			return
		}
		done[handle+string(token)] = true
		err := s.backend.delete(ctx, handle, token)
		if mongo.IsNetworkError(err) && !mongo.IsTimeout(err) {
			err = s.backend.delete(ctx, handle, token)
		}
		deleted = deleted && (err == nil || onlyConcern(err))
		failed = errors.Join(failed, err)
	}
	if st.proven {
		remove(st.cookie.handle, nil)
	}
	for _, a := range st.attempts {
		remove(a.cred.handle, a.cred.token())
	}
	remove(st.cookie.handle, st.cookie.token())
	others, _ := s.presentedBy(r, name)
	for _, c := range others {
		remove(c.handle, c.token())
	}
	return deleted, failed
}
