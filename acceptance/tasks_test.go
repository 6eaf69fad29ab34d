package acceptance

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/mongostore/mongostore"
)

// task is a call of a store: run does it, alone or beside others, and check
// tells the model, which may do so several times on several models.
type task interface {
	run(w *world)
	check(m *model) error
}

// request is what is sent.
type request struct {
	cookies     []string
	navigates   bool // to what the browser shows next
	unreachable bool // the database does not answer
}

// loading is the begin of a request.
type loading struct {
	v *visit
	request
	planted []string // cookies that come before the browser's own
	out     outcome
}

// load prepares a request of a browser to a store. It is open from now on.
func (w *world) load(browser, store, n int) *loading {
	if len(w.open) == maxOpen {
		w.drop(0)
	}
	v := &visit{
		jar: w.browsers[browser%len(w.browsers)], store: w.stores[store%len(w.stores)],
		object: len(w.model.objects), w: httptest.NewRecorder(),
		r: httptest.NewRequestWithContext(w.ctx, http.MethodGet, site.String(), nil),
	}
	w.tally.Requests.Add(1)
	w.model.objects = append(w.model.objects, object{})
	w.open = append(w.open, v)
	return &loading{v: v, request: request{navigates: n%3 == 0}}
}

// send gives the request the cookie that the browser has when it is sent.
func (t *loading) send() {
	t.cookies = slices.Clone(t.planted)
	for _, c := range t.v.jar.Cookies(site) {
		t.cookies = append(t.cookies, c.Value)
	}
	for _, cookie := range t.cookies {
		t.v.r.AddCookie(&http.Cookie{Name: name, Value: cookie})
	}
	if t.navigates {
		t.v.r.Header.Set("Sec-Fetch-Mode", "navigate")
	}
}

func (t *loading) run(w *world) {
	t.send()
	r := t.v.r
	if t.unreachable = t.unreachable && w.model.rules.remote; t.unreachable {
		w.tally.Fault("database out of reach")
		ctx, cancel := context.WithDeadline(w.ctx, time.Now().Add(-time.Second))
		defer cancel()
		r = r.WithContext(ctx)
		t.v.r = r
	}
	t.out.at = w.place.now()
	t.v.session, t.out.err = t.v.store.Get(r, name)
	t.out.end = w.place.now()
	t.v.describe(&t.out)
}

func (t *loading) check(m *model) error {
	return m.load(t.v.object, t.request, t.out)
}

// describe fills in what a handler sees of its session.
func (v *visit) describe(out *outcome) {
	out.id, out.isNew = v.session.ID, v.session.IsNew
	out.options = cookieOptions{v.session.Options.MaxAge, v.session.Options.SameSite}
	out.content = contentOf(v.session.Values)
	if record, ok := v.store.Record(v.session); ok {
		out.recordID, out.dates = record.ID, datesOf(record)
	}
}

func datesOf(r mongostore.Record) dates { return dates{r.CreatedAt, r.UpdatedAt, r.ExpiresAt} }

// keepAlive is a request through the middleware.
type keepAlive struct {
	loading
	saved outcome
}

func (t *keepAlive) run(w *world) {
	t.send()
	t.out.at = w.place.now()
	t.v.store.KeepAlive(name)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.v.session, t.out.err = t.v.store.Get(r, name)
		t.v.r = r
	})).ServeHTTP(t.v.w, t.v.r)
	t.out.end = w.place.now()
	t.v.describe(&t.out)
	t.saved, t.saved.cookie = t.out, t.v.cookie()
	t.out.dates = dates{} // they are not seen before the Save
}

func (t *keepAlive) check(m *model) error {
	if err := t.loading.check(m); err != nil || t.out.isNew {
		return err
	}
	return m.save(t.v.object, t.saved)
}

// cookie is the cookie that the answer sets so far.
func (v *visit) cookie() *http.Cookie {
	line := v.line()
	if line == "" {
		return nil
	}
	c, err := http.ParseSetCookie(line)
	if err != nil {
		return &http.Cookie{Value: err.Error()}
	}
	return c
}

func (v *visit) line() string {
	switch lines := v.w.Header()["Set-Cookie"]; len(lines) {
	case 0:
		return ""
	case 1:
		return lines[0]
	default:
		return "several cookies" // which no model sets
	}
}

// saving is a Save.
type saving struct {
	v    *visit
	lose bool // the answer to its first write
	out  outcome
}

func (w *world) save(v *visit) *saving { return &saving{v: v} }

func (t *saving) run(w *world) {
	w.tally.saves.Add(1)
	if t.lose && t.v.store == w.stores[len(w.stores)-1] {
		command := "update"
		if w.object(t.v).session == none {
			command = "insert"
		}
		if found := w.place.loseAnswer(command); found != nil {
			defer found()
			w.tally.Fault("answer lost")
			t.out.lost = true
		}
	}
	before := t.v.line()
	t.out.at = w.place.now()
	t.out.err = t.v.session.Save(t.v.r, t.v.w)
	t.out.end = w.place.now()
	t.v.describe(&t.out)
	if t.v.line() != before || t.v.session.Options.MaxAge < 0 { // a second logout sets the same
		t.out.cookie = t.v.cookie()
	}
}

func (t *saving) check(m *model) error { return m.save(t.v.object, t.out) }

// administration is something done to a session from outside its requests.
type administration struct {
	action  string
	store   *mongostore.Store
	session int
	id      string
	value   string
	out     outcome
}

func (w *world) administration(action string, session, store int) *administration {
	return &administration{
		action: action, store: w.stores[store%len(w.stores)], session: session,
		id: w.model.sessions[session].recordID, value: w.newValue(),
	}
}

// looks are what is stored, by the id of the record.
type looks map[string]outcome

// look reads what is stored of a session.
func (w *world) look(session int) *administration { return w.administration("look", session, session) }

func (t *administration) run(w *world) {
	t.out.at = w.place.now()
	switch t.action {
	case "destroy":
		t.out.err = t.store.Destroy(w.ctx, t.id)
	case "touch":
		t.out.err = t.store.Touch(w.ctx, t.id)
	case "update":
		t.out.err = t.store.Update(w.ctx, t.id, func(values map[any]any) error {
			values["a"] = t.value
			return nil
		})
	case "look":
		record, err := t.store.Find(w.ctx, t.id)
		if err == nil {
			var values map[any]any
			values, err = record.Values(w.ctx)
			t.out.content, t.out.dates = contentOf(values), datesOf(record)
		}
		t.out.err = err
	}
	t.out.end = w.place.now()
}

func (t *administration) check(m *model) error {
	switch t.action {
	case "destroy":
		return m.destroy(t.session, t.out)
	case "touch":
		return m.touch(t.session, t.id, t.out)
	case "update":
		return m.update(t.session, t.id, "a", t.value, t.out)
	}
	return m.stands(t.session, t.out)
}

// destroyingUser logs a user out everywhere, or everywhere else.
type destroyingUser struct {
	store *mongostore.Store
	user  string
	keep  *visit
	n     int64
	out   outcome
}

func (w *world) destroyingUser(s step) *destroyingUser {
	t := &destroyingUser{store: w.stores[s.A%len(w.stores)], user: users[s.B%len(users)]}
	if len(w.open) > 0 && s.C%2 == 0 {
		t.keep = w.open[s.C%len(w.open)]
		t.store = t.keep.store
	}
	return t
}

func (t *destroyingUser) run(w *world) {
	t.out.at = w.place.now()
	if t.keep != nil {
		t.n, t.out.err = t.store.DestroyByUser(w.ctx, t.user, t.keep.session)
		return
	}
	t.n, t.out.err = t.store.DestroyByUser(w.ctx, t.user)
}

func (t *destroyingUser) check(m *model) error {
	keep := none
	if t.keep != nil {
		keep = t.keep.object
	}
	return m.destroyByUser(t.user, keep, t.n, t.out)
}
