package connectmongo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/gorilla/securecookie"
)

// Cookie returns a codec for the cookie of express-session, for Config.CookieCodecs: "s:", the session's id, a
// dot, and the HMAC-SHA256 of the id in base64 without padding, all of it URL-encoded. The secrets are those that
// express-session has in its option secret: the first one signs, each one verifies, and an empty one is an error
// of New. The name of the cookie is not part of the signature.
//
// A cookie that was signed with a later secret stays as it is until its session changes. To have it signed anew at
// its next Save, give Config.CookieCodecs one Cookie for each secret.
//
// What Decode returns for a cookie that does not verify is a securecookie.Error whose IsDecode is true. The codec is
// safe for concurrent use.
func Cookie(secrets ...string) securecookie.Codec {
	c := &cookie{}
	for _, secret := range secrets {
		c.secrets = append(c.secrets, []byte(secret))
	}
	return c
}

type cookie struct{ secrets [][]byte }

const prefix = "s:"

// Encode returns value, a []byte or a string, as express-session puts it into the cookie.
func (c *cookie) Encode(_ string, value any) (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	var id string
	switch v := value.(type) {
	case []byte:
		id = string(v)
	case string:
		id = v
	default:
		return "", usageError(fmt.Sprintf("a cookie carries a []byte or a string, not a %T", value))
	}
	return escape(prefix + id + "." + sign(c.secrets[0], id)), nil
}

// Decode sets dst, a *[]byte or a *string, to the id in a cookie whose signature is good. It takes a value that is
// URL-encoded, as browsers send it back, and one that is not.
func (c *cookie) Decode(_, value string, dst any) error {
	if err := c.check(); err != nil {
		return err
	}
	id, err := c.verify(unescape(value))
	if err != nil {
		return err
	}
	switch d := dst.(type) {
	case *[]byte:
		*d = []byte(id)
	case *string:
		*d = id
	default:
		return usageError(fmt.Sprintf("a cookie is decoded into a *[]byte or a *string, not a %T", dst))
	}
	return nil
}

// verify returns the id in a signed value. An id may have dots, a signature has none.
func (c *cookie) verify(signed string) (string, error) {
	rest, ok := strings.CutPrefix(signed, prefix)
	if !ok {
		return "", decodeError(`the cookie is not one of express-session: it does not begin with "s:"`)
	}
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return "", decodeError("the cookie is not signed")
	}
	id, signature := rest[:dot], []byte(rest[dot+1:])
	for _, secret := range c.secrets {
		if hmac.Equal(signature, []byte(sign(secret, id))) {
			return id, nil
		}
	}
	return "", decodeError("the cookie's signature fits none of the secrets")
}

func (c *cookie) check() error {
	if len(c.secrets) == 0 {
		return usageError("Cookie has no secret; it needs those of express-session")
	}
	for i, secret := range c.secrets {
		if len(secret) == 0 {
			return usageError(fmt.Sprintf("secret %d of Cookie is empty", i+1))
		}
	}
	return nil
}

func sign(secret []byte, id string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id))
	return base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
}

// likeJavaScript turns what QueryEscape makes into what encodeURIComponent does.
var likeJavaScript = strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*")

func escape(value string) string { return likeJavaScript.Replace(url.QueryEscape(value)) }

// unescape returns a value as it was before escape; one that is no escaped value, as it is.
func unescape(value string) string {
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

// cookieError is a securecookie.Error.
type cookieError struct {
	text   string
	decode bool
}

var _ securecookie.Error = cookieError{}

func decodeError(text string) error { return cookieError{text, true} }
func usageError(text string) error  { return cookieError{text, false} }

func (e cookieError) Error() string  { return "connectmongo: " + e.text }
func (e cookieError) IsDecode() bool { return e.decode }
func (e cookieError) IsUsage() bool  { return !e.decode }
func (cookieError) IsInternal() bool { return false }
func (cookieError) Cause() error     { return nil }
