package e2e

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// patience bounds each step: a browser on a busy machine takes its time.
const patience = 30 * time.Second

// User agents of the browsers in the walk, so that the page of devices tells
// them apart.
const (
	linuxChrome  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	windowsEdge  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"
	iPhoneSafari = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
	macFirefox   = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0"
)

// browser is a running Chromium with a profile of its own.
type browser struct {
	ctx   context.Context
	first *tab
}

// startBrowser runs it until the test ends, or until close.
func startBrowser(t *testing.T, profile, userAgent, base string) *browser {
	t.Helper()
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.UserDataDir(profile), chromedp.UserAgent(userAgent), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 900))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return &browser{ctx: ctx, first: openTab(ctx, t, base)}
}

// close ends the browser as its user would, so that it saves its cookies.
func (b *browser) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
}

// newTab opens another tab. It closes when the test ends.
func (b *browser) newTab(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	t.Cleanup(cancel)
	return openTab(ctx, t, b.first.base)
}

// openTab does nothing in the tab yet. It must be the first use of ctx, and ctx
// without a deadline: the tab, and a browser that it starts, would end with it.
func openTab(ctx context.Context, t *testing.T, base string) *tab {
	t.Helper()
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return &tab{ctx: ctx, base: base}
}

// tab is a page in a browser, and what a user does there.
type tab struct {
	ctx  context.Context
	base string // of the demo
}

func (p *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// load waits for the page that the steps lead to and returns its status.
func (p *tab) load(t *testing.T, steps ...chromedp.Action[chromedp.Void]) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, steps...)
	if err != nil {
		t.Fatal(err)
	}
	return response.Status
}

func (p *tab) open(t *testing.T, path string) int64 {
	t.Helper()
	return p.load(t, chromedp.Navigate(p.base+path))
}

// click presses a button, or follows a link, and waits for the next page.
func (p *tab) click(t *testing.T, selector string) int64 {
	t.Helper()
	return p.load(t, chromedp.Click(chromedp.CSS(selector)))
}

// goBack presses the browser's button, and waits until another page is there:
// one that was loaded, or one that the browser has kept.
func (p *tab) goBack(t *testing.T) {
	t.Helper()
	const born = "document.readyState === 'complete' ? performance.timeOrigin : 0"
	now := evaluate[float64](t, p, born)
	p.do(t, chromedp.Evaluate[chromedp.Void]("history.back()"))
	until(t, "the page before", func() bool {
		then, err := chromedp.Run(p.ctx, chromedp.Evaluate[float64](born))
		return err == nil && then != 0 && then != now // an error: it is on its way
	})
}

func (p *tab) fill(t *testing.T, selector, text string) {
	t.Helper()
	p.do(t, chromedp.SetValue(chromedp.CSS(selector), text))
}

func (p *tab) signIn(t *testing.T, name string, remember bool) {
	t.Helper()
	p.open(t, "/signin")
	p.fill(t, "#name", name)
	if remember {
		p.do(t, chromedp.Click(chromedp.CSS("#remember")))
	}
	p.click(t, "main form button")
	p.sees(t, "Hello, "+name)
}

func (p *tab) signOut(t *testing.T) {
	t.Helper()
	p.click(t, ".account button")
	p.sees(t, "You are signed out.")
}

// evaluate runs a script in the page; a promise is waited for.
func evaluate[T any](t *testing.T, p *tab, script string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%v\nin %s", err, script)
	}
	return value
}

// text is what the page shows.
func (p *tab) text(t *testing.T) string {
	t.Helper()
	return evaluate[string](t, p, "document.body.innerText")
}

func (p *tab) path(t *testing.T) string {
	t.Helper()
	return evaluate[string](t, p, "location.pathname + location.search")
}

func (p *tab) sees(t *testing.T, texts ...string) {
	t.Helper()
	if missing := lacks(p.text(t), texts...); missing != nil {
		t.Fatalf("%s lacks %q:\n%s", p.path(t), missing, p.text(t))
	}
}

func (p *tab) seesNot(t *testing.T, texts ...string) {
	t.Helper()
	if text := p.text(t); len(lacks(text, texts...)) < len(texts) {
		t.Fatalf("%s has one of %q:\n%s", p.path(t), texts, text)
	}
}

// isSentToSignIn expects that the next click led to the sign-in page.
func (p *tab) isSentToSignIn(t *testing.T) {
	t.Helper()
	p.sees(t, "Your session has ended. Please sign in again.")
	if path := p.path(t); path != "/signin?notice=ended" {
		t.Errorf("at %s", path)
	}
}

// cookie is the session cookie as the browser has it, or nil.
func (p *tab) cookie(t *testing.T) *network.Cookie {
	t.Helper()
	for _, c := range call(t, p, network.GetCookies, network.GetCookiesParams{URLs: []string{p.base + "/"}}).Cookies {
		if c.Name == "mongostore-demo" {
			return c
		}
	}
	return nil
}

// call sends a command of the DevTools protocol.
func call[P, R any](t *testing.T, p *tab, command cdp.Command[P, R], params P) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// actAsOperator has the tab send the operator's password, as a browser does
// after it was typed into its dialog, which a headless one has not.
func (p *tab) actAsOperator(t *testing.T) {
	t.Helper()
	login := base64.StdEncoding.EncodeToString([]byte("operator:" + operatorPassword))
	call(t, p, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Authorization": "Basic " + login}})
}
