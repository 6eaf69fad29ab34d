package mongostore

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// browser is one visitor's: it keeps one cookie.
type browser struct {
	cookie *http.Cookie
	sent   int // the step at which the response was sent that brought it; 0: before all
}

// part is what one actor does.
type part interface {
	title() string
	act(a *actor)
}

// request is one of a visitor: a load, what the handler does, and a Save.
type request struct {
	name       string
	sets       string // this key, to the name of the request
	to         string // or to this
	user       string // who logs in
	regenerate bool
	logout     bool
	age        int    // the session's MaxAge from now on
	path       string // that of its cookie from now on
	sameSite   http.SameSite
	adds       string // a flash
	shows      bool   // the flashes
	navigates  bool
	renewsFrom int    // the Save from which on it is a login; 0: the first, if it is one
	once       bool   // Regenerate is called before the first Save alone
	again      int    // how often the handler saves again after an error
	more       string // this key too, before it saves again
	leaves     bool   // the client goes away after the load
	gives      bool   // up after an error, and logs out
	twice      bool   // it saves again after a success too, as a middleware may
	pauses     bool   // before that, as a step of its own
	waits      bool   // it begins as a step of its own, with the cookie that the browser has then
	slow       bool   // its response arrives as a step of its own
}

func (q request) title() string { return q.name }

// visit is what came of a request.
type visit struct {
	request
	sent     string // the cookie
	loaded   bool
	found    bool // the load found a session
	id       string
	values   map[any]any // that it found
	changed  bool        // the handler changed them
	saw      []any       // flashes that it took out
	err      error       // of the load
	at       int         // the step of the load's end
	tooLate  bool        // its cookie was replaced just before the load
	saves    []told
	finished bool
}

// told is what one Save said.
type told struct {
	err        error
	began, end int
	cookie     *http.Cookie // that it set, or deleted
	live       bool         // the cookie led to the session when Save returned
	logout     bool
	crashed    bool // the process ended
	concern    bool // the error says no more than that the write, which was done, is not replicated

	// Of a Save that set a cookie of its own: the handler's values after it, and what a request with the cookie found then.
	values map[any]any
	seen   *sessions.Session
}

func (t told) acknowledged() bool { return t.err == nil || t.concern }

func (q request) act(a *actor) {
	a.visit.request = q
	if q.waits {
		a.step("begins")
	}
	v, store := &a.visit, a.store()
	r := a.run.browser.request(a.context())
	if q.navigates {
		r.Header.Set("Sec-Fetch-Mode", "navigate")
	}
	if c := a.run.browser.cookie; c != nil {
		v.sent = c.Value
	}
	session, err := store.New(r, "sid")
	v.load(a, session, err)
	q.change(v, session)
	if q.leaves {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		r = r.WithContext(ctx)
	}
	w := httptest.NewRecorder()
	q.save(a, r, w, session)
	if q.slow {
		a.step("its response arrives")
	}
	for _, t := range v.saves {
		a.run.browser.receive(t.cookie, v.final().end)
	}
	v.finished = true
}

// store returns that of the actor's process.
func (a *actor) store() *Store { return a.run.stores[a.index%len(a.run.stores)] }

// load notes what the load found.
func (v *visit) load(a *actor, session *sessions.Session, err error) {
	v.loaded, v.found, v.err, v.id, v.at = true, !session.IsNew, err, session.ID, a.run.steps
	v.values = maps.Clone(session.Values)
	v.tooLate = v.err == nil && !v.found && v.sent != "" && a.run.justRenewed(a)
	a.run.sayf("%s: has loaded: %s", a.name, v.loadInWords())
}

// change is what the handler does to the session.
func (q request) change(v *visit, session *sessions.Session) {
	if q.sets != "" {
		session.Values[q.sets] = q.value()
	}
	if q.adds != "" {
		session.AddFlash(q.adds, "flashes")
	}
	if q.shows {
		v.saw = session.Flashes("flashes")
	}
	if q.user != "" {
		session.Values["user"] = q.user
	}
	if q.logout {
		session.Options.MaxAge = -1
	}
	if q.age > 0 {
		session.Options.MaxAge = q.age
	}
	if q.path != "" {
		session.Options.Path = q.path
	}
	if q.sameSite != 0 {
		session.Options.SameSite = q.sameSite
	}
	v.changed = !q.logout && !reflect.DeepEqual(v.values, session.Values)
}

// keys are those that the handler has set.
func (v *visit) keys() (keys []string) {
	if v.sets != "" {
		keys = append(keys, v.sets)
	}
	if v.more != "" && len(v.saves) > 1 {
		keys = append(keys, v.more)
	}
	return keys
}

// attributes are those of the cookie that a request sets, by name.
func (q request) attributes() map[string]string { return attributesInWords(q.path, q.sameSite) }

func attributesInWords(path string, sameSite http.SameSite) map[string]string {
	words := map[string]string{}
	if path != "" {
		words["Path"] = path
	}
	if sameSite != 0 {
		words["SameSite"] = [...]string{"", "default", "lax", "strict", "none"}[sameSite]
	}
	return words
}

func (q request) value() string {
	if q.to != "" {
		return q.to
	}
	return q.name
}

// save saves, and after an error of unknown outcome again, as a handler may.
func (q request) save(a *actor, r *http.Request, w http.ResponseWriter, session *sessions.Session) {
	store := a.store()
	for try := 0; ; try++ {
		if q.regenerate && try+1 >= q.renewsFrom && (try == 0 || !q.once) {
			store.Regenerate(session)
		}
		t := a.saves(r, w, session, try+1)
		if t.err == nil && q.twice {
			a.saves(r, w, session, try+2)
			return
		}
		if t.acknowledged() || !errors.Is(t.err, ErrUnavailable) || a.visit.err != nil || try == q.again {
			return
		}
		if q.gives {
			a.visit.logout, session.Options.MaxAge = true, -1
		}
		if q.more != "" {
			session.Values[q.more] = q.value()
		}
		if q.pauses {
			a.step("saves again")
		}
	}
}

// saves calls Save once and notes what it said.
func (a *actor) saves(r *http.Request, w http.ResponseWriter, session *sessions.Session, number int) told {
	store := a.store()
	t := told{began: a.run.steps, logout: session.Options.MaxAge < 0}
	a.saving = number
	first := !a.final().acknowledged()
	if first {
		w.Header().Del("Set-Cookie") // what this Save sets is asked for
	}
	t.err = store.Save(r, w, session)
	a.saved(&t, number)
	t.cookie = cookieOf(w.Header())
	if t.cookie != nil && t.cookie.MaxAge >= 0 {
		var seen *sessions.Session
		if seen, t.live = a.run.look(t.cookie); first && t.live {
			t.seen, t.values = seen, maps.Clone(session.Values)
		}
	}
	a.visit.saves = append(a.visit.saves, t)
	a.run.sayf("%s: Save: %s", a.name, a.run.toldInWords(t))
	return t
}

// saved notes that a Save has ended.
func (a *actor) saved(t *told, number int) {
	a.run.mu.Lock() // it may have been woken by time
	defer a.run.mu.Unlock()
	a.saving, t.end = 0, a.run.steps
	t.concern = errors.As(t.err, new(mongo.WriteException)) && !errors.As(t.err, new(mongo.CommandError)) && a.run.any(func(e event) bool {
		return e.actor == a && e.saving == number && e.fate == notReplicated
	})
}

var page = &url.URL{Scheme: "https", Host: "example.com", Path: "/"}

// request returns one of the browser. It is made by hand, for there are very many.
func (b *browser) request(ctx context.Context) *http.Request {
	r := (&http.Request{Method: http.MethodGet, URL: page, Host: page.Host, Header: http.Header{}}).WithContext(ctx)
	if b.cookie != nil {
		r.AddCookie(&http.Cookie{Name: b.cookie.Name, Value: b.cookie.Value})
	}
	return r
}

// receive takes a cookie of a response, nil if it has none.
func (b *browser) receive(c *http.Cookie, sent int) {
	if c == nil {
		return
	}
	b.cookie, b.sent = c, sent
	if c.MaxAge < 0 {
		b.cookie = nil
	}
}

// cookieOf returns the last cookie that a response sets.
func cookieOf(header http.Header) (last *http.Cookie) {
	for _, c := range (&http.Response{Header: header}).Cookies() {
		last = c
	}
	return last
}

// call is one of an administrator.
type call struct {
	name   string
	do     func(ctx context.Context, s *Store, id string) error
	ends   bool   // the session
	sets   string // this key, to the name of the call
	touch  bool
	onUser bool
}

func (c call) title() string { return c.name }

func (c call) act(a *actor) {
	a.visit.request = request{name: c.name, sets: c.sets}
	a.visit.loaded = true // its reads are none of a request's
	a.visit.at = a.run.steps
	t := told{began: a.run.steps}
	a.saving = 1
	t.err = c.do(a.context(), a.store(), a.run.id)
	a.saved(&t, 1)
	a.visit.saves = append(a.visit.saves, t)
	a.run.sayf("%s: %s", a.name, a.run.toldInWords(t))
}

var (
	adminTouch = call{name: "Touch", touch: true, do: func(ctx context.Context, s *Store, id string) error { return s.Touch(ctx, id) }}
	adminEdit  = call{name: "Update", sets: "k", do: func(ctx context.Context, s *Store, id string) error {
		return s.Update(ctx, id, func(values map[any]any) error { values["k"] = "Update"; return nil })
	}}
	destroy       = call{name: "Destroy", ends: true, do: func(ctx context.Context, s *Store, id string) error { return s.Destroy(ctx, id) }}
	destroyByUser = call{name: "DestroyByUser", ends: true, onUser: true, do: func(ctx context.Context, s *Store, _ string) error {
		_, err := s.DestroyByUser(ctx, "ann")
		return err
	}}
)

// elapsing is time that moves on.
type elapsing struct{ by time.Duration }

func (p elapsing) title() string { return "time" }

func (p elapsing) act(a *actor) {
	a.step("passes by " + p.by.String() + ": every deadline so far is over")
	a.run.clock = a.run.clock.Add(p.by)
	a.run.expired = append(a.run.expired, a.run.steps)
}

// scenario is who does what at the same time.
type scenario struct {
	name    string
	user    string // who is logged in before
	flash   string // that is there before
	old     string // the session is in a Previous of this kind: "map", "cookie", "memory"; "": in the store
	parts   []part
	fresh   bool   // there is no session before
	crashes bool   // the process of a request may end after a command
	express bool   // another program shares the collection
	large   bool   // it has many schedules
	short   bool   // the short run tries it with a fault
	faults  int    // each run tries it with so many
	only    []fate // and with no others than these; nil: with all
}

// known is what is wrong until it is mended.
type known struct {
	scenario, setting string // they begin so
	violation         string // has this in it
	reason            string
}

// knownReason returns why a schedule that is wrong does not fail the test yet; "" if it does.
func (p *play) knownReason(violations []string) string {
	if os.Getenv("MONGOSTORE_RED") != "" {
		return ""
	}
	for _, violation := range violations {
		for _, k := range knowns {
			if strings.HasPrefix(p.scenario.name, k.scenario) && strings.HasPrefix(p.setting.name, k.setting) &&
				strings.Contains(violation, k.violation) {
				return k.reason
			}
		}
	}
	return ""
}

// setting is how the stores are configured.
type setting struct {
	name      string
	processes int
	change    func(cfg *Config)
}

// settings are by name; the first two are those of every scenario.
var settings = []setting{
	{"split", 1, func(*Config) {}},
	{"plain", 1, func(c *Config) { c.PlainIDs = true }},
	{"split-overwrite", 1, func(c *Config) { c.OnConflict = OnConflictOverwrite }},
	{"plain-overwrite", 1, func(c *Config) { c.PlainIDs, c.OnConflict = true, OnConflictOverwrite }},
	{"split-fail", 1, func(c *Config) { c.OnConflict = OnConflictFail }},
	{"plain-fail", 1, func(c *Config) { c.PlainIDs, c.OnConflict = true, OnConflictFail }},
	{"split-processes", 2, func(*Config) {}},
	{"plain-processes", 2, func(c *Config) { c.PlainIDs = true }},
	{"split-nobody", 1, func(c *Config) { c.UserID = nil }},
	{"plain-nobody", 1, func(c *Config) { c.PlainIDs, c.UserID = true, nil }},
	{"split-lifetime-skipempty", 1, func(c *Config) { c.MaxLifetime, c.SkipEmpty = 20*24*time.Hour, true }},
	{"plain-lifetime-skipempty", 1, func(c *Config) { c.PlainIDs, c.MaxLifetime, c.SkipEmpty = true, 20*24*time.Hour, true }},
	{"split-sealed", 1, func(c *Config) { c.Sealer = AESGCM(make([]byte, 32)) }},
	{"plain-sealed", 1, func(c *Config) { c.PlainIDs, c.Sealer = true, AESGCM(make([]byte, 32)) }},
	{"split-gob", 1, func(c *Config) { c.PayloadCodec = GobCodec{} }},
	{"plain-hashed", 1, func(c *Config) { c.PlainIDs, c.TransformID = true, HashID([]byte("key")) }},
}

func (s *setting) plain() bool { return strings.HasPrefix(s.name, "plain") }

func (s *setting) config() *Config {
	cfg := &Config{PayloadCodec: JSONCodec{}, UserID: func(session *sessions.Session) string {
		user, _ := session.Values["user"].(string)
		return user
	}}
	cfg.Observe = func(ctx context.Context, e Event) {
		if a, ok := ctx.Value(actorKey{}).(*actor); ok && e.Op == OpTouch && errors.Is(e.Err, ErrNotFound) {
			a.observedTouchMiss = true
		}
	}
	s.change(cfg)
	return cfg
}

// play is a scenario under a setting.
type play struct {
	*processes
	scenario *scenario
	setting  *setting
	faults   int
	browser  *browser
	first    *http.Cookie // what the browser has before
	id       string       // of the record, "" if it is in Previous
	deadline time.Time    // likewise
	previous former
	other    struct {
		id     string
		cookie *http.Cookie
	}
	expired []int // the steps at which all deadlines passed
}

// newPlay makes the stores, and the session that is there before.
func newPlay(sc *scenario, st *setting, faults int) (*play, error) {
	p := &play{scenario: sc, setting: st, faults: faults, browser: &browser{}}
	cfg := st.config()
	if sc.old != "" {
		p.previous = formers[sc.old]()
		cfg.Previous = &gatedPrevious{former: p.previous}
	}
	var err error
	if p.processes, err = open(st.processes, cfg); err != nil {
		return nil, err
	}
	store := sessions.Store(p.stores[0])
	if sc.old != "" {
		store = p.previous
	}
	if !sc.fresh {
		if err := p.start(store); err != nil {
			return nil, err
		}
	}
	if err := p.startOther(); err != nil {
		return nil, err
	}
	p.clock = p.clock.Add(time.Hour)
	p.keep()
	return p, nil
}

// start stores the session that is there before.
func (p *play) start(store sessions.Store) error {
	r := p.browser.request(context.Background())
	session, err := store.New(r, "sid")
	if err != nil {
		return err
	}
	session.Values["k"] = "before"
	if p.scenario.user != "" {
		session.Values["user"] = p.scenario.user
	}
	if p.scenario.flash != "" {
		session.AddFlash(p.scenario.flash, "flashes")
	}
	w := httptest.NewRecorder()
	if err := store.Save(r, w, session); err != nil {
		return err
	}
	p.browser.receive(cookieOf(w.Header()), 0)
	p.first = p.browser.cookie
	if s, ok := store.(*Store); ok {
		rec, _ := s.Record(session)
		p.id, p.deadline = rec.ID, rec.ExpiresAt
	} else {
		p.previous.keep()
	}
	return nil
}

// startOther stores the session of somebody who has nothing to do with it.
func (p *play) startOther() error {
	b := browser{}
	r, w := b.request(context.Background()), httptest.NewRecorder()
	session, err := p.stores[0].New(r, "sid")
	if err != nil {
		return err
	}
	session.Values["k"], session.Values["user"] = "bystander", "bob"
	if err := session.Save(r, w); err != nil {
		return err
	}
	b.receive(cookieOf(w.Header()), 0)
	rec, _ := p.stores[0].Record(session)
	p.other.id, p.other.cookie = rec.ID, b.cookie
	return nil
}

// restore puts everything back to where start left it.
func (p *play) restore() {
	p.processes.restore()
	*p.browser = browser{cookie: p.first}
	p.expired = nil
	if p.previous != nil {
		p.previous.restore()
	}
}

// former is a store that was there before.
type former interface {
	sessions.Store
	keep()
	restore()
}

var formers = map[string]func() former{
	"map":    func() former { return &mapStore{sessions: map[string]map[any]any{}} },
	"cookie": func() former { return cookieStore{sessions.NewCookieStore([]byte("an old key of thirty-two bytes!!"))} },
}

// cookieStore cannot end a session.
type cookieStore struct{ *sessions.CookieStore }

func (cookieStore) keep()    {}
func (cookieStore) restore() {}

// mapStore is a store that can end sessions.
type mapStore struct {
	sessions, kept map[string]map[any]any
}

func (m *mapStore) keep()    { m.kept = maps.Clone(m.sessions) }
func (m *mapStore) restore() { m.sessions = maps.Clone(m.kept) }

func (m *mapStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return m.New(r, name)
}

func (m *mapStore) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(m, name)
	session.Options, session.IsNew = &sessions.Options{Path: "/"}, true
	for _, c := range r.CookiesNamed(name) {
		if values, ok := m.sessions[c.Value]; ok {
			session.ID, session.IsNew, session.Values = c.Value, false, maps.Clone(values)
			break
		}
	}
	return session, nil
}

func (m *mapStore) Save(_ *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	if session.Options.MaxAge < 0 {
		delete(m.sessions, session.ID)
		return nil
	}
	session.ID = "old"
	m.sessions[session.ID] = maps.Clone(session.Values)
	http.SetCookie(w, &http.Cookie{Name: session.Name(), Value: session.ID, Path: "/"})
	return nil
}

// gatedPrevious is a Previous whose calls are parked too.
type gatedPrevious struct{ former }

func (g *gatedPrevious) New(r *http.Request, name string) (*sessions.Session, error) {
	if a, ok := r.Context().Value(actorKey{}).(*actor); ok {
		c := &command{verb: "ask Previous", load: !a.visit.loaded}
		a.await(c)
		a.run.happened(event{command: c, actor: a, saving: a.saving, at: a.run.steps})
	}
	return g.former.New(r, name)
}

func (g *gatedPrevious) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	if a, ok := r.Context().Value(actorKey{}).(*actor); ok {
		c := &command{verb: "end it in Previous", step: true, ends: a.visit.logout, renews: a.visit.regenerate}
		a.await(c)
		a.run.happened(event{command: c, actor: a, saving: a.saving, effect: true, at: a.run.steps})
	}
	return g.former.Save(r, w, session)
}

func sets(name, key string) request { return request{name: name, sets: key, again: 1} }

func path(name, path string) request { return request{name: name, path: path, again: 1} }

func sameSite(name string, mode http.SameSite) request {
	return request{name: name, sameSite: mode, again: 1}
}

func login(name string) request {
	return request{name: name, user: "ann", regenerate: true, again: 1}
}

var (
	unchanged = request{name: "unchanged", again: 1}
	logout    = request{name: "logout", logout: true, again: 1}
	twoWeeks  = elapsing{15 * 24 * time.Hour}
)

// scenarios are tried in every order.
var scenarios = []scenario{
	{name: "change", parts: []part{request{name: "a", sets: "a", again: 2}}},
	{name: "login", parts: []part{request{name: "login", user: "ann", regenerate: true, again: 2}}},
	{name: "two-keys", short: true, parts: []part{sets("a", "a"), sets("b", "b")}},
	{name: "more-keys", short: true, parts: []part{request{name: "a", sets: "a", more: "more", again: 1}, sets("b", "b")}},
	{name: "one-key", parts: []part{sets("a", "k"), sets("b", "k")}},
	{name: "same-value", parts: []part{request{name: "a", sets: "k", to: "new", again: 1}, request{name: "b", sets: "k", to: "new", again: 1}}},
	{name: "change-unchanged", short: true, parts: []part{sets("a", "a"), unchanged}},
	{name: "change-login", short: true, parts: []part{sets("a", "a"), login("login")}},
	{name: "unchanged-login", parts: []part{unchanged, login("login")}},
	{name: "two-logins", parts: []part{login("login 1"), login("login 2")}},
	{name: "change-logout", user: "ann", parts: []part{sets("a", "a"), logout}},
	{name: "unchanged-logout", user: "ann", parts: []part{unchanged, logout}},
	{name: "login-logout", short: true, user: "ann", parts: []part{login("login"), logout}},
	{name: "login-destroy", user: "ann", parts: []part{login("login"), destroy}},
	{name: "login-destroybyuser", short: true, user: "ann", parts: []part{login("login"), destroyByUser}},
	{name: "change-destroy", user: "ann", parts: []part{sets("a", "a"), destroy}},
	{name: "change-touch", parts: []part{sets("a", "a"), adminTouch}},
	{name: "change-edit", parts: []part{sets("a", "k"), adminEdit}},
	{name: "unchanged-edit", parts: []part{unchanged, adminEdit}},
	{name: "login-edit", parts: []part{login("login"), adminEdit}},
	{name: "change-expiry", short: true, parts: []part{request{name: "a", sets: "a", again: 1, pauses: true}, twoWeeks}},
	{name: "unchanged-expiry", parts: []part{request{name: "unchanged", again: 1, pauses: true}, twoWeeks}},
	{name: "login-expiry", short: true, parts: []part{request{name: "login", user: "ann", regenerate: true, again: 1, pauses: true}, twoWeeks}},
	{name: "flashes", flash: "f0", parts: []part{request{name: "reader 1", shows: true, again: 1}, request{name: "reader 2", shows: true, again: 1}, request{name: "adder", adds: "f1", again: 1}}},
	{name: "flash-adders", flash: "f0", parts: []part{request{name: "adder 1", adds: "f1", again: 1}, request{name: "adder 2", adds: "f2", again: 1}}},
	{name: "late-change", parts: []part{login("login"), request{name: "late", sets: "csrf", again: 1}}},
	{name: "late-unchanged", parts: []part{login("login"), unchanged}},
	{name: "late-navigation", parts: []part{login("login"), request{name: "late", sets: "csrf", navigates: true, again: 1}}},
	{name: "import-logout", old: "map", parts: []part{sets("a", "a"), logout}},
	{name: "import-login", old: "map", parts: []part{sets("poll", "a"), login("login")}},
	{name: "import-two", old: "map", parts: []part{sets("a", "a"), sets("b", "b")}},
	{name: "import-unchanged", old: "map", parts: []part{sets("a", "a"), unchanged}},
	{name: "import-cookie-logout", old: "cookie", parts: []part{sets("a", "a"), logout}},
	{name: "import-cookie-two", old: "cookie", parts: []part{sets("a", "a"), unchanged}},
	{name: "three-changes", parts: []part{sets("a", "a"), sets("b", "b"), sets("c", "k")}},
	{name: "two-changes-login", parts: []part{sets("a", "a"), sets("b", "b"), login("login")}},
	{name: "change-login-logout", user: "ann", parts: []part{sets("a", "a"), login("login"), logout}},
	{name: "shorten-touch", parts: []part{request{name: "shorten", age: 600, again: 1}, adminTouch}},
	{name: "shorten-unchanged", parts: []part{request{name: "shorten", age: 600, again: 1}, unchanged}},
	{name: "change-touch-edit", user: "ann", parts: []part{sets("a", "a"), adminTouch, adminEdit}},
	{name: "logout-next", large: true, user: "ann", parts: []part{request{name: "logout", logout: true, again: 1, slow: true}, request{name: "next", sets: "a", again: 1, waits: true}}},
	{name: "login-next", large: true, parts: []part{request{name: "login", user: "ann", regenerate: true, again: 1, slow: true}, request{name: "next", sets: "a", again: 1, navigates: true, waits: true}}},
	{name: "expiry-next", parts: []part{twoWeeks, request{name: "next", sets: "a", again: 1, pauses: true, waits: true}}},
	{name: "change-then-login", parts: []part{request{name: "login", sets: "a", user: "ann", regenerate: true, renewsFrom: 2, again: 3}}},
	{name: "login-once", parts: []part{request{name: "login", user: "ann", regenerate: true, once: true, again: 2}}},
	{name: "login-gone", parts: []part{request{name: "login", user: "ann", regenerate: true, leaves: true, again: 1}}},
	{name: "change-gone", parts: []part{request{name: "a", sets: "a", leaves: true, again: 1}}},
	{name: "create-give-up", fresh: true, parts: []part{request{name: "a", sets: "a", gives: true, again: 1}}},
	{name: "login-give-up", parts: []part{request{name: "login", user: "ann", regenerate: true, gives: true, again: 1}}},
	{name: "two-renewals", user: "ann", parts: []part{login("login 1"), login("login 2")}},
	{name: "two-shorten", parts: []part{request{name: "a", age: 600, again: 1}, request{name: "b", age: 700, again: 1}}},
	{name: "two-attributes", parts: []part{sameSite("a", http.SameSiteStrictMode), path("b", "/b")}}, // both survive
	{name: "one-attribute", parts: []part{path("a", "/a"), path("b", "/b")}},                         // the later one wins
	{name: "attribute-change", parts: []part{path("a", "/a"), sets("b", "b")}},
	{name: "attribute-unchanged", parts: []part{path("a", "/a"), unchanged}},
	{name: "attribute-back", parts: []part{path("a", "/a"), request{name: "b", path: "/", again: 1, waits: true}}},
	{name: "attribute-login", parts: []part{path("a", "/a"), login("login")}},
	{name: "change-revoke", parts: []part{sets("a", "a"), revoke}},
	{name: "login-revoke", parts: []part{login("login"), revoke}},
	{name: "conflict-timeout", large: true, faults: 2, only: []fate{done, unanswered, lost}, parts: []part{request{name: "a", sets: "a"}, request{name: "b", sets: "b"}}},
	{name: "create", fresh: true, parts: []part{request{name: "a", sets: "a", again: 2, twice: true}}},
	{name: "create-logout", fresh: true, parts: []part{request{name: "a", sets: "a", again: 1}, request{name: "logout", logout: true, again: 1, waits: true}}},
	{name: "create-two", fresh: true, parts: []part{request{name: "a", sets: "a", again: 1}, request{name: "b", sets: "b", again: 1}}},
	{name: "saves-twice", parts: []part{request{name: "a", sets: "a", again: 1, twice: true}, login("login")}},
	{name: "change-login-twice", parts: []part{sets("a", "a"), request{name: "login", user: "ann", regenerate: true, again: 1, twice: true}}},
	{name: "express-touch-change", express: true, parts: []part{sets("a", "a"), express{name: "Express"}}},
	{name: "express-touch-login", express: true, parts: []part{login("login"), express{name: "Express"}}},
	{name: "express-touch-logout", express: true, parts: []part{logout, express{name: "Express"}}},
	{name: "express-touch-destroy", express: true, user: "ann", parts: []part{destroy, express{name: "Express"}}},
	{name: "express-touch-login-logout", express: true, large: true, parts: []part{login("login"), logout, express{name: "Express"}}},
	{name: "express-set-change", express: true, parts: []part{sets("a", "a"), express{name: "Express", sets: "e"}}},
	{name: "express-set-unchanged", express: true, parts: []part{unchanged, express{name: "Express", sets: "e"}}},
	{name: "express-set-login", express: true, parts: []part{login("login"), express{name: "Express", sets: "e"}}},
	{name: "express-set-edit", express: true, parts: []part{adminEdit, express{name: "Express", sets: "e"}}},
	{name: "crash-change", crashes: true, parts: []part{sets("a", "a"), sets("b", "b")}},
	{name: "crash-login", crashes: true, parts: []part{login("login"), sets("a", "a")}},
	{name: "crash-two-logins", crashes: true, parts: []part{login("login 1"), login("login 2")}},
	{name: "crash-login-logout", crashes: true, user: "ann", parts: []part{login("login"), logout}},
	{name: "crash-login-destroy", crashes: true, user: "ann", parts: []part{login("login"), destroy}},
	{name: "crash-login-next", crashes: true, large: true, parts: []part{login("login"), request{name: "next", sets: "a", again: 1, navigates: true, waits: true}}},
	{name: "browser-login", large: true, parts: []part{request{name: "login", user: "ann", regenerate: true, again: 1, slow: true}, request{name: "poll", sets: "a", again: 1, waits: true, slow: true}}},
}

// knowns are the faults that the store has, by their number.
var knowns = []known{
	{scenario: "import", reason: "T3, T4, T5: sessions of Config.Previous are not yet imported under a claim"},
}
