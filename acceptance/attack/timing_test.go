package attack

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
)

// guess is a wrong secret, and one that is as wrong but has less in common with
// the right one.
type guess struct {
	what        string
	near, far   *http.Request
	twin        *http.Request // as far
	difference  []float64     // of near from far, in nanoseconds a load
	differences []float64     // of twin from far
}

// TestTimingOfWrongSecrets measures loads with wrong secrets: one that shares
// nothing with the right secret costs the same as one that shares nearly all of
// it, or the beginning of its hash. The loads alternate, and how far two secrets
// that share nothing seem to differ says what difference could be noticed.
func TestTimingOfWrongSecrets(t *testing.T) {
	row := scenario.New(t, "timing of wrong secrets", "1 attacker with the signing key and an id")
	store, err := mongostore.NewMemory(nil, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", nil)
	session, err := store.Get(r, "sid")
	if err == nil {
		err = session.Save(r, w)
	}
	if err != nil {
		t.Fatal(err)
	}
	handle, secret, _ := strings.Cut(opened(t, "sid", w.Result().Cookies()[0].Value), ".")
	guesses := guessesAt(t, handle, secret)
	const fewest = 30
	for begin, i := time.Now(), 0; i < fewest || time.Since(begin) < time.Duration(inFull(120, 4))*time.Second; i++ {
		for _, g := range guesses {
			g.round(t, store)
			row.Requests.Add(secretsInARound * loadsInARound)
		}
	}
	for _, g := range guesses {
		noise, found := median(magnitudes(g.differences)), median(g.difference)
		bound := max(20, 8*noise/math.Sqrt(float64(len(g.differences)))) // more than four standard errors of a median
		if found > bound || found < -bound {
			row.Violation("%s: a load takes %.0f ns more than with another wrong secret, the bound is %.0f ns", g.what, found, bound)
		}
		row.Note("%s: %+.0f ns, %.0f ns would be noticed", g.what, found, bound)
	}
}

// guessesAt returns guesses at a secret. Those that are compared are of one length.
func guessesAt(t *testing.T, handle, secret string) []*guess {
	t.Helper()
	with := func(secret string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com/", nil)
		r.Header.Set("Cookie", "sid="+forged(t, "sid", handle+"."+secret))
		return r
	}
	other := func(n int) string { // differs from the secret at every place
		text := []byte(strings.Repeat(secret, 2)[:n])
		for i, c := range text {
			for text[i] == c {
				text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[rand.N(32)] //nolint:gosec // no secret
			}
		}
		return string(text)
	}
	n := len(secret)
	list := []*guess{
		{what: "all but the last letter", near: with(secret[:n-1] + other(n)[n-1:])},
		{what: "the first half", near: with(secret[:n/2] + other(n)[n/2:])},
		{what: "the last half", near: with(other(n)[:n/2] + secret[n/2:])},
		{what: "the hash's first 2 bytes", near: with(hashNear(secret, other))},
	}
	for _, g := range list {
		g.far, g.twin = with(other(n)), with(other(n))
	}
	for _, length := range []int{n / 2, n + n/2} {
		whole := strings.Repeat(secret, 2)[:length]
		list = append(list, &guess{what: fmt.Sprintf("%d letters of %d", length, n), near: with(whole), far: with(other(length)), twin: with(other(length))})
	}
	return list
}

// hashNear returns a wrong secret whose hash begins as that of the right one.
func hashNear(secret string, other func(int) string) string {
	want := sha256.Sum256([]byte(secret))
	for {
		text := other(len(secret))
		if got := sha256.Sum256([]byte(text)); got[0] == want[0] && got[1] == want[1] {
			return text
		}
	}
}

const secretsInARound, loadsInARound = 3, 10

// round loads with each secret, in an order of chance.
func (g *guess) round(t *testing.T, store *mongostore.Store) {
	t.Helper()
	requests := []*http.Request{g.near, g.far, g.twin}
	took := make([]float64, secretsInARound)
	for _, i := range rand.Perm(secretsInARound) { //nolint:gosec // no secret
		begin := time.Now()
		for range loadsInARound {
			if session, err := store.New(requests[i], "sid"); err != nil || !session.IsNew {
				t.Fatalf("a wrong secret: new %v, %v", session.IsNew, err)
			}
		}
		took[i] = float64(time.Since(begin)) / loadsInARound
	}
	g.difference = append(g.difference, took[0]-took[1])
	g.differences = append(g.differences, took[2]-took[1])
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func magnitudes(list []float64) []float64 {
	list = slices.Clone(list)
	for i := range list {
		list[i] = max(list[i], -list[i])
	}
	return list
}
