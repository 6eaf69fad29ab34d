package failover

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"sync"
	"time"
)

// browser is a user at work. What it was told is in its ledger, which it
// compares with every page.
type browser struct {
	*world
	name   string // of the user
	cookie string // majority or weak
	jar    *cookiejar.Jar

	logins  int // counts the names that it has logged in by
	in      bool
	doubt   bool // the outcome of its last login or renewal is unknown
	changes int  // counts the changes that it has sent
	ledger  ledger
	ended   []string // cookies that must let nobody in
}

func newBrowser(w *world, number int) *browser {
	b := &browser{world: w, name: fmt.Sprintf("user%d", number), cookie: majority}
	if number%4 == 3 {
		b.cookie = weak
	}
	b.leave()
	return b
}

// pace is the mean pause between two requests of a browser.
const pace = 100 * time.Millisecond

// work goes on until ctx ends.
func (b *browser) work(ctx context.Context) {
	for ctx.Err() == nil {
		b.act()
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(2 * pace)): //nolint:gosec // no secret
		}
	}
}

// act sends one request, or several at once.
func (b *browser) act() {
	if !b.in {
		b.login()
		return
	}
	switch n := rand.IntN(100); { //nolint:gosec // no secret
	case n < 45:
		b.change(1)
	case n < 65:
		b.change(2)
	case n < 78:
		b.read(b.anyApp())
	case n < 86:
		b.login()
	case n < 90:
		b.logout()
	case n < 92:
		b.logoutEverywhere()
	default:
		b.tryEnded(b.anyEnded())
	}
}

func (b *browser) user() string { return fmt.Sprintf("%s.%d", b.name, b.logins) }

// leave makes it a browser without a session, and the next login one of another
// name: a logout everywhere of unknown outcome may still be on its way.
func (b *browser) leave() {
	b.jar, _ = cookiejar.New(nil)
	b.logins++
	b.in, b.doubt, b.ledger = false, false, ledger{}
}

// login logs in, or renews the session of who is. Where that is of unknown
// outcome the old cookie may be dead, and no new one be there.
func (b *browser) login() {
	before, doubt := b.value(b.jar), b.doubt
	r := b.send(b.jar, b.anyApp(), "/login", "user", b.user())
	switch {
	case r.status == http.StatusOK && doubt && r.page.empty():
		b.ledger = ledger{} // the session ended with the renewal that nobody heard of
	case r.status == http.StatusOK:
		b.check(r)
	}
	if r.status != http.StatusOK {
		if r.status != written && b.value(b.jar) != before {
			b.row.Violation("%s: a login answered with %d changed the cookie", b.user(), r.status)
		}
		if r.status == http.StatusUnauthorized && !doubt {
			b.suspectLogout(r)
		}
		b.in, b.doubt = false, true
		return
	}
	if before != "" && !doubt {
		b.ended = append(b.ended, before)
	}
	b.in, b.doubt = true, false
}

// change makes some changes at once, by requests to different apps.
func (b *browser) change(n int) {
	first := b.anyApp()
	results := make([]*response, n)
	changes := make([]string, n)
	var sent sync.WaitGroup
	for i := range n {
		b.changes++
		changes[i] = fmt.Sprintf("%s-%d", b.user(), b.changes)
		path := "/set"
		if b.changes%3 == 0 {
			path = "/append"
		}
		b.ledger.send(path, changes[i])
		sent.Go(func() { results[i] = b.send(b.jar, (first+i)%apps, path, "key", changes[i], "value", changes[i]) })
	}
	sent.Wait()
	for i, r := range results {
		switch {
		case r.status == http.StatusOK && b.cookie == majority:
			b.acknowledged.Add(1)
			b.ledger[changes[i]].acknowledged = true
		case r.status == http.StatusUnauthorized:
			b.suspectLogout(r)
		}
	}
	for _, r := range results {
		if n == 1 && r.status == http.StatusOK { // of two, neither need show the other's
			b.check(r)
		}
	}
}

func (b *browser) read(app int) *response {
	r := b.send(b.jar, app, "/read")
	if r.status == http.StatusOK {
		b.check(r)
	}
	return r
}

// logout takes the cookie away whatever comes of it. A change that is under way
// meanwhile, in another tab, does not bring the session back.
func (b *browser) logout() {
	before := b.value(b.jar)
	tab, _ := cookiejar.New(nil)
	b.setValue(tab, before)
	var changing sync.WaitGroup
	changing.Go(func() { b.send(tab, b.anyApp(), "/set", "key", "late", "value", "late") })
	r := b.send(b.jar, b.anyApp(), "/logout")
	changing.Wait()
	if b.value(b.jar) != "" {
		b.row.Violation("%s: a logout answered with %d left the cookie", b.user(), r.status)
	}
	if r.status == http.StatusOK {
		b.ended = append(b.ended, before)
	}
	b.leave()
}

// logoutEverywhere logs out from one device and sees what becomes of two.
func (b *browser) logoutEverywhere() {
	other, _ := cookiejar.New(nil)
	second := b.send(other, b.anyApp(), "/login", "user", b.user())
	cookies := []string{b.value(b.jar), b.value(other)}
	r := b.send(b.jar, b.anyApp(), "/everywhere")
	switch {
	case r.status == http.StatusUnauthorized:
		b.suspectLogout(r)
	case r.status == http.StatusOK && second.status == http.StatusOK:
		b.ended = append(b.ended, cookies...)
	case r.status == http.StatusOK:
		b.ended = append(b.ended, cookies[0])
	}
	b.leave()
}

func (b *browser) anyEnded() string {
	if len(b.ended) == 0 {
		return ""
	}
	return b.ended[rand.IntN(len(b.ended))] //nolint:gosec // no secret
}

// tryEnded sees whether a cookie that must let nobody in does.
func (b *browser) tryEnded(value string) {
	if value == "" {
		return
	}
	app := b.anyApp()
	try := func() *response {
		jar, _ := cookiejar.New(nil)
		b.setValue(jar, value)
		return b.send(jar, app, "/read")
	}
	b.tried.Add(1)
	wrong := func(r *response) bool { return r.page.User != "" }
	if r := try(); wrong(r) {
		b.suspect(r, "the cookie of an ended session of "+r.page.User+" lets in", try, wrong)
	}
}

// suspectLogout looks into an answer as to who is not logged in.
func (b *browser) suspectLogout(r *response) {
	again := func() *response { return b.send(b.jar, r.app, "/read") }
	if !b.suspect(r, b.user()+" was logged out", again, func(r *response) bool { return r.page.User != b.user() }) {
		b.leave()
	}
}

// check compares a page with the ledger.
func (b *browser) check(r *response) {
	if r.page.User != b.user() {
		if r.page.User != "" {
			b.row.Violation("%s is shown the session of %s", b.user(), r.page.User)
		}
		b.suspectLogout(r)
		return
	}
	if foreign := b.ledger.foreign(r.page); foreign != "" {
		b.row.Violation("%s is shown %s, which it did not store", b.user(), foreign)
	}
	again := func() *response { return b.send(b.jar, r.app, "/read") }
	wrong := func(r *response) bool { return b.ledger.lost(r.page) != "" }
	if lost := b.ledger.lost(r.page); lost != "" {
		b.suspect(r, fmt.Sprintf("%s (in %v): %s", b.user(), b.cookie, lost), again, wrong)
	}
}

// suspect asks again until the answer is right, or can be expected to be. It
// reports whether it was wrong for a moment only, which is no violation while
// two members took themselves for the primary.
func (b *browser) suspect(r *response, what string, again func() *response, wrong func(*response) bool) bool {
	for deadline := time.Now().Add(recovery + b.yardstick.Margin()); time.Now().Before(deadline); <-time.After(pace) {
		next := again()
		if next.status != http.StatusOK || wrong(next) {
			continue
		}
		if r.began.UnixNano() > b.divided.Load() {
			b.row.Violation("%s, for a moment, by app %d (status %d)", what, r.app, r.status)
		}
		b.stale.Add(1)
		return true
	}
	b.row.Violation("%s, by app %d (status %d)", what, r.app, r.status)
	return false
}

// response is an app's answer.
type response struct {
	app    int
	began  time.Time
	status int // 0: there was none
	page   page
}

// send posts a form, given as keys and values, to an app.
func (b *browser) send(jar *cookiejar.Jar, app int, path string, form ...string) *response {
	values := url.Values{}
	for pair := range slices.Chunk(form, 2) {
		values.Set(pair[0], pair[1])
	}
	return b.post(jar, app, "/"+b.cookie+path, values)
}

func (b *browser) anyApp() int { return rand.IntN(apps) } //nolint:gosec // no secret

// value returns the session's cookie in a jar.
func (b *browser) value(jar *cookiejar.Jar) string {
	for _, c := range jar.Cookies(b.site) {
		if c.Name == b.cookie {
			return c.Value
		}
	}
	return ""
}

func (b *browser) setValue(jar *cookiejar.Jar, value string) {
	jar.SetCookies(b.site, []*http.Cookie{{Name: b.cookie, Value: value, Path: "/"}})
}

// post is what browsers and probes have in common: it counts and measures.
func (w *world) post(jar *cookiejar.Jar, app int, path string, form url.Values) *response {
	r := &response{app: app, began: time.Now()}
	client := &http.Client{Transport: w.transport, Timeout: time.Minute}
	if jar != nil { // a nil *cookiejar.Jar is no nil http.CookieJar
		client.Jar = jar
	}
	answer, err := client.PostForm(w.addresses[app]+path, form) //nolint:noctx // a request under way is seen to its end
	w.row.Requests.Add(1)
	var body []byte
	if err == nil {
		r.status = answer.StatusCode
		body, err = io.ReadAll(answer.Body)
		_ = answer.Body.Close()
	}
	w.took(path, r, time.Since(r.began))
	switch {
	case err != nil:
		w.row.Violation("app %d does not answer: %v", app, err)
	case r.status == http.StatusOK:
		err = json.Unmarshal(body, &r.page)
	case r.status == http.StatusServiceUnavailable, r.status == written:
		w.errors.Add(1)
	case r.status != http.StatusUnauthorized:
		err = fmt.Errorf("status %d: %s", r.status, body)
	}
	if err != nil {
		w.row.Violation("%s: %v", path, err)
	}
	return r
}
