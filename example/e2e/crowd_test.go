package e2e

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is other visitors who come and go during the walk, so that the
// operator's page has something to show.
type crowd struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	failed atomic.Int64
}

func startCrowd(t *testing.T, base string) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &crowd{cancel: cancel}
	c.done.Go(func() {
		names := []string{"Grace", "Edsger", "Barbara", "Ken", "Radia", "Tony"}
		agents := []string{iPhoneSafari, macFirefox, windowsEdge, linuxChrome}
		tick := time.NewTicker(400 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				v := &passerby{base: base, agent: agents[i%len(agents)]}
				if !v.visit(ctx, names[i%len(names)], i%3 == 0) && ctx.Err() == nil {
					c.failed.Add(1)
				}
			}
		}
	})
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *crowd) stop() (failed int64) {
	c.cancel()
	c.done.Wait()
	return c.failed.Load()
}

// passerby is a visitor without a browser.
type passerby struct {
	base, agent string
	cookie      *http.Cookie
}

// visit signs in and does a few things. Who leaves signs out.
func (v *passerby) visit(ctx context.Context, name string, leaves bool) (ok bool) {
	ok = v.post(ctx, "/signin", url.Values{"name": {name}, "remember": {"yes"}}) &&
		v.post(ctx, "/notes", url.Values{"note": {"A note of " + name}}) &&
		v.post(ctx, "/shop/add", url.Values{"product": {"tea"}})
	if leaves {
		ok = ok && v.post(ctx, "/signout", nil)
	}
	return ok
}

func (v *passerby) post(ctx context.Context, path string, form url.Values) (ok bool) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", v.agent)
	if v.cookie != nil {
		r.AddCookie(v.cookie)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	for _, c := range response.Cookies() {
		v.cookie = c
	}
	return response.StatusCode == http.StatusSeeOther
}
