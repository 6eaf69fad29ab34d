package mongostore_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// connectMongoLike is a configuration with plain ids, as connect-mongo has them.
func connectMongoLike() *mongostore.Config {
	return &mongostore.Config{PlainIDs: true, UserID: userID, PayloadCodec: mongostore.JSONCodec{}}
}

// hashed is one that stores a hash of them.
func hashed() *mongostore.Config {
	cfg := connectMongoLike()
	cfg.TransformID = mongostore.HashID([]byte("pepper"))
	return cfg
}

// eachPlain runs a test with plain ids and with hashed ones.
func eachPlain(t *testing.T, test func(t *testing.T, p *place, cfg *mongostore.Config)) {
	t.Helper()
	for what, cfg := range map[string]func() *mongostore.Config{"plain": connectMongoLike, "hashed": hashed} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) { test(t, p, cfg()) })
		})
	}
}

// stored returns the Record.ID of a session.
func stored(t *testing.T, store *mongostore.Store, v *visit) string {
	t.Helper()
	rec, ok := store.Record(v.Session)
	if !ok {
		t.Fatal("the session is not stored")
	}
	return rec.ID
}

func TestPlainIDsMakeADocumentLikeConnectMongos(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		cfg := connectMongoLike()
		cfg.UserID = nil
		store := p.store(cfg)
		b := start(t, store, map[any]any{"views": 1.5})
		v := b.load(t, store)
		var carried []byte
		if err := store.Codecs[0].Decode(name, b.cookies[0].Value, &carried); err != nil || string(carried) != v.ID || v.ID == "" {
			t.Errorf("the cookie carries %q, %v; want session.ID %q", carried, err, v.ID)
		}
		doc := p.mustDocument(v.ID)
		now := bson.NewDateTimeFromTime(p.clock.Now())
		for field, want := range map[string]any{
			"_id": v.ID, "session": `{"views":1.5}`, "createdAt": now, "updatedAt": now,
			"expires": bson.NewDateTimeFromTime(p.clock.Now().Add(14 * 24 * time.Hour)),
		} {
			if doc[field] != want {
				t.Errorf("%s is %v, want %v", field, doc[field], want)
			}
		}
		if _, ok := doc["token"]; ok {
			t.Error("the document has a token")
		}
		b.wantValues(t, store, map[any]any{"views": 1.5})
	})
}

func TestTransformIDNamesTheRecord(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(hashed())
		b := start(t, store, map[any]any{"n": 1.5})
		v := b.load(t, store)
		id := mongostore.HashID([]byte("pepper"))(v.ID)
		if got := stored(t, store, v); got != id {
			t.Errorf("Record.ID is %q, want %q", got, id)
		}
		raw, ok := mongostore.Document(store, id)
		if !ok || strings.Contains(raw.String(), v.ID) {
			t.Errorf("the document shows the id: %v", raw)
		}
		if _, err := store.Find(t.Context(), id); err != nil {
			t.Errorf("Find by the stored id: %v", err)
		}
		_, err := store.Find(t.Context(), v.ID)
		wantErr(t, err, mongostore.ErrNotFound)
		b.wantValues(t, store, map[any]any{"n": 1.5})
		b.wantGone(t, p.store(connectMongoLike())) // another configuration finds no record
		sending(signed(t, store, id)).wantGone(t, store)
	})
}

func TestHashIDIsHMACSHA256(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "pepper", strings.Repeat("long", 100)} {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte("an id"))
		if got, want := mongostore.HashID([]byte(key))("an id"), hex.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("HashID(%q): %q, want %q", key, got, want)
		}
	}
	own := []byte("pepper")
	hash := mongostore.HashID(own)
	before := hash("an id")
	clear(own)
	if hash("an id") != before {
		t.Error("HashID uses the caller's key after it has returned")
	}
}

func TestR01ATransformIDThatFailsIsAnErrorAndStoresNothing(t *testing.T) {
	t.Parallel()
	for what, broken := range map[string]func(string) string{
		"empty":  func(string) string { return "" },
		"panics": func(string) string { panic("s3cret") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				sound := p.store(connectMongoLike())
				b := start(t, sound, map[any]any{"n": 1.5})
				cfg := connectMongoLike()
				cfg.TransformID = broken
				store := p.store(cfg)
				loaded, created := b.load(t, store), new(browser).load(t, store)
				wantNames(t, what, loaded.err, "Config.TransformID")
				wantErr(t, created.err, nil)
				loaded.Values["n"], created.Values["n"] = 2.5, 2.5
				for _, v := range []*visit{loaded, created} {
					err := v.save()
					wantNames(t, what, err, "Config.TransformID")
					if err != nil && strings.Contains(err.Error(), "s3cret") {
						t.Errorf("the error shows what was thrown: %v", err)
					}
					v.wantNoCookie(t)
				}
				b.wantValues(t, sound, map[any]any{"n": 1.5})
				p.wantCount(1)
			})
		})
	}
}

func TestR05ALogoutThatCannotNameItsRecordSaysSo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(connectMongoLike()), map[any]any{"n": 1.5})
		cfg := connectMongoLike()
		cfg.TransformID = func(string) string { return "" }
		v := b.load(t, p.store(cfg))
		v.Options.MaxAge = -1
		wantNames(t, "logout", v.save(), "Config.TransformID")
		v.wantExpired(t)
	})
}

func TestR11APlainIDIsRenewedByAnotherID(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": 1.5})
		thief := &browser{cookies: slices.Clone(b.cookies)}
		changed, unchanged, login := b.load(t, store), b.load(t, store), b.load(t, store)
		old := login.ID
		p.clock.Advance(time.Hour)
		login.Values["user"] = "ada"
		store.Regenerate(login.Session)
		login.saved(t)
		login.arrive()

		thief.wantGone(t, store)
		b.wantValues(t, store, map[any]any{"n": 1.5, "user": "ada"})
		rec, ok := store.Record(login.Session)
		if !ok || login.ID == old || login.ID == "" || !rec.CreatedAt.Equal(p.clock.Now()) || rec.UserID != "ada" {
			t.Errorf("session %q, was %q; record %+v", login.ID, old, rec)
		}
		changed.Values["n"] = 2.5
		wantErr(t, changed.save(), mongostore.ErrNotFound)
		unchanged.saved(t)
		changed.wantNoCookie(t)
		unchanged.wantNoCookie(t)
		p.wantCount(1)

		first := login.ID
		store.Regenerate(login.Session) // and once more in the same request
		login.saved(t)
		login.arrive()
		if login.ID == first {
			t.Error("the second Regenerate kept the id")
		}
		b.wantValues(t, store, map[any]any{"n": 1.5, "user": "ada"})
		p.wantCount(1)
	})
}

func TestR11ARenewalOfAPlainIDMergesWhatOthersChanged(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": 1.5})
		login, other := b.load(t, store), b.load(t, store)
		other.Values["cart"] = "full"
		other.saved(t)
		login.Values["user"] = "ada"
		store.Regenerate(login.Session)
		login.saved(t)
		login.arrive()
		b.wantValues(t, store, map[any]any{"n": 1.5, "user": "ada", "cart": "full"})
		p.wantCount(1)
	})
}

// The commands on a record with a plain id.
const (
	plainTouch  = "update {_id token version expires.$gt session.$eq} $set(expires updatedAt)"
	plainChange = "update {_id token version expires.$gt session.$eq} $set(expires session updatedAt version versions) $unset"
	retire      = "update {_id token version expires.$gt session.$eq} $set(by expires forget next session token updatedAt) $unset majority"
	activate    = "update {_id token version expires} $set(expires updatedAt) $unset majority"
)

// wantSent fails unless what was sent since the last time has these shapes.
func wantSent(t *testing.T, sent *mongotest.Commands, want ...string) {
	t.Helper()
	if got := shapes(sent.Take()); !slices.Equal(got, want) {
		t.Errorf("sent:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestR06ThePlainIDsCommandsCarryThePayloadTheySaw(t *testing.T) {
	t.Parallel()
	for codec, c := range codecs() {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			p, sent := watched(t, mongotest.Shared(t))
			cfg := connectMongoLike()
			cfg.PayloadCodec = c
			store := p.store(cfg)
			sent.Take()
			b := start(t, store, map[any]any{"n": 1.5})
			wantSent(t, sent, create)
			v := b.load(t, store)
			wantSent(t, sent, load)
			p.clock.Advance(time.Hour)
			v.saved(t)
			wantSent(t, sent, plainTouch)
			v.Values["n"] = 2.5
			v.saved(t)
			wantSent(t, sent, plainChange)
			store.Regenerate(v.Session)
			v.saved(t)
			wantSent(t, sent, create, retire, activate)
			v.Options.MaxAge = -1
			v.saved(t)
			wantSent(t, sent, logoutOf, logoutOf, load, logoutOf, load) // the request brought the cookie from before the renewal
		})
	}
}

// renewalSteps are the commands that renew a plain id: each is the first of its name after so many.
var renewalSteps = []struct {
	command string
	after   int
}{{"insert", 0}, {"update", 0}, {"update", 1}}

func TestR11ARenewalThatFailsLeavesTheOldSessionAsItWas(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(connectMongoLike())
	b := start(t, store, map[any]any{"n": 1.5})
	v := b.load(t, store)
	v.Values["user"] = "ada"
	store.Regenerate(v.Session)
	for command, want := range map[string][]string{"insert": {create}, "update": {create, retire, logoutOf}} {
		f.fail(mongotest.Fail{Commands: []string{command}, ErrorCode: 13})
		f.sent.Take()
		wantErr(t, v.save(), mongostore.ErrUnavailable)
		v.wantNoCookie(t)
		wantSent(t, f.sent, want...)
		f.mend()
		b.wantValues(t, store, map[any]any{"n": 1.5})
		if got := len(rawDocuments(t, f.coll)); got != 1 {
			t.Errorf("%d documents are stored, want 1", got)
		}
	}
	v.Values["more"] = "x"
	v.saved(t)
	b.wantGone(t, store)
	v.arrive()
	b.wantValues(t, store, map[any]any{"n": 1.5, "user": "ada", "more": "x"})
	f.wantCount(1)
}

func TestR09ALoginThatMergedAndFailedMergesAgainInTheNextSave(t *testing.T) { // L1
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(connectMongoLike())
	b := start(t, store, map[any]any{"n": 1.5})
	login, other := b.load(t, store), b.load(t, store)
	other.Values["cart"] = "full"
	other.saved(t)
	login.Values["user"] = "ada"
	store.Regenerate(login.Session)
	f.fail(mongotest.Fail{Commands: []string{"insert"}, Skip: 1, ErrorCode: 13}) // the second one is that after the merge
	wantErr(t, login.save(), mongostore.ErrUnavailable)
	f.mend()
	login.saved(t)
	login.arrive()
	b.wantValues(t, store, map[any]any{"n": 1.5, "user": "ada", "cart": "full"})
	f.wantCount(1)
}

func TestR05ALogoutAfterARenewalThatFailedLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, step := range renewalSteps {
		f := newUnreliable(t, mongotest.Standalone(t))
		store := f.store(connectMongoLike())
		b := start(t, store, map[any]any{"n": 1.5})
		v := b.load(t, store)
		store.Regenerate(v.Session)
		f.fail(mongotest.Fail{Commands: []string{step.command}, Skip: step.after, CloseConnection: true})
		wantErr(t, v.save(), mongostore.ErrUnavailable)
		f.mend()
		v.w = httptest.NewRecorder()
		v.Options.MaxAge = -1
		v.saved(t)
		v.wantExpired(t)
		f.wantCount(0)
	}
}

func TestR13AWriteConcernErrorOfARenewalIsReturnedBesideItsCookie(t *testing.T) { // L4
	t.Parallel()
	for _, step := range renewalSteps {
		f := newUnreliable(t, mongotest.ReplicaSet(t))
		store := f.store(connectMongoLike())
		b := start(t, store, map[any]any{"n": 1.5})
		v := b.load(t, store)
		store.Regenerate(v.Session)
		f.fail(mongotest.Fail{
			Commands: []string{step.command}, Skip: step.after,
			WriteConcernError: bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"}},
		})
		wantErr(t, v.save(), mongostore.ErrUnavailable)
		f.mend()
		v.wantCookie(t)
		v.arrive()
		b.wantValues(t, store, map[any]any{"n": 1.5})
		f.wantCount(1)
	}
}

func TestR13ALostAnswerToARenewalIsKnownAgain(t *testing.T) {
	t.Parallel()
	for command, outcomes := range map[string]map[int]error{
		"insert": {1: mongostore.ErrUnavailable}, // which is not sent again, but under another id
		"update": {1: nil, 2: mongostore.ErrUnavailable},
	} {
		for lost, want := range outcomes {
			t.Run(fmt.Sprint(command, lost), func(t *testing.T) {
				t.Parallel()
				p, proxy := behindProxy(t)
				store := p.store(hashed())
				b := start(t, store, map[any]any{"n": 1.5})
				v := b.load(t, store)
				store.Regenerate(v.Session)
				proxy.DropReplies(command, lost)
				wantErr(t, v.save(), want)
				if want != nil {
					v.wantNoCookie(t)
					v.saved(t)
				}
				v.wantCookie(t)
				v.arrive()
				b.wantValues(t, store, map[any]any{"n": 1.5})
				p.wantCount(1)
			})
		}
	}
}

func TestR13ALoadActivatesASuccessorThatItsPredecessorNames(t *testing.T) {
	t.Parallel()
	f := newUnreliable(t, mongotest.Standalone(t))
	store := f.store(connectMongoLike())
	b := start(t, store, map[any]any{"n": 1.5})
	v := b.load(t, store)
	store.Regenerate(v.Session)
	f.fail(mongotest.Fail{Commands: []string{"update"}, Skip: 1, CloseConnection: true})
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	v.wantCookie(t)
	f.mend()
	f.wantCount(0)
	v.arrive()
	b.wantValues(t, store, map[any]any{"n": 1.5})
	f.wantCount(1)
	f.wantDeadline(v.ID, 14*24*time.Hour)
}

func TestR13WhatExpressWroteAfterALostAnswerIsNotOverwritten(t *testing.T) {
	t.Parallel()
	p, proxy := behindProxy(t)
	store := p.store(connectMongoLike())
	b := start(t, store, map[any]any{"n": 1.5})
	v := b.load(t, store)
	v.Values["mine"] = "m"
	proxy.DropReplies("update", 2)
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	edit(t, p.coll, v.ID, set("session", `{"n":1.5,"mine":"m","theirs":"t"}`)) // Express leaves version as it is
	v.Values["more"] = "m"
	v.saved(t)
	b.wantValues(t, store, map[any]any{"n": 1.5, "mine": "m", "theirs": "t", "more": "m"})
}

func TestR10ALogoutBetweenTheCommandsOfARenewalWins(t *testing.T) { // L2
	t.Parallel()
	ends := map[string]func(store *mongostore.Store, b *browser, id string) error{
		"Destroy": func(store *mongostore.Store, _ *browser, id string) error { return store.Destroy(t.Context(), id) },
		"DestroyByUser": func(store *mongostore.Store, _ *browser, _ string) error {
			_, err := store.DestroyByUser(t.Context(), "ada")
			return err
		},
		"logout": func(store *mongostore.Store, b *browser, _ string) error {
			v := (&browser{cookies: b.cookies}).load(t, store)
			v.Options.MaxAge = -1
			return v.save()
		},
	}
	for end, run := range ends {
		for i, step := range renewalSteps {
			t.Run(fmt.Sprint(end, " before command ", i+1), func(t *testing.T) {
				t.Parallel()
				logoutBetween(t, run, step.command, step.after)
			})
		}
	}
}

// logoutBetween ends a session before a command of its renewal is sent: the first of this name after so many.
func logoutBetween(t *testing.T, end func(*mongostore.Store, *browser, string) error, command string, after int) {
	t.Helper()
	server := mongotest.Shared(t)
	p := onMongoDB(t, server)
	cfg := connectMongoLike()
	plain := p.store(cfg)
	b := start(t, plain, map[any]any{"user": "ada", "n": 1.5})
	id := b.load(t, plain).ID
	meddled := server.Client(t, options.Client().SetMonitor(&event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName != command {
			return
		}
		if after--; after == -1 {
			wantErr(t, end(plain, b, id), nil)
		}
	}}))
	cfg.NoIndexes = true // New sends commands too
	store, err := mongostore.New(t.Context(), meddled.Database(p.coll.Database().Name()).Collection(p.coll.Name()), cfg, key)
	wantErr(t, err, nil)
	mongostore.SetClock(store, p.clock.Now)
	v := b.load(t, store)
	store.Regenerate(v.Session)
	wantErr(t, v.save(), mongostore.ErrNotFound)
	v.wantNoCookie(t)
	p.wantCount(0)
}

func TestR11OfTwoRenewalsOfOnePlainIDOneWins(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"user": "ada"})
		first, second := b.load(t, store), b.load(t, store)
		store.Regenerate(first.Session)
		store.Regenerate(second.Session)
		first.saved(t)
		wantErr(t, second.save(), mongostore.ErrNotFound)
		second.wantNoCookie(t)
		first.arrive()
		b.wantValues(t, store, map[any]any{"user": "ada"})
		p.wantCount(1)
	})
}

// express writes a session as Express with connect-mongo does: by _id, and nothing but these two fields.
func express(t *testing.T, coll *mongo.Collection, id string, session any, expires time.Time) {
	t.Helper()
	_, err := coll.UpdateOne(
		t.Context(), bson.D{{Key: "_id", Value: id}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "session", Value: session}, {Key: "expires", Value: expires}}}},
		options.UpdateOne().SetUpsert(true),
	)
	if err != nil {
		t.Fatal(err)
	}
}

func TestR09AWriteOfExpressIsNoticedThoughItLeavesTheVersionAlone(t *testing.T) {
	t.Parallel()
	for codec, c := range codecs() {
		for form, theirs := range map[string]any{
			"text":     `{"n":1.5,"theirs":"yes"}`,
			"document": bson.D{{Key: "n", Value: 1.5}, {Key: "theirs", Value: "yes"}},
		} {
			t.Run(codec+"/"+form, func(t *testing.T) {
				t.Parallel()
				p := onMongoDB(t, mongotest.Shared(t))
				cfg := connectMongoLike()
				cfg.PayloadCodec = c
				store := p.store(cfg)
				b := start(t, store, map[any]any{"n": 1.5})
				changed, unchanged, renewed := b.load(t, store), b.load(t, store), b.load(t, store)
				express(t, p.coll, changed.ID, theirs, p.clock.Now().Add(time.Hour))

				unchanged.saved(t)
				unchanged.wantNoCookie(t)
				b.wantValues(t, store, map[any]any{"n": 1.5, "theirs": "yes"})
				if got := p.expires(changed.ID); !got.Equal(p.clock.Now().Add(time.Hour)) {
					t.Errorf("an unchanged Save moved the deadline that Express set to %v", got)
				}
				changed.Values["mine"] = "too"
				changed.saved(t)
				b.wantValues(t, store, map[any]any{"n": 1.5, "theirs": "yes", "mine": "too"})
				store.Regenerate(renewed.Session)
				renewed.saved(t)
				renewed.arrive()
				b.wantValues(t, store, map[any]any{"n": 1.5, "theirs": "yes", "mine": "too"})
				p.wantCount(1)
			})
		}
	}
}

func TestADocumentAsExpressWritesItIsASession(t *testing.T) {
	t.Parallel()
	for form, session := range map[string]any{
		"text":     `{"views":2,"user":"ada"}`,
		"document": bson.D{{Key: "views", Value: 2.0}, {Key: "user", Value: "ada"}},
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			cfg := connectMongoLike()
			cfg.MaxLifetime = 24 * time.Hour
			store := p.store(cfg)
			const id = "Zx8_-sid-of-express"
			expires := p.clock.Now().Add(time.Hour)
			express(t, p.coll, id, session, expires)
			b := sending(signed(t, store, id))
			want := map[any]any{"views": 2.0, "user": "ada"}
			b.wantValues(t, store, want)

			touched := b.load(t, store)
			delete(touched.Values, "user") // the user field is absent: only this keeps it an unchanged session
			touched.Values["user"] = "ada"
			p.clock.Advance(time.Minute)
			touched.saved(t)
			doc := p.mustDocument(id)
			if doc["version"] == nil || doc["createdAt"] != bson.NewDateTimeFromTime(p.clock.Now()) || doc["user"] != "ada" || doc["token"] != nil {
				t.Errorf("after the first Save, which has to store the user, the record is %v", doc)
			}
			b.wantValues(t, store, want)

			changed := b.load(t, store)
			changed.Values["views"], want["views"] = 3.0, 3.0
			changed.saved(t)
			b.wantValues(t, store, want)

			renewed := b.load(t, store)
			store.Regenerate(renewed.Session)
			renewed.saved(t)
			renewed.arrive()
			b.wantValues(t, store, want)
			if doc := p.mustDocument(renewed.ID); doc["name"] != name {
				t.Errorf("the renewed record has the name %v", doc["name"])
			}
			p.wantCount(1)
		})
	}
}

func TestR12ADocumentOfExpressIsOnlyTouchedIfNothingChanged(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	cfg := connectMongoLike()
	cfg.UserID = nil
	store := p.store(cfg)
	express(t, p.coll, "sid", `{"n":1}`, p.clock.Now().Add(time.Hour))
	b := sending(signed(t, store, "sid"))
	v := b.load(t, store)
	p.clock.Advance(time.Minute)
	v.saved(t)
	v.wantCookie(t)
	doc := p.mustDocument("sid")
	if doc["version"] != nil || doc["session"] != `{"n":1}` {
		t.Errorf("the record is %v", doc)
	}
	if got, want := p.expires("sid"), p.clock.Now().Add(14*24*time.Hour); !got.Equal(want) {
		t.Errorf("it expires %v, want %v", got, want)
	}
	p.clock.Advance(15 * 24 * time.Hour)
	b.wantGone(t, store)
}

func TestR02ASessionWithASplitTokenStaysValidUnderPlainIDs(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		split := p.store(&mongostore.Config{PayloadCodec: mongostore.JSONCodec{}})
		b := start(t, split, map[any]any{"n": 1.5})
		store := p.store(cfg)
		v := b.load(t, store)
		wantErr(t, v.err, nil)
		id := v.ID
		v.Values["n"] = 2.5
		v.saved(t)
		b.wantValues(t, split, map[any]any{"n": 2.5})

		store.Regenerate(v.Session)
		v.saved(t)
		v.arrive()
		if v.ID != id || p.mustDocument(id)["token"] == nil {
			t.Errorf("the renewed session is %q with %v, want a split token as before", v.ID, p.mustDocument(id))
		}
		b.wantValues(t, split, map[any]any{"n": 2.5})
		v.Options.MaxAge = -1
		v.saved(t)
		p.wantCount(0)
	})
}

func TestR02APlainIDIsNotValidWithoutPlainIDs(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(connectMongoLike())
		b := start(t, store, map[any]any{"n": 1.5})
		id := b.load(t, store).ID
		before := p.mustDocument(id)
		split := p.store(nil)
		b.wantGone(t, split)
		v := b.load(t, split)
		v.Options.MaxAge = -1
		v.saved(t)
		v.wantExpired(t)
		p.wantDocument(id, before)
		b.wantValues(t, store, map[any]any{"n": 1.5})
	})
}

func TestR02ARecordWithATokenNeverAnswersToABareID(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		split := p.store(&mongostore.Config{PayloadCodec: mongostore.JSONCodec{}})
		b := start(t, split, map[any]any{"n": 1.5})
		id := b.load(t, split).ID
		before := p.mustDocument(id)
		store := p.store(connectMongoLike())
		bare := sending(signed(t, store, id))
		bare.wantGone(t, store)
		for _, maxAge := range []int{0, 60, -1} {
			v := bare.load(t, store)
			v.Options.MaxAge = maxAge
			v.saved(t)
			p.wantDocument(id, before)
		}
		b.wantValues(t, split, map[any]any{"n": 1.5})
	})
}

func TestR02ATokenOfAnotherShapeFitsNoCookie(t *testing.T) {
	t.Parallel()
	for what, token := range map[string]any{
		"null": nil, "empty": []byte{}, "text": strings.Repeat("x", 32), "short": make([]byte, 31), "a list": bson.A{},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			split := p.store(nil)
			b := start(t, split, map[any]any{"n": 1})
			id := b.load(t, split).ID
			replaceField(t, p.coll, id, "token", token)
			before := p.mustDocument(id)
			store := p.store(connectMongoLike())
			for _, visitor := range []*browser{b, sending(signed(t, store, id))} {
				visitor.wantGone(t, store)
				v := visitor.load(t, store)
				v.Options.MaxAge = -1
				v.saved(t)
				if what != "null" { // which a filter cannot tell from an absent one
					p.wantDocument(id, before)
				}
			}
		})
	}
}

func TestR02APlainRecordNeverAnswersToASecret(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(connectMongoLike())
		b := start(t, store, map[any]any{"n": 1.5})
		id := b.load(t, store).ID
		before := p.mustDocument(id)
		guessed := sending(signed(t, store, id+"."+strings.Repeat("A", 26)))
		guessed.wantGone(t, store)
		v := guessed.load(t, store)
		v.Options.MaxAge = -1
		v.saved(t)
		p.wantDocument(id, before)
	})
}

func TestR02AnUnknownPlainIDIsNeverAdopted(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		for _, id := range []string{"chosen", strings.Repeat("x", 2000), "a.b", "tab\t", "ä", "a b", ".", "a.", ".b", ""} {
			b := sending(signed(t, store, id))
			b.wantGone(t, store)
			v := b.load(t, store)
			v.Values["n"] = 1.5
			v.saved(t)
			if v.ID == id || v.ID == "" {
				t.Errorf("the session has the id %q", v.ID)
			}
		}
	})
}

func TestDestroyByUserKeepsASessionWithAPlainID(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		store := p.store(cfg)
		values := map[any]any{"user": "ada"}
		here, elsewhere := start(t, store, values), start(t, store, values)
		n, err := store.DestroyByUser(t.Context(), "ada", here.load(t, store).Session)
		if n != 1 || err != nil {
			t.Errorf("DestroyByUser: %d, %v", n, err)
		}
		here.wantValues(t, store, values)
		elsewhere.wantGone(t, store)
	})
}

func TestR21WithPlainIDsLogsEventsAndErrorsCarryOnlyAHash(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		log, seen := new(journal), new(audit)
		cfg.Logger, cfg.Observe = log.logger(), seen.observe
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": 1.5})
		v := b.load(t, store)
		id, storedID := v.ID, stored(t, store, v)
		late := b.load(t, store)
		p.clock.Advance(time.Hour)
		v.saved(t)
		v.Values["n"] = 2.5
		v.saved(t)
		wantErr(t, store.Touch(t.Context(), storedID), nil)
		wantErr(t, store.Update(t.Context(), storedID, func(map[any]any) error { return nil }), nil)
		wantErr(t, store.Destroy(t.Context(), storedID), nil)
		late.Values["n"] = 3.5
		lateErr := late.save()
		_, findErr := store.Find(t.Context(), storedID)
		told := fmt.Sprint(log.String(), seen.take(), lateErr, findErr,
			store.Touch(t.Context(), storedID), store.Update(t.Context(), storedID, nil))
		for what, secret := range map[string]string{"the id": id, "the stored id": storedID, "the cookie": b.cookies[0].Value} {
			if strings.Contains(told, secret) {
				t.Errorf("they tell %s: %s", what, told)
			}
		}
	})
}

func TestR21WithPlainIDsEveryEventOfASessionHasOneID(t *testing.T) {
	t.Parallel()
	eachPlain(t, func(t *testing.T, p *place, cfg *mongostore.Config) {
		seen := new(audit)
		cfg.Observe = seen.observe
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": 1.5})
		v := b.load(t, store)
		storedID := stored(t, store, v)
		p.clock.Advance(time.Hour)
		v.saved(t)
		v.Values["n"] = 2.5
		v.saved(t)
		wantErr(t, store.Touch(t.Context(), storedID), nil)
		wantErr(t, store.Destroy(t.Context(), storedID), nil)
		wantErr(t, store.Touch(t.Context(), storedID), mongostore.ErrNotFound)
		events := seen.take()
		for _, e := range events {
			if e.ID != events[0].ID || e.ID == "" {
				t.Errorf("%s has the id %q, %s has %q", e.Op, e.ID, events[0].Op, events[0].ID)
			}
		}
		if len(events) != 7 {
			t.Errorf("%d events: %v", len(events), events)
		}
	})
}

func TestLastModifiedIsWrittenWithTheDeadline(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	cfg := connectMongoLike()
	cfg.LastModified = true
	store := p.store(cfg)
	want := func(what, id string) {
		t.Helper()
		if doc := p.mustDocument(id); doc["lastModified"] != bson.NewDateTimeFromTime(p.clock.Now()) {
			t.Errorf("after %s it is %v, and the time is %v", what, doc["lastModified"], p.clock.Now())
		}
	}
	b := start(t, store, map[any]any{"n": 1.5})
	id := b.load(t, store).ID
	want("the first Save", id)
	for what, change := range map[string]func(v *visit){
		"a Save without a change": func(*visit) {},
		"a change":                func(v *visit) { v.Values["n"] = 2.5 },
		"Regenerate":              func(v *visit) { store.Regenerate(v.Session) },
	} {
		p.clock.Advance(time.Hour)
		v := b.load(t, store)
		change(v)
		v.saved(t)
		v.arrive()
		id = v.ID
		want(what, id)
	}
	p.clock.Advance(time.Hour)
	wantErr(t, store.Touch(t.Context(), id), nil)
	want("Touch", id)
	wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error { values["n"] = 3.5; return nil }), nil)
	want("Update at the same time", id)
	before := p.mustDocument(id)["lastModified"]
	p.clock.Advance(time.Hour)
	wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error { values["n"] = 4.5; return nil }), nil)
	if after := p.mustDocument(id)["lastModified"]; after != before {
		t.Errorf("Update, which leaves the deadline, moved it from %v to %v", before, after)
	}

	other := p.store(connectMongoLike())
	v := new(browser).load(t, other)
	v.Values["n"] = 1.5
	v.saved(t)
	if _, ok := p.mustDocument(v.ID)["lastModified"]; ok {
		t.Error("it is written without being asked for")
	}
}

// TestR20PlainIDsASessionOfMaxBytesCanBeChanged has beside the values all that a session may have: a user, labels.
func TestR20PlainIDsASessionOfMaxBytesCanBeChanged(t *testing.T) { // L5
	t.Parallel()
	const most = 7 << 20 // of MaxBytes under PlainIDs
	server := mongotest.Shared(t)
	for what, cfg := range map[string]*mongostore.Config{
		"gob":    {},
		"JSON":   {PayloadCodec: mongostore.JSONCodec{}},
		"sealed": {Sealer: mongostore.AESGCM(key)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cfg.PlainIDs, cfg.LastModified, cfg.MaxBytes, cfg.Timeout = true, true, most, time.Minute
			cfg.UserID = func(*sessions.Session) string { return strings.Repeat("u", 900) }
			cfg.Labels = func(*http.Request, *sessions.Session) map[string]string {
				labels := make(map[string]string)
				for i := range 16 {
					labels[fmt.Sprint("label", i)] = strings.Repeat("l", 512)
				}
				return labels
			}
			p := onMongoDB(t, server)
			store := p.store(cfg)
			const nearly = most - 100 // the rest is the codec's, and the key
			v := start(t, store, map[any]any{"a": strings.Repeat("a", nearly)}).load(t, store)
			v.Values["a"] = strings.Repeat("b", nearly)
			v.saved(t)
			if rec, _ := store.Record(v.Session); rec.Size < nearly {
				t.Errorf("the session takes %d bytes, want %d", rec.Size, most)
			}
			if changed := v.reload(store); changed.err != nil || changed.Values["a"] != v.Values["a"] {
				t.Errorf("the change is not stored: %v", changed.err)
			}
		})
	}
}
