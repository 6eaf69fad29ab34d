package attack

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// TestAlteredCookies flips every bit of a real cookie, cuts it at every length,
// and puts bytes of all kinds into it.
func TestAlteredCookies(t *testing.T) {
	t.Parallel()
	at := attacked(t, "altered cookies", "1 attacker with a cookie of another key, and one that was seen in part", nil)
	good := at.login("alice").cookie("sid")
	if a := at.who("sid=" + good); a.User != "alice" {
		t.Fatalf("the cookie as it is: %+v", a)
	}
	respelled := 0
	for i := range 8 * len(good) {
		altered := []byte(good)
		altered[i/8] ^= 1 << (i % 8)
		if same(string(altered), good) {
			respelled++ // the same bytes to base64, so the same cookie
			continue
		}
		at.nobody(fmt.Sprintf("bit %d flipped", i), "sid="+string(altered))
	}
	for n := range len(good) {
		if !same(good[:n], good) {
			at.nobody(fmt.Sprintf("cut to %d bytes", n), "sid="+good[:n])
		}
		at.nobody(fmt.Sprintf("without the first %d bytes", n+1), "sid="+good[n+1:])
		for _, inserted := range []string{"A", "\xff", "é", ".", "|", "%00", "\x00"} {
			at.nobody(fmt.Sprintf("%q inserted at %d", inserted, n), "sid="+good[:n]+inserted+good[n:])
		}
	}
	for _, text := range []string{"", "=", "null", "{}", `{"$gt":""}`, "é", "\xff\xfe", strings.Repeat("=", 100), good + good, good + "." + good} {
		at.nobody(fmt.Sprintf("%.40q", text), "sid="+text)
	}
	other := forgedWith(t, []byte("another key, as long as this one"), "sid", opened(t, "sid", good))
	at.nobody("signed with another key", "sid="+other)
	at.Note("%d bits of the last character mean nothing to base64: the cookie is the same with them", respelled)
	if a := at.who("sid=" + good); a.User != "alice" {
		at.Violation("the real cookie is %+v after the attack", a)
	}
}

// same reports whether two cookies are the same bytes in base64, which the
// standard library reads without looking at what fills up the last character.
func same(a, b string) bool {
	x, err1 := base64.URLEncoding.DecodeString(a)
	y, err2 := base64.URLEncoding.DecodeString(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// TestSwappedCookies makes every pair of handle and secret of several users
// under two names of cookies, as one who has the signing key can.
func TestSwappedCookies(t *testing.T) {
	t.Parallel()
	at := attacked(t, "swapped cookies", "1 attacker with the signing key and all ids; 6 users, 2 cookie names", nil)
	type session struct{ user, name, handle, secret string }
	var all []session
	for i := range 6 {
		for _, name := range []string{"sid", "admin"} {
			user := fmt.Sprintf("user %d of %s", i, name)
			v := at.login(user, "cookie", name)
			handle, secret, _ := strings.Cut(opened(t, name, v.cookie(name)), ".")
			all = append(all, session{user, name, handle, secret})
			other := map[string]string{"sid": "admin", "admin": "sid"}[name]
			if a := at.raw("/who?cookie="+other, other+"="+v.cookie(name)); a.User != "" {
				at.Violation("the cookie %s of %s is let in as %s", name, user, other)
			}
		}
	}
	for _, h := range all {
		for _, s := range all {
			for _, name := range []string{"sid", "admin"} {
				a := at.raw("/who?cookie="+name, name+"="+forged(t, name, h.handle+"."+s.secret))
				want := ""
				if h == s && h.name == name {
					want = h.user
				}
				if a.User != want {
					at.Violation("handle of %s, secret of %s, cookie %s: let in as %q, want %q", h.user, s.user, name, a.User, want)
				}
			}
		}
		for _, secret := range guesses(h.handle, h.secret) {
			at.nobody("the handle of "+h.user+" with a guessed secret", "sid="+forged(t, "sid", h.handle+secret))
		}
	}
}

// guesses are what one who knows a handle, and a part of the secret, may try.
func guesses(handle, secret string) []string {
	list := []string{"", ".", "." + handle, ".*", ".$ne", `.{"$ne":null}`, ".null", "." + strings.ToLower(secret), "." + secret + secret, ".." + secret, "." + secret + "."}
	for i := range secret {
		list = append(list, "."+secret[:i], "."+secret[i+1:])
	}
	return list
}

// TestReplayedCookies sends cookies after their sessions ended in each way. The
// request with the old cookie also saves: nothing comes back.
func TestReplayedCookies(t *testing.T) {
	at := attacked(t, "replayed cookies", "1 attacker with a copy of each cookie", nil)
	for _, ending := range []struct {
		name string
		end  func(v *visitor)
	}{
		{"logout", func(v *visitor) { v.ask("/logout") }},
		{"regenerate", func(v *visitor) { v.ask("/login", "user", v.user) }},
		{"another user's login", func(v *visitor) { v.ask("/login", "user", v.user+"'s sister") }},
		{"Destroy", func(v *visitor) { v.ask("/admin", "call", "Destroy", "id", v.handle()) }},
		{"DestroyByUser", func(v *visitor) { v.ask("/admin", "call", "DestroyByUser", "id", v.user) }},
		{"expiry", func(v *visitor) { at.age(v, time.Second) }},
		{"a real expiry", func(v *visitor) { v.ask("/login", "user", v.user, "maxAge", "1"); at.outlive(v) }},
		{"Clear", func(*visitor) {
			if err := at.store.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(ending.name, func(*testing.T) {
			v := at.login("victim of " + ending.name)
			v.ask("/note", "note", "secret")
			copied := "sid=" + v.cookie("sid")
			ending.end(v)
			before := at.documents()
			for range 5 {
				at.nobody("after "+ending.name, copied)
			}
			if a := at.raw("/note?note=back", copied); a.User != "" {
				at.Violation("after %s a Save with the old cookie is %q's", ending.name, a.User)
			}
			at.raw("/logout", copied) // may end what it proves, and no more
			after := at.documents()
			for id, doc := range before {
				if after[id] != doc && ending.name != "expiry" && ending.name != "a real expiry" {
					at.Violation("after %s the old cookie changed a record", ending.name)
				}
			}
			for id, doc := range after {
				if before[id] == "" && strings.Contains(doc, v.user) {
					at.Violation("after %s the old cookie brought values back", ending.name)
				}
			}
			at.nobody("after "+ending.name+" and a Save", copied)
		})
	}
}

// age moves a session's deadline into the past, as time does.
func (at *target) age(v *visitor, by time.Duration) {
	at.t.Helper()
	_, err := at.coll.UpdateByID(at.t.Context(), v.handle(), bson.D{{Key: "$set", Value: bson.D{{Key: "expires", Value: time.Now().Add(-by)}}}})
	if err != nil {
		at.t.Fatal(err)
	}
}

// outlive waits until a session of a second has ended by the clock alone.
func (at *target) outlive(v *visitor) {
	at.t.Helper()
	cookie := "sid=" + v.cookie("sid")
	for begin := time.Now(); at.who(cookie).User != ""; {
		if time.Since(begin) > time.Minute {
			at.Violation("a session of a second does not end")
			return
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the time is what passes
	}
}

// TestLargeAndManyCookies sends cookies of 4 KB to 1 MB, and thousands of them.
// Of those that verify at most four are looked up.
func TestLargeAndManyCookies(t *testing.T) {
	t.Parallel()
	sent, watch := mongotest.Watch()
	at := attacked(t, "large and many cookies", "1 attacker, up to 1 MB a request", nil, watch)
	v := at.login("alice")
	good := v.cookie("sid")
	sent.Take()
	for size := 4 << 10; size <= 1<<20; size *= 2 {
		for _, filling := range []string{"A", "=", "\xff", "%41", good + ";sid=", "."} {
			at.nobody(fmt.Sprintf("%d bytes of %.5q", size, filling), "sid="+filler(filling, size))
		}
		if size < 1<<19 { // what the server takes
			at.nobody(fmt.Sprintf("%d bytes, well signed", size), "sid="+forged(t, "sid", random(13)+"."+random(size/4)))
		}
	}
	lookups := 0
	for _, n := range []int{5, 100, inFull(2900, 1000)} {
		dead := make([]string, n)
		for i := range dead {
			dead[i] = "sid=" + forged(t, "sid", random(13)+"."+random(13))
		}
		sent.Take()
		at.nobody(fmt.Sprintf("%d signed cookies of nobody", n), strings.Join(dead, "; "))
		finds := 0
		for _, c := range sent.Take() {
			if c.Name == "find" {
				finds++
			}
		}
		if lookups = max(lookups, finds); finds > 1 {
			at.Violation("%d cookies cost %d lookups", n, finds)
		}
		a := at.who(strings.Join(slices.Concat(dead[:3], []string{"sid=" + good}), "; "))
		if a.User != "alice" {
			at.Violation("after three dead cookies the fourth is %q's, want alice's", a.User)
		}
	}
	at.who(strings.Repeat("sid="+good+"; ", 3001)) // beyond what net/http parses
	if a := v.ask("/who"); a.User != "alice" || a.Status != http.StatusOK {
		at.Violation("after all of that alice is %+v", a)
	}
	at.Note("at most %d lookups a request", lookups)
}

// filler returns text of about a size that holds no whole cookie.
func filler(part string, size int) string {
	if strings.Contains(part, ";") {
		part = part[:len(part)/2] + ";sid="
	}
	return strings.Repeat(part, size/len(part))
}
