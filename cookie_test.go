package mongostore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// signed returns the value of a cookie that carries text, made with the store's first codec.
func signed(t *testing.T, store *mongostore.Store, text string) string {
	t.Helper()
	value, err := store.Codecs[0].Encode(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// credentials returns what a cookie carries.
func credentials(t *testing.T, store *mongostore.Store, cookie *http.Cookie) (handle, secret string) {
	t.Helper()
	var text []byte
	if err := store.Codecs[0].Decode(cookie.Name, cookie.Value, &text); err != nil {
		t.Fatal(err)
	}
	handle, secret, _ = strings.Cut(string(text), ".")
	return handle, secret
}

// keyOf returns a key of n bytes.
func keyOf(n int, of byte) []byte { return bytes.Repeat([]byte{of}, n) }

// badCookies are values that do not verify.
func badCookies(t *testing.T, p *place) map[string]string {
	t.Helper()
	store := p.store(nil)
	good := start(t, store, map[any]any{"n": 1}).cookies[0].Value
	other, err := store.Codecs[0].Encode("other", []byte("handle.secret"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"garbage":                "%%%garbage",
		"empty":                  "",
		"5 kB":                   strings.Repeat("A", 5000),
		"altered":                strings.Map(swapCase, good),
		"cut":                    good[:len(good)/2],
		"not signed":             "handle.secret",
		"someone else's key":     signed(t, p.store(nil, keyOf(32, 'x')), "handle.secret"),
		"another session's name": other,
	}
}

// swapCase alters base64 and leaves it base64.
func swapCase(r rune) rune {
	if 'a' <= r && r <= 'z' {
		return r - 'a' + 'A'
	}
	return r
}

func TestR02ACookieThatDoesNotVerifyGivesANewSessionAndErrInvalidCookie(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		bad := badCookies(t, p)
		store := p.store(nil)
		for what, value := range bad {
			v := sending(value).load(t, store)
			wantInvalidCookie(t, what, v.err)
			v.err = nil
			v.wantNew(t)
			v.Values["what"] = what
			v.saved(t)
			v.arrive()
			v.browser.cookies = v.browser.cookies[len(v.browser.cookies)-1:]
			v.browser.wantValues(t, store, map[any]any{"what": what})
		}
		if _, err := store.New(sending(slices.Collect(maps.Values(bad))...).request(t), name); !errors.Is(err, mongostore.ErrInvalidCookie) {
			t.Errorf("all of them at once: %v, want ErrInvalidCookie", err)
		}
	})
}

// wantInvalidCookie fails unless err is ErrInvalidCookie, in every way that handlers look for it.
func wantInvalidCookie(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, mongostore.ErrInvalidCookie) {
		t.Errorf("%s: %v, want ErrInvalidCookie", what, err)
		return
	}
	asserted, ok := err.(securecookie.Error) //nolint:errorlint // handlers written for CookieStore do it like this
	var found securecookie.Error
	if !ok || !errors.As(err, &found) || !asserted.IsDecode() || !found.IsDecode() || asserted.IsUsage() || asserted.IsInternal() || asserted.Cause() == nil {
		t.Errorf("%s: %T is no securecookie.Error with IsDecode alone", what, err)
	}
}

func TestR01NothingPanicsWhateverASignedCookieHolds(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		for _, text := range []string{
			"", ".", "..", "a", "a.", ".b", "a.b.c", "\x00.\x00", "a\x00b.c", "\xff\xfe.\xff", "$where.1", strings.Repeat("x", 1500) + "." + strings.Repeat("y", 500),
		} {
			v := sending(signed(t, store, text)).load(t, store)
			v.wantNew(t)
			v.Values["n"] = 1
			v.saved(t)
			v.Options.MaxAge = -1
			v.saved(t)
		}
		p.wantCount(0)
	})
}

func TestR02ACookieOfACookieStoreWithTheSameKeysIsLikeASessionThatHasEnded(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil, key, nil, keyOf(32, 'o'), nil)
		before := sessions.NewCookieStore(key)
		for _, value := range []string{"ann", "ann@mail.example.com", "..."} {
			r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), httptest.NewRecorder()
			session, _ := before.Get(r, name)
			session.Values["user"] = value
			if err := session.Save(r, w); err != nil {
				t.Fatal(err)
			}
			v := sending(cookiesOf(w)[0].Value).load(t, store)
			v.wantNew(t)
			v.Values["user"] = "bob"
			v.saved(t)
			sending(v.wantCookie(t).Value).wantValues(t, store, map[any]any{"user": "bob"})
		}
	})
}

// cookiesOf returns the cookies that an answer sets so far.
func cookiesOf(w *httptest.ResponseRecorder) []*http.Cookie {
	return (&http.Response{Header: w.Header()}).Cookies()
}

func TestR06TheFirstLiveCookieOfANameWins(t *testing.T) { // P20
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		one := start(t, store, map[any]any{"n": 1}).cookies[0].Value
		two := start(t, store, map[any]any{"n": 2}).cookies[0].Value
		dead := signed(t, store, "dead.secret")
		var planted []string
		for i := range 16 {
			planted = append(planted, signed(t, store, fmt.Sprintf("dead%d.secret", i)))
		}
		for _, test := range []struct {
			cookies []string
			want    any
			err     error
		}{
			{[]string{one, two}, 1, nil},
			{[]string{two, one}, 2, nil},
			{[]string{one, one}, 1, nil},
			{[]string{"garbage", one}, 1, nil},
			{[]string{one, "garbage"}, 1, nil},
			{[]string{dead, one}, 1, nil},
			{[]string{dead, dead, dead, dead, one}, 1, nil},
			{append(planted[:15:15], one), 1, nil},
			{append(planted[:16:16], one), nil, nil},
			{[]string{"g", "a", "r", "b", "age", one}, 1, nil},
			{[]string{dead, "garbage"}, nil, nil},
			{[]string{"garbage", dead}, nil, nil},
			{[]string{"gar", "bage"}, nil, mongostore.ErrInvalidCookie},
		} {
			v := sending(test.cookies...).load(t, store)
			if v.Values["n"] != test.want || !errors.Is(v.err, test.err) {
				t.Errorf("%.9v: values %v, error %v; want %v, %v", test.cookies, v.Values, v.err, test.want, test.err)
			}
		}
	})
}

func TestR06DeadCookiesThatWerePlantedLockNobodyOut(t *testing.T) { // P20
	t.Parallel()
	eachKind(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		for _, dead := range []int{4, 15} {
			b := new(browser)
			for range dead { // ended, and still signed; sent first, as those of a longer path are
				ended := start(t, store, map[any]any{"n": "0"})
				logout := ended.load(t, store)
				logout.Options.MaxAge = -1
				logout.saved(t)
				b.cookies = append(b.cookies, &http.Cookie{Name: name, Value: ended.cookies[0].Value, Path: "/area"})
			}
			login := b.load(t, store)
			wantErr(t, login.err, nil)
			login.Values["user"] = "ada"
			store.Regenerate(login.Session)
			login.saved(t)
			login.arrive()
			b.wantValues(t, store, map[any]any{"user": "ada"})
			again := b.load(t, store)
			again.Values["n"] = "1"
			again.saved(t)
			b.wantValues(t, store, map[any]any{"user": "ada", "n": "1"})

			logout := b.load(t, store)
			logout.Options.MaxAge = -1
			logout.saved(t)
			b.wantGone(t, store)
			p.wantCount(0)
		}
	})
}

func TestR06SeveralCookiesAreLookedUpByOneFind(t *testing.T) { // P20
	t.Parallel()
	dead := func(w *wire) (cookies []*http.Cookie) {
		for i := range 15 {
			cookies = append(cookies, sending(signed(w.T, w.store, fmt.Sprintf("dead%d.secret", i))).cookies...)
		}
		return cookies
	}
	runRows(t, []wireRow{
		{"first", nil, func(w *wire) func() {
			w.cookies = append(w.cookies, dead(w)...)
			return func() { w.browser.wantValues(w.T, w.store, map[any]any{"n": 0}) }
		}, []string{"find {_id.$in}"}},
		{"last", nil, func(w *wire) func() {
			w.cookies = append(dead(w), w.cookies...)
			return func() { w.browser.wantValues(w.T, w.store, map[any]any{"n": 0}) }
		}, []string{"find {_id.$in}"}},
		{"one cookie twice", nil, func(w *wire) func() {
			w.cookies = append(w.cookies, w.cookies...)
			return func() { w.browser.wantValues(w.T, w.store, map[any]any{"n": 0}) }
		}, []string{load}},
	})
}

func TestR06AnUndecodableSessionIsAnErrorOnlyIfNoOtherIsLive(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		jsonish := p.store(&mongostore.Config{PayloadCodec: picky{}})
		bad := start(t, jsonish, map[any]any{"bad": true}).cookies[0].Value
		good := start(t, jsonish, map[any]any{"n": 1}).cookies[0].Value
		for _, order := range [][]string{{bad, good}, {good, bad}} {
			sending(order...).wantValues(t, jsonish, map[any]any{"n": 1})
		}
		v := sending(bad, signed(t, jsonish, "dead.secret")).load(t, jsonish)
		wantErr(t, v.err, mongostore.ErrDecode)
	})
}

// picky is a codec that does not read values with a key "bad".
type picky struct{ mongostore.GobCodec }

func (p picky) Decode(value bson.RawValue, session *sessions.Session) error {
	if err := p.GobCodec.Decode(value, session); err != nil {
		return err
	}
	if _, bad := session.Values["bad"]; bad {
		return errors.New("bad")
	}
	return nil
}

// fragile is a cookie codec that can break.
type fragile struct {
	securecookie.Codec
	broken bool
}

func (f *fragile) Encode(name string, value any) (string, error) {
	if f.broken {
		return "", errors.New("broken")
	}
	return f.Codec.Encode(name, value)
}

func TestR06ASessionWhoseCookieCannotBeEncodedIsNotWritten(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		codec := &fragile{Codec: securecookie.New(key, nil)}
		store := p.store(&mongostore.Config{CookieCodecs: []securecookie.Codec{codec}})
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		before := p.mustDocument(v.ID)
		codec.broken = true
		p.clock.Advance(time.Hour)

		created := new(browser).load(t, store)
		renewed := b.load(t, store)
		store.Regenerate(renewed.Session)
		v.Values["n"] = 2
		for _, v := range []*visit{created, renewed, b.load(t, store), v} {
			if err := v.save(); err == nil {
				t.Error("Save without a cookie: no error")
			}
			v.wantNoCookie(t)
		}
		p.wantCount(1)
		p.wantDocument(v.ID, before)
	})
}

func TestR06NoCookieWithoutACommand(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{TouchAfter: time.Minute})
		b := start(t, store, map[any]any{"n": 1})
		p.clock.Advance(time.Minute - time.Millisecond)
		v := b.load(t, store)
		v.saved(t)
		v.wantNoCookie(t)
		p.clock.Advance(time.Millisecond)
		v = b.load(t, store)
		v.saved(t)
		v.wantCookie(t)
	})
}

func TestR06ASecondSaveReplacesItsOwnCookieOnly(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		v := new(browser).load(t, store)
		http.SetCookie(v.w, &http.Cookie{Name: "other", Value: "1", Path: "/"})
		http.SetCookie(v.w, &http.Cookie{Name: name, Value: "2", Path: "/elsewhere"})
		http.SetCookie(v.w, &http.Cookie{Name: name, Value: "3", Path: "/", Domain: "example.com"})
		v.w.Header().Add("Set-Cookie", "not a cookie")
		v.saved(t)
		first := v.w.Header().Values("Set-Cookie")
		store.Regenerate(v.Session)
		v.saved(t)
		second := v.w.Header().Values("Set-Cookie")
		if len(first) != 5 || len(second) != 5 || !slices.Equal(first[:4], second[:4]) || first[4] == second[4] {
			t.Errorf("after one Save: %q; after two: %q", first, second)
		}
		v.Options.Domain = ".example.com" // the dot is not sent
		v.Options.MaxAge = 5
		v.saved(t)
		if lines := v.w.Header().Values("Set-Cookie"); len(lines) != 5 || !strings.Contains(lines[4], "Max-Age=5") {
			t.Errorf("after a Save for the domain: %q", lines)
		}
	})
}

func TestR07KeysCanBeReplaced(t *testing.T) {
	t.Parallel()
	older, newer := keyOf(32, 'o'), keyOf(64, 'n')
	tests := map[string]struct{ before, after [][]byte }{
		"without encryption":     {[][]byte{older}, [][]byte{newer, nil, older, nil}},
		"without a last nil":     {[][]byte{older}, [][]byte{newer, nil, older}},
		"with encryption":        {[][]byte{older, keyOf(32, '1')}, [][]byte{newer, keyOf(16, '2'), older, keyOf(32, '1')}},
		"to encryption":          {[][]byte{older, nil}, [][]byte{newer, keyOf(24, '2'), older, nil}},
		"encryption is added":    {[][]byte{older}, [][]byte{older, keyOf(32, '2'), older, nil}},
		"from encryption to nil": {[][]byte{older, keyOf(16, '1')}, [][]byte{newer, nil, older, keyOf(16, '1')}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				b := start(t, p.store(nil, test.before...), map[any]any{"n": 1})
				rotated := p.store(nil, test.after...)
				b.wantValues(t, rotated, map[any]any{"n": 1})

				p.clock.Advance(time.Minute)
				v := b.load(t, rotated)
				v.saved(t)
				v.arrive()
				last := p.store(nil, test.after[:2]...)
				b.wantValues(t, last, map[any]any{"n": 1}) // the Save signed the cookie anew
			})
		})
	}
}

func TestR07ABrowserSessionsCookieOfAnOldKeyIsSignedAnewToo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		before := p.store(nil, keyOf(32, 'o'))
		before.MaxAge(0)
		b := start(t, before, map[any]any{"n": 1})
		rotated := p.store(nil, keyOf(32, 'n'), nil, keyOf(32, 'o'), nil)
		rotated.MaxAge(0)
		p.clock.Advance(time.Minute)
		v := b.load(t, rotated)
		v.saved(t)
		v.arrive()
		b.wantValues(t, p.store(nil, keyOf(32, 'n')), map[any]any{"n": 1})
	})
}

func TestEncryptionKeysHideWhatTheCookieCarries(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		for _, n := range []int{16, 24, 32} {
			keys := [][]byte{key, keyOf(n, 'b')}
			store := p.store(nil, keys...)
			b := start(t, store, map[any]any{"n": n})
			b.wantValues(t, store, map[any]any{"n": n})
			handle, _ := credentials(t, store, b.cookies[0])
			var hidden []byte
			err := p.store(nil).Codecs[0].Decode(name, b.cookies[0].Value, &hidden)
			if err != nil || bytes.Contains(hidden, []byte(handle)) {
				t.Errorf("without the encryption key the cookie reads %q, error %v", hidden, err)
			}
		}
	})
}

func TestCookieCodecsWorkWithEverySerializer(t *testing.T) {
	t.Parallel()
	serializers := []securecookie.Serializer{securecookie.GobEncoder{}, securecookie.JSONEncoder{}, securecookie.NopEncoder{}}
	for _, serializer := range serializers {
		for _, block := range [][]byte{nil, keyOf(32, 'b')} {
			t.Run(fmt.Sprintf("%T, %d bytes of encryption key", serializer, len(block)), func(t *testing.T) {
				t.Parallel()
				onEach(t, func(t *testing.T, p *place) {
					store := p.store(&mongostore.Config{CookieCodecs: []securecookie.Codec{
						securecookie.New(key, block).SetSerializer(serializer),
					}})
					b := start(t, store, map[any]any{"n": 1})
					b.wantValues(t, store, map[any]any{"n": 1})
				})
			})
		}
	}
}

func TestCookiesHaveNoAgeLimitOfTheirOwn(t *testing.T) {
	t.Parallel()
	// securecookie's clock cannot be moved, but a limit of -1 second rejects whatever was just made.
	codec := securecookie.New(key, nil).MaxAge(-1)
	store, err := mongostore.NewMemory(&mongostore.Config{CookieCodecs: []securecookie.Codec{codec}})
	if err != nil {
		t.Fatal(err)
	}
	start(t, store, map[any]any{"n": 1}).wantValues(t, store, map[any]any{"n": 1})
}

// app is a small application: login, a page that counts, logout.
func app(t *testing.T, store *mongostore.Store) *httptest.Server {
	t.Helper()
	page := func(change func(r *http.Request, s *sessions.Session)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			session, err := store.Get(r, name)
			if err != nil && !errors.Is(err, mongostore.ErrInvalidCookie) {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			change(r, session)
			if err := session.Save(r, w); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = fmt.Fprint(w, session.Values["user"], " ", session.Values["n"], " ", session.Flashes()) //nolint:gosec // no browser shows it
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", page(func(r *http.Request, s *sessions.Session) {
		s.Values["user"] = r.FormValue("user")
		s.AddFlash("welcome")
		store.Regenerate(s)
	}))
	mux.HandleFunc("/page", page(func(_ *http.Request, s *sessions.Session) {
		n, _ := s.Values["n"].(int)
		s.Values["n"] = n + 1
	}))
	mux.HandleFunc("/logout", page(func(_ *http.Request, s *sessions.Session) { s.Options.MaxAge = -1 }))
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	return server
}

// client is a browser with a real cookie jar.
func client(t *testing.T, server *httptest.Server) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *server.Client()
	c.Jar = jar
	return &c
}

// get returns the page at a path.
func get(t *testing.T, c *http.Client, server *httptest.Server, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, error %v: %s", path, res.StatusCode, err, body)
	}
	return string(body)
}

func TestAVisitorIsKnownFromLoginToLogout(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		server := app(t, p.store(nil))
		ann, bob := client(t, server), client(t, server)
		for _, step := range []struct {
			who        *http.Client
			path, want string
		}{
			{ann, "/page", "<nil> 1 []"},
			{bob, "/page", "<nil> 1 []"},
			{ann, "/login?user=ann", "ann 1 [welcome]"},
			{ann, "/page", "ann 2 [welcome]"},
			{bob, "/login?user=bob", "bob 1 [welcome]"},
			{ann, "/page", "ann 3 [welcome]"},
			{ann, "/logout", "<nil> <nil> []"},
			{ann, "/page", "<nil> 1 []"},
			{bob, "/page", "bob 2 [welcome]"},
		} {
			if got := get(t, step.who, server, step.path); got != step.want {
				t.Errorf("%s: %q, want %q", step.path, got, step.want)
			}
		}
		p.wantCount(2)
	})
}

func TestAVisitorStaysLoggedInOverARestartWithARotatedKey(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		server := app(t, p.store(nil))
		ann := client(t, server)
		get(t, ann, server, "/login?user=ann")
		rotated := app(t, p.store(nil, keyOf(32, 'n'), nil, key, nil))
		ann.Transport = rotated.Client().Transport
		if got := get(t, ann, rotated, "/page"); got != "ann 1 [welcome]" {
			t.Errorf("after the restart: %q", got)
		}
		last := app(t, p.store(nil, keyOf(32, 'n')))
		ann.Transport = last.Client().Transport
		if got := get(t, ann, last, "/page"); got != "ann 2 [welcome]" {
			t.Errorf("after the old key is gone: %q", got)
		}
	})
}
