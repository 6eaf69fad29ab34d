package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// looks takes a picture of each page, on a desk and on a phone, in light and in
// dark, and checks each of them.
func (w *walk) looks(t *testing.T) {
	w.prepare(t)
	signedIn, visitor := w.ada.newTab(t), w.bob.newTab(t)
	signedIn.actAsOperator(t)
	axe := readAxe(t)
	for _, look := range []struct {
		name, scheme  string
		width, height int64
	}{
		{"light", "light", 1280, 900},
		{"dark", "dark", 1280, 900},
		{"phone-light", "light", 390, 844},
		{"phone-dark", "dark", 390, 844},
	} {
		for _, p := range []*tab{signedIn, visitor} {
			call(t, p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}},
			})
			p.do(t, chromedp.EmulateViewport(look.width, look.height))
		}
		for _, page := range []struct {
			name, path string
			tab        *tab
		}{
			{"signin", "/signin?notice=ended", visitor},
			{"notes", "/", signedIn},
			{"shop", "/shop", signedIn},
			{"devices", "/devices", signedIn},
			{"operator", "/operator", signedIn},
			{"problem", "/nowhere", visitor},
		} {
			name := page.name + "-" + look.name
			page.tab.open(t, page.path)
			page.tab.shoot(t, name)
			page.tab.hasNoOverflow(t, name)
			if look.width < 600 {
				page.tab.hasLargeTargets(t, name)
			}
			page.tab.isAccessible(t, name, axe)
		}
	}
}

// prepare fills the pages of a user who is new to both browsers.
func (w *walk) prepare(t *testing.T) {
	const name = "Ada Lovelace"
	for _, agent := range []string{macFirefox, iPhoneSafari} {
		v := &passerby{base: w.demo.url, agent: agent}
		if !v.visit(t.Context(), name, false) {
			t.Fatal("another device of Ada's cannot sign in")
		}
	}
	for _, b := range []*browser{w.ada, w.bob} {
		call(t, b.first, network.ClearBrowserCookies, cdp.Empty{})
	}
	p := w.ada.first
	p.signIn(t, name, true)
	for _, note := range []string{"Buy green tea", "Write to Charles about the engine", "Note G: the numbers of Bernoulli"} {
		p.fill(t, "#note", note)
		p.click(t, `form[action="/notes"] button`)
	}
	p.open(t, "/shop")
	for _, product := range []string{"tea", "mug", "tea"} {
		p.click(t, addButton(product))
	}
}

// hasNoOverflow expects that nothing is wider than the window.
func (p *tab) hasNoOverflow(t *testing.T, name string) {
	t.Helper()
	if over := evaluate[int](t, p, "document.documentElement.scrollWidth - window.innerWidth"); over > 0 {
		t.Errorf("%s is %d pixels wider than the window", name, over)
	}
}

// hasLargeTargets expects that a finger hits what it means: 44 pixels, as WCAG
// 2.5.5 has it. A checkbox counts with its label.
func (p *tab) hasLargeTargets(t *testing.T, name string) {
	t.Helper()
	for _, small := range evaluate[[]string](t, p, `
		[...document.querySelectorAll("button, nav a, .brand, .button, label:has(input), input:not([type=hidden], [type=checkbox])")]
			.filter(e => { const box = e.getBoundingClientRect(); return box.height < 44 || box.width < 44 })
			.map(e => e.outerHTML)`) {
		t.Errorf("%s: too small for a finger: %s", name, small)
	}
}

// readAxe returns the source of axe-core, or "" where npm has not installed it.
func readAxe(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Log("without axe-core (npm ci in example/e2e), fewer checks of accessibility are made")
	}
	return string(source)
}

type violation struct {
	ID, Help string
	Nodes    []string
}

// isAccessible asks axe-core: names of controls, contrast, landmarks, order of
// headings and so on.
func (p *tab) isAccessible(t *testing.T, name, axe string) {
	t.Helper()
	if axe == "" {
		return
	}
	evaluate[any](t, p, axe+"; null")
	for _, v := range evaluate[[]violation](t, p, `axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then(result => result.violations.map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => n.html + " " + n.failureSummary)})))`) {
		t.Errorf("%s: %s: %s: %q", name, v.ID, v.Help, v.Nodes)
	}
}

// shoot saves a picture of the whole page.
func (p *tab) shoot(t *testing.T, name string) {
	t.Helper()
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	save(t, name, picture)
}

// shootFailure keeps what a failed step saw last, if there is still a browser.
func shootFailure(t *testing.T, b *browser, step string) {
	t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Log(err)
		return
	}
	save(t, "failed-"+regexp.MustCompile(`\W+`).ReplaceAllString(step, "-"), picture)
}

func save(t *testing.T, name string, picture []byte) {
	t.Helper()
	folder := root(t, ".cache", "screenshots")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s.png", name)), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}
