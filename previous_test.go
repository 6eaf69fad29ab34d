package mongostore_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/internal/values"
)

// oldKey signed the cookies of the store before.
var oldKey = []byte("an old key of thirty-two bytes!!")

// predecessor is a store that another one replaces.
type predecessor struct {
	sessions.Store
	ends bool // its sessions can be ended; those of a CookieStore cannot
}

// predecessors are kinds of stores that applications come from.
var predecessors = map[string]func(t *testing.T) predecessor{
	"cookie store": func(*testing.T) predecessor {
		return predecessor{sessions.NewCookieStore(oldKey), false}
	},
	"files": func(t *testing.T) predecessor {
		return predecessor{sessions.NewFilesystemStore(t.TempDir(), oldKey), true}
	},
	"mongostore": func(t *testing.T) predecessor {
		return predecessor{memoryStore(t, oldKey), true}
	},
	"mongostore with the same key": func(t *testing.T) predecessor {
		return predecessor{memoryStore(t, key), true}
	},
}

func memoryStore(t *testing.T, key []byte) *mongostore.Store {
	t.Helper()
	store, err := mongostore.NewMemory(nil, key)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// move is an application that has just replaced its store.
type move struct {
	*place
	old   predecessor
	store *mongostore.Store
	*browser
	before []*http.Cookie // what the browser had from the old store
}

// eachMoveFrom runs a test for a visitor with these values in each kind of old store.
func eachMoveFrom(t *testing.T, values map[any]any, test func(t *testing.T, m *move)) {
	t.Helper()
	registered()
	for what, from := range predecessors {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				test(t, moved(t, p, from(t), &mongostore.Config{UserID: userID}, values))
			})
		})
	}
}

// moved returns a visitor who comes with a session of the old store, and the store that replaces it.
func moved(t *testing.T, p *place, old predecessor, cfg *mongostore.Config, values map[any]any) *move {
	t.Helper()
	cfg.Previous = old.Store
	b := new(browser)
	v := &visit{browser: b, r: b.request(t), w: httptest.NewRecorder()}
	v.Session, v.err = old.New(v.r, name)
	maps.Copy(v.Values, values)
	wantErr(t, old.Save(v.r, v.w, v.Session), nil)
	v.arrive()
	return &move{p, old, p.store(cfg), b, slices.Clone(b.cookies)}
}

// visit begins a request, whose session must be there.
func (m *move) visit() *visit {
	m.t.Helper()
	v := m.browser.load(m.t, m.store)
	if v.err != nil || v.IsNew {
		m.t.Fatalf("Get: new %v, error %v", v.IsNew, v.err)
	}
	return v
}

// late returns a browser that still has the cookie of the old store.
func (m *move) late() *browser { return &browser{cookies: slices.Clone(m.before)} }

// wantEnded fails if the old store still has the session, and can end it.
func (m *move) wantEnded(t *testing.T) {
	t.Helper()
	session, _ := m.old.New(m.late().request(t), name)
	if m.old.ends && !session.IsNew {
		t.Error("the session goes on in the old store")
	}
}

// wantUntouched fails unless the old store still has the session.
func (m *move) wantUntouched(t *testing.T) {
	t.Helper()
	if session, err := m.old.New(m.late().request(t), name); err != nil || session.IsNew {
		t.Errorf("the session has ended in the old store: %v", err)
	}
}

func TestR23ASessionOfThePreviousStoreIsTakenOver(t *testing.T) {
	t.Parallel()
	old := map[any]any{"user": "ada", "cart": []any{"tea"}}
	eachMoveFrom(t, old, func(t *testing.T, m *move) {
		v := m.visit()
		if !maps.EqualFunc(v.Values, old, values.Equal) || *v.Options != *m.store.Options {
			t.Errorf("values %v, options %+v", v.Values, v.Options)
		}
		m.wantCount(0)
		m.wantUntouched(t)

		v.saved(t)
		if c := v.wantCookie(t); c.Value == m.before[0].Value || c.MaxAge != 14*86400 {
			t.Errorf("the cookie is %v", c)
		}
		v.arrive()
		m.wantEnded(t)
		m.wantCount(1)
		if rec, ok := m.store.Record(v.Session); !ok || rec.UserID != "ada" || rec.ID != v.ID {
			t.Errorf("the record is %+v", rec)
		}
		m.wantValues(t, m.place.store(nil), old) // a store without Previous: it is this store's alone
		again := m.visit()
		again.Values["cart"] = []any{"tea", "milk"}
		again.saved(t)
		m.wantValues(t, m.store, map[any]any{"user": "ada", "cart": []any{"tea", "milk"}})
		m.wantCount(1)
	})
}

func TestR23ASessionThatChangedInTheMeantimeIsTakenOverAsItIs(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"n": 1, "gone": 1}, func(t *testing.T, m *move) {
		v := m.visit()
		v.Values["n"] = 2
		delete(v.Values, "gone")
		v.Options.MaxAge = 3600
		v.saved(t)
		v.arrive()
		m.wantValues(t, m.store, map[any]any{"n": 2})
		if got := m.visit().Options.MaxAge; got != 3600 {
			t.Errorf("MaxAge %d", got)
		}
	})
}

func TestR23TheRequestsOfAPageTakeASessionOverTogether(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"n": 0, "_flash": []any{"hi"}}, func(t *testing.T, m *move) {
		want := map[any]any{"n": 0, "_flash": []any{"hi"}}
		visits := make([]*visit, 6)
		for i := range visits {
			visits[i] = m.visit()
			want[i] = i
			visits[i].Values[i] = i
		}
		var wg sync.WaitGroup
		for _, v := range visits {
			wg.Go(func() {
				if err := v.save(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		m.wantCount(1)
		for i, v := range visits {
			if c := v.wantCookie(t); c.Value == m.before[0].Value {
				t.Errorf("request %d keeps the old cookie", i)
			}
			b := &browser{cookies: v.setCookies()}
			b.wantValues(t, m.store, want)
		}
		m.wantEnded(t)
	})
}

func TestR23AnUnchangedRequestOfAPageSetsNoCookieOverAnothers(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"n": 0}, func(t *testing.T, m *move) {
		first, second := m.visit(), m.visit()
		first.Values["n"] = 1
		first.saved(t)
		first.arrive()
		second.saved(t)
		second.wantNoCookie(t)
		if second.Values["n"] != 1 || second.ID != first.ID {
			t.Errorf("the second holds %v of %q", second.Values, second.ID)
		}
		m.wantCount(1)
		m.wantValues(t, m.store, map[any]any{"n": 1})
		second.Values["m"] = 2
		second.saved(t)
		m.wantValues(t, m.store, map[any]any{"n": 1, "m": 2})
	})
}

func TestR23ALateRequestOfThePageFindsWhatAnotherOneTookOver(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"user": "ada"}, func(t *testing.T, m *move) {
		v := m.visit()
		v.Values["n"] = 1
		v.saved(t)
		v.arrive()
		late := m.late().load(t, m.store)
		if late.err != nil || late.IsNew || late.Values["user"] != "ada" {
			t.Fatalf("new %v, values %v, error %v", late.IsNew, late.Values, late.err)
		}
		late.Values["m"] = 2
		late.saved(t)
		m.wantCount(1)
		want := map[any]any{"user": "ada", "n": 1, "m": 2}
		m.wantValues(t, m.store, want)
		(&browser{cookies: late.setCookies()}).wantValues(t, m.place.store(nil), want)
	})
}

func TestR23AMinuteAfterTheTakeoverTheOldCookieIsQuiet(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"user": "ada"}, func(t *testing.T, m *move) {
		v := m.visit()
		v.Values["n"] = 1
		v.saved(t)
		v.arrive()
		m.clock.Advance(time.Minute)
		late := m.late().load(t, m.store)
		if m.old.ends && (len(late.Values) > 0 || !late.IsNew) {
			t.Errorf("a session that was taken over is found once more: %v", late.Values)
		}
		late.saved(t)
		late.wantNoCookie(t)
		m.wantCount(1)
		m.wantValues(t, m.store, map[any]any{"user": "ada", "n": 1})
	})
}

func TestR11ALoginAfterTheTakeoverMakesTheOldCookieWorthlessAtOnce(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"cart": "full"}, func(t *testing.T, m *move) {
		first := m.visit()
		first.saved(t)
		first.arrive()
		login := m.visit()
		login.Values["user"] = "ada"
		m.store.Regenerate(login.Session)
		login.saved(t)
		login.arrive()
		if m.old.ends {
			late := m.late()
			late.wantNotLoggedIn(t, m.store)
			v := late.load(t, m.store)
			v.saved(t)
			v.wantNoCookie(t)
		}
		m.wantCount(1)
	})
}

func TestR03AnOutageBehindAnOldCookieThatWasTakenOverIsNoLogout(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	m := moved(t, f.place, predecessors["files"](t), &mongostore.Config{}, map[any]any{"user": "ada"})
	m.visit().saved(t)
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 13})
	late := m.late().load(t, m.store)
	wantErr(t, late.err, mongostore.ErrUnavailable)
	f.mend()
	late = m.late().load(t, m.store)
	if late.err != nil || late.Values["user"] != "ada" {
		t.Errorf("values %v, error %v", late.Values, late.err)
	}
}

func TestR23ALoginTakesTheSessionOverUnderANewSecret(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"cart": "full"}, func(t *testing.T, m *move) {
		login, unchanged, changed := m.visit(), m.visit(), m.visit()
		login.Values["user"] = "ada"
		m.store.Regenerate(login.Session)
		login.saved(t)
		login.arrive()
		m.wantEnded(t)
		m.wantValues(t, m.store, map[any]any{"cart": "full", "user": "ada"})
		if !m.old.ends {
			return // its cookie is as good as before
		}
		unchanged.saved(t)
		unchanged.wantNoCookie(t)
		changed.Values["cart"] = "empty"
		wantErr(t, changed.save(), mongostore.ErrNotFound)
		changed.wantNoCookie(t)
		m.wantCount(1)
	})
}

func TestR23ALoginAfterTheTakeoverIsNotUndoneByALateRequest(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"cart": "full"}, func(t *testing.T, m *move) {
		unchanged, changed := m.visit(), m.visit()
		first := m.visit()
		first.saved(t)
		first.arrive()
		login := m.visit()
		login.Values["user"] = "ada"
		m.store.Regenerate(login.Session)
		login.saved(t)
		login.arrive()

		unchanged.saved(t)
		changed.Values["cart"] = "empty"
		wantErr(t, changed.save(), mongostore.ErrNotFound)
		for _, v := range []*visit{unchanged, changed} {
			v.wantNoCookie(t)
		}
		m.wantCount(1)
		m.wantValues(t, m.store, map[any]any{"cart": "full", "user": "ada"})
	})
}

func TestR23ALogoutBeforeTheFirstSaveEndsTheSessionInThePreviousStore(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"user": "ada"}, func(t *testing.T, m *move) {
		slowChanged, slowUnchanged := m.visit(), m.visit()
		logout := m.visit()
		logout.Options.MaxAge = -1
		logout.saved(t)
		logout.wantExpired(t)
		m.wantEnded(t)
		m.wantCount(0)
		if !m.old.ends {
			return
		}
		slowUnchanged.saved(t)
		slowChanged.Values["n"] = 1
		wantErr(t, slowChanged.save(), mongostore.ErrNotFound)
		for _, v := range []*visit{slowChanged, slowUnchanged} {
			v.wantNoCookie(t)
		}
		m.wantCount(0)
		m.late().wantNotLoggedIn(t, m.store)
	})
}

// wantNotLoggedIn fails if a new request of the browser finds a session; its cookie may be unknown.
func (b *browser) wantNotLoggedIn(t *testing.T, store *mongostore.Store) {
	t.Helper()
	v := b.load(t, store)
	if v.err != nil && !errors.Is(v.err, mongostore.ErrInvalidCookie) || !v.IsNew || v.ID != "" || len(v.Values) > 0 {
		t.Errorf("Get: session %q, new %v, values %v, error %v; want a new one", v.ID, v.IsNew, v.Values, v.err)
	}
}

func TestR23ALogoutAfterTheTakeoverEndsItForGood(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"user": "ada"}, func(t *testing.T, m *move) {
		slow := m.visit()
		v := m.visit()
		v.saved(t)
		v.arrive()
		logout := m.visit()
		logout.Options.MaxAge = -1
		logout.saved(t)
		m.wantCount(0)
		if !m.old.ends {
			return
		}
		slow.Values["n"] = 1
		wantErr(t, slow.save(), mongostore.ErrNotFound)
		slow.wantNoCookie(t)
		m.wantCount(0)
		m.late().wantNotLoggedIn(t, m.store)
	})
}

func TestR23ALogoutBesideALiveSessionEndsThePreviousOneToo(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"user": "ada"}, func(t *testing.T, m *move) {
		m.cookies = append(slices.Clone(m.before), start(t, m.store, map[any]any{"user": "ada"}).cookies...)
		logout := m.visit()
		logout.Options.MaxAge = -1
		logout.saved(t)
		m.wantCount(0)
		if m.old.ends {
			m.late().wantNotLoggedIn(t, m.store)
		}
	})
}

func TestR23ThisStoresSessionComesFirst(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"from": "old"}, func(t *testing.T, m *move) {
		mine := start(t, m.place.store(nil), map[any]any{"from": "new"})
		for _, cookies := range [][]*http.Cookie{append(slices.Clone(m.before), mine.cookies...), append(slices.Clone(mine.cookies), m.before...)} {
			b := &browser{cookies: cookies}
			b.wantValues(t, m.store, map[any]any{"from": "new"})
		}
		m.wantUntouched(t)
	})
}

func TestR23KeepAliveTakesASessionOver(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"user": "ada"}, func(t *testing.T, m *move) {
		v := &visit{browser: m.browser, r: m.request(t), w: httptest.NewRecorder()}
		m.store.KeepAlive(name)(http.NotFoundHandler()).ServeHTTP(v.w, v.r)
		v.arrive()
		m.wantCount(1)
		m.wantEnded(t)
		m.wantValues(t, m.place.store(nil), map[any]any{"user": "ada"})
	})
}

func TestR08TheTakeoverDoesNotDependOnTheRequestOfTheSave(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{"user": "ada"}, func(t *testing.T, m *move) {
		v := m.visit()
		v.r = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		v.saved(t)
		v.arrive()
		m.wantEnded(t)
		m.wantValues(t, m.store, map[any]any{"user": "ada"})
	})
}

func TestR23UnderPlainIDsTheRequestsOfAPageEndUpWithOneRecord(t *testing.T) {
	t.Parallel()
	for what, from := range predecessors {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
				m := moved(t, p, from(t), cfg, map[any]any{"user": "ada"})
				first, second := m.visit(), m.visit()
				first.Values["a"], second.Values["b"] = "1", "2"
				first.saved(t)
				second.saved(t)
				second.arrive()
				m.wantEnded(t)
				m.wantCount(1)
				m.wantValues(t, m.store, map[any]any{"user": "ada", "a": "1", "b": "2"})
			})
		})
	}
}

func TestR20ValuesThatCannotBeEncodedAreNotTakenOver(t *testing.T) {
	t.Parallel()
	eachMoveFrom(t, map[any]any{7: "an int key"}, func(t *testing.T, m *move) {
		store := m.place.store(&mongostore.Config{PayloadCodec: mongostore.JSONCodec{}, Previous: m.old.Store})
		for range 2 {
			v := m.browser.load(t, store)
			if v.err != nil || v.Values[7] != "an int key" {
				t.Fatalf("values %v, error %v", v.Values, v.err)
			}
			wantNames(t, "int key", v.save(), "Values[7]")
			v.wantNoCookie(t)
		}
		m.wantCount(0)
		m.wantUntouched(t)
		v := m.browser.load(t, store)
		delete(v.Values, 7)
		v.Values["seven"] = "a string key"
		v.saved(t)
		v.arrive()
		m.wantEnded(t)
		m.wantValues(t, store, map[any]any{"seven": "a string key"})
	})
}

// naughty is a store of somebody who has not read the contract.
type naughty struct {
	new  func(r *http.Request, name string) (*sessions.Session, error)
	save func() error
}

func (n *naughty) Get(r *http.Request, name string) (*sessions.Session, error) { return n.New(r, name) }

func (n *naughty) New(r *http.Request, name string) (*sessions.Session, error) {
	return n.new(r, name)
}

func (n *naughty) Save(*http.Request, http.ResponseWriter, *sessions.Session) error { return n.save() }

// known session of a naughty store, which wants its options left alone.
func (n *naughty) known() *sessions.Session {
	session := sessions.NewSession(n, name)
	session.IsNew, session.Options = false, nil
	session.Values["user"] = "ada"
	return session
}

func TestR23APreviousStoreThatMisbehavesKnowsNobody(t *testing.T) {
	t.Parallel()
	for what, load := range map[string]func(*http.Request, string) (*sessions.Session, error){
		"nil":              func(*http.Request, string) (*sessions.Session, error) { return nil, nil },
		"nil and an error": func(*http.Request, string) (*sessions.Session, error) { return nil, errors.New("broken") },
		"panics":           func(*http.Request, string) (*sessions.Session, error) { panic("s3cret") },
		"new":              func(*http.Request, string) (*sessions.Session, error) { return &sessions.Session{IsNew: true}, nil },
		"a session and an error": func(*http.Request, string) (*sessions.Session, error) {
			return (&naughty{}).known(), errors.New("no file")
		},
		"a new one and an error": func(*http.Request, string) (*sessions.Session, error) {
			return &sessions.Session{IsNew: true}, errors.New("x")
		},
		"new, though with values": func(*http.Request, string) (*sessions.Session, error) {
			s := (&naughty{}).known()
			s.IsNew = true
			return s, nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				store := p.store(&mongostore.Config{Previous: &naughty{new: load, save: func() error { t.Error("Save"); return nil }}})
				for _, cookie := range []string{"unknown", signed(t, store, "A.B")} {
					v := sending(cookie).load(t, store)
					if v.err != nil && !errors.Is(v.err, mongostore.ErrInvalidCookie) || !v.IsNew || len(v.Values) > 0 {
						t.Fatalf("values %v, error %v", v.Values, v.err)
					}
					v.saved(t)
					v.wantNoCookie(t)
					v.Values["n"] = 1
					v.saved(t)
					v.wantCookie(t)
				}
				p.wantCount(2)
			})
		})
	}
}

func TestR23AKnownSessionWithoutOptionsOrValuesIsTakenOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		ended := 0
		old := &naughty{save: func() error { ended++; return nil }}
		old.new = func(*http.Request, string) (*sessions.Session, error) {
			session := old.known()
			session.Values = nil
			return session, nil
		}
		store := p.store(&mongostore.Config{Previous: old})
		v := sending("theirs").load(t, store)
		wantErr(t, v.err, nil)
		v.saved(t)
		v.wantCookie(t)
		p.wantCount(1)
		if ended != 1 {
			t.Errorf("ended %d times", ended)
		}
	})
}

func TestR23APreviousStoreThatCannotEndASessionFailsNoSaveButTheLogout(t *testing.T) {
	t.Parallel()
	ours := errors.New("read-only file system")
	for what, save := range map[string]func() error{"an error": func() error { return ours }, "a panic": func() error { panic("s3cret") }} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				old, log := &naughty{save: save}, new(journal)
				old.new = func(*http.Request, string) (*sessions.Session, error) { return old.known(), nil }
				store := p.store(&mongostore.Config{Previous: old, Logger: log.logger()})
				v := sending("theirs").load(t, store)
				logout := sending("theirs").load(t, store)
				v.saved(t)
				v.wantCookie(t)
				if text := log.String(); !strings.Contains(text, "WARN") || strings.Contains(text, "s3cret") || strings.Contains(text, "theirs") {
					t.Errorf("the log says %q", text)
				}
				logout.Options.MaxAge = -1
				err := logout.save()
				wantNames(t, "logout", err, "Config.Previous")
				if strings.Contains(err.Error(), "s3cret") || what == "an error" && !errors.Is(err, ours) {
					t.Errorf("error %v", err)
				}
				logout.wantExpired(t)
			})
		})
	}
}

func TestR23NobodyIsAskedWithoutACookieOrWithALiveOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		asked := 0
		old := &naughty{save: func() error { return nil }}
		old.new = func(*http.Request, string) (*sessions.Session, error) { asked++; return nil, nil }
		store := p.store(&mongostore.Config{Previous: old})
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		v.Values["n"] = 2
		v.saved(t)
		if asked != 0 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestR03AnOutageOfThePreviousStoreLogsNobodyOut(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Standalone(t))
	away, proxy := behindProxy(t)
	old := away.store(&mongostore.Config{Timeout: ample}, oldKey)
	m := moved(t, p, predecessor{old, true}, &mongostore.Config{}, map[any]any{"user": "ada"})
	taken, unchanged := m.visit(), m.visit()
	mongostore.SetTimeout(old, scant)
	proxy.Cut()
	v := m.browser.load(t, m.store)
	wantErr(t, v.err, mongostore.ErrUnavailable)
	v.Values["n"] = 1
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.wantNoCookie(t)
	taken.Values["n"] = 1
	wantErr(t, taken.save(), mongostore.ErrUnavailable)
	taken.wantNoCookie(t)
	wantErr(t, unchanged.save(), mongostore.ErrUnavailable)
	unchanged.wantNoCookie(t)
	m.wantCount(0)

	v.Options.MaxAge = -1
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.wantExpired(t)

	proxy.Restore(t)
	mongostore.SetTimeout(old, ample)
	eventually(t, "the old store answers", func() bool { return m.browser.load(t, m.store).err == nil })
	m.visit().saved(t)
	m.wantCount(1)
}

func TestR03ASessionThatThePreviousStoreCannotReadIsReportedAndStays(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		unreadable := fmt.Errorf("old store: %w: a type is not registered", mongostore.ErrDecode)
		old := &naughty{save: func() error { t.Error("Save"); return nil }}
		old.new = func(*http.Request, string) (*sessions.Session, error) { return old.known(), unreadable }
		store := p.store(&mongostore.Config{Previous: old})
		v := sending("theirs").load(t, store)
		wantErr(t, v.err, mongostore.ErrDecode)
		if !v.IsNew || len(v.Values) > 0 || !errors.Is(v.err, unreadable) {
			t.Errorf("new %v, values %v, error %v", v.IsNew, v.Values, v.err)
		}
		v.saved(t)
		v.wantNoCookie(t)
		p.wantCount(0)
		v.Values["n"] = 1
		v.saved(t)
		v.wantCookie(t)
		p.wantCount(1)

		logout := sending("theirs").load(t, store)
		logout.Options.MaxAge = -1
		wantErr(t, logout.save(), mongostore.ErrDecode)
		logout.wantExpired(t)
	})
}

func TestR23AnOutageOfThisStoreLeavesTheSessionWhereItIs(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	m := moved(t, f.place, predecessors["files"](t), &mongostore.Config{}, map[any]any{"user": "ada"})
	v := m.visit()
	f.fail(mongotest.Fail{Commands: []string{"insert"}, ErrorCode: 13})
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.wantNoCookie(t)
	m.wantUntouched(t)
	f.mend()
	v.saved(t)
	v.arrive()
	m.wantEnded(t)
	m.wantValues(t, m.store, map[any]any{"user": "ada"})
	m.wantCount(1)
}

// An unchanged Save is quiet about a session that has ended, but not about an outage, in which nobody knows that.
func TestR23AnUnchangedSaveOfATakenOverSessionReportsAnOutage(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	m := moved(t, f.place, predecessors["files"](t), &mongostore.Config{}, map[any]any{"user": "ada"})
	unchanged, first := m.visit(), m.visit()
	first.saved(t)
	first.arrive()
	m.wantEnded(t)
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 13})
	wantErr(t, unchanged.save(), mongostore.ErrUnavailable)
	unchanged.wantNoCookie(t)
	f.mend()
	unchanged.saved(t)
	m.wantValues(t, m.store, map[any]any{"user": "ada"})
	m.wantCount(1)
}

func TestR05ALogoutWhoseLoadFailedEndsTheSessionInThePreviousStore(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	m := moved(t, f.place, predecessors["mongostore with the same key"](t), &mongostore.Config{}, map[any]any{"user": "ada"})
	f.fail(mongotest.Fail{Commands: []string{"find"}, ErrorCode: 13})
	v := m.browser.load(t, m.store)
	wantErr(t, v.err, mongostore.ErrUnavailable)
	f.mend()
	v.Options.MaxAge = -1
	v.saved(t)
	m.wantEnded(t)
}

func TestR13ATakeoverOfUnknownOutcomeIsKnownAgain(t *testing.T) {
	t.Parallel()
	for lost := 1; lost <= 2; lost++ {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			t.Parallel()
			p, proxy := behindProxy(t)
			m := moved(t, p, predecessors["files"](t), &mongostore.Config{}, map[any]any{"user": "ada"})
			v, other := m.visit(), m.visit()
			proxy.DropReplies("insert", 1)
			if lost == 2 {
				proxy.LoseInsert()
			}
			err := v.save()
			if lost == 1 {
				wantErr(t, err, nil)
			} else {
				wantErr(t, err, mongostore.ErrUnavailable)
				m.wantUntouched(t)
			}
			other.Values["n"] = 1
			other.saved(t)
			other.arrive()
			m.wantEnded(t)
			m.wantCount(1)
			m.wantValues(t, m.store, map[any]any{"user": "ada", "n": 1})
			v.Values["m"] = 2
			v.saved(t)
			m.wantValues(t, m.store, map[any]any{"user": "ada", "n": 1, "m": 2})
			m.wantCount(1)
		})
	}
}
