package connectmongo

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"
)

// cookieKey is where express-session keeps the attributes of the cookie, in each session.
const cookieKey = "cookie"

// attribute is a field of that object which sessions.Options has too.
type attribute struct {
	name string
	get  func(o *sessions.Options) any        // what is written for o
	set  func(o *sessions.Options, value any) // what value means
}

var attributes = []attribute{
	{"originalMaxAge", getMaxAge, setMaxAge},
	{
		"secure", func(o *sessions.Options) any { return o.Secure },
		func(o *sessions.Options, v any) { o.Secure = v == true },
	},
	{
		"httpOnly", func(o *sessions.Options) any { return o.HttpOnly },
		func(o *sessions.Options, v any) { o.HttpOnly = v == true },
	},
	{
		"partitioned", func(o *sessions.Options) any { return o.Partitioned },
		func(o *sessions.Options, v any) { o.Partitioned = v == true },
	},
	{
		"domain", func(o *sessions.Options) any { return orNull(o.Domain) },
		func(o *sessions.Options, v any) { o.Domain, _ = v.(string) },
	},
	{
		"path", func(o *sessions.Options) any { return orNull(o.Path) },
		func(o *sessions.Options, v any) { o.Path, _ = v.(string) },
	},
	{"sameSite", getSameSite, setSameSite},
}

// unset are the attributes for which express-session has a default of its own if the object of a session does not
// have them. Any other is false or nothing then.
var unset = map[string]any{"path": "/", "httpOnly": true}

// setOptions sets the options to what the object of a session says.
func setOptions(o *sessions.Options, cookie map[string]any) {
	for _, a := range attributes {
		value, ok := cookie[a.name]
		if !ok {
			value = unset[a.name]
		}
		a.set(o, value)
	}
}

// cookieOf returns the object of a session with these options. Fields that mean the same already stay as they are,
// and so does what has no counterpart in the options.
func cookieOf(was map[string]any, o *sessions.Options) map[string]any {
	cookie := maps.Clone(was)
	if cookie == nil {
		cookie = map[string]any{"originalMaxAge": nil, "expires": nil}
	}
	var is sessions.Options
	is.MaxAge = -1 // what setMaxAge does not know
	setOptions(&is, cookie)
	for _, a := range attributes {
		want, has := a.get(o), a.get(&is)
		if _, ok := cookie[a.name]; has == want && (ok || was != nil || want == nil || want == false) {
			continue
		}
		cookie[a.name] = want
	}
	for _, name := range []string{"originalMaxAge", "expires"} {
		if o.MaxAge <= 0 && cookie[name] != nil {
			cookie[name] = nil
		}
	}
	return cookie
}

// expiring returns the object with its expires set to the deadline of the record.
func expiring(cookie map[string]any, maxAge int, expires time.Time, f format) map[string]any {
	switch expires = expires.UTC().Truncate(time.Millisecond); {
	case maxAge <= 0: // it is null already
	case f == jsonFormat{}:
		cookie["expires"] = expires.Format("2006-01-02T15:04:05.000Z07:00") // as Date.prototype.toISOString
	default:
		cookie["expires"] = expires
	}
	return cookie
}

// longest is ten years in seconds, as much as a Store lets a session live.
const longest = 10 * 365 * 24 * 60 * 60

func getMaxAge(o *sessions.Options) any {
	if o.MaxAge <= 0 {
		return nil
	}
	return o.MaxAge * 1000
}

// setMaxAge sets MaxAge from originalMaxAge, in milliseconds, rounded up. null is a cookie that ends with the
// browser. What is no lifetime changes nothing: a MaxAge below 0 would be a logout.
func setMaxAge(o *sessions.Options, value any) {
	var ms float64
	switch v := value.(type) {
	case nil:
		o.MaxAge = 0
		return
	case int:
		ms = float64(v)
	case float64:
		ms = v
	case json.Number:
		ms, _ = v.Float64()
	}
	if ms > 0 {
		o.MaxAge = int(min(math.Ceil(ms/1000), longest))
	}
}

func getSameSite(o *sessions.Options) any {
	switch o.SameSite {
	case http.SameSiteLaxMode:
		return "lax"
	case http.SameSiteStrictMode:
		return "strict"
	case http.SameSiteNoneMode:
		return "none"
	}
	return nil
}

// setSameSite sets SameSite from a text, or from true, which means strict.
func setSameSite(o *sessions.Options, value any) {
	text, _ := value.(string)
	o.SameSite = 0
	switch strings.ToLower(text) {
	case "lax":
		o.SameSite = http.SameSiteLaxMode
	case "strict":
		o.SameSite = http.SameSiteStrictMode
	case "none":
		o.SameSite = http.SameSiteNoneMode
	}
	if value == true {
		o.SameSite = http.SameSiteStrictMode
	}
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
