package mongostore

import (
	"errors"
	"net/http"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
)

// maxCookies is how many cookies of one name are looked up: a browser sends several when they were set
// for different paths or domains, an attacker on a sibling domain can plant many.
const maxCookies = 4

func validCookieName(name string) bool {
	return (&http.Cookie{Name: name}).Valid() == nil //nolint:gosec // it is never set
}

// presented is a cookie of good signature: its credentials, and whether its key is no longer the first.
type presented struct {
	credentials
	stale bool
}

// presentedBy returns the cookies of a request that verify, in their order. The error is ErrInvalidCookie if
// none did, or that of Config.TransformID. One that verifies but is not of this store's form, as another
// store with the same keys sets it, is like a session that has ended.
func (s *Store) presentedBy(r *http.Request, name string) ([]presented, error) {
	var cookies []presented
	var invalid error
	verified := false
	for _, cookie := range r.CookiesNamed(name) {
		c, ok, err := s.decodeCookie(name, cookie.Value)
		if errors.Is(err, errTransformID) {
			return nil, err
		}
		if err != nil {
			invalid = invalidCookie{err}
			continue
		}
		verified = true
		if ok && len(cookies) < maxCookies {
			cookies = append(cookies, c)
		}
	}
	if verified {
		invalid = nil
	}
	return cookies, invalid
}

// decodeCookie returns what a cookie carries, not ok if no codec makes credentials of it. The error is nil if
// it verified. A codec that shares only its authentication key with the one that made the cookie decrypts it
// to garbage without noticing, so then the next one has its turn.
func (s *Store) decodeCookie(name, value string) (c presented, ok bool, err error) {
	verified := false
	for i, codec := range s.Codecs {
		var b []byte
		if failed := codec.Decode(name, value, &b); failed != nil {
			err = failed
			continue
		}
		verified = true
		c, ok, err := s.parseCredentials(string(b))
		if ok || err != nil {
			return presented{c, i > 0}, ok, err
		}
	}
	if verified {
		err = nil
	}
	return presented{}, false, err
}

func (s *Store) encodeCookie(name string, c credentials) (string, error) {
	return securecookie.EncodeMulti(name, []byte(c.value()), s.Codecs...)
}

// setCookie writes a cookie to the response, in place of one that an earlier Save wrote there.
func setCookie(w http.ResponseWriter, name, value string, options sessions.Options) {
	cookie := sessions.NewCookie(name, value, &options)
	line := cookie.String()
	if line == "" {
		return
	}
	w.Header()["Set-Cookie"] = append(otherCookies(w.Header()["Set-Cookie"], line), line)
}

// otherCookies returns the lines that set another cookie than line does: browsers tell cookies apart by
// name, path and domain.
func otherCookies(lines []string, line string) []string {
	if len(lines) == 0 {
		return lines
	}
	cookie, err := http.ParseSetCookie(line)
	if err != nil {
		return lines
	}
	kept := make([]string, 0, len(lines)+1)
	for _, l := range lines {
		c, err := http.ParseSetCookie(l)
		if err == nil && c.Name == cookie.Name && c.Path == cookie.Path && c.Domain == cookie.Domain {
			continue
		}
		kept = append(kept, l)
	}
	return kept
}
