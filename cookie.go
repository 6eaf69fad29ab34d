package mongostore

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/token"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// maxCookies is how many cookies of one name are looked up: an attacker on a sibling domain can plant many.
const maxCookies = 16

func validCookieName(name string) bool {
	return (&http.Cookie{Name: name}).Valid() == nil //nolint:gosec // it is never set
}

// verifiedCookie is a cookie of good signature: its credentials, and whether its key is no longer the first.
type verifiedCookie struct {
	token.Credentials
	stale bool
}

// verifiedCookies appends the cookies of a request that verify, each once, in their order. The error is ErrInvalidCookie if
// none did, or Config.TransformID's. One of another store with the same keys is like that of a session that has ended.
func (s *Store) verifiedCookies(cookies []verifiedCookie, r *http.Request, name string) ([]verifiedCookie, error) {
	var invalid error
	verified := false
	for _, cookie := range r.CookiesNamed(name) {
		c, ok, err := s.decodeCookie(name, cookie.Value)
		if errors.Is(err, errTransformID) {
			return nil, err
		}
		if err != nil {
			invalid = invalidCookie{err}
		}
		verified = verified || err == nil
		if ok && len(cookies) < maxCookies && !slices.Contains(cookies, c) {
			cookies = append(cookies, c)
		}
	}
	if verified {
		return cookies, nil
	}
	return nil, invalid
}

// decodeCookie returns what a cookie carries, not ok if that is not this store's. The error is nil if it verified. A codec
// with the right authentication key and a wrong encryption key decodes garbage, so then the next one has its turn.
func (s *Store) decodeCookie(name, value string) (c verifiedCookie, ok bool, err error) {
	verified := false
	for i, codec := range s.Codecs {
		var b []byte
		if failed := codec.Decode(name, value, &b); failed != nil {
			err = failed
			continue
		}
		verified, err = true, nil
		c, split, plain := token.Parse(string(b), s.cfg.PlainIDs)
		if plain {
			c, err = s.plainCredentials(string(b))
		}
		if split || plain {
			return verifiedCookie{c, i > 0}, err == nil, err
		}
	}
	if verified {
		err = nil
	}
	return verifiedCookie{}, false, err
}

func (s *Store) encodeCookie(name string, c token.Credentials) (string, error) {
	return securecookie.EncodeMulti(name, []byte(c.Value()), s.Codecs...)
}

func (s *Store) plainCredentials(id string) (token.Credentials, error) {
	if s.cfg.TransformID == nil {
		return token.Credentials{Handle: id, ID: id}, nil
	}
	stored, err := recovering(func() (string, error) { return s.cfg.TransformID(id), nil })
	if err == nil && stored == "" {
		err = errors.New("it returned an empty id")
	}
	if err != nil {
		return token.Credentials{}, fmt.Errorf("%w: %w", errTransformID, err)
	}
	return token.Credentials{Handle: id, ID: stored}, nil
}

var errTransformID = errors.New("mongostore: Config.TransformID")

// builtinOptions are what Store.Options begin as.
func (s *Store) builtinOptions() sessions.Options {
	return sessions.Options{
		Path: "/", MaxAge: seconds(s.cfg.TTL), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// defaultOptions returns a copy of Options, or what they began as if they are nil.
func (s *Store) defaultOptions() sessions.Options {
	options := s.builtinOptions()
	if s.Options != nil {
		options = *s.Options
	}
	options.MaxAge = min(options.MaxAge, record.MaxMaxAge)
	return options
}

// optionsOf returns the options of the cookie of a session.
func (s *Store) optionsOf(session *sessions.Session, st *state) sessions.Options {
	options := s.defaultOptions()
	options.MaxAge = st.handed.MaxAge
	if session.Options != nil {
		options = *session.Options
	}
	options.MaxAge = min(options.MaxAge, record.MaxMaxAge)
	return options
}

// sameAttributes reports whether two cookies differ in no more than their Max-Age.
func sameAttributes(a, b sessions.Options) bool {
	a.MaxAge = b.MaxAge
	return a == b
}

// mergeOptions merges the options of a cookie one by one, and reports whether both sides have changed the same one.
func mergeOptions(base, ours, theirs sessions.Options) (merged sessions.Options, both bool) {
	return sessions.Options{
		Path: mergeOne(base.Path, ours.Path, theirs.Path, &both), Domain: mergeOne(base.Domain, ours.Domain, theirs.Domain, &both),
		Secure: mergeOne(base.Secure, ours.Secure, theirs.Secure, &both), HttpOnly: mergeOne(base.HttpOnly, ours.HttpOnly, theirs.HttpOnly, &both),
		Partitioned: mergeOne(base.Partitioned, ours.Partitioned, theirs.Partitioned, &both),
		SameSite:    mergeOne(base.SameSite, ours.SameSite, theirs.SameSite, &both),
		MaxAge:      mergeOne(base.MaxAge, ours.MaxAge, theirs.MaxAge, &both),
	}, both
}

func mergeOne[T comparable](base, ours, theirs T, both *bool) T {
	if ours == base {
		return theirs
	}
	*both = *both || theirs != base
	return ours
}

// attributes are those of a session's cookie, but MaxAge, that differ from the store's, as a record keeps them.
type attributes struct {
	Path        *string `bson:"path,omitempty"`
	Domain      *string `bson:"domain,omitempty"`
	Secure      *bool   `bson:"secure,omitempty"`
	HTTPOnly    *bool   `bson:"httpOnly,omitempty"`
	Partitioned *bool   `bson:"partitioned,omitempty"`
	SameSite    *string `bson:"sameSite,omitempty"`
}

// sameSites are the names of the modes, by mode.
var sameSites = []string{"", "default", "lax", "strict", "none"}

// differing returns a value unless it is the usual one.
func differing[T comparable](value, usual T) *T {
	if value == usual {
		return nil
	}
	return &value
}

// attributesOf returns the attributes to keep of a session's cookie, nil if it has the store's.
func (s *Store) attributesOf(options sessions.Options) bson.Raw {
	usual := s.defaultOptions()
	if sameAttributes(options, usual) {
		return nil
	}
	kept := attributes{
		differing(options.Path, usual.Path), differing(options.Domain, usual.Domain), differing(options.Secure, usual.Secure),
		differing(options.HttpOnly, usual.HttpOnly), differing(options.Partitioned, usual.Partitioned), nil,
	}
	if mode := int(options.SameSite); options.SameSite != usual.SameSite && mode >= 0 && mode < len(sameSites) {
		kept.SameSite = &sameSites[mode]
	}
	raw, _ := bson.Marshal(kept) // of texts and booleans: it cannot fail
	return raw
}

// setAttributes sets those of options that a record keeps.
func setAttributes(options *sessions.Options, raw bson.Raw) error {
	if raw == nil {
		return nil
	}
	set := *options
	kept := attributes{&set.Path, &set.Domain, &set.Secure, &set.HttpOnly, &set.Partitioned, nil}
	if err := bson.Unmarshal(raw, &kept); err != nil {
		return undecodable(fmt.Errorf("the attributes of its cookie: %w", err))
	}
	if kept.SameSite != nil {
		mode := slices.Index(sameSites, *kept.SameSite)
		if mode < 0 {
			return undecodable(errors.New("its cookie has an unknown sameSite"))
		}
		set.SameSite = http.SameSite(mode)
	}
	*options = set
	return nil
}

// setCookie writes a cookie to the response, in place of one that an earlier Save wrote there.
func setCookie(w http.ResponseWriter, name, value string, options sessions.Options) {
	line := sessions.NewCookie(name, value, &options).String()
	if line == "" {
		return
	}
	others := slices.DeleteFunc(slices.Clone(w.Header()["Set-Cookie"]), func(other string) bool { return sameCookie(other, line) })
	w.Header()["Set-Cookie"] = append(others, line)
}

// sameCookie reports whether two lines set the same cookie: browsers tell cookies apart by name, path and domain.
func sameCookie(a, b string) bool {
	x, err1 := http.ParseSetCookie(a)
	y, err2 := http.ParseSetCookie(b)
	return err1 == nil && err2 == nil && x.Name == y.Name && x.Path == y.Path && x.Domain == y.Domain
}
