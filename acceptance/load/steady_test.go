package load

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// steadyTime is how long TestSteady takes: go test ./load -run Steady -steady 10m.
var steadyTime = flag.Duration("steady", 0, "how long TestSteady takes (default 2m, and 30m with MONGOSTORE_LONG=1)")

const (
	steadyVisitors = 16
	steadySamples  = 40
)

// TestSteady keeps one process at full speed with requests of every kind, and
// sees that it holds no more at the end than it did early on.
func TestSteady(t *testing.T) {
	duration := 2 * time.Minute
	switch {
	case *steadyTime > 0:
		duration = *steadyTime
	case long:
		duration = 30 * time.Minute
	}
	server := mongotest.Standalone(t)
	// Who leaves without a logout leaves a session behind, for a minute.
	s := newSite(t, server, server.URI(), mongostore.Config{TTL: time.Minute})
	row := scenario.New(t, "steady load", fmt.Sprintf("%d visitors in one process, %v", steadyVisitors, duration))
	var over atomic.Bool
	var visiting sync.WaitGroup
	for i := range steadyVisitors {
		visiting.Go(func() { visitUntil(t, &over, s, row, i) })
	}
	samples := s.watch(t, duration)
	over.Store(true)
	visiting.Wait()
	for _, m := range measures {
		g := m.growth(samples)
		row.Note("%s %v", m.name, g)
		if !m.flat(g) {
			row.Violation("%s grew: %v", m.name, g)
		}
	}
}

// watch takes samples at intervals.
func (s *site) watch(t *testing.T, duration time.Duration) []sample {
	t.Helper()
	tick := time.NewTicker(duration / steadySamples)
	defer tick.Stop()
	start := time.Now()
	var samples []sample
	for range steadySamples {
		<-tick.C
		now := s.sample()
		now.at = time.Since(start)
		samples = append(samples, now)
		t.Logf("%6v %6.2f MB, %3.0f goroutines, %2.0f connections, %d table entries",
			now.at.Round(time.Second), now.heap, now.goroutines, now.connections, int(now.table))
	}
	return samples
}

// visitUntil lives the lives of users, one after the other, and keeps one
// session alive meanwhile.
func visitUntil(t *testing.T, over *atomic.Bool, s *site, row *scenario.Scenario, visitor int) {
	t.Helper()
	kept := &life{t: t, row: row}
	b := &browser{site: s}
	kept.wants(b, "/put", "kept", "yes", "")
	for i := 0; !over.Load(); i++ {
		l := &life{t: t, row: row, user: fmt.Sprintf("user %d of %d", i, visitor), number: i}
		l.live(s)
		kept.wants(b, "/keep", "", "", "")
		kept.wants(b, "/get", "kept", "", "yes")
	}
}

// life is what one user does at the site. It differs by the number.
type life struct {
	t      *testing.T
	row    *scenario.Scenario
	user   string
	number int
}

// wants asks for a page, and wants this answer.
func (l *life) wants(b *browser, page, key, value, want string) {
	l.row.Requests.Add(1)
	status, answer, err := b.visit(l.t.Context(), page, key, value)
	if err != nil || status != http.StatusOK || answer != want {
		l.row.Violation("%s %s of %s: %d %q %v, want %q", page, key, l.user, status, answer, err, want)
	}
}

func (l *life) live(s *site) {
	laptop, phone := &browser{site: s}, &browser{site: s}
	l.wants(laptop, "/hello", "", "", "hello")
	l.shop(laptop)
	l.wants(laptop, "/login", "", l.user, "")
	l.atOnce(laptop)
	l.hurry(laptop)
	l.wants(phone, "/login", "", l.user, "")
	l.wants(phone, "/devices", "", "", "2")
	l.wants(phone, "/touch", "", "", "")
	l.wants(phone, "/others", "", "", "1")
	l.wantsStranger(laptop)
	if l.number%2 == 0 {
		return // without a logout
	}
	old := &browser{site: s, cookie: phone.cookie}
	l.wants(phone, "/logout", "", "", "")
	l.wantsStranger(old)
}

// shop changes a session, reads it and saves it unchanged.
func (l *life) shop(b *browser) {
	cart := strings.Repeat("book ", l.number%400)
	l.wants(b, "/put", "cart", cart, "")
	l.wants(b, "/get", "cart", "", cart)
	l.wants(b, "/keep", "", "", "")
	l.wants(b, "/flash", "", "thank you", "")
	l.wants(b, "/flashes", "", "", "thank you")
	l.wants(b, "/flashes", "", "", "")
}

// atOnce sends two requests of one session at once: both changes stay.
func (l *life) atOnce(b *browser) {
	var both sync.WaitGroup
	for _, key := range []string{"left", "right"} {
		both.Go(func() { l.wants(b, "/put", key, l.user, "") })
	}
	both.Wait()
	l.wants(b, "/get", "left", "", l.user)
	l.wants(b, "/get", "right", "", l.user)
}

// hurry abandons a request under way: whatever came of it, the session is there.
func (l *life) hurry(b *browser) {
	l.row.Requests.Add(1)
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Duration(l.number%40)*100*time.Microsecond)
	status, answer, err := b.visit(ctx, "/put", "hurry", l.user)
	cancel()
	if err == nil && status != http.StatusOK {
		l.row.Violation("/put of %s, who is in a hurry: %d %q", l.user, status, answer)
	}
	l.wants(b, "/get", "left", "", l.user)
}

// wantsStranger looks with a cookie whose session has ended.
func (l *life) wantsStranger(b *browser) {
	l.row.Requests.Add(1)
	if status, answer, err := b.visit(l.t.Context(), "/get", "user", ""); err != nil || status != http.StatusUnauthorized {
		l.row.Violation("%s is let in after the end of the session: %d %q %v", l.user, status, answer, err)
	}
}
