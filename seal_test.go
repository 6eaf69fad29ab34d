package mongostore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// oldSeal and newSeal are keys of AESGCM.
var oldSeal, newSeal = keyOf(32, 1), keyOf(32, 2)

// sealing is a configuration that seals with the first of these keys, by default oldSeal.
func sealing(keys ...[]byte) *mongostore.Config {
	if len(keys) == 0 {
		keys = [][]byte{oldSeal}
	}
	return &mongostore.Config{Sealer: mongostore.AESGCM(keys...), UserID: userID}
}

// sealed returns the sealed payload of a record, as it is stored.
func (p *place) sealed(id string) []byte {
	p.t.Helper()
	payload, ok := p.mustDocument(id)["session"].(bson.Binary)
	if !ok || payload.Subtype != 0x80 {
		p.t.Fatalf("the payload is not sealed: %v", p.mustDocument(id)["session"])
	}
	return payload.Data
}

// wantDecodeError fails unless the session of a new request is a stand-in beside ErrDecode that leaves the
// record as it is.
func (b *browser) wantDecodeError(t *testing.T, what string, store *mongostore.Store) {
	t.Helper()
	v := b.load(t, store)
	if !errors.Is(v.err, mongostore.ErrDecode) || errors.Is(v.err, mongostore.ErrUnavailable) || !v.IsNew || len(v.Values) > 0 {
		t.Errorf("%s: values %v, error %v; want ErrDecode beside a new session", what, v.Values, v.err)
	}
	if err := v.save(); err != nil {
		t.Errorf("%s: Save of the stand-in: %v", what, err)
	}
	v.wantNoCookie(t)
}

func TestR19NothingOfASealedSessionCanBeReadInTheDatabase(t *testing.T) {
	t.Parallel()
	for codec, c := range codecs() {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				cfg := sealing()
				cfg.PayloadCodec = c
				store := p.store(cfg)
				want := map[any]any{"creditcard": "4111-1111", "likes": "secrets"}
				b := start(t, store, want)
				v := b.load(t, store)
				raw, _ := mongostore.Document(store, v.ID)
				for _, plain := range []string{"creditcard", "4111", "likes", "secrets"} {
					if bytes.Contains(raw, []byte(plain)) {
						t.Errorf("the document holds %q", plain)
					}
				}
				p.sealed(v.ID)
				b.wantValues(t, store, want)
				rec, err := store.Find(t.Context(), v.ID)
				wantErr(t, err, nil)
				if got, err := rec.Values(t.Context()); err != nil || !values.Equal(got, want) {
					t.Errorf("Record.Values: %v, %v", got, err)
				}
			})
		})
	}
}

func TestR19EqualSessionsAreNotEqualSealed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(sealing())
		v := start(t, store, map[any]any{"n": 1}).load(t, store)
		first := p.sealed(v.ID)
		for n := range 3 {
			v.Values["n"] = n%2 + 1
			v.Values["m"] = n
			v.saved(t)
		}
		delete(v.Values, "m")
		v.saved(t)
		if bytes.Equal(first, p.sealed(v.ID)) {
			t.Error("the same values are sealed to the same bytes")
		}
	})
}

func TestR19KeysRotateWithoutEndingASession(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		before := p.store(sealing(oldSeal))
		prepared := p.store(sealing(oldSeal, newSeal))
		rotated := p.store(sealing(newSeal, oldSeal))
		after := p.store(sealing(newSeal))

		b := start(t, before, map[any]any{"n": 0})
		for n, store := range []*mongostore.Store{prepared, rotated, prepared, rotated} {
			v := b.load(t, store)
			wantErr(t, v.err, nil)
			v.Values["n"] = n
			v.saved(t)
		}
		b.wantValues(t, after, map[any]any{"n": 3}) // the new key alone has sealed it
		b.wantDecodeError(t, "a node that was forgotten", before)
	})
}

func TestR19ARetiredKeyIsErrDecodeAndLosesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(sealing(oldSeal)), map[any]any{"n": 1})
		id := b.load(t, p.first).ID
		before := p.mustDocument(id)
		retired := p.store(sealing(newSeal))
		b.wantDecodeError(t, "retired key", retired)
		wantNames(t, "retired key", b.load(t, retired).err, "Config.Sealer", "key")
		p.wantDocument(id, before)
		b.wantValues(t, p.store(sealing(newSeal, oldSeal)), map[any]any{"n": 1})

		logout := b.load(t, retired)
		logout.Options.MaxAge = -1
		logout.saved(t)
		p.wantCount(0)
	})
}

func TestR19AnAlteredByteAnywhereIsErrDecode(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(sealing())
	b := start(t, store, map[any]any{"n": 1})
	id := b.load(t, store).ID
	whole := p.sealed(id)
	for i := range whole {
		altered := bytes.Clone(whole)
		altered[i] ^= byte(1 << (i % 8))
		replaceField(t, p.coll, id, "session", bson.Binary{Subtype: 0x80, Data: altered})
		b.wantDecodeError(t, fmt.Sprintf("byte %d", i), store)
	}
	for n := range whole {
		replaceField(t, p.coll, id, "session", bson.Binary{Subtype: 0x80, Data: whole[:n]})
		b.wantDecodeError(t, fmt.Sprintf("cut to %d bytes", n), store)
	}
	replaceField(t, p.coll, id, "session", bson.Binary{Subtype: 0x80, Data: append(bytes.Clone(whole), 0)})
	b.wantDecodeError(t, "a byte more", store)
	replaceField(t, p.coll, id, "session", bson.Binary{Subtype: 0x80, Data: whole})
	b.wantValues(t, store, map[any]any{"n": 1})
}

// burglary is a sealed session of ada and one of mallory, who may write to the database, but has no keys.
type burglary struct {
	*place
	store        *mongostore.Store
	ada, mallory *browser
	adas, his    string // their ids
}

func newBurglary(t *testing.T) *burglary {
	t.Helper()
	x := &burglary{place: onMongoDB(t, mongotest.Shared(t))}
	x.store = x.place.store(sealing())
	x.ada = start(t, x.store, map[any]any{"user": "ada", "admin": true})
	x.mallory = start(t, x.store, map[any]any{"user": "mallory"})
	x.adas, x.his = x.ada.load(t, x.store).ID, x.mallory.load(t, x.store).ID
	return x
}

func TestR19ASealedPayloadOpensOnlyInTheRecordItWasSealedFor(t *testing.T) {
	t.Parallel()
	for what, fields := range map[string][]string{
		"the payload":                 {"session"},
		"with its user":               {"session", "user"},
		"with its user and its times": {"session", "user", "createdAt", "updatedAt", "expires", "version"},
		"his own with her user":       {"user"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			x := newBurglary(t)
			hers := x.mustDocument(x.adas)
			for _, field := range fields {
				replaceField(t, x.coll, x.his, field, hers[field])
			}
			x.mallory.wantDecodeError(t, what, x.store)
			rec, err := x.store.Find(t.Context(), x.his)
			wantErr(t, err, nil)
			if values, err := rec.Values(t.Context()); !errors.Is(err, mongostore.ErrDecode) {
				t.Errorf("Record.Values: %v, %v; want ErrDecode", values, err)
			}
			wantErr(t, x.store.Update(t.Context(), x.his, func(map[any]any) error { return nil }), mongostore.ErrDecode)
		})
	}
}

func TestR19ASealedRecordWhoseOwnerOrBirthIsEditedIsErrDecode(t *testing.T) {
	t.Parallel()
	for what, update := range map[string]bson.D{
		"another user": set("user", "bob"),
		"no user":      unset("user"),
		"born earlier": set("createdAt", time.Now().Add(-time.Hour)),
		"born later":   set("createdAt", time.Now().Add(time.Hour)),
		"never born":   unset("createdAt"),
		"no name":      unset("name"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			x := newBurglary(t)
			edit(t, x.coll, x.adas, update)
			x.ada.wantDecodeError(t, what, x.store)
		})
	}
}

func TestR19ASealedRecordMayChangeItsDeadlineAndLabels(t *testing.T) {
	t.Parallel()
	x := newBurglary(t)
	edit(t, x.coll, x.adas, set("expires", x.clock.Now().Add(time.Minute)))
	edit(t, x.coll, x.adas, set("labels", bson.D{{Key: "device", Value: "phone"}}))
	edit(t, x.coll, x.adas, set("updatedAt", x.clock.Now().Add(-time.Minute)))
	x.ada.wantValues(t, x.store, map[any]any{"user": "ada", "admin": true})
}

func TestR19ASealedRecordUnderAnotherCookieNameIsErrDecode(t *testing.T) {
	t.Parallel()
	x := newBurglary(t)
	edit(t, x.coll, x.adas, set("name", "other"))
	handle, secret := credentials(t, x.store, x.ada.cookies[0])
	value, err := securecookie.EncodeMulti("other", []byte(handle+"."+secret), x.store.Codecs...)
	wantErr(t, err, nil)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "other", Value: value})
	session, err := x.store.Get(r, "other")
	if !errors.Is(err, mongostore.ErrDecode) {
		t.Errorf("values %v, error %v; want ErrDecode", session.Values, err)
	}
}

func TestR19ASealedRecordThatLosesItsTokenDoesNotBecomeAPlainOne(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	b := start(t, p.store(sealing()), map[any]any{"user": "ada"})
	id := b.load(t, p.first).ID
	edit(t, p.coll, id, unset("token"))
	cfg := sealing()
	cfg.PlainIDs = true
	store := p.store(cfg)
	sending(signed(t, store, id)).wantDecodeError(t, "without its token", store)
}

func TestR19AWholeRecordUnderAnotherIDIsErrDecode(t *testing.T) {
	t.Parallel()
	x := newBurglary(t)
	hers, his := x.mustDocument(x.adas), x.mustDocument(x.his)
	hers["_id"], hers["token"] = his["_id"], his["token"]
	if _, err := x.coll.ReplaceOne(t.Context(), bson.D{{Key: "_id", Value: x.his}}, hers); err != nil {
		t.Fatal(err)
	}
	x.mallory.wantDecodeError(t, "her record under his id", x.store)
}

func TestR19AnUnsealedPayloadIsErrDecodeWhereASealerIsSet(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"admin": "yes"})
		store := p.store(sealing())
		b.wantDecodeError(t, "unsealed", store)
		wantNames(t, "unsealed", b.load(t, store).err, "Config.AcceptUnsealed")
		b.wantValues(t, p.store(nil), map[any]any{"admin": "yes"})
	})
}

func TestR19AcceptUnsealedReadsUnsealedRecordsAndSealsThemAtTheirNextChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		plain := p.store(nil)
		b := start(t, plain, map[any]any{"n": 1})
		cfg := sealing()
		cfg.AcceptUnsealed = true
		store := p.store(cfg)
		p.clock.Advance(time.Hour)
		v := b.load(t, store)
		wantErr(t, v.err, nil)
		v.saved(t) // a touch
		b.wantValues(t, plain, map[any]any{"n": 1})
		v.Values["n"] = 2
		v.saved(t)
		p.sealed(v.ID)
		b.wantValues(t, p.store(sealing()), map[any]any{"n": 2})
		b.wantValues(t, store, map[any]any{"n": 2})
	})
}

func TestR19AcceptUnsealedLetsNoDamagedSealIn(t *testing.T) {
	t.Parallel()
	x := newBurglary(t)
	cfg := sealing()
	cfg.AcceptUnsealed = true
	store := x.place.store(cfg)
	edit(t, x.coll, x.adas, set("user", "bob"))
	x.ada.wantDecodeError(t, "another user", store)
}

func TestR19ASealedPayloadIsErrDecodeWithoutASealer(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(sealing()), map[any]any{"n": 1})
		store := p.store(&mongostore.Config{PayloadCodec: buggy{}}) // a codec must not be asked either
		b.wantDecodeError(t, "no Sealer", store)
		wantNames(t, "no Sealer", b.load(t, store).err, "Config.Sealer")
		b.wantValues(t, p.store(sealing()), map[any]any{"n": 1})
	})
}

// keyService is a Sealer that asks another machine, which may be down.
type keyService struct {
	mongostore.Sealer
	mu           sync.Mutex
	down         error
	panics       bool
	seals, opens int
}

func (k *keyService) Seal(ctx context.Context, plaintext, additional []byte) ([]byte, error) {
	if err := k.ask(&k.seals); err != nil {
		return nil, err
	}
	return k.Sealer.Seal(ctx, plaintext, additional)
}

func (k *keyService) Open(ctx context.Context, sealed, additional []byte) ([]byte, error) {
	if err := k.ask(&k.opens); err != nil {
		return nil, err
	}
	return k.Sealer.Open(ctx, sealed, additional)
}

func (k *keyService) ask(calls *int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	*calls++
	if k.panics {
		panic("s3cret")
	}
	return k.down
}

// set makes the service fail with err, or panic, or work again.
func (k *keyService) set(err error, panics bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down, k.panics = err, panics
}

func newKeyService() *keyService { return &keyService{Sealer: mongostore.AESGCM(oldSeal)} }

var errServiceDown = errors.New("key service: 503")

// eachSealerOutage runs a test with a Sealer that fails, and with one that panics, when down is called.
func eachSealerOutage(t *testing.T, test func(t *testing.T, p *place, store *mongostore.Store, down, up func())) {
	t.Helper()
	for _, panics := range []bool{false, true} {
		t.Run(map[bool]string{false: "fails", true: "panics"}[panics], func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				service := newKeyService()
				store := p.store(&mongostore.Config{Sealer: service, UserID: userID})
				test(t, p, store, func() { service.set(errServiceDown, panics) }, func() { service.set(nil, false) })
			})
		})
	}
}

// wantSealerDown fails unless err is ErrUnavailable and shows nothing of what the Sealer panicked with.
func wantSealerDown(t *testing.T, err error) {
	t.Helper()
	wantErr(t, err, mongostore.ErrUnavailable)
	if errors.Is(err, mongostore.ErrDecode) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v", err)
	}
	wantNames(t, "Sealer down", err, "Config.Sealer")
}

func TestR03ASealerThatIsDownLogsNobodyOut(t *testing.T) {
	t.Parallel()
	eachSealerOutage(t, func(t *testing.T, p *place, store *mongostore.Store, down, up func()) {
		b := start(t, store, map[any]any{"n": 1})
		id := b.load(t, store).ID
		before := p.mustDocument(id)
		down()
		v := b.load(t, store)
		wantSealerDown(t, v.err)
		v.Values["n"] = 2
		wantSealerDown(t, v.save())
		v.wantNoCookie(t)
		p.wantDocument(id, before)

		up()
		again := v.reload(store)
		wantErr(t, again.err, nil)
		b.wantValues(t, store, map[any]any{"n": 1})
	})
}

func TestR03ASaveWhileTheSealerIsDownLosesNothing(t *testing.T) {
	t.Parallel()
	eachSealerOutage(t, func(t *testing.T, p *place, store *mongostore.Store, down, up func()) {
		b := start(t, store, map[any]any{"n": 1})
		changed, renewed, created := b.load(t, store), b.load(t, store), new(browser).load(t, store)
		before := p.mustDocument(changed.ID)
		down()
		changed.Values["n"], created.Values["n"] = 2, 3
		store.Regenerate(renewed.Session)
		for _, v := range []*visit{changed, renewed, created} {
			wantSealerDown(t, v.save())
			v.wantNoCookie(t)
		}
		p.wantDocument(changed.ID, before)
		p.wantCount(1)

		up()
		for _, v := range []*visit{changed, renewed, created} {
			v.saved(t)
		}
		p.wantCount(2)
		renewed.arrive()
		b.wantValues(t, store, map[any]any{"n": 2})
		created.arrive()
		created.browser.wantValues(t, store, map[any]any{"n": 3})
	})
}

func TestR05ALogoutNeedsNoSealer(t *testing.T) {
	t.Parallel()
	eachSealerOutage(t, func(t *testing.T, p *place, store *mongostore.Store, down, _ func()) {
		b := start(t, store, map[any]any{"n": 1})
		down()
		v := b.load(t, store)
		v.Options.MaxAge = -1
		v.saved(t)
		v.wantExpired(t)
		p.wantCount(0)
	})
}

func TestR09AConflictWhileTheSealerIsDownIsMergedOnceItIsBack(t *testing.T) {
	t.Parallel()
	eachSealerOutage(t, func(t *testing.T, _ *place, store *mongostore.Store, down, up func()) {
		b := start(t, store, map[any]any{"n": 0})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["theirs"] = 1
		second.saved(t)
		first.Values["mine"] = 1
		down()
		wantSealerDown(t, first.save())
		first.wantNoCookie(t)
		up()
		first.saved(t)
		b.wantValues(t, store, map[any]any{"n": 0, "mine": 1, "theirs": 1})
	})
}

func TestR19WhatASealerSaysCanNeverBeOpenedIsErrDecode(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		service := newKeyService()
		store := p.store(&mongostore.Config{Sealer: service})
		b := start(t, store, map[any]any{"n": 1})
		service.set(fmt.Errorf("the key was destroyed: %w", mongostore.ErrDecode), false)
		b.wantDecodeError(t, "destroyed key", store)
	})
}

func TestR19ATouchSealsNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		service := newKeyService()
		store := p.store(&mongostore.Config{Sealer: service})
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		before := p.sealed(v.ID)
		p.clock.Advance(time.Hour)
		v.saved(t)
		wantErr(t, store.Touch(t.Context(), v.ID), nil)
		if service.seals != 1 || !bytes.Equal(before, p.sealed(v.ID)) {
			t.Errorf("sealed %d times, once was when it was created", service.seals)
		}
		if service.opens != 1 {
			t.Errorf("opened %d times, want once, by the load", service.opens)
		}
	})
}

func TestR19RegenerateAndAChangeOfUserSealAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		anonymous := p.store(&mongostore.Config{Sealer: mongostore.AESGCM(oldSeal)})
		b := start(t, anonymous, map[any]any{"user": "ada"})
		store := p.store(sealing())
		for what, change := range []func(v *visit){
			func(*visit) {}, // a user that only the new configuration sees
			func(v *visit) { store.Regenerate(v.Session) },
			func(v *visit) { v.Values["user"] = "bob" },
			func(v *visit) { delete(v.Values, "user") },
		} {
			v := b.load(t, store)
			wantErr(t, v.err, nil)
			before := p.sealed(v.ID)
			p.clock.Advance(time.Hour)
			change(v)
			v.saved(t)
			v.arrive()
			if bytes.Equal(before, p.sealed(v.ID)) {
				t.Errorf("change %d: not sealed again", what)
			}
			b.wantValues(t, store, v.Values)
		}
	})
}

func TestR22BadSealKeysAreReportedByNew(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		for what, test := range map[string]struct {
			keys [][]byte
			says []string
		}{
			"no key":     {nil, []string{"AESGCM", "32"}},
			"short key":  {[][]byte{keyOf(16, 1)}, []string{"key 1", "16", "32"}},
			"long key":   {[][]byte{keyOf(32, 1), keyOf(64, 1)}, []string{"key 2", "64", "32"}},
			"an old nil": {[][]byte{keyOf(32, 1), nil}, []string{"key 2", "0 bytes"}},
		} {
			_, err := p.open(&mongostore.Config{Sealer: mongostore.AESGCM(test.keys...)})
			wantNames(t, what, err, test.says...)
		}
		_, err := p.open(&mongostore.Config{AcceptUnsealed: true})
		wantNames(t, "AcceptUnsealed alone", err, "AcceptUnsealed", "Sealer")
	})
}

func TestAESGCMWithBadKeysNeverSeals(t *testing.T) {
	t.Parallel()
	for _, sealer := range []mongostore.Sealer{mongostore.AESGCM(), mongostore.AESGCM(make([]byte, 31))} {
		if sealed, err := sealer.Seal(t.Context(), []byte("x"), nil); err == nil || sealed != nil {
			t.Errorf("Seal: %x, %v; want an error", sealed, err)
		}
		if plain, err := sealer.Open(t.Context(), make([]byte, 100), nil); err == nil || plain != nil {
			t.Errorf("Open: %x, %v; want an error", plain, err)
		}
	}
}

func TestAESGCMCopiesItsKeys(t *testing.T) {
	t.Parallel()
	own := keyOf(32, 7)
	sealer := mongostore.AESGCM(own)
	sealed, err := sealer.Seal(t.Context(), []byte("x"), []byte("a"))
	wantErr(t, err, nil)
	clear(own)
	plain, err := sealer.Open(t.Context(), sealed, []byte("a"))
	if err != nil || string(plain) != "x" {
		t.Errorf("Open: %q, %v", plain, err)
	}
}

func TestR19TheEnvelopeTellsVersionAndKeyAndNothingElse(t *testing.T) {
	t.Parallel()
	sealed := func(sealer mongostore.Sealer, additional string) []byte {
		data, err := sealer.Seal(t.Context(), []byte("text"), []byte(additional))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	one, again := sealed(mongostore.AESGCM(oldSeal), "a"), sealed(mongostore.AESGCM(oldSeal, newSeal), "b")
	other := sealed(mongostore.AESGCM(newSeal, oldSeal), "a")
	const header = 9
	if len(one) != header+12+len("text")+16 || one[0] != 1 {
		t.Errorf("the envelope is %x", one)
	}
	if !bytes.Equal(one[:header], again[:header]) || bytes.Equal(one[:header], other[:header]) {
		t.Errorf("key ids %x, %x, %x; want the first two alike", one[1:header], again[1:header], other[1:header])
	}
	if bytes.Equal(one[header:], again[header:]) || bytes.Contains(one, []byte("text")) {
		t.Error("the ciphertext repeats or shows the text")
	}
}

func FuzzEnvelope(f *testing.F) {
	sealer := mongostore.AESGCM(oldSeal, newSeal)
	additional := []byte("ada's record")
	good, err := sealer.Seal(f.Context(), []byte("plain"), additional)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, additional)
	f.Add(good, []byte("mallory's record"))
	f.Add(good[:9], additional)
	f.Add(good[:21], additional)
	f.Add(good[:len(good)-1], additional)
	f.Add(append([]byte{2}, good[1:]...), additional)
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, sealed, ad []byte) {
		plain, err := sealer.Open(t.Context(), sealed, ad)
		genuine := string(plain) == "plain" && bytes.Equal(ad, additional) // each process seals its own
		if err == nil && !genuine || err != nil && !errors.Is(err, mongostore.ErrDecode) {
			t.Errorf("Open: %q, %v; want ErrDecode", plain, err)
		}
	})
}

func TestR19TheTypeInsideAnEnvelopeIsAuthenticated(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	credulous := buggy{decode: func(s *sessions.Session) error { s.Values["n"] = "1"; return nil }} // takes any type
	store := p.store(&mongostore.Config{PayloadCodec: credulous, Sealer: mongostore.AESGCM(oldSeal)})
	b := start(t, store, map[any]any{"n": "1"})
	v := b.load(t, store)
	wantErr(t, v.err, nil)
	altered := p.sealed(v.ID)
	altered[0] = byte(bson.TypeString)
	replaceField(t, p.coll, v.ID, "session", bson.Binary{Subtype: 0x80, Data: altered})
	b.wantDecodeError(t, "binary become a string", store)
}
