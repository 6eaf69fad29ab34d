package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// timeout is Config.Timeout in the traffic.
const timeout = time.Second

// application is what the browsers talk to.
type application struct {
	store     *mongostore.Store
	s         *scenario.Scenario
	yardstick *mongotest.Yardstick
	slowest   atomic.Int64 // call of the store
	refused   atomic.Int64 // requests that were answered with 503
}

// ServeHTTP answers with the session's values, 401 without one, 503 in an
// outage. The form field "do" says what is done first.
func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	session, err := a.store.Get(r, cookieName)
	a.took("Get", time.Since(start))
	do := r.FormValue("do")
	if err == nil && session.IsNew && do != "begin" {
		http.Error(w, "no session", http.StatusUnauthorized)
		return
	}
	switch do {
	case "login":
		a.store.Regenerate(session)
	case "logout":
		session.Options.MaxAge = -1
	}
	if key := r.FormValue("key"); key != "" {
		session.Values[key] = r.FormValue("value")
	}
	if do != "read" && (err == nil || do == "logout") {
		start = time.Now()
		err = session.Save(r, w)
		a.took("Save", time.Since(start))
	}
	switch {
	case errors.Is(err, mongostore.ErrNotFound):
		http.Error(w, "no session", http.StatusUnauthorized)
		return
	case errors.Is(err, mongostore.ErrUnavailable):
		a.refused.Add(1)
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	case err != nil:
		a.s.Violation("%s: %v", do, err)
	}
	values := make(map[string]string)
	for key, value := range session.Values {
		values[fmt.Sprint(key)] = fmt.Sprint(value)
	}
	_ = json.NewEncoder(w).Encode(values)
}

// took holds a call of the store against Config.Timeout.
func (a *application) took(call string, d time.Duration) {
	if d > timeout+a.yardstick.Margin() {
		a.s.Violation("%s took %v, with a Timeout of %v", call, d, timeout)
	}
	for slowest := a.slowest.Load(); int64(d) > slowest && !a.slowest.CompareAndSwap(slowest, int64(d)); {
		slowest = a.slowest.Load()
	}
}

// roll returns a number below n.
func roll(n int) int {
	return rand.IntN(n) //nolint:gosec // no secret
}

// visitor is a browser and its ledger.
type visitor struct {
	s       *scenario.Scenario
	site    *url.URL
	client  *http.Client
	padding string // of the values

	values map[string][]string // that the session may hold: the last that was acknowledged, and those since
	maybe  bool                // a login was not acknowledged: it may have ended the cookie
	dead   []string            // cookies of sessions that have ended
	n      int
}

func newVisitor(t *testing.T, s *scenario.Scenario, server *httptest.Server, padding int) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	site, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := *server.Client()
	client.Jar = jar
	return &visitor{s: s, site: site, client: &client, padding: strings.Repeat("x", padding)}
}

// send makes a request and returns its status and the session's values.
func (v *visitor) send(client *http.Client, cookie string, form url.Values) (int, map[string]string) {
	v.s.Requests.Add(1)
	r, err := http.NewRequest(http.MethodPost, v.site.String(), strings.NewReader(form.Encode())) //nolint:noctx // each call of the store is bounded
	if err != nil {
		v.s.Violation("%v", err)
		return 0, nil
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: cookie})
	}
	answer, err := client.Do(r)
	if err != nil {
		v.s.Violation("%v", err)
		return 0, nil
	}
	defer func() { _ = answer.Body.Close() }()
	values := make(map[string]string)
	if answer.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, answer.Body)
	} else if err := json.NewDecoder(answer.Body).Decode(&values); err != nil {
		v.s.Violation("%v", err)
	}
	return answer.StatusCode, values
}

func (v *visitor) cookie() string {
	for _, c := range v.client.Jar.Cookies(v.site) {
		return c.Value
	}
	return ""
}

// step is one random request.
func (v *visitor) step() int {
	switch p := roll(10); {
	case v.cookie() == "":
		return v.begin()
	case p < 5:
		return v.set()
	case p < 7:
		return v.do("read")
	case p < 8:
		return v.do("login")
	case p < 9:
		return v.do("logout")
	}
	return v.knock()
}

// begin starts a new session.
func (v *visitor) begin() int {
	status, _ := v.send(v.client, "", url.Values{"do": {"begin"}, "key": {"padding"}, "value": {v.padding}})
	if (status == http.StatusOK) != (v.cookie() != "") {
		v.s.Violation("begin: status %d and cookie %q", status, v.cookie())
	}
	if status == http.StatusOK {
		v.values, v.maybe = map[string][]string{"padding": {v.padding}}, false
	}
	return status
}

// set changes a value.
func (v *visitor) set() int {
	v.n++
	key, value := fmt.Sprint("k", roll(3)), fmt.Sprint(v.n)
	status, values := v.send(v.client, "", url.Values{"do": {"set"}, "key": {key}, "value": {value}})
	if status == http.StatusOK {
		v.values[key], v.maybe = []string{value}, false
	} else {
		v.values[key] = append(v.allowed(key), value)
	}
	return v.judge("set", status, values)
}

// do reads, logs in (which renews the session) or logs out.
func (v *visitor) do(what string) int {
	before := v.cookie()
	status, values := v.send(v.client, "", url.Values{"do": {what}})
	switch {
	case what == "logout" && v.cookie() != "" && status != http.StatusUnauthorized:
		v.s.Violation("after a logout with status %d there is still a cookie", status)
	case what == "logout" && status == http.StatusOK:
		v.dead = append(v.dead, before)
		return status
	case what == "login" && status == http.StatusOK:
		v.dead, v.maybe = append(v.dead, before), false
		if v.cookie() == before {
			v.s.Violation("after a login the cookie is the old one")
		}
	case what == "login":
		v.maybe = true
		if v.cookie() != before {
			v.s.Violation("a login with status %d changed the cookie", status)
		}
	}
	return v.judge(what, status, values)
}

// allowed are the values that a key may have; "" stands for none.
func (v *visitor) allowed(key string) []string {
	if v.values[key] == nil {
		return []string{""}
	}
	return v.values[key]
}

// judge holds an answer against the ledger.
func (v *visitor) judge(what string, status int, values map[string]string) int {
	switch status {
	case http.StatusOK:
		for _, key := range []string{"k0", "k1", "k2", "padding"} {
			if allowed := v.allowed(key); !slices.Contains(allowed, values[key]) {
				v.s.Violation("%s: %s is %.20q, want one of %.100q", what, key, values[key], allowed)
			}
		}
	case http.StatusUnauthorized:
		if !v.maybe {
			v.s.Violation("%s: logged out", what)
		}
		jar, _ := cookiejar.New(nil) // never fails without options
		v.client.Jar = jar
	case http.StatusServiceUnavailable:
	default:
		v.s.Violation("%s: status %d", what, status)
	}
	return status
}

// knock tries a cookie of a session that has ended.
func (v *visitor) knock() int {
	if len(v.dead) == 0 {
		return v.do("read")
	}
	stranger := *v.client
	stranger.Jar = nil
	status, _ := v.send(&stranger, v.dead[roll(len(v.dead))], url.Values{"do": {"read"}})
	if status == http.StatusOK {
		v.s.Violation("a session that has ended still lets in")
	}
	return status
}
