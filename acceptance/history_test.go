package acceptance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"pgregory.net/rapid"
)

// name is the cookie's in all tests.
const name = "sid"

// The flashes, and a value that handlers change in place.
const (
	flashKey = "_flash"
	cartKey  = "cart"
)

var site = &url.URL{Scheme: "https", Host: "example.com", Path: "/"}

// step is one thing that happens in a history. What A, B and C mean depends on
// the action; they are taken modulo the number of browsers, sessions or open
// requests that there are.
type step struct {
	Do      string
	A, B, C int
}

// actions have as many entries as they should be frequent.
var actions = weigh(map[string]int{
	"open": 9, "open with others' cookies": 1, "open unreachable": 1, "keepalive": 1, "whole request": 3,
	"set": 4, "delete": 1, "clear": 1, "cart": 2, "flash": 3, "read flashes": 3, "remember": 1, "attributes": 1, "login": 3,
	"save": 9, "save twice": 2, "save, answer lost": 2, "log in, whole": 2, "log in twice": 2, "log in, answer lost": 3, "logout": 1, "log out, whole": 3,
	"arrive": 4, "drop": 1,
	"destroy": 1, "destroy by user": 1, "update": 1, "touch": 1, "socket, then keepalive": 1, "time": 2, "race": 6,
})

// needsOpen are the actions of a request that is open.
var needsOpen = map[string]bool{
	"set": true, "delete": true, "clear": true, "cart": true, "flash": true, "read flashes": true, "remember": true,
	"attributes": true, "login": true, "save": true, "save twice": true, "save, answer lost": true, "logout": true, "arrive": true, "drop": true,
}

func weigh(weights map[string]int) (list []string) {
	for _, action := range slices.Sorted(maps.Keys(weights)) {
		list = append(list, slices.Repeat([]string{action}, weights[action])...)
	}
	return append([]string{"nothing"}, list...) // what others are simplified to
}

func steps() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{actions[uniform(t, len(actions))], uniform(t, 12), uniform(t, 12), uniform(t, 12)}
	}), 18, 32)
}

// uniform draws a number below n. Rapid's own integers are small ones mostly.
func uniform(t *rapid.T, n int) (number int) {
	for bit := 1; bit < 4*n; bit *= 2 {
		if rapid.Bool().Draw(t, "bit") {
			number += bit
		}
	}
	return number % n
}

// place is where the sessions are, beyond what the stores show of it.
type place interface {
	now() time.Time
	// pass lets time pass for a session, or for all, and returns the new
	// deadline of that session; zero: it is what it was.
	pass(ctx context.Context, recordID string, n int) (expires time.Time, err error)
	count(ctx context.Context) (int64, error) // of live sessions
	// loseAnswer makes the server's answer to the next command of this name of
	// the last store get lost, until found is called; nil: it cannot.
	loseAnswer(command string) (found func())
}

// world is one history: stores and browsers on one side, the model on the other.
type world struct {
	*rapid.T
	tally    *tally
	ctx      context.Context
	place    place
	stores   []*mongostore.Store
	model    *model
	browsers []*cookiejar.Jar
	open     []*visit
	given    []string // cookies that responses have set
	values   int      // counts the values that handlers set, no two of which are equal
}

// visit is one request that is not answered yet.
type visit struct {
	jar     *cookiejar.Jar
	store   *mongostore.Store
	session *sessions.Session
	object  int // in the model
	r       *http.Request
	w       *httptest.ResponseRecorder
}

const (
	browsers = 3
	maxOpen  = 8
)

var users = []string{"ann", "bob"}

// run plays a history.
func (w *world) run(history []step) {
	for range browsers {
		jar, err := cookiejar.New(nil)
		if err != nil {
			w.Fatal(err)
		}
		w.browsers = append(w.browsers, jar)
	}
	for i, s := range history {
		w.Logf("%d %s %d %d %d", i, s.Do, s.A, s.B, s.C)
		w.do(s)
		w.tally.steps.Add(1)
	}
	w.tally.lost.Add(int64(w.model.lost))
	w.finish()
}

func (w *world) do(s step) {
	if len(w.open) == 0 && needsOpen[s.Do] {
		return
	}
	switch s.Do {
	case "open":
		w.perform(w.load(s.A, s.B, s.C))
	case "open with others' cookies":
		l := w.load(s.A, s.B, s.C)
		l.planted = w.handedOut(s.A+s.B+s.C, 1+s.C*2)
		w.perform(l)
	case "open unreachable":
		l := w.load(s.A, s.B, s.C)
		l.unreachable = true
		w.perform(l)
	case "keepalive":
		w.perform(&keepAlive{loading: *w.load(s.A, s.B, s.C)})
	case "whole request":
		w.perform(w.load(s.A, s.B, s.C))
		w.edit(w.last(), s.C%2, s.C)
		w.perform(w.save(w.last()))
		w.arrive(len(w.open) - 1)
	case "log in, whole", "log in, answer lost":
		w.perform(w.load(s.A, s.B, s.C))
		w.login(w.last(), s.C)
		w.perform(w.save(w.last()))
		if s.Do == "log in, whole" {
			w.arrive(len(w.open) - 1)
		} else {
			w.drop(len(w.open) - 1)
		}
	case "socket, then keepalive":
		w.socket(s)
	case "log out, whole":
		w.perform(w.load(s.A, s.B, s.C))
		w.setMaxAge(w.last(), -1)
		w.perform(w.save(w.last()))
		w.arrive(len(w.open) - 1)
	case "log in twice": // a double click
		for range 2 {
			w.perform(w.load(s.A, s.B, s.C))
			w.login(w.last(), s.C)
		}
		for range 2 {
			w.perform(w.save(w.last()))
			w.arrive(len(w.open) - 1)
		}
	case "save":
		w.perform(w.save(w.open[s.A%len(w.open)]))
	case "save twice":
		w.saveTwice(w.open[s.A%len(w.open)])
	case "save, answer lost":
		save := w.save(w.open[s.A%len(w.open)])
		save.lose = true
		w.perform(save)
	case "logout":
		v := w.open[s.A%len(w.open)]
		w.setMaxAge(v, -1)
		w.perform(w.save(v))
	case "arrive":
		w.arrive(s.A % len(w.open))
	case "drop":
		w.drop(s.A % len(w.open))
	case "race":
		w.race(s)
	default:
		w.doOther(s)
	}
}

// doOther does what is no request's I/O.
func (w *world) doOther(s step) {
	switch s.Do {
	case "set":
		w.edit(w.open[s.A%len(w.open)], 0, s.B)
	case "delete":
		w.edit(w.open[s.A%len(w.open)], 3, s.B)
	case "clear":
		w.edit(w.open[s.A%len(w.open)], 4, s.B)
	case "cart":
		w.edit(w.open[s.A%len(w.open)], 5, s.B)
	case "flash":
		w.edit(w.open[s.A%len(w.open)], 1, s.B)
	case "read flashes":
		w.edit(w.open[s.A%len(w.open)], 2, s.B)
	case "remember":
		ages := []int{0, 30 * 24 * 3600, 3600, w.model.defaults().maxAge}
		w.setMaxAge(w.open[s.A%len(w.open)], ages[s.B%len(ages)])
	case "attributes":
		sites := []http.SameSite{http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode}
		w.setSite(w.open[s.A%len(w.open)], sites[s.B%len(sites)])
	case "login":
		w.login(w.open[s.A%len(w.open)], s.B)
	case "time":
		if w.model.rules.remote {
			s.B %= longerTTL
		}
		w.pass(s)
	case "destroy by user":
		w.perform(w.destroyingUser(s))
	case "destroy", "update", "touch":
		if n := len(w.model.sessions); n > 0 {
			w.perform(w.administration(s.Do, s.A%n, s.B))
		}
	}
}

// longerTTL is the kind of time that a place lets pass which a process with a longer Config.TTL has saved in.
const longerTTL = 6

// socket lets a page's websocket keep the session alive for a while, and then the browser send a request.
func (w *world) socket(s step) {
	w.pass(step{A: s.A, B: s.B % longerTTL})
	for _, c := range w.browsers[s.A%len(w.browsers)].Cookies(site) {
		p, ok := w.model.cookies[c.Value]
		if !ok {
			continue
		}
		if w.model.rules.remote && s.C%2 == 0 {
			w.pass(step{A: p.session, B: longerTTL})
			defer w.pass(step{A: p.session})
		}
		w.perform(w.administration("touch", p.session, s.B))
	}
	w.perform(&keepAlive{loading: *w.load(s.A, s.B, s.C)})
	w.arrive(len(w.open) - 1)
}

func (w *world) last() *visit { return w.open[len(w.open)-1] }

func (w *world) object(v *visit) *object { return &w.model.objects[v.object] }

func (w *world) newValue() string {
	w.values++
	return fmt.Sprintf("v%d", w.values)
}

// edit lets a handler change its values, and the model's.
func (w *world) edit(v *visit, kind, n int) {
	o := w.object(v)
	if o.over {
		return
	}
	if o.mine.keys == nil {
		o.mine.keys = map[string]string{}
	}
	key := []string{"a", "b", "c"}[n%3]
	switch kind {
	case 0:
		value := w.newValue()
		v.session.Values[key], o.mine.keys[key] = value, value
	case 1:
		flash := w.newValue()
		v.session.AddFlash(flash)
		o.mine.flashes = append(slices.Clone(o.mine.flashes), flash)
	case 2:
		if got := shown(v.session.Flashes()); !slices.Equal(got, o.mine.flashes) {
			w.Fatalf("the flashes are %v, want %v", got, o.mine.flashes)
		}
		o.readBefore, o.mine.flashes = append(slices.Clone(o.readBefore), o.mine.flashes...), nil
	case 3:
		delete(v.session.Values, key)
		delete(o.mine.keys, key)
	case 4:
		v.session.Values = map[any]any{}
		o.mine = content{keys: map[string]string{}}
	case 5:
		value := w.newValue()
		if cart, ok := v.session.Values[cartKey].(map[string]any); ok {
			cart["of"] = value
		} else {
			v.session.Values[cartKey] = map[string]any{"of": value}
		}
		o.mine.keys[cartKey] = value
	}
}

func (w *world) login(v *visit, n int) {
	o := w.object(v)
	if o.over {
		return
	}
	user := users[n%len(users)]
	w.edit(v, -1, 0)
	v.session.Values[userKey], o.mine.keys[userKey] = user, user
	if n%3 == 0 && v.session.ID != "" {
		v.session.ID = "" // the idiom of other stores
	} else {
		v.store.Regenerate(v.session)
	}
	o.renew = true
}

func (w *world) setMaxAge(v *visit, maxAge int) {
	if o := w.object(v); !o.over {
		v.session.Options.MaxAge, o.left.maxAge = maxAge, maxAge
	}
}

func (w *world) setSite(v *visit, mode http.SameSite) {
	if o := w.object(v); !o.over {
		v.session.Options.SameSite, o.left.site = mode, mode
	}
}

// handedOut returns some of the cookies that a response has set, in an order that does not change from run to run.
func (w *world) handedOut(from, n int) (cookies []string) {
	for i := range min(n, len(w.given)) {
		cookies = append(cookies, w.given[(from+i)%len(w.given)])
	}
	return cookies
}

// arrive brings the answer of a request to its browser.
func (w *world) arrive(i int) {
	v := w.open[i]
	v.jar.SetCookies(site, v.w.Result().Cookies())
	w.drop(i)
}

func (w *world) drop(i int) {
	if c := w.open[i].cookie(); c != nil && c.MaxAge >= 0 {
		w.given = append(w.given, c.Value)
	}
	w.open = slices.Delete(w.open, i, i+1)
}

// pass lets time go by.
func (w *world) pass(s step) {
	i, id := none, ""
	if n := len(w.model.sessions); n > 0 {
		i = s.A % n
		id = w.model.sessions[i].recordID
	}
	expires, err := w.place.pass(w.ctx, id, s.B)
	if err != nil {
		w.Fatal(err)
	}
	if i != none && !expires.IsZero() && w.model.live(&w.model.sessions[i], w.place.now()) {
		w.model.sessions[i].expires = expires
	}
}

// saveTwice saves, and then again: the second time nothing may be written.
func (w *world) saveTwice(v *visit) {
	w.perform(w.save(v))
	o := w.object(v)
	if o.over || o.session == none || o.down {
		return
	}
	before, err := v.store.Find(w.ctx, w.model.sessions[o.session].recordID)
	if err != nil && !errors.Is(err, mongostore.ErrNotFound) {
		w.Fatal(err)
	}
	versions := w.model.versions
	w.perform(w.save(v))
	if w.model.versions != versions {
		return // the first one was refused, and this one was not
	}
	after, err := v.store.Find(w.ctx, before.ID)
	if before.ID == "" || err != nil {
		return
	}
	if before.Size != after.Size || before.CreatedAt != after.CreatedAt || after.UpdatedAt.Sub(before.UpdatedAt) > w.model.rules.slack {
		w.Fatal("a second Save changed the record")
	}
}

// perform does something to the stores, and checks that the model would do the same.
func (w *world) perform(t task) {
	t.run(w)
	if err := t.check(w.model); err != nil {
		w.Fatalf("%T: %v", t, err)
	}
}

// race does several things at once. They must come out as they would in some
// order one after the other.
func (w *world) race(s step) {
	tasks := w.contestants(s)
	if len(tasks) < 2 {
		for _, t := range tasks {
			w.perform(t)
		}
		return
	}
	w.tally.races.Add(1)
	var running sync.WaitGroup
	for _, t := range tasks {
		running.Go(func() { t.run(w) })
	}
	running.Wait()
	after := w.lookAfter(tasks)
	var failures []string
	for order := range permutations(len(tasks)) {
		m := w.model.clone()
		if err := checkAll(m, tasks, order, after); err != nil {
			failures = append(failures, fmt.Sprintf("%v: %v", order, err))
			continue
		}
		w.model = m
		return
	}
	w.Fatalf("what %d requests did at once is what they do in no order:\n%s", len(tasks), strings.Join(failures, "\n"))
}

// lookAfter reads all that is stored now. What a Save has made of a plain id, only its outcome tells.
func (w *world) lookAfter(tasks []task) looks {
	ids := map[string]bool{}
	for _, s := range w.model.sessions {
		ids[s.recordID] = true
	}
	for _, t := range tasks {
		if s, ok := t.(*saving); ok && s.out.recordID != "" {
			ids[s.out.recordID] = true
		}
	}
	after := make(looks)
	for id := range ids {
		t := &administration{action: "look", store: w.stores[0], id: id}
		t.run(w)
		after[id] = t.out
	}
	return after
}

func checkAll(m *model, tasks []task, order []int, after looks) error {
	for _, i := range order {
		if err := tasks[i].check(m); err != nil {
			return fmt.Errorf("%d %T: %w", i, tasks[i], err)
		}
	}
	for i := range m.sessions {
		if err := m.stands(i, after[m.sessions[i].recordID]); err != nil {
			return fmt.Errorf("afterwards: %w", err)
		}
	}
	return nil
}

// contestants are two to four things that may happen at the same time.
func (w *world) contestants(s step) (tasks []task) {
	for i := range min(len(w.open), 2+s.A%2) {
		v := w.open[(s.B+i)%len(w.open)]
		o := w.object(v)
		if !o.over && s.C%2 == 0 {
			w.edit(v, s.C%6/2, s.C)
		}
		tasks = append(tasks, w.save(v))
	}
	if n := len(w.model.sessions); n > 0 {
		switch s.C % 8 {
		case 1:
			tasks = append(tasks, w.administration("destroy", s.B%n, 0))
		case 3:
			tasks = append(tasks, w.administration("update", s.B%n, 0))
		case 5:
			tasks = append(tasks, w.administration("touch", s.B%n, 0))
		case 7:
			tasks = append(tasks, w.load(s.A, s.B, s.C))
		}
	}
	return tasks
}

// permutations yields the orders of n things, the given one first.
func permutations(n int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		permute(order, 0, yield)
	}
}

func permute(order []int, from int, yield func([]int) bool) bool {
	if from == len(order) {
		return yield(order)
	}
	for i := from; i < len(order); i++ {
		order[from], order[i] = order[i], order[from]
		ok := permute(order, from+1, yield)
		order[from], order[i] = order[i], order[from]
		if !ok {
			return false
		}
	}
	return true
}

// finish looks at all that is stored: every session of the model and no other.
func (w *world) finish() {
	live := int64(0)
	for i := range w.model.sessions {
		w.perform(w.look(i))
		if w.model.live(&w.model.sessions[i], w.place.now()) {
			live++
		}
	}
	if n, err := w.place.count(w.ctx); err != nil || n != live {
		w.Fatalf("%d sessions are stored, want %d (%v)", n, live, err)
	}
	for i := range w.browsers {
		w.perform(w.load(i, i, i))
	}
	for _, user := range users {
		w.checkUser(user)
	}
}

// checkUser compares the list of a user's sessions with the model.
func (w *world) checkUser(user string) {
	var want, got []string
	for _, s := range w.model.sessions {
		if w.model.live(&s, w.place.now()) && s.user() == user {
			want = append(want, s.recordID)
		}
	}
	for record, err := range w.stores[0].ByUser(w.ctx, user) {
		if err != nil {
			w.Fatal(err)
		}
		got = append(got, record.ID)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.Fatalf("%s has %d sessions, want %d, or others", user, len(got), len(want))
	}
}

// contentOf returns values as the model has them.
func contentOf(values map[any]any) content {
	c := content{keys: map[string]string{}}
	for key, value := range values {
		switch v := value.(type) {
		case string:
			c.keys[key.(string)] = v
		case map[string]any:
			c.keys[key.(string)] = fmt.Sprint(v["of"])
		case []any:
			c.flashes = shown(v)
		default:
			c.keys[fmt.Sprint(key)] = fmt.Sprintf("%T %v", value, value)
		}
	}
	return c
}

func shown(flashes []any) (list []string) {
	for _, flash := range flashes {
		list = append(list, fmt.Sprint(flash))
	}
	return list
}
