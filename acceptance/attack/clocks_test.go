package attack

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// apart is how far the clocks of two processes of the site are apart.
const apart = 10 * time.Minute

// clockLine is where the store reads the clock. The processes of these tests are
// built with another line in its place.
const clockLine = "time.Now().UTC().Truncate(time.Millisecond)"

// buildNode builds the site as a program whose store adds a number of seconds,
// that of the environment, to the time. Of the source nothing is changed.
func buildNode(t *testing.T) string {
	t.Helper()
	source, err := filepath.Abs("../../mongostore.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source) //nolint:gosec // the source of the store
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), clockLine); n != 1 {
		t.Fatalf("the store reads the clock at %d places in mongostore.go", n)
	}
	shifted := strings.Replace(string(text), clockLine, "time.Now().Add(shift()).UTC().Truncate(time.Millisecond)", 1)
	shifted = strings.Replace(shifted, "import (\n", "import (\n\t\"os\"\n", 1) +
		"\nfunc shift() time.Duration { d, _ := time.ParseDuration(os.Getenv(\"" + shiftVariable + "\")); return d }\n"
	dir := t.TempDir()
	replaced, program := filepath.Join(dir, "mongostore.go"), filepath.Join(dir, "node")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{replaced: shifted, filepath.Join(dir, "overlay.json"): string(overlay)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./node") //nolint:gosec // of this test
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

const shiftVariable = "MONGOSTORE_ATTACK_SHIFT"

// startNode starts a process of the site whose clock is shifted, and returns its address.
func (at *target) startNode(program string, shift time.Duration, more ...string) string {
	at.t.Helper()
	args := append([]string{"-uri", at.uri, "-key", string(signingKey)}, more...)
	cmd := exec.CommandContext(at.t.Context(), program, args...) //nolint:gosec // built by this test
	cmd.Env = append(os.Environ(), shiftVariable+"="+shift.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		at.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		at.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		at.t.Fatal(err)
	}
	at.t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		at.t.Fatalf("a node says %q: %v", address, err)
	}
	at.Fault(fmt.Sprintf("clock %+v", shift))
	return strings.TrimSpace(address)
}

// TestClocksApart runs the site in processes whose clocks are 10 minutes apart.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	program := buildNode(t)
	t.Run("changes and endings", func(t *testing.T) { t.Parallel(); changesWithClocksApart(t, program) })
	t.Run("expiry", func(t *testing.T) { t.Parallel(); expiryWithClocksApart(t, program) })
	t.Run("removal", func(t *testing.T) { t.Parallel(); removalWithClocksApart(t, program) })
}

// changesWithClocksApart lets two processes whose clocks are 10 minutes apart serve the
// same visitors, by turns and at once. Nothing that was acknowledged is lost,
// nothing that ended is back, nobody with more than 10 minutes left is logged out.
func changesWithClocksApart(t *testing.T, program string) {
	t.Helper()
	at := attacked(t, "clocks 10 minutes apart", "visitors of 2 processes", &mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	slow, fast := at.startNode(program, -apart/2, "-ttl", "1h"), at.startNode(program, apart/2, "-ttl", "1h")
	v := at.visitor("alice")
	v.askAt(fast, "/login", "user", "alice")
	for i := range inFull(200, 40) {
		site := []string{slow, fast}[i%2]
		key := fmt.Sprintf("key %d", i)
		if a := v.askAt(site, "/note", "key", key, "note", "kept"); a.User != "alice" || a.Error != "" {
			at.Violation("by turns: %+v", a)
		}
	}
	at.holdsNotes(v, "key", inFull(200, 40))
	at.atOnce(v, slow, fast)
	for _, order := range [][2]string{{slow, fast}, {fast, slow}} {
		at.endings(order[0], order[1])
	}
	at.logoutOnTheWay(slow, fast)
}

// atOnce changes one session in both processes at the same time.
func (at *target) atOnce(v *visitor, sites ...string) {
	at.t.Helper()
	var all sync.WaitGroup
	for _, site := range sites {
		for i := range inFull(50, 10) {
			all.Go(func() {
				if a := v.askAt(site, "/note", "key", fmt.Sprintf("%s %d", site, i), "note", "kept"); a.Error != "" {
					at.Violation("at once: %+v", a)
				}
			})
		}
	}
	all.Wait()
	for _, site := range sites {
		at.holdsNotes(v, site, inFull(50, 10))
	}
}

// holdsNotes checks that a session has what it was told to note.
func (at *target) holdsNotes(v *visitor, prefix string, n int) {
	at.t.Helper()
	rec, err := at.store.Find(at.t.Context(), v.handle())
	if err != nil {
		at.Violation("the session of %s: %v", v.user, err)
		return
	}
	values, err := rec.Values(at.t.Context())
	for i := range n {
		if values[fmt.Sprintf("%s %d", prefix, i)] != "kept" {
			at.Violation("%s %d is lost: %v", prefix, i, err)
		}
	}
}

// endings ends sessions in one process, and tries them in the other.
func (at *target) endings(here, there string) {
	at.t.Helper()
	for name, end := range map[string]func(v *visitor){
		"logout":        func(v *visitor) { v.askAt(here, "/logout") },
		"regenerate":    func(v *visitor) { v.askAt(here, "/login", "user", "bob") },
		"Destroy":       func(v *visitor) { v.askAt(here, "/admin", "call", "Destroy", "id", v.handle()) },
		"DestroyByUser": func(v *visitor) { v.askAt(here, "/admin", "call", "DestroyByUser", "id", "bob") },
	} {
		v := at.visitor("bob")
		v.askAt(there, "/login", "user", "bob")
		old := v.cookie("sid")
		end(v)
		for _, site := range []string{there, here, there} {
			thief := at.holding(old)
			for _, path := range []string{"/who", "/note"} {
				if a := thief.askAt(site, path, "note", "back"); a.User != "" {
					at.Violation("after %s in the other process: %+v", name, a)
				}
			}
		}
	}
}

// logoutOnTheWay logs out in one process while the other saves.
func (at *target) logoutOnTheWay(slow, fast string) {
	at.t.Helper()
	for i := range inFull(100, 20) {
		v := at.visitor("carol")
		v.askAt(fast, "/login", "user", "carol")
		old := v.cookie("sid")
		var all sync.WaitGroup
		all.Go(func() { at.holding(old).askAt([]string{slow, fast}[i%2], "/note", "note", "late") })
		all.Go(func() { at.holding(old).askAt([]string{fast, slow}[i%2], "/logout") })
		all.Wait()
		for _, site := range []string{slow, fast} {
			if a := at.holding(old).askAt(site, "/who"); a.User != "" {
				at.Violation("after a logout beside a Save: %+v", a)
			}
		}
	}
}

// expiryWithClocksApart moves a session's deadline by what is left of it, to
// see when each process takes it for ended: by its own clock, so at most as much
// too early or too late as that is wrong.
func expiryWithClocksApart(t *testing.T, program string) {
	t.Helper()
	at := attacked(t, "expiry with clocks 10 minutes apart", "3 processes, 1 of them right", &mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	sites := make(map[time.Duration]string)
	for _, shift := range []time.Duration{-apart, 0, apart} {
		sites[shift] = at.startNode(program, shift, "-ttl", "1h")
	}
	const margin = time.Minute // for a machine that is busy
	for _, left := range []time.Duration{-20 * time.Minute, -apart - margin, -apart + margin, -margin, margin, apart - margin, apart + margin, 20 * time.Minute} {
		for shift, site := range sites {
			v := at.login("alice")
			at.age(v, -left)
			a := v.askAt(site, "/who")
			if alive := left > shift; alive != (a.User == "alice") {
				at.Violation("%v left, clock %+v: %+v, want alive %v", left, shift, a, alive)
			}
		}
	}
}

// removalWithClocksApart lets a process whose clock is 10 minutes fast remove:
// it takes sessions with less than 9 minutes left by a right clock, and no others.
func removalWithClocksApart(t *testing.T, program string) {
	t.Helper()
	at := attacked(t, "removal by a clock 10 minutes fast", "1 process that removes", &mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	const margin = time.Minute
	for _, left := range []time.Duration{-time.Hour, apart - 2*margin - time.Minute, apart + time.Second, apart + margin, time.Hour} {
		user := fmt.Sprintf("user with %v left", left)
		v := at.login(user)
		_, err := at.coll.UpdateByID(t.Context(), v.handle(), bson.D{{Key: "$set", Value: bson.D{{Key: "expires", Value: time.Now().Add(left)}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	at.startNode(program, apart, "-interval", "1s")
	gone := func() int {
		n, err := at.coll.CountDocuments(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		return 5 - int(n)
	}
	for begin := time.Now(); gone() < 2; {
		if time.Since(begin) > time.Minute {
			at.Violation("%d sessions removed, want the 2 that ended by that clock", gone())
			return
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // removal has a rhythm of its own
	}
	time.Sleep(3 * time.Second) //nolint:forbidigo // a removal or two more
	if n := gone(); n != 2 {
		at.Violation("%d sessions removed, want the 2 that ended by that clock", n)
	}
	at.Note("a session with %v left was removed", apart-2*margin-time.Minute)
}
