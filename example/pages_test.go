package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mileusna/useragent"
)

func TestCartIsKeptAtSignInUnderANewCookie(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	if v.get(t, "/shop").has(t, "Nothing in it yet."); v.cookie(t) != nil {
		t.Error("who only looks has a cookie")
	}
	v.post(t, "/shop/add", url.Values{"product": {"tea"}})
	v.post(t, "/shop/add", url.Values{"product": {"tea"}})
	v.post(t, "/shop/add", url.Values{"product": {"mug"}}).has(t, "Stoneware mug is in your cart.", "€28.30", "Sign in to order")
	before := v.cookie(t).Value
	v.signIn(t, "Ada")
	if v.cookie(t).Value == before {
		t.Error("signing in did not change the cookie")
	}
	v.get(t, "/shop").has(t, "€28.30", "Order")
	v.post(t, "/shop/remove", url.Values{"product": {"tea"}}).has(t, "€21.40")
	v.post(t, "/shop/order", nil).has(t, "Thank you for your order.", "Nothing in it yet.")
}

func TestCartTakesOnlyWhatThereIs(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.post(t, "/shop/add", url.Values{"product": {"yacht"}}).has(t, "There is no such product.", "Nothing in it yet.")
	for range maxCart {
		v.post(t, "/shop/add", url.Values{"product": {"pencil"}})
	}
	v.post(t, "/shop/add", url.Values{"product": {"pencil"}}).has(t, "The cart is full.", "€180.00")
}

func TestSigningInAsAnotherUserLeavesNothingOfTheFirst(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada")
	v.post(t, "/notes", url.Values{"note": {"of Ada"}})
	v.post(t, "/shop/add", url.Values{"product": {"tea"}})
	v.signIn(t, "Grace").hasNot(t, "of Ada")
	v.get(t, "/shop").has(t, "Nothing in it yet.")
}

func TestDevicesAreListedAndEnded(t *testing.T) {
	t.Parallel()
	server := startApp(t, newDatabase(t))
	desk, phone, other := newVisitor(t, server), newVisitor(t, server), newVisitor(t, server)
	desk.agent = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
	phone.agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
	desk.signIn(t, "Ada")
	phone.signIn(t, "Ada")
	other.signIn(t, "Mallory")

	page := desk.get(t, "/devices").has(t, "Firefox 143 on Linux", "This device", "Safari 18 on iOS")
	ids := formIDs(page)
	if len(ids) != 1 {
		t.Fatalf("can end %v, want the phone alone", ids)
	}
	other.post(t, "/devices/end", url.Values{"id": ids}).has(t, "was signed out already").hasNot(t, "Safari")
	if p := phone.get(t, "/"); p.path != "/" {
		t.Error("somebody else ended the session")
	}
	desk.post(t, "/devices/end", url.Values{"id": ids}).has(t, "Safari 18 on iOS is signed out.")
	phone.get(t, "/").has(t, "Your session has ended")
	desk.post(t, "/devices/end", url.Values{"id": ids}).has(t, "was signed out already")
	desk.post(t, "/devices/end", url.Values{"id": {"no such"}}).has(t, "was signed out already")

	phone.signIn(t, "Ada")
	phone.post(t, "/devices/end-others", nil).has(t, "1 other device signed out.", "This device").hasNot(t, "Firefox")
	desk.post(t, "/notes", url.Values{"note": {"late"}}).has(t, "Your session has ended")
	other.get(t, "/").has(t, "Hello, Mallory")
}

func formIDs(p answer) (ids []string) {
	for _, found := range regexp.MustCompile(`name="id" value="([^"]+)"`).FindAllStringSubmatch(p.body, -1) {
		ids = append(ids, found[1])
	}
	return ids
}

func TestBrowsersHaveReadableNames(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"": "Unknown browser",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0": "Edge 141 on Windows",
		"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36":                  "Chrome 141 on Android",
		"curl/8.5.0": "curl 8",
	} {
		if got := browserName(useragent.Parse(agent)); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}

func TestThemeIsKeptInTheSession(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	p := v.post(t, "/theme", url.Values{"theme": {"dark"}, "back": {"/shop"}}).has(t, `data-theme="dark"`)
	if p.path != "/shop" {
		t.Errorf("leads to %s", p.path)
	}
	v.signIn(t, "Ada").has(t, `data-theme="dark"`)
	v.post(t, "/theme", url.Values{"theme": {"system"}, "back": {"//evil.example"}}).has(t, "Hello, Ada").hasNot(t, "data-theme")
	v.post(t, "/theme", url.Values{"theme": {`"><script>`}}).hasNot(t, "data-theme")
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/shop": "/shop", "": "/", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example": "/", "shop": "/", "/\r\nX: y": "/",
		"/\t/evil.example": "/", "\t//evil.example": "/",
	} {
		if got := localPath(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestOperatorsPageNeedsThePassword(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.signIn(t, "Ada")
	for _, login := range []*url.Userinfo{nil, url.UserPassword("operator", ""), url.UserPassword("operator", "wrong"), url.UserPassword("Ada", testPassword)} {
		v.login = login
		for _, p := range []answer{v.get(t, "/operator"), v.post(t, "/operator/end", url.Values{"id": {"x"}})} {
			p.has(t, "For the operator only").hasNot(t, "Live sessions")
			if p.status != http.StatusUnauthorized || !strings.HasPrefix(p.header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%v: status %d, %q", login, p.status, p.header.Get("WWW-Authenticate"))
			}
		}
	}
}

func TestOperatorSeesAndEndsSessions(t *testing.T) {
	t.Parallel()
	server := startApp(t, newDatabase(t))
	ada, operator := newVisitor(t, server), newVisitor(t, server)
	ada.signIn(t, "Ada <3")
	operator.login = url.UserPassword(operatorName, testPassword)
	page := operator.get(t, "/operator").has(t, "Ada &lt;3", "Latest events", "create", `role="img"`)
	ids := formIDs(page)
	if len(ids) != 1 || page.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("can end %v, Cache-Control %q", ids, page.header.Get("Cache-Control"))
	}
	operator.post(t, "/operator/end", url.Values{"id": ids}).has(t, "The session has ended.", "Nobody is here.")
	ada.get(t, "/").has(t, "Your session has ended")
	if operator.cookie(t) != nil {
		t.Error("the operator has a session")
	}
}

func TestPagesAllowNoScriptsInside(t *testing.T) {
	t.Parallel()
	v := newVisitor(t, startApp(t, newDatabase(t)))
	v.login = url.UserPassword(operatorName, testPassword)
	v.signIn(t, "Ada")
	inline := regexp.MustCompile(`<script>|<style|\sstyle=|\son\w+=|javascript:`)
	for _, path := range []string{"/", "/shop", "/devices", "/operator", "/nope"} {
		p := v.get(t, path)
		policy := p.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if found := inline.FindString(p.body); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
}

func TestPasswordOfTheOperatorIsNeverAKnownOne(t *testing.T) {
	t.Setenv("OPERATOR_PASSWORD", "")
	login, made, err := loadPassword()
	if err != nil || len(made) < minPassword || !login.match(operatorName, made) || login.match(operatorName, "") {
		t.Errorf("%q, %v", made, err)
	}
	if _, again, _ := loadPassword(); again == made {
		t.Error("the second start has the same password")
	}
	t.Setenv("OPERATOR_PASSWORD", "long enough, this")
	login, made, err = loadPassword()
	if err != nil || made != "" || !login.match(operatorName, "long enough, this") {
		t.Errorf("of the environment: %q, %v", made, err)
	}
}
