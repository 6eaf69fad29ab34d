package token_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/mongostore/mongostore/internal/token"
)

func TestNewGivesOtherCredentialsEachTime(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 100 {
		c := token.New()
		for _, part := range []string{c.Handle, c.Secret} {
			if len(part) != token.Length || seen[part] {
				t.Fatalf("%q has %d characters, or has been there before", part, len(part))
			}
			seen[part] = true
		}
		if c.ID != c.Handle || c.IsZero() || c.Value() != c.Handle+"."+c.Secret {
			t.Errorf("the credentials are %+v", c)
		}
	}
}

func TestParseReadsWhatValueWrites(t *testing.T) {
	t.Parallel()
	for _, plainIDs := range []bool{false, true} {
		c := token.New()
		if got, split, plain := token.Parse(c.Value(), plainIDs); got != c || !split || plain {
			t.Errorf("Parse: %+v, %v, %v; want %+v", got, split, plain, c)
		}
	}
}

func TestParseTakesOnlyWhatMayBeCredentials(t *testing.T) {
	t.Parallel()
	made := strings.Repeat("A", token.Length)
	for cookie, want := range map[string]struct{ split, plain, otherwise bool }{ // otherwise: split without plain ids
		"":                                {},
		"handle.secret":                   {plain: true, otherwise: true},
		made + "." + made:                 {split: true, otherwise: true},
		made + "." + made[1:]:             {plain: true, otherwise: true},
		made + "." + made + "A":           {plain: true, otherwise: true},
		made + "." + made[1:] + "a":       {plain: true, otherwise: true},
		made + "." + made[1:] + "1":       {plain: true, otherwise: true},
		made + "." + made + ".":           {plain: true, otherwise: true},
		made + "." + made[1:] + "\u0041 ": {},
		"id":                              {plain: true},
		".":                               {plain: true},
		"a.":                              {plain: true},
		".a":                              {plain: true},
		"a.b.c":                           {plain: true, otherwise: true},
		"a b":                             {},
		"a\tb":                            {},
		"a\x00b":                          {},
		"a\x7fb":                          {},
		"ä.b":                             {},
		"\xff.b":                          {},
	} {
		_, split, plain := token.Parse(cookie, true)
		_, otherwise, never := token.Parse(cookie, false)
		if split != want.split || plain != want.plain || otherwise != want.otherwise || never {
			t.Errorf("%q: split %v, plain %v; without plain ids split %v, plain %v", cookie, split, plain, otherwise, never)
		}
	}
}

func TestCredentialsMatchOnlyTheRecordThatTheyAreOf(t *testing.T) {
	t.Parallel()
	c := token.New()
	plain := token.Credentials{Handle: "id", ID: "stored"}
	sum := sha256.Sum256([]byte(c.Secret))
	for what, test := range map[string]struct {
		c     token.Credentials
		id    string
		token []byte
		want  bool
	}{
		"its token":                       {c, c.ID, sum[:], true},
		"another token":                   {c, c.ID, make([]byte, 32), false},
		"a part of its token":             {c, c.ID, sum[:31], false},
		"no token":                        {c, c.ID, nil, false},
		"an empty token":                  {c, c.ID, []byte{}, false},
		"the secret itself":               {c, c.ID, []byte(c.Secret), false},
		"plain, without a token":          {plain, "stored", nil, true},
		"plain, another id":               {plain, "id", nil, false},
		"plain, an empty token":           {plain, "stored", []byte{}, false},
		"plain, a token of no secret":     {plain, "stored", sha256.New().Sum(nil), false},
		"none, of a record without an id": {token.Credentials{}, "other", nil, false},
	} {
		if got := test.c.Matches(test.id, test.token); got != test.want {
			t.Errorf("%s: %v, want %v", what, got, test.want)
		}
	}
	if !bytes.Equal(c.Token(), sum[:]) || plain.Token() != nil {
		t.Error("Token is not the hash of the secret, or nil without one")
	}
	if proof := plain.Proof(); proof == nil || len(proof) > 0 || !bytes.Equal(c.Proof(), sum[:]) {
		t.Errorf("the proof of a plain id is %v, that of a secret %v", proof, c.Proof())
	}
	if plain.Value() != "id" {
		t.Errorf("the cookie of a plain id carries %q", plain.Value())
	}
}
