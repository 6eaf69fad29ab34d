package acceptance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/mongostore/mongostore"
)

// model is what a store should do, as plainly as it can be said: sessions are
// rows of a table, and a Save applies to its row what the request has changed.
// It knows nothing of documents, versions in filters, or payloads.
type model struct {
	rules    rules
	sessions []stored
	objects  []object
	cookies  map[string]proof // every cookie that was ever handed out
	versions int
	pending  map[string]int64 // by user, records of renewals that were given up after an answer was lost
	lost     int              // flashes that two requests read at once, of which only the later's additions stay
}

// rules are the settings of the stores, as far as they matter here.
type rules struct {
	ttl, maxLifetime time.Duration
	onConflict       mongostore.OnConflict
	skipEmpty        bool
	plain            bool          // PlainIDs: a renewed session has another id
	remote           bool          // there is a database that may not answer
	slack            time.Duration // how long a step takes at most
}

// content are the values of a session.
type content struct {
	keys    map[string]string
	flashes []string
}

func (c content) clone() content {
	return content{maps.Clone(c.keys), slices.Clone(c.flashes)}
}

func (c content) equal(other content) bool {
	return maps.Equal(c.keys, other.keys) && slices.Equal(c.flashes, other.flashes)
}

func (c content) empty() bool { return len(c.keys) == 0 && len(c.flashes) == 0 }

func (c content) String() string { return fmt.Sprintf("%v, flashes %q", c.keys, c.flashes) }

// userKey is the key that holds the user who is logged in.
const userKey = "user"

func (c content) user() string { return c.keys[userKey] }

// stored is a session in the database.
type stored struct {
	number       int // in errors: rapid simplifies a history while its error stays the same
	id, recordID string
	dates
	ended   bool
	secret  int      // counts its renewals
	renewed []window // when each secret but the last was replaced, between those two moments
	version int
	maxAge  *int
	site    http.SameSite   // stands for all attributes of the cookie
	seen    map[string]bool // flashes that were shown, which is acknowledged
	content
}

// dates are those of a record.
type dates struct{ createdAt, updatedAt, expires time.Time }

// window is the time that a call took. What the store calls now is a moment of it.
type window struct{ from, to time.Time }

// after tells whether a window is at least d after another one: for certain, and perhaps.
func (w window) after(earlier window, d time.Duration) (certain, perhaps bool) {
	return w.from.Sub(earlier.to) >= d, w.to.Sub(earlier.from) >= d
}

func (s *stored) String() string { return fmt.Sprintf("session %d", s.number) }

// named says which session has this id.
func (m *model) named(id string) string {
	for i := range m.sessions {
		if m.sessions[i].id == id {
			return m.sessions[i].String()
		}
	}
	return fmt.Sprintf("none that is known (id empty: %v)", id == "")
}

// proof is what a cookie proves: that its bearer knew a session's secret.
type proof struct{ session, secret int }

// object is a session in a handler's hands.
type object struct {
	cookies      []string // the request's
	proof                 // of what is stored; session is none if nothing is
	base, mine   content
	baseUser     string
	baseMaxAge   *int
	version      int
	dates                      // of the record, as it was loaded or saved
	handed, left cookieOptions // as the store handed them out, and as the handler left them
	renew        bool
	standIn      standIn
	down         bool // the load failed
	gone         bool // the request has ended, and nobody waits for its cookie
	over         bool // logged out
	unsettled    bool // a Save got no answer, and then found that the session had ended
	readBefore   []string
}

// cookieOptions are the session's own, as far as the histories change them.
type cookieOptions struct {
	maxAge int
	site   http.SameSite
}

func (m *model) defaults() cookieOptions {
	return cookieOptions{int(m.rules.ttl / time.Second), http.SameSiteLaxMode}
}

const none = -1

// standIn says how a session is saved that the cookies did not lead to (R2).
type standIn int

const (
	ordinary    standIn = iota // like any new one
	placeholder                // once it has values
	maybeLate                  // as one of these two, since the ten seconds were just ending
	late                       // not at all
)

// outcome is what a call of the store did, as the handler and the browser see it.
type outcome struct {
	at, end  time.Time
	err      error
	id       string
	recordID string
	isNew    bool
	options  cookieOptions
	content  content
	dates                 // zero: not seen
	cookie   *http.Cookie // that this call set; nil: none
	lost     bool         // the answer to its first write did not arrive
}

func (o outcome) window() window { return window{o.at, o.end} }

// wrongError says which error an action gave, either of which may be none.
func wrongError(action string, got, want error) error {
	return fmt.Errorf("%s: error %s, want %s", action, fmt.Sprint(got), fmt.Sprint(want))
}

func (m *model) clone() *model {
	c := *m
	c.sessions = slices.Clone(m.sessions)
	for i := range c.sessions {
		c.sessions[i].content = c.sessions[i].clone()
		c.sessions[i].seen = maps.Clone(c.sessions[i].seen)
		c.sessions[i].renewed = slices.Clone(c.sessions[i].renewed)
	}
	c.objects = slices.Clone(m.objects)
	for i := range c.objects {
		c.objects[i].base, c.objects[i].mine = c.objects[i].base.clone(), c.objects[i].mine.clone()
	}
	c.cookies, c.pending = maps.Clone(m.cookies), maps.Clone(m.pending)
	return &c
}

func (m *model) live(s *stored, now time.Time) bool {
	if s.ended || !s.expires.After(now) {
		return false
	}
	return m.rules.maxLifetime == 0 || s.createdAt.Add(m.rules.maxLifetime).After(now)
}

func (m *model) lifetime(maxAge int) time.Duration {
	if maxAge == 0 {
		return m.rules.ttl
	}
	return time.Duration(maxAge) * time.Second
}

func (m *model) deadline(now, createdAt time.Time, maxAge int) time.Time {
	d := now.Add(m.lifetime(maxAge))
	if limit := createdAt.Add(m.rules.maxLifetime); m.rules.maxLifetime > 0 && limit.Before(d) {
		return limit
	}
	return d
}

func (m *model) nextVersion() int { m.versions++; return m.versions }

// justRenewed is how long after a renewal the requests with the old cookie leave no trace (R2).
const justRenewed = 10 * time.Second

// maxCookies is how many cookies of one name count (R6).
const maxCookies = 16

// load checks what a load returned, and makes o the object it should have returned.
func (m *model) load(i int, r request, out outcome) error {
	d := m.defaults()
	m.objects[i] = object{cookies: r.cookies, proof: proof{session: none}, handed: d, left: d, gone: r.unreachable}
	o := &m.objects[i]
	stand := func(want error) error {
		switch {
		case !errors.Is(out.err, want):
			return wrongError("load", out.err, want)
		case out.id != "" || !out.isNew || !out.content.empty():
			return fmt.Errorf("load: %v with %v, want a new one", m.named(out.id), out.content)
		}
		return nil
	}
	proofs, err := m.proofs(r.cookies)
	switch {
	case err != nil || len(proofs) == 0:
		return errors.Join(err, stand(nil))
	case r.unreachable:
		o.down = true
		return stand(mongostore.ErrUnavailable)
	}
	for _, p := range proofs {
		s := &m.sessions[p.session]
		if m.live(s, out.at) && s.secret == p.secret {
			return m.loaded(o, p, out)
		}
		o.standIn = max(o.standIn, m.standIn(s, p.secret, r.navigates, out))
	}
	return stand(nil)
}

// proofs returns what the cookies of a request prove: each once, and no more than so many.
func (m *model) proofs(cookies []string) (list []proof, err error) {
	for _, cookie := range cookies {
		p, known := m.cookies[cookie]
		if !known {
			return nil, errors.New("the browser has a cookie that nobody gave it")
		}
		if len(list) < maxCookies && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list, nil
}

// standIn says what becomes of a request with this old secret of a session. A split token shows when the session
// was renewed last, as long as it is live; of each plain id a tombstone tells when it was renewed.
func (m *model) standIn(s *stored, secret int, navigates bool, out outcome) standIn {
	var renewed window
	switch {
	case m.rules.plain && secret < s.secret:
		renewed = s.renewed[secret]
	case !m.rules.plain && m.live(s, out.at):
		renewed = window{s.createdAt, s.createdAt}
	default:
		return ordinary
	}
	certain, perhaps := out.window().after(renewed, justRenewed)
	switch {
	case certain:
		return ordinary
	case navigates: // perhaps an ordinary one: a difference that shows only without values, and hardly ever
		return placeholder
	case perhaps:
		return maybeLate
	}
	return late
}

// loaded checks the load of a live session.
func (m *model) loaded(o *object, p proof, out outcome) error {
	s := &m.sessions[p.session]
	for _, flash := range out.content.flashes {
		if s.seen[flash] && m.rules.onConflict != mongostore.OnConflictOverwrite {
			return fmt.Errorf("load: flash %s is shown again", flash)
		}
	}
	want := m.effective(o, s)
	switch {
	case out.err != nil:
		return fmt.Errorf("load: %w, want %v", out.err, s)
	case out.id != s.id || out.isNew:
		return fmt.Errorf("load: %v (new: %v), want %v: the cookie is good", m.named(out.id), out.isNew, s)
	case !out.content.equal(s.content):
		return fmt.Errorf("load: %v holds %v, want %v", s, out.content, s.content)
	case out.options != want:
		return fmt.Errorf("load: the options are %v, want %v", out.options, want)
	}
	o.handed, o.left = want, want
	err := m.checkDates(s, out)
	o.adopt(p.session, s)
	return err
}

// effective returns the options of a session for an object: what its handler has set, else what is stored, else what
// it was handed.
func (m *model) effective(o *object, s *stored) cookieOptions {
	options := o.left
	if o.left.maxAge == o.handed.maxAge && s.maxAge != nil {
		options.maxAge = *s.maxAge
	}
	if o.left.site == o.handed.site {
		options.site = s.site
	}
	return options
}

// checkDates compares the dates of a record, and takes over those that are right: the store's clock goes on a little
// while it works.
func (m *model) checkDates(s *stored, out outcome) error {
	if out.expires.IsZero() {
		return nil
	}
	for _, d := range []struct {
		name      string
		got, want time.Time
	}{
		{"expires", out.expires, s.expires}, {"was updated", out.updatedAt, s.updatedAt}, {"was created", out.createdAt, s.createdAt},
	} {
		if wrong := d.got.Sub(d.want); wrong.Abs() > m.rules.slack {
			return fmt.Errorf("%v %s %v later than it should", s, d.name, wrong.Round(time.Second))
		}
	}
	s.dates = out.dates
	return nil
}

// adopt makes what is stored the base of an object.
func (o *object) adopt(i int, s *stored) {
	o.proof = proof{i, s.secret}
	o.base, o.mine = s.content.clone(), s.content.clone()
	o.baseUser, o.baseMaxAge, o.version, o.dates = s.user(), s.maxAge, s.version, s.dates
	o.standIn, o.readBefore = ordinary, nil
}

// changesOptions tells whether the handler set an option.
func (o *object) changesOptions() bool { return o.left != o.handed }

// save checks what a Save did, and does it in the model.
func (m *model) save(i int, out outcome) error {
	o := &m.objects[i]
	switch {
	case o.left.maxAge < 0:
		return m.logout(o, out)
	case o.down:
		return o.refused(out, mongostore.ErrUnavailable)
	case o.session == none:
		return m.saveNew(o, out)
	case !o.renew && !o.changesOptions() && o.mine.equal(o.base):
		return m.keep(o, out)
	}
	s := &m.sessions[o.session]
	if m.rules.plain && o.renew && out.lost && errors.Is(out.err, mongostore.ErrNotFound) {
		m.givenUp(o.mine.user())
	}
	switch {
	case o.renew && o.gone && (!errors.Is(out.err, mongostore.ErrNotFound) || m.live(s, out.at) && s.secret == o.secret):
		return o.refused(out, context.DeadlineExceeded) // P15; an earlier Save may have left it to this one to find the end
	case !m.live(s, out.at):
		return o.refused(out, mongostore.ErrNotFound)
	case s.secret != o.secret && !m.rules.plain && o.renew && o.baseUser == "" && s.user() != "" && o.mine.user() != "":
		return m.create(o, out) // a login beside another login
	case s.secret != o.secret:
		return o.refused(out, mongostore.ErrNotFound)
	}
	return m.change(o, s, out)
}

// givenUp notes that a pending record may be left for a while. It is never live, but a user's, so DestroyByUser deletes
// and counts it.
func (m *model) givenUp(user string) {
	if m.pending == nil {
		m.pending = make(map[string]int64)
	}
	m.pending[user]++
}

// saveNew checks a Save of a session that is not stored yet.
func (m *model) saveNew(o *object, out outcome) error {
	empty := o.mine.empty()
	if o.standIn == maybeLate {
		o.standIn = ordinary
		if empty && out.id == "" || errors.Is(out.err, mongostore.ErrNotFound) {
			o.standIn = late
		}
	}
	switch {
	case empty && (m.rules.skipEmpty || o.standIn == placeholder || o.standIn == late && !o.renew):
		if out.id != "" {
			return errors.New("save: stored, want nothing to be stored")
		}
		return o.refused(out, nil)
	case !o.renew && o.standIn == late:
		return o.refused(out, mongostore.ErrNotFound)
	}
	return m.create(o, out)
}

// refused checks a Save that must write nothing and set no cookie.
func (o *object) refused(out outcome, want error) error {
	o.unsettled = o.unsettled || out.lost && errors.Is(want, mongostore.ErrNotFound)
	switch {
	case !errors.Is(out.err, want):
		return wrongError("save", out.err, want)
	case out.cookie != nil:
		return errors.New("save: sets a cookie, want none: nothing was written")
	case !out.content.equal(o.mine):
		return fmt.Errorf("save: the handler's values are now %v, want %v as they were", out.content, o.mine)
	}
	return nil
}

// create checks a Save that stores a session under a new id.
func (m *model) create(o *object, out outcome) error {
	if out.err != nil {
		return fmt.Errorf("save of a new session: %w", out.err)
	}
	for _, s := range m.sessions {
		if s.id == out.id || s.recordID == out.recordID {
			return fmt.Errorf("save of a new session: it has the id of %v", &s)
		}
	}
	s := stored{
		number: len(m.sessions), id: out.id, recordID: out.recordID, version: m.nextVersion(),
		maxAge: o.baseMaxAge, site: o.left.site, content: o.mine.clone(), seen: map[string]bool{},
	}
	if o.left.maxAge != o.handed.maxAge {
		s.maxAge = &[]int{o.left.maxAge}[0]
	}
	s.dates = dates{out.at, out.at, m.deadline(out.at, out.at, o.left.maxAge)}
	m.sessions = append(m.sessions, s)
	return m.wrote(o, len(m.sessions)-1, true, out)
}

// keep checks a Save that has nothing to change: it may only move the deadline. It looks at the record only if what
// this request knows of it says that this is due.
func (m *model) keep(o *object, out outcome) error {
	s := &m.sessions[o.session]
	due, perhaps := m.due(o.dates, o.left.maxAge, out)
	still := out.cookie == nil && out.updatedAt.Equal(o.updatedAt) && out.content.equal(o.mine)
	ended := !m.live(s, out.at) || s.secret != o.secret
	if o.unsettled && ended && errors.Is(out.err, mongostore.ErrNotFound) {
		return o.refused(out, mongostore.ErrNotFound) // it asks what became of that Save, which had changed something
	}
	if ended || !due && (!perhaps || still) {
		return o.refused(out, nil)
	}
	if s.version == o.version {
		return m.touched(o, s, out)
	}
	o.mine = s.content.clone()
	return m.settle(o, s, out)
}

// settle checks a Save that finds its values stored: it takes over what others have, and moves the deadline if what
// they have left says that this is due (P11).
func (m *model) settle(o *object, s *stored, out outcome) error {
	options := m.effective(o, s)
	due, perhaps := m.due(s.dates, options.maxAge, out)
	if due || perhaps && out.updatedAt.After(s.updatedAt) {
		return m.touched(o, s, out)
	}
	if err := o.refused(out, nil); err != nil {
		return err
	}
	if out.options != options {
		return fmt.Errorf("save: the options are now %v, want %v", out.options, options)
	}
	o.adopt(o.session, s)
	o.handed, o.left = options, options
	return nil
}

// touched checks a Save that moves the deadline.
func (m *model) touched(o *object, s *stored, out outcome) error {
	options := m.effective(o, s)
	s.updatedAt, s.expires = out.at, m.deadline(out.at, s.createdAt, options.maxAge)
	return m.wrote(o, o.session, false, out)
}

// due tells whether the deadline of a record with these dates is worth moving, for certain and perhaps: since it
// would move by a second or half the lifetime, or since the last Save is that long ago (P2).
func (m *model) due(d dates, maxAge int, out outcome) (certain, perhaps bool) {
	threshold := min(time.Second, m.lifetime(maxAge)/2)
	for _, from := range []time.Time{d.expires, m.deadline(d.updatedAt, d.createdAt, maxAge)} {
		early := m.deadline(out.at, d.createdAt, maxAge).Sub(from)
		latest := m.deadline(out.end, d.createdAt, maxAge).Sub(from)
		is := func(moved time.Duration) bool { return moved != 0 && moved.Abs() >= threshold }
		certain = certain || is(early) && is(latest)
		perhaps = perhaps || is(early) || is(latest)
	}
	return certain, perhaps
}

// change checks a Save that changes a session which is there.
func (m *model) change(o *object, s *stored, out outcome) error {
	merged, conflict := m.merge(o.base, o.mine, s.content)
	conflict = conflict || m.bothChangedOptions(o, s)
	if conflict && m.rules.onConflict == mongostore.OnConflictFail {
		return o.refused(out, mongostore.ErrConflict)
	}
	options := m.effective(o, s)
	other := o.left.maxAge != o.handed.maxAge && !sameMaxAge(s.maxAge, &o.left.maxAge) || options.site != s.site
	if !o.renew && !other && merged.equal(s.content) { // others have stored the same
		o.mine = merged
		return m.settle(o, s, out)
	}
	if o.left.maxAge != o.handed.maxAge {
		s.maxAge = &[]int{o.left.maxAge}[0]
	}
	for _, flash := range o.readBefore {
		if !slices.Contains(merged.flashes, flash) {
			s.seen[flash] = true
		}
	}
	renewed := o.renew
	s.content, s.site, s.version, s.updatedAt = merged, options.site, m.nextVersion(), out.at
	if o.renew {
		s.secret++
		s.createdAt = out.at
		s.renewed = append(s.renewed, out.window())
		if m.rules.plain {
			s.id, s.recordID = out.id, out.recordID
		}
	}
	s.expires = m.deadline(out.at, s.createdAt, options.maxAge)
	o.mine = merged.clone()
	return m.wrote(o, o.session, renewed, out)
}

func sameMaxAge(a, b *int) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// bothChangedOptions tells whether the handler and another request since have set MaxAge, or the attributes.
func (m *model) bothChangedOptions(o *object, s *stored) bool {
	maxAge := o.left.maxAge != o.handed.maxAge && !sameMaxAge(o.baseMaxAge, s.maxAge)
	return maxAge || o.left.site != o.handed.site && o.handed.site != s.site
}

// wrote checks what must hold after every Save that wrote: the cookie proves
// what is stored, and the handler sees it. One that ends with the browser is sent
// again only with another secret or other options.
func (m *model) wrote(o *object, i int, renewed bool, out outcome) error {
	s := &m.sessions[i]
	options := m.effective(o, s)
	cookie := renewed || options.maxAge != 0 || options != o.handed
	switch {
	case out.err != nil:
		return fmt.Errorf("save: %w, want %v to be written", out.err, s)
	case out.id != s.id:
		return fmt.Errorf("save: session.ID is that of %v, want %v", m.named(out.id), s)
	case !out.content.equal(o.mine):
		return fmt.Errorf("save: the handler's values are now %v, want %v", out.content, o.mine)
	case out.options != options:
		return fmt.Errorf("save: the options are now %v, want %v", out.options, options)
	case cookie != (out.cookie != nil) && (cookie || !out.lost):
		return fmt.Errorf("save: sets a cookie: %v, want %v", out.cookie != nil, cookie)
	}
	if err := m.checkDates(s, out); err != nil {
		return err
	}
	o.adopt(i, s)
	o.handed, o.left, o.renew = options, options, false
	if out.cookie == nil {
		return nil
	}
	if err := m.checkCookie(s, options, out); err != nil {
		return err
	}
	if p, known := m.cookies[out.cookie.Value]; known && p != o.proof {
		return errors.New("save: sets the cookie of another session")
	}
	m.cookies[out.cookie.Value] = o.proof
	return nil
}

// checkCookie checks that the cookie lives as long as the record, and its attributes.
func (m *model) checkCookie(s *stored, options cookieOptions, out outcome) error {
	want := 0
	if options.maxAge > 0 {
		want = min(options.maxAge, max(1, int(math.Ceil(s.expires.Sub(out.at).Seconds()))))
	}
	if diff := out.cookie.MaxAge - want; diff > 0 || diff < -int(math.Ceil(m.rules.slack.Seconds())) {
		return fmt.Errorf("save: the cookie's Max-Age is %d, want %d", out.cookie.MaxAge, want)
	}
	if out.cookie.SameSite != options.site {
		return fmt.Errorf("save: the cookie's SameSite is %v, want %v", out.cookie.SameSite, options.site)
	}
	return nil
}

// logout checks a Save with MaxAge < 0: the session is gone, whoever renewed it, and every other one that the
// cookies prove. An old plain id proves what has become of its session, too.
func (m *model) logout(o *object, out outcome) error {
	if o.session != none {
		m.sessions[o.session].ended = true
	}
	proofs, _ := m.proofs(o.cookies)
	for _, p := range proofs {
		if s := &m.sessions[p.session]; m.rules.plain || s.secret == p.secret {
			s.ended = true
		}
	}
	switch {
	case out.err != nil:
		return fmt.Errorf("logout: %w", out.err)
	case out.cookie == nil || out.cookie.MaxAge >= 0:
		return fmt.Errorf("logout: the cookie is not expired: %v", out.cookie == nil)
	case out.id != "" || !out.content.empty():
		return fmt.Errorf("logout: the session is still %v with %v", m.named(out.id), out.content)
	}
	d := m.defaults()
	*o = object{cookies: o.cookies, proof: proof{session: none}, over: true, handed: d, left: cookieOptions{-1, d.site}}
	return nil
}

// merge applies what a request changed, from base to mine, to what is stored.
// It reports whether a key that the request changed was changed by another, too.
func (m *model) merge(base, mine, theirs content) (merged content, conflict bool) {
	if m.rules.onConflict == mongostore.OnConflictOverwrite && !mine.equal(base) {
		return mine.clone(), false
	}
	merged = theirs.clone()
	if merged.keys == nil {
		merged.keys = map[string]string{}
	}
	for key := range union(base.keys, mine.keys) {
		was, wasThere := base.keys[key]
		is, isThere := mine.keys[key]
		if was == is && wasThere == isThere {
			continue
		}
		if now, nowThere := theirs.keys[key]; now != was || nowThere != wasThere {
			conflict = true // also if both made the same of it
		}
		delete(merged.keys, key)
		if isThere {
			merged.keys[key] = is
		}
	}
	if flashes, ok := mergeFlashes(base.flashes, mine.flashes, theirs.flashes); ok {
		return content{merged.keys, flashes}, conflict
	}
	rest, ok := addedAfterReading(base.flashes, mine.flashes, theirs.flashes)
	if !ok {
		m.lost++
		rest = mine.clone().flashes
	}
	return content{merged.keys, rest}, conflict || len(rest) == 0 || !ok
}

// mergeFlashes keeps what both sides added, if one of them did nothing else.
func mergeFlashes(base, mine, theirs []string) ([]string, bool) {
	switch {
	case slices.Equal(mine, base):
		return slices.Clone(theirs), true
	case slices.Equal(theirs, base):
		return slices.Clone(mine), true
	}
	if added, ok := cut(mine, base); ok {
		return slices.Concat(theirs, added), true
	}
	if added, ok := cut(theirs, base); ok {
		return slices.Concat(mine, added), true
	}
	return nil, false
}

// addedAfterReading returns what is left when both have read the flashes of base and at most one has added
// others. Not ok: both have; by R9 the later Save wins.
func addedAfterReading(base, mine, theirs []string) ([]string, bool) {
	if len(mine) > 0 && len(theirs) > 0 {
		return nil, false
	}
	rest := slices.Concat(mine, theirs)
	return slices.DeleteFunc(rest, func(flash string) bool { return slices.Contains(base, flash) }), true
}

func cut(list, prefix []string) ([]string, bool) {
	if len(list) < len(prefix) || !slices.Equal(list[:len(prefix)], prefix) {
		return nil, false
	}
	return list[len(prefix):], true
}

func union(a, b map[string]string) map[string]bool {
	keys := make(map[string]bool)
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}

// update checks an administrator's change of one key.
func (m *model) update(i int, id, key, value string, out outcome) error {
	s := &m.sessions[i]
	if !m.live(s, out.at) || s.recordID != id {
		if !errors.Is(out.err, mongostore.ErrNotFound) {
			return wrongError("update", out.err, mongostore.ErrNotFound)
		}
		return nil
	}
	if out.err != nil {
		return fmt.Errorf("update: %w", out.err)
	}
	if s.keys == nil {
		s.keys = map[string]string{}
	}
	s.keys[key], s.version = value, m.nextVersion()
	return nil
}

// touch checks an administrator's Touch. It moves the deadline, and not the time of the last Save (P2).
func (m *model) touch(i int, id string, out outcome) error {
	s := &m.sessions[i]
	if !m.live(s, out.at) || s.recordID != id {
		if !errors.Is(out.err, mongostore.ErrNotFound) {
			return wrongError("touch", out.err, mongostore.ErrNotFound)
		}
		return nil
	}
	maxAge := m.defaults().maxAge
	if s.maxAge != nil {
		maxAge = *s.maxAge
	}
	if d := m.deadline(out.at, s.createdAt, maxAge); d.After(s.expires) {
		s.expires = d
	}
	return out.err
}

// destroy ends a session. An old plain id leads to what has become of it.
func (m *model) destroy(i int, out outcome) error {
	m.sessions[i].ended = true
	return out.err
}

// destroyByUser ends the sessions of a user but those of one object, and checks their number.
func (m *model) destroyByUser(user string, except int, n int64, out outcome) error {
	least, most := int64(0), m.pending[user]
	delete(m.pending, user)
	for i := range m.sessions {
		s := &m.sessions[i]
		kept := except != none && m.objects[except].session == i && (!m.rules.plain || m.objects[except].secret == s.secret)
		if s.ended || s.user() != user || kept {
			continue
		}
		if m.live(s, out.at) {
			least++
		}
		most++
		s.ended = true
	}
	if out.err == nil && (n < least || n > most) {
		return fmt.Errorf("DestroyByUser: %d sessions, want %d to %d", n, least, most)
	}
	return out.err
}

// stands checks what is stored of a session.
func (m *model) stands(i int, out outcome) error {
	s := &m.sessions[i]
	switch {
	case !m.live(s, out.at) && errors.Is(out.err, mongostore.ErrNotFound):
		return nil
	case !m.live(s, out.at):
		return wrongError(fmt.Sprintf("%v with %v", s, out.content), out.err, mongostore.ErrNotFound)
	case out.err != nil:
		return fmt.Errorf("%v: %w, want %v", s, out.err, s.content)
	case !out.content.equal(s.content):
		return fmt.Errorf("%v holds %v, want %v", s, out.content, s.content)
	}
	return m.checkDates(s, out)
}
