package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// walk is what the steps share: the demo on a real mongod, and two browsers.
type walk struct {
	binary   string
	server   *mongotest.Server
	demo     *demo
	ada, bob *browser // two profiles at once
}

func TestWalkThroughTheDemo(t *testing.T) {
	if os.Getenv("MONGOSTORE_E2E") == "" {
		t.Skip("needs Chromium: make e2e")
	}
	w := &walk{binary: buildDemo(t), server: mongotest.Failing(t)}
	w.demo = startDemo(t, w.binary, w.server)
	w.ada = startBrowser(t, t.TempDir(), linuxChrome, w.demo.url)
	w.bob = startBrowser(t, t.TempDir(), windowsEdge, w.demo.url)
	crowd := startCrowd(t, w.demo.url)
	for _, step := range []struct {
		name string
		test func(*testing.T)
	}{
		{"the cookie is one that scripts cannot read", w.cookieFlags},
		{"a wrong cookie gives a sign-in page", w.wrongCookie},
		{"what two tabs add at once stays", w.twoTabs},
		{"the cart stays at sign-in", w.cartBeforeSignIn},
		{"a form of another site is refused", w.otherSite},
		{"one device is signed out", w.endOne},
		{"all other devices are signed out", w.endOthers},
		{"back after signing out shows nothing", w.backAfterSignOut},
		{"a session expires while its page is open", w.expiry},
		{"remember me holds over a restart of the browser", w.restart},
		{"the pages work without JavaScript", w.withoutScript},
		{"the pages work with the keyboard", w.keyboard},
		{"times are in the visitor's zone", w.timeZone},
		{"the colours are the visitor's choice", w.theme},
		{"the operator watches and ends", w.operator},
		{"the pages look well and are accessible", w.looks},
	} {
		if !t.Run(step.name, step.test) {
			shootFailure(t, w.ada, step.name)
		}
	}
	if failed := crowd.stop(); failed > 0 {
		t.Errorf("%d requests of other visitors failed meanwhile", failed)
	}
}

func (w *walk) cookieFlags(t *testing.T) {
	p := w.ada.first
	p.open(t, "/signin")
	if c := p.cookie(t); c != nil {
		t.Errorf("somebody who only looks has the cookie %+v", c)
	}
	p.signIn(t, "Ada", false)
	c := p.cookie(t)
	if !c.HTTPOnly || !c.Secure || c.SameSite != network.CookieSameSiteLax || c.Path != "/" || c.Domain != "localhost" {
		t.Errorf("the browser has %+v", c)
	}
	if !c.Session {
		t.Errorf("the cookie stays when the browser is closed, until %v", c.Expires)
	}
	if seen := evaluate[string](t, p, "document.cookie"); seen != "" {
		t.Errorf("scripts see %q", seen)
	}
	before := c.Value
	p.signOut(t)
	if c := p.cookie(t); c != nil {
		t.Errorf("after signing out there is %+v", c)
	}
	p.signIn(t, "Ada", true)
	c = p.cookie(t)
	left := time.Until(time.Unix(int64(c.Expires), 0)).Hours() / 24
	if c.Session || left < 29.9 || left > 30.1 || c.Value == before {
		t.Errorf("remembered for %.1f days, %+v", left, c)
	}
}

func (w *walk) wrongCookie(t *testing.T) {
	p := w.bob.first
	p.signIn(t, "Bob", false)
	c := p.cookie(t)
	secure := true
	for _, value := range []string{"nonsense", c.Value[:len(c.Value)-4] + "AAAA", strings.Repeat("x", 3000)} {
		call(t, p, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: value, URL: p.base, Secure: &secure, HTTPOnly: &secure})
		if status := p.open(t, "/"); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		p.isSentToSignIn(t)
	}
	p.signIn(t, "Bob", false)
}

// twoTabs clicks in both at once. The server holds every update back for a
// while, so both requests have loaded the session before either writes.
func (w *walk) twoTabs(t *testing.T) {
	one, two := w.ada.first, w.ada.newTab(t)
	one.open(t, "/")
	two.open(t, "/")
	one.fill(t, "#note", "from one tab")
	two.fill(t, "#note", "from the other")
	add := `form[action="/notes"] button`
	w.atOnce(t, func() { one.click(t, add) }, func() { two.click(t, add) })
	one.open(t, "/")
	one.sees(t, "from one tab", "from the other")

	one.open(t, "/shop")
	two.open(t, "/shop")
	w.atOnce(t, func() { one.click(t, addButton("mug")) }, func() { two.click(t, addButton("tea")) })
	one.open(t, "/shop")
	two.open(t, "/shop")
	w.atOnce(t, func() { one.click(t, addButton("tea")) }, func() { two.click(t, addButton("tea")) })
	one.open(t, "/shop")
	one.sees(t, "Stoneware mug × 1", "Green tea × 3")
}

func addButton(product string) string {
	return fmt.Sprintf(`form:has([value=%q])[action="/shop/add"] button`, product)
}

func (w *walk) atOnce(t *testing.T, actions ...func()) {
	t.Helper()
	off := w.server.FailCommand(t, mongotest.Fail{Commands: []string{"update"}, AppName: appName, Block: 500 * time.Millisecond})
	defer off()
	var tabs sync.WaitGroup
	for _, action := range actions {
		tabs.Go(action)
	}
	tabs.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (w *walk) cartBeforeSignIn(t *testing.T) {
	p := w.bob.first
	p.open(t, "/")
	p.signOut(t)
	p.open(t, "/shop")
	p.click(t, addButton("notebook"))
	p.sees(t, "Notebook is in your cart.", "Notebook × 1")
	before := p.cookie(t).Value
	p.signIn(t, "Bob", false)
	if p.cookie(t).Value == before {
		t.Error("the cookie is the same as before signing in")
	}
	p.open(t, "/shop")
	p.sees(t, "Notebook × 1")
	p.click(t, `form[action="/shop/order"] button`)
	p.sees(t, "Thank you for your order.", "Nothing in it yet.")
}

// otherSite sends forms from a page of http://127.0.0.1, which to a browser is
// another site than http://localhost.
func (w *walk) otherSite(t *testing.T) {
	p := w.ada.newTab(t)
	for _, path := range []string{"/notes", "/signout", "/devices/end-others"} {
		elsewhere := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprintf(out, `<form method="post" action="%s%s"><input name="note" value="planted"><button>Win</button></form>`, w.demo.url, path)
		}))
		p.load(t, chromedp.Navigate(elsewhere.URL))
		if status := p.click(t, "button"); status != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403", path, status)
		}
		p.sees(t, "That came from another site")
		elsewhere.Close()
	}
	p.open(t, "/")
	p.sees(t, "Hello, Ada")
	p.seesNot(t, "planted")
}

func (w *walk) endOne(t *testing.T) {
	w.bob.first.open(t, "/")
	w.bob.first.signOut(t)
	w.bob.first.signIn(t, "Ada", false)
	p := w.ada.first
	p.open(t, "/devices")
	p.sees(t, "Chrome 141 on Linux", "This device", "Edge 141 on Windows")
	p.click(t, `li:not(:has(.badge)) form button`)
	p.sees(t, "Edge 141 on Windows is signed out.", "This device")
	w.bob.first.click(t, `nav a[href="/devices"]`)
	w.bob.first.isSentToSignIn(t)
	p.click(t, `nav a[href="/"]`)
	p.sees(t, "Hello, Ada")
}

func (w *walk) endOthers(t *testing.T) {
	w.bob.first.signIn(t, "Ada", true)
	w.bob.first.fill(t, "#note", "too late")
	p := w.ada.first
	p.open(t, "/devices")
	p.click(t, `form[action="/devices/end-others"] button`)
	p.sees(t, "1 other device signed out.", "This device")
	p.seesNot(t, "Edge 141", "Sign out all others")
	w.bob.first.click(t, `form[action="/notes"] button`)
	w.bob.first.isSentToSignIn(t)
	p.open(t, "/")
	p.sees(t, "Hello, Ada")
	p.seesNot(t, "too late")
}

func (w *walk) backAfterSignOut(t *testing.T) {
	p := w.bob.first
	p.signIn(t, "Bob", false)
	p.fill(t, "#note", "for Bob alone")
	p.click(t, `form[action="/notes"] button`)
	p.sees(t, "for Bob alone")
	p.click(t, `nav a[href="/devices"]`)
	p.signOut(t)
	for range 2 {
		p.goBack(t)
		p.seesNot(t, "for Bob alone", "This device", "Hello, Bob")
		p.sees(t, "Sign in")
	}
}

// expiry needs a demo whose sessions live shortly.
func (w *walk) expiry(t *testing.T) {
	const life = 2 * time.Second
	short := startDemo(t, w.binary, w.server, "-ttl", life.String())
	b := &tab{ctx: w.bob.newTab(t).ctx, base: short.url}
	b.signIn(t, "Bob", false)
	b.fill(t, "#note", "too late")
	time.Sleep(life + 100*time.Millisecond) //nolint:forbidigo // the pause is the thing itself
	b.click(t, `form[action="/notes"] button`)
	b.isSentToSignIn(t)
	b.signIn(t, "Bob", false)
	b.seesNot(t, "too late")
}

func (w *walk) restart(t *testing.T) {
	profile := t.TempDir()
	b := startBrowser(t, profile, iPhoneSafari, w.demo.url)
	b.first.signIn(t, "Ada", true)
	b.close(t)
	b = startBrowser(t, profile, iPhoneSafari, w.demo.url)
	b.first.open(t, "/")
	b.first.sees(t, "Hello, Ada", "kept for 30 days")
	b.first.signOut(t)

	b.first.signIn(t, "Ada", false)
	b.close(t)
	b = startBrowser(t, profile, iPhoneSafari, w.demo.url)
	b.first.open(t, "/")
	b.first.sees(t, "Any name will do")
	b.close(t)
}

func (w *walk) withoutScript(t *testing.T) {
	p := w.bob.newTab(t)
	call(t, p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	p.signIn(t, "Bob", false)
	p.fill(t, "#note", "no script needed")
	p.click(t, `form[action="/notes"] button`)
	p.sees(t, "Note saved.", "no script needed", "UTC")
	p.open(t, "/shop")
	p.click(t, addButton("pencil"))
	p.sees(t, "Pencil × 1")
	p.open(t, "/devices")
	p.sees(t, "This device")
	p.signOut(t)
}

// keyboard signs in and writes a note without a mouse.
func (w *walk) keyboard(t *testing.T) {
	p := w.bob.newTab(t)
	p.open(t, "/signin")
	p.do(t, chromedp.KeyEvent(kb.Tab))
	p.focused(t, "Skip to content")
	if at := evaluate[float64](t, p, "document.activeElement.getBoundingClientRect().top"); at < 0 {
		t.Errorf("the link to skip is not to be seen, at %v", at)
	}
	p.do(t, chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab))
	p.focused(t, "name")
	p.do(t, chromedp.KeyEvent("Bob"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(" "))
	p.load(t, chromedp.KeyEvent(kb.Enter))
	p.sees(t, "Hello, Bob", "kept for 30 days")
	if mark := evaluate[string](t, p, `getComputedStyle(document.querySelector('[role=status]')).display`); mark == "none" {
		t.Error("what has happened is not announced")
	}
	p.do(t, chromedp.Focus(chromedp.CSS("#note")), chromedp.KeyEvent("by keyboard"))
	p.load(t, chromedp.KeyEvent(kb.Enter))
	p.sees(t, "by keyboard")
	p.signOut(t)
}

// focused expects the focus on an element of that name or text, with an outline.
func (p *tab) focused(t *testing.T, want string) {
	t.Helper()
	got := evaluate[string](t, p, "document.activeElement.name || document.activeElement.innerText")
	if got != want {
		t.Errorf("the focus is on %q, want %q", got, want)
	}
	if outline := evaluate[string](t, p, "getComputedStyle(document.activeElement).outlineStyle"); outline != "solid" {
		t.Errorf("%s: the focus has outline %q", want, outline)
	}
}

func (w *walk) timeZone(t *testing.T) {
	p := w.ada.newTab(t)
	for zone, hours := range map[string]time.Duration{"Asia/Tokyo": 9, "UTC": 0} {
		call(t, p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: zone})
		p.open(t, "/devices")
		stamp := evaluate[string](t, p, "document.querySelector('time').dateTime")
		at, err := time.Parse(time.RFC3339, stamp)
		if err != nil {
			t.Fatal(err)
		}
		want := at.Add(hours * time.Hour).Format("3:04")
		if shown := evaluate[string](t, p, "document.querySelector('time').innerText"); !strings.Contains(shown, want) {
			t.Errorf("%s: %s is shown as %q, want %s", zone, stamp, shown, want)
		}
	}
}

func (w *walk) theme(t *testing.T) {
	p := w.ada.newTab(t)
	p.open(t, "/shop")
	shades := map[string]string{}
	for _, theme := range []string{"dark", "light"} {
		p.click(t, fmt.Sprintf("button[name=theme][value=%s]", theme))
		if path := p.path(t); path != "/shop" {
			t.Errorf("the choice leads to %s", path)
		}
		shades[theme] = evaluate[string](t, p, "getComputedStyle(document.body).backgroundColor")
		if pressed := evaluate[string](t, p, "document.querySelector('[aria-pressed=true]').value"); pressed != theme {
			t.Errorf("%s is pressed, want %s", pressed, theme)
		}
	}
	if shades["dark"] == shades["light"] {
		t.Errorf("dark and light are both %s", shades["dark"])
	}
	p.click(t, "button[name=theme][value=system]")
}

func (w *walk) operator(t *testing.T) {
	p := w.ada.newTab(t)
	w.bob.first.signIn(t, "Zoe", true) // among the first of the list, which goes by deadline
	p.actAsOperator(t)
	p.open(t, "/operator")
	p.sees(t, "Live sessions", "Latest events", "regenerate", "Zoe")
	if drawn := evaluate[bool](t, p, "!!document.querySelector('.line') && document.querySelectorAll('rect').length > 3"); !drawn {
		t.Error("the plots are empty")
	}
	before := evaluate[int](t, p, "Number(document.querySelectorAll('.tiles dd')[1].innerText)")
	until(t, "the page to keep itself up to date", func() bool {
		return evaluate[int](t, p, "Number(document.querySelectorAll('.tiles dd')[1].innerText)") > before
	})
	p.load(t, chromedp.Evaluate[chromedp.Void](`
		[...document.querySelectorAll("tr")].find(row => row.innerText.includes("Zoe") && row.querySelector("button")).querySelector("button").click()`))
	p.sees(t, "The session has ended.")
	w.bob.first.click(t, `nav a[href="/shop"]`)
	w.bob.first.click(t, `nav a[href="/"]`)
	w.bob.first.isSentToSignIn(t)
}
