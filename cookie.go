package mongostore

import (
	"net/http"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
)

// maxCookies is how many cookies of one name are looked up: a browser sends several when they were set
// for different paths or domains, an attacker on a sibling domain can plant many.
const maxCookies = 4

func validCookieName(name string) bool {
	return (&http.Cookie{Name: name}).Valid() == nil
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
		value, stale, err := s.decodeCookie(name, cookie.Value)
		if err != nil {
			invalid = invalidCookie{err}
			continue
		}
		verified = true
		c, ok, err := s.parseCredentials(value)
		if err != nil {
			return nil, err
		}
		if ok && len(cookies) < maxCookies {
			cookies = append(cookies, presented{c, stale})
		}
	}
	if verified {
		invalid = nil
	}
	return cookies, invalid
}

func (s *Store) decodeCookie(name, value string) (decoded string, stale bool, err error) {
	for i, codec := range s.Codecs {
		var b []byte
		if err = codec.Decode(name, value, &b); err == nil {
			return string(b), i > 0, nil
		}
	}
	return "", false, err
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
	cookie, err := http.ParseSetCookie(line)
	if err != nil || len(lines) == 0 {
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
