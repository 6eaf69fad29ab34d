package mongostore_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// hush is a value that must be in no error.
const hush = "5ecret-value"

// sentinels are all errors of the package.
var sentinels = []error{
	mongostore.ErrNotFound, mongostore.ErrInvalidCookie, mongostore.ErrUnavailable,
	mongostore.ErrDecode, mongostore.ErrConflict, mongostore.ErrTooLarge,
}

// wantOnly fails unless err is this sentinel and no other; nil means none of them.
func wantOnly(t *testing.T, what string, err, want error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, sentinel := range sentinels {
		if is := errors.Is(err, sentinel); is != errors.Is(want, sentinel) {
			t.Errorf("%s: errors.Is(%v, %v) is %v", what, err, sentinel, is)
		}
	}
}

// wantSilent fails if an error tells a secret: a session's values, a cookie, what a cookie carries.
func wantSilent(t *testing.T, what string, err error, store *mongostore.Store, visits ...*visit) {
	t.Helper()
	secrets := []string{hush, base64.StdEncoding.EncodeToString([]byte(hush))}
	for _, v := range visits {
		for _, c := range append(v.r.CookiesNamed(name), cookiesOf(v.w)...) {
			if c.Value == "" {
				continue
			}
			secrets = append(secrets, c.Value)
			var text []byte
			if store.Codecs[0].Decode(name, c.Value, &text) == nil {
				_, secret, _ := strings.Cut(string(text), ".")
				secrets = append(secrets, secret)
			}
		}
	}
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err)} {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the error tells %q: %s", what, secret, text)
			}
		}
	}
}

func TestR21EveryErrorIsOneSentinelAndHoldsNoSecret(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg     mongostore.Config
		want    error
		provoke func(t *testing.T, p *place, store *mongostore.Store, b *browser) (*visit, error)
	}{
		"an altered cookie": {want: mongostore.ErrInvalidCookie, provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v := sending(strings.Map(swapCase, b.cookies[0].Value)).load(t, store)
			return v, v.err
		}},
		"a long cookie": {want: mongostore.ErrInvalidCookie, provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v := sending(b.cookies[0].Value+strings.Repeat(hush, 500)).load(t, store)
			return v, v.err
		}},
		"not even base64": {want: mongostore.ErrInvalidCookie, provoke: func(t *testing.T, _ *place, store *mongostore.Store, _ *browser) (*visit, error) {
			v := sending(hush+"%!").load(t, store)
			return v, v.err
		}},
		"a codec that cannot read": {
			cfg: mongostore.Config{PayloadCodec: picky{}}, want: mongostore.ErrDecode,
			provoke: func(t *testing.T, _ *place, store *mongostore.Store, _ *browser) (*visit, error) {
				v := start(t, store, map[any]any{"bad": hush}).load(t, store)
				return v, v.err
			},
		},
		"a late Save": {want: mongostore.ErrNotFound, provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v, logout := b.load(t, store), b.load(t, store)
			logout.Options.MaxAge = -1
			logout.saved(t)
			v.Values["n"] = hush
			return v, v.save()
		}},
		"a Save after a renewal": {want: mongostore.ErrNotFound, provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v, login := b.load(t, store), b.load(t, store)
			store.Regenerate(login.Session)
			login.saved(t)
			v.Values["n"] = hush + "2"
			return v, v.save()
		}},
		"a conflict": {
			cfg: mongostore.Config{OnConflict: mongostore.OnConflictFail}, want: mongostore.ErrConflict,
			provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
				v, other := b.load(t, store), b.load(t, store)
				other.Values["n"] = hush + "1"
				other.saved(t)
				v.Values["n"] = hush + "2"
				return v, v.save()
			},
		},
		"too large": {
			cfg: mongostore.Config{MaxBytes: 500}, want: mongostore.ErrTooLarge,
			provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
				v := b.load(t, store)
				v.Values["n"] = strings.Repeat(hush, 100)
				return v, v.save()
			},
		},
		"an unregistered type": {provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v := b.load(t, store)
			v.Values["n"] = unknown{hush}
			return v, v.save()
		}},
		"a key of an unregistered type": {provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v := b.load(t, store)
			v.Values[unknown{hush}] = 1
			return v, v.save()
		}},
		"another ID": {provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v := b.load(t, store)
			v.ID = "mine"
			return v, v.save()
		}},
		"a copy": {provoke: func(t *testing.T, _ *place, store *mongostore.Store, b *browser) (*visit, error) {
			v := b.load(t, store)
			clone := *v.Session
			v.Session = &clone
			return v, v.save()
		}},
		"a cookie that cannot be encoded": {provoke: func(t *testing.T, _ *place, store *mongostore.Store, _ *browser) (*visit, error) {
			v := new(browser).load(t, store)
			store.Codecs = []securecookie.Codec{securecookie.New(key, nil).MaxLength(5)}
			v.Values["n"] = hush
			return v, v.save()
		}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				store := p.store(&test.cfg)
				b := start(t, store, map[any]any{"user": hush})
				v, err := test.provoke(t, p, store, b)
				wantOnly(t, what, err, test.want)
				wantSilent(t, what, err, store, v)
				wantNames(t, what, err)
			})
		})
	}
}

func TestR21TheDriversErrorsStayInTheChain(t *testing.T) {
	t.Parallel()
	p := onBlip(t)
	b := start(t, p.sound, map[any]any{"user": hush})
	v := b.load(t, p.flaky)
	v.Values["n"] = hush

	mongostore.SetTimeout(p.flaky, scant)
	p.proxy.DropReplies("update", 1<<30)
	err := v.save()
	wantOnly(t, "lost answers", err, mongostore.ErrUnavailable)
	wantSilent(t, "lost answers", err, p.flaky, v)
	var command mongo.CommandError // on a replica set, the driver repeats the command until it finds no server in time
	if !mongo.IsTimeout(err) && (!mongo.IsNetworkError(err) || !errors.As(err, &command)) {
		t.Errorf("a network error or timeout is not one any more: %v", err)
	}

	p.proxy.Cut()
	for what, err := range map[string]error{"load": b.load(t, p.flaky).err, "Save": v.save()} {
		wantOnly(t, what, err, mongostore.ErrUnavailable)
		wantSilent(t, what, err, p.flaky, v)
		cleared := strings.Contains(err.Error(), "was cleared because another operation failed") // the driver has no predicate for it
		if !mongo.IsTimeout(err) && !mongo.IsNetworkError(err) && !cleared {
			t.Errorf("%s: neither mongo.IsTimeout nor IsNetworkError: %v", what, err)
		}
	}
	if _, err := p.flaky.Count(t.Context()); !errors.Is(err, mongostore.ErrUnavailable) {
		t.Errorf("Count: %v", err)
	}
	if err := p.flaky.Destroy(t.Context(), v.ID); !errors.Is(err, mongostore.ErrUnavailable) {
		t.Errorf("Destroy: %v", err)
	}
	if _, err := p.flaky.RemoveExpired(t.Context()); !errors.Is(err, mongostore.ErrUnavailable) {
		t.Errorf("RemoveExpired: %v", err)
	}
}

// plain stores one value as text, which a server can quote.
type plain struct{}

func (plain) Encode(session *sessions.Session) (bson.RawValue, error) {
	kind, data, err := bson.MarshalValue(fmt.Sprint(session.Values["n"]))
	return bson.RawValue{Type: kind, Value: data}, err
}

func (plain) Decode(value bson.RawValue, session *sessions.Session) error {
	session.Values["n"] = value.StringValue()
	return nil
}

func TestR21AServerThatQuotesTheRecordIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := mongotest.Shared(t)
	db := server.Database(t)
	rules := bson.M{"$jsonSchema": bson.M{"properties": bson.M{
		"session": bson.M{"maxLength": 3}, "name": bson.M{"bsonType": "string"},
	}}}
	err := db.CreateCollection(t.Context(), "sessions", options.CreateCollection().SetValidator(rules))
	const notImplemented = 238
	if slices.Contains(mongo.ErrorCodes(err), notImplemented) {
		t.Skip("the server has no validators")
	}
	wantErr(t, err, nil)
	p := &place{t: t, clock: newClock(), coll: db.Collection("sessions")}
	store := p.store(&mongostore.Config{PayloadCodec: plain{}})
	b := start(t, store, map[any]any{"n": "ok"})
	changed, created := b.load(t, store), new(browser).load(t, store)
	for what, v := range map[string]*visit{"update": changed, "insert": created} {
		v.Values["n"] = hush
		err := v.save()
		wantOnly(t, what, err, mongostore.ErrUnavailable)
		wantSilent(t, what, err, store, v)
		v.wantNoCookie(t)
	}
	b.wantValues(t, store, map[any]any{"n": "ok"})
}

func TestAUniqueIndexThatIsInTheWayIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Standalone(t)) // FerretDB answers another error
	store := p.store(&mongostore.Config{UserID: userID, Timeout: 10 * time.Second, NoIndexes: true})
	one := mongo.IndexModel{Keys: bson.D{{Key: "user", Value: 1}}, Options: options.Index().SetUnique(true).SetSparse(true)}
	if _, err := p.coll.Indexes().CreateOne(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	start(t, store, map[any]any{"user": "ann"})
	v := new(browser).load(t, store)
	v.Values["user"] = "ann"
	var err error
	mongotest.NewYardstick(t).Within(t, "Save", 0, func() { err = v.save() })
	wantOnly(t, "insert", err, mongostore.ErrUnavailable)
	wantNames(t, "insert", err, "unique index")
	v.wantNoCookie(t)

	v = start(t, store, map[any]any{"user": "bob"}).load(t, store)
	v.Values["user"] = "ann"
	err = v.save()
	wantOnly(t, "update", err, mongostore.ErrUnavailable)
	if !mongo.IsDuplicateKeyError(err) || strings.Contains(err.Error(), "ann") {
		t.Errorf("Save: %v, want the server's duplicate key without its value", err)
	}
}

func TestAUniqueIndexThatIsInTheWayIsAnErrorAtOnceAfterALostInsertToo(t *testing.T) {
	t.Parallel()
	l := onLossy(t)
	one := mongo.IndexModel{Keys: bson.D{{Key: "labels.device", Value: 1}}, Options: options.Index().SetUnique(true).SetSparse(true)}
	if _, err := l.coll.Indexes().CreateOne(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	store := l.place.store(&mongostore.Config{
		Timeout: ample, Labels: func(*http.Request, *sessions.Session) map[string]string { return map[string]string{"device": "x"} },
	})
	start(t, store, map[any]any{"n": 0})
	v := new(browser).load(t, store)
	v.Values["n"] = 1
	l.proxy.LoseInsert()
	wantErr(t, v.save(), mongostore.ErrUnavailable)
	var err error
	mongotest.NewYardstick(t).Within(t, "Save", scant, func() { err = v.save() })
	wantOnly(t, "insert", err, mongostore.ErrUnavailable)
	wantNames(t, "insert", err, "unique index")
	v.wantNoCookie(t)
}

func TestR21AnErrorOfTheRegistrysSaveIsTextButSessionSaveKeepsTheSentinel(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{MaxBytes: 64})
		v := new(browser).load(t, store)
		v.Values["n"] = strings.Repeat(hush, 100)
		if err := sessions.Save(v.r, httptest.NewRecorder()); err == nil || strings.Contains(err.Error(), hush) {
			t.Errorf("sessions.Save: %v", err)
		}
		wantOnly(t, "session.Save", v.save(), mongostore.ErrTooLarge)
	})
}
