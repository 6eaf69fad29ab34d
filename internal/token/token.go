// Package token holds what a session cookie carries, and what proves it.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// Credentials are what a cookie carries. The handle of a split token names the record, its secret proves it. A plain id
// does both: it has no secret.
type Credentials struct {
	Handle string // session.ID
	Secret string // "" with a plain id
	ID     string // _id: the handle, or Config.TransformID of a plain id
}

// New returns the credentials of a new split token.
func New() Credentials {
	handle := NewSecret()
	return Credentials{Handle: handle, Secret: NewSecret(), ID: handle}
}

// NewSecret returns 130 random bits as text.
func NewSecret() string { return rand.Text() }

// Length is how long the text of NewSecret is.
const Length = 26

func isToken(text string) bool {
	return len(text) == Length && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '2' || r > '7')
	})
}

// Parse reads the value of a cookie that verified: a split token, or a text that may be a plain id, or neither. Only
// printable ASCII counts, which hardly ever comes out of a wrong key. A plain id may contain a dot too, so where there
// are plain ids only what New makes is a split token.
func Parse(cookie string, plainIDs bool) (c Credentials, split, plain bool) {
	if cookie == "" || strings.ContainsFunc(cookie, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Credentials{}, false, false
	}
	handle, secret, _ := strings.Cut(cookie, ".")
	split = handle != "" && secret != ""
	if plainIDs {
		split = isToken(handle) && isToken(secret)
	}
	if split {
		return Credentials{Handle: handle, Secret: secret, ID: handle}, true, false
	}
	return Credentials{}, false, plainIDs
}

// Value is what the cookie carries. It is a secret, so there is no String method that a log would call.
func (c Credentials) Value() string {
	if c.Secret == "" {
		return c.Handle
	}
	return c.Handle + "." + c.Secret
}

// IsZero reports whether there are none.
func (c Credentials) IsZero() bool { return c == Credentials{} }

// Token is what a record keeps of the secret, a plain hash since that is random; nil with a plain id.
func (c Credentials) Token() []byte {
	if c.Secret == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(c.Secret))
	return sum[:]
}

// Proof is the token that a record must have to be deleted by credentials alone; empty: it must have none.
func (c Credentials) Proof() []byte { return append([]byte{}, c.Token()...) }

// Matches reports whether these are the credentials of a record. A token of 32 bytes asks for the secret, none (nil) for
// the plain id, and any other fits nothing.
func (c Credentials) Matches(id string, token []byte) bool {
	if c.Secret == "" {
		return token == nil && c.ID == id
	}
	return len(token) == sha256.Size && subtle.ConstantTimeCompare(c.Token(), token) == 1
}
