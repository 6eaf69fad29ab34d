package acceptance

import (
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
	lost     int // flashes that two requests read at once, of which only the later's additions stay
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
	number             int // in errors: rapid simplifies a history while its error stays the same
	id, recordID       string
	createdAt, expires time.Time
	ended              bool
	secret             int // counts its renewals
	version            int
	maxAge             *int
	seen               map[string]bool // flashes that were shown, which is acknowledged
	content
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
	cookie     string // the request's; "" for none
	proof             // of what is stored; session is none if nothing is
	base, mine content
	baseUser   string
	version    int
	expires    time.Time // of the record, as it was loaded or saved
	createdAt  time.Time
	handed     int // MaxAge as the store handed it out
	maxAge     int // and as the handler left it
	renew      bool
	quiet      bool // a stand-in that is not stored without values
	down       bool // the load failed
	over       bool // logged out
	readBefore []string
}

const none = -1

// outcome is what a call of the store did, as the handler and the browser see it.
type outcome struct {
	at       time.Time
	err      error
	id       string
	recordID string
	isNew    bool
	maxAge   int
	content  content
	expires  time.Time
	cookie   *http.Cookie // that this call set; nil: none
	lost     bool         // the answer to its first write did not arrive
}

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
	}
	c.objects = slices.Clone(m.objects)
	for i := range c.objects {
		c.objects[i].base, c.objects[i].mine = c.objects[i].base.clone(), c.objects[i].mine.clone()
	}
	c.cookies = maps.Clone(m.cookies)
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

func (m *model) defaultMaxAge() int { return int(m.rules.ttl / time.Second) }

func (m *model) nextVersion() int { m.versions++; return m.versions }

// justRenewed is how long after a login the old cookie's requests leave no trace.
const justRenewed = time.Minute

// load checks what a load returned, and makes o the object it should have returned.
func (m *model) load(i int, cookie string, unreachable bool, out outcome) error {
	d := m.defaultMaxAge()
	m.objects[i] = object{cookie: cookie, proof: proof{session: none}, handed: d, maxAge: d}
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
	if cookie == "" {
		return stand(nil)
	}
	if unreachable {
		o.down = true
		return stand(mongostore.ErrUnavailable)
	}
	p, known := m.cookies[cookie]
	if !known {
		return errors.New("the browser has a cookie that nobody gave it")
	}
	s := &m.sessions[p.session]
	if live := m.live(s, out.at); !live || s.secret != p.secret {
		o.quiet = live && !m.rules.plain && out.at.Sub(s.createdAt) < justRenewed
		return stand(nil)
	}
	o.adopt(p.session, s)
	if s.maxAge != nil {
		o.handed, o.maxAge = *s.maxAge, *s.maxAge
	}
	for _, flash := range out.content.flashes {
		if s.seen[flash] && m.rules.onConflict != mongostore.OnConflictOverwrite {
			return fmt.Errorf("load: flash %s is shown again", flash)
		}
	}
	switch {
	case out.err != nil:
		return fmt.Errorf("load: %w, want %v", out.err, s)
	case out.id != s.id || out.isNew:
		return fmt.Errorf("load: %v (new: %v), want %v: the cookie is good", m.named(out.id), out.isNew, s)
	case !out.content.equal(s.content):
		return fmt.Errorf("load: %v holds %v, want %v", s, out.content, s.content)
	case out.maxAge != o.maxAge:
		return fmt.Errorf("load: MaxAge is %d, want %d", out.maxAge, o.maxAge)
	}
	return m.checkDeadline(s, out)
}

func (m *model) checkDeadline(s *stored, out outcome) error {
	if wrong := out.expires.Sub(s.expires); wrong.Abs() > m.rules.slack && !out.expires.IsZero() {
		return fmt.Errorf("%v expires %v later than it should", s, wrong.Round(time.Minute))
	}
	return nil
}

// adopt makes what is stored the base of an object.
func (o *object) adopt(i int, s *stored) {
	o.proof = proof{i, s.secret}
	o.base, o.mine = s.content.clone(), s.content.clone()
	o.baseUser, o.version, o.expires, o.createdAt = s.user(), s.version, s.expires, s.createdAt
	o.quiet, o.readBefore = false, nil
}

// save checks what a Save did, and does it in the model.
func (m *model) save(i int, out outcome) error {
	o := &m.objects[i]
	switch {
	case o.maxAge < 0:
		return m.logout(o, out)
	case o.down:
		return o.refused(out, mongostore.ErrUnavailable)
	case o.session == none && o.mine.empty() && (o.quiet || m.rules.skipEmpty):
		if out.id != "" {
			return errors.New("save: stored, want nothing to be stored")
		}
		return o.refused(out, nil)
	case o.session == none:
		return m.create(o, out)
	case !o.renew && o.maxAge == o.handed && o.mine.equal(o.base):
		return m.keep(o, out)
	}
	s := &m.sessions[o.session]
	switch {
	case !m.live(s, out.at):
		return o.refused(out, mongostore.ErrNotFound)
	case s.secret != o.secret && !m.rules.plain && o.renew && o.baseUser == "" && s.user() != "" && o.mine.user() != "":
		return m.create(o, out) // a login beside another login
	case s.secret != o.secret:
		return o.refused(out, mongostore.ErrNotFound)
	}
	return m.change(o, s, out)
}

// refused checks a Save that must write nothing and set no cookie.
func (o *object) refused(out outcome, want error) error {
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
		number: len(m.sessions), id: out.id, recordID: out.recordID, createdAt: out.at, version: m.nextVersion(),
		content: o.mine.clone(), seen: map[string]bool{},
	}
	if o.maxAge != m.defaultMaxAge() {
		s.maxAge = &[]int{o.maxAge}[0]
	}
	s.expires = m.deadline(out.at, s.createdAt, o.maxAge)
	m.sessions = append(m.sessions, s)
	return m.wrote(o, len(m.sessions)-1, true, out)
}

// keep checks a Save that has nothing to change: it may only move the deadline.
func (m *model) keep(o *object, out outcome) error {
	s := &m.sessions[o.session]
	d := m.deadline(out.at, o.createdAt, o.maxAge)
	moved := d.Sub(o.expires).Abs()
	threshold := min(time.Second, m.lifetime(o.maxAge)/2)
	certain := moved > 0 && moved >= threshold
	if !m.live(s, out.at) || s.secret != o.secret || s.version != o.version || !certain && moved+m.rules.slack < threshold {
		return o.refused(out, nil)
	}
	if !certain && out.cookie == nil { // so much time may have passed, or not
		return o.refused(out, nil)
	}
	s.expires = d
	return m.wrote(o, o.session, false, out)
}

// change checks a Save that changes a session which is there.
func (m *model) change(o *object, s *stored, out outcome) error {
	merged, conflict := m.merge(o.base, o.mine, s.content)
	if conflict && m.rules.onConflict == mongostore.OnConflictFail {
		return o.refused(out, mongostore.ErrConflict)
	}
	maxAge := o.maxAge
	if o.maxAge == o.handed && s.maxAge != nil {
		maxAge = *s.maxAge
	}
	other := o.maxAge != o.handed && (s.maxAge == nil || *s.maxAge != o.maxAge)
	if !o.renew && !other && merged.equal(s.content) { // others have stored the same
		o.mine = merged
		if err := o.refused(out, nil); err != nil {
			return err
		}
		o.adopt(o.session, s)
		o.handed, o.maxAge = maxAge, maxAge
		return nil
	}
	if o.maxAge != o.handed {
		s.maxAge = &[]int{o.maxAge}[0]
	}
	for _, flash := range o.readBefore {
		if !slices.Contains(merged.flashes, flash) {
			s.seen[flash] = true
		}
	}
	cookie := o.renew || maxAge != 0 || o.maxAge != o.handed
	s.content, s.version = merged, m.nextVersion()
	if o.renew {
		s.secret++
		s.createdAt = out.at
		if m.rules.plain {
			s.id, s.recordID = out.id, out.recordID
		}
	}
	s.expires = m.deadline(out.at, s.createdAt, maxAge)
	o.mine, o.maxAge = merged.clone(), maxAge
	return m.wrote(o, o.session, cookie, out)
}

// wrote checks what must hold after every Save that wrote: the cookie proves
// what is stored, and the handler sees it.
func (m *model) wrote(o *object, i int, cookie bool, out outcome) error {
	s := &m.sessions[i]
	maxAge := o.maxAge
	cookie = cookie || maxAge != 0
	switch {
	case out.err != nil:
		return fmt.Errorf("save: %w, want %v to be written", out.err, s)
	case out.id != s.id:
		return fmt.Errorf("save: session.ID is that of %v, want %v", m.named(out.id), s)
	case !out.content.equal(o.mine):
		return fmt.Errorf("save: the handler's values are now %v, want %v", out.content, o.mine)
	case out.maxAge != maxAge:
		return fmt.Errorf("save: Options.MaxAge is %d, want %d", out.maxAge, maxAge)
	case cookie != (out.cookie != nil) && (cookie || !out.lost):
		return fmt.Errorf("save: sets a cookie: %v, want %v", out.cookie != nil, cookie)
	}
	if err := m.checkDeadline(s, out); err != nil {
		return err
	}
	o.adopt(i, s)
	o.handed, o.renew = maxAge, false
	if out.cookie == nil {
		return nil
	}
	if err := m.checkAge(s, maxAge, out); err != nil {
		return err
	}
	if p, known := m.cookies[out.cookie.Value]; known && p != o.proof {
		return errors.New("save: sets the cookie of another session")
	}
	m.cookies[out.cookie.Value] = o.proof
	return nil
}

// checkAge checks that the cookie lives as long as the record.
func (m *model) checkAge(s *stored, maxAge int, out outcome) error {
	want := 0
	if maxAge > 0 {
		want = min(maxAge, max(1, int(math.Ceil(s.expires.Sub(out.at).Seconds()))))
	}
	if diff := out.cookie.MaxAge - want; diff > 0 || diff < -int(math.Ceil(m.rules.slack.Seconds())) {
		return fmt.Errorf("save: the cookie's Max-Age is %d, want %d", out.cookie.MaxAge, want)
	}
	return nil
}

// logout checks a Save with MaxAge < 0: the session is gone, whoever renewed it.
func (m *model) logout(o *object, out outcome) error {
	if o.session != none {
		if s := &m.sessions[o.session]; !m.rules.plain || s.secret == o.secret {
			s.ended = true
		}
	}
	if p, ok := m.cookies[o.cookie]; ok && m.sessions[p.session].secret == p.secret {
		m.sessions[p.session].ended = true
	}
	switch {
	case out.err != nil:
		return fmt.Errorf("logout: %w", out.err)
	case out.cookie == nil || out.cookie.MaxAge >= 0:
		return fmt.Errorf("logout: the cookie is not expired: %v", out.cookie == nil)
	case out.id != "" || !out.content.empty():
		return fmt.Errorf("logout: the session is still %v with %v", m.named(out.id), out.content)
	}
	d := m.defaultMaxAge()
	*o = object{cookie: o.cookie, proof: proof{session: none}, over: true, handed: d, maxAge: -1}
	return nil
}

// merge applies what a request changed, from base to mine, to what is stored.
// It reports whether a key that the request changed was changed by another, too.
func (m *model) merge(base, mine, theirs content) (merged content, conflict bool) {
	if m.rules.onConflict == mongostore.OnConflictOverwrite {
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
		now, nowThere := theirs.keys[key]
		changed := now != was || nowThere != wasThere
		if same := now == is && nowThere == isThere; changed && !same {
			conflict = true
		}
		delete(merged.keys, key)
		if isThere {
			merged.keys[key] = is
		}
	}
	flashes, ok := mergeFlashes(base.flashes, mine.flashes, theirs.flashes)
	if !ok {
		m.lost++
		return content{merged.keys, mine.clone().flashes}, true
	}
	return content{merged.keys, flashes}, conflict
}

// mergeFlashes keeps what both sides added. Not ok: both have read those of
// base, and added others; by R9 the later Save wins.
func mergeFlashes(base, mine, theirs []string) ([]string, bool) {
	switch {
	case slices.Equal(mine, base), slices.Equal(mine, theirs):
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

// touch checks an administrator's Touch.
func (m *model) touch(i int, out outcome) error {
	s := &m.sessions[i]
	if !m.live(s, out.at) {
		if !errors.Is(out.err, mongostore.ErrNotFound) {
			return wrongError("touch", out.err, mongostore.ErrNotFound)
		}
		return nil
	}
	maxAge := m.defaultMaxAge()
	if s.maxAge != nil {
		maxAge = *s.maxAge
	}
	if d := m.deadline(out.at, s.createdAt, maxAge); d.After(s.expires) {
		s.expires = d
	}
	return out.err
}

// destroy ends a session, if id is still its id.
func (m *model) destroy(i int, id string, out outcome) error {
	if s := &m.sessions[i]; s.recordID == id {
		s.ended = true
	}
	return out.err
}

// destroyByUser ends the sessions of a user but those of one object, and checks their number.
func (m *model) destroyByUser(user string, except int, n int64, out outcome) error {
	least, most := int64(0), int64(0)
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
	return m.checkDeadline(s, out)
}
