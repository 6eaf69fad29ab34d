package mongostore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// wantNames fails unless err says all of this.
func wantNames(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, word := range append(words, "mongostore: ") {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: the error does not say %q: %v", what, word, err)
		}
	}
}

func TestR07BadOrMissingKeysFailInNew(t *testing.T) {
	t.Parallel()
	secret := "0123456789abcde"
	tests := map[string]struct {
		keys [][]byte
		says []string
	}{
		"no keys":                  {nil, []string{"no keys", "CookieCodecs"}},
		"a nil key":                {[][]byte{nil}, []string{"authentication key 1", "empty"}},
		"an empty key":             {[][]byte{{}}, []string{"authentication key 1", "empty"}},
		"an empty second key":      {[][]byte{key, nil, {}}, []string{"authentication key 2", "empty"}},
		"a 15-byte block key":      {[][]byte{key, []byte(secret)}, []string{"encryption key 1", "15 bytes"}},
		"a 33-byte block key":      {[][]byte{key, keyOf(33, 'b')}, []string{"encryption key 1", "33 bytes"}},
		"keys, not pairs":          {[][]byte{key, keyOf(64, 'o')}, []string{"encryption key 1", "64 bytes"}},
		"a bad block key, a good":  {[][]byte{key, []byte(secret), key, nil}, []string{"encryption key 1"}},
		"a good block key, a bad":  {[][]byte{key, nil, key, []byte(secret)}, []string{"encryption key 2"}},
		"an empty key with a pair": {[][]byte{nil, keyOf(32, 'b')}, []string{"authentication key 1"}},
	}
	coll := mongotest.Shared(t).Database(t).Collection("sessions")
	for what, test := range tests {
		_, err := mongostore.New(t.Context(), coll, nil, test.keys...)
		wantNames(t, what, err, test.says...)
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the key", what)
		}
		if len(test.keys) > 0 {
			_, err := mongostore.NewMemory(nil, test.keys...)
			wantNames(t, what+" in memory", err, test.says...)
		}
	}
}

// deaf is a codec whose cookies come back as something else.
type deaf struct{ securecookie.Codec }

func (deaf) Decode(_, _ string, dst any) error { *dst.(*[]byte) = []byte("what?"); return nil }

func TestR07CodecsThatDoNotWorkFailInNew(t *testing.T) {
	t.Parallel()
	good := securecookie.New(key, nil)
	tests := map[string]struct {
		codecs []securecookie.Codec
		says   string
	}{
		"nil":                   {[]securecookie.Codec{good, nil}, "CookieCodecs[1]"},
		"without a key":         {[]securecookie.Codec{securecookie.New(nil, nil)}, "codec 1"},
		"with a bad block key":  {[]securecookie.Codec{securecookie.New(key, keyOf(15, 'b')), good}, "codec 1"},
		"one that comes second": {[]securecookie.Codec{good, securecookie.New(key, keyOf(15, 'b'))}, "codec 2"},
		"for shorter cookies":   {[]securecookie.Codec{securecookie.New(key, nil).MaxLength(120)}, "codec 1"},
		"that alters values":    {[]securecookie.Codec{deaf{good}}, "codec 1"},
		"that cannot encode":    {[]securecookie.Codec{&fragile{Codec: good, broken: true}}, "broken"},
	}
	for what, test := range tests {
		_, err := mongostore.NewMemory(&mongostore.Config{CookieCodecs: test.codecs})
		wantNames(t, what, err, test.says)
	}
}

func TestR22AnErrorOfNewNamesTheFieldItsValueAndTheBound(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg  mongostore.Config
		says []string
	}{
		"TTL below zero":            {mongostore.Config{TTL: -time.Hour}, []string{"Config.TTL", "-1h0m0s", "1s", "87600h"}},
		"TTL below a second":        {mongostore.Config{TTL: time.Millisecond}, []string{"Config.TTL", "1ms", "1s"}},
		"TTL over ten years":        {mongostore.Config{TTL: 87601 * time.Hour}, []string{"Config.TTL", "87601h", "87600h"}},
		"MaxLifetime below zero":    {mongostore.Config{MaxLifetime: -1}, []string{"Config.MaxLifetime", "-1ns"}},
		"MaxLifetime below a sec":   {mongostore.Config{MaxLifetime: 1}, []string{"Config.MaxLifetime", "1ns", "a second"}},
		"MaxLifetime over ten":      {mongostore.Config{MaxLifetime: 87601 * time.Hour}, []string{"Config.MaxLifetime", "87601h", "87600h"}},
		"TouchAfter below zero":     {mongostore.Config{TouchAfter: -time.Second}, []string{"Config.TouchAfter", "-1s"}},
		"RemoveInterval below zero": {mongostore.Config{RemoveInterval: -time.Second}, []string{"Config.RemoveInterval", "-1s"}},
		"RemoveInterval too short":  {mongostore.Config{RemoveInterval: time.Millisecond}, []string{"Config.RemoveInterval", "1ms", "1s"}},
		"Timeout below zero":        {mongostore.Config{Timeout: -time.Second}, []string{"Config.Timeout", "-1s", "1ms"}},
		"Timeout too long":          {mongostore.Config{Timeout: 2 * time.Hour}, []string{"Config.Timeout", "2h", "1h"}},
		"AutoRemove unknown":        {mongostore.Config{AutoRemove: 3}, []string{"Config.AutoRemove", "3", "AutoRemoveDisabled"}},
		"AutoRemove below zero":     {mongostore.Config{AutoRemove: -1}, []string{"Config.AutoRemove", "-1", "AutoRemoveNative"}},
		"OnConflict unknown":        {mongostore.Config{OnConflict: 3}, []string{"Config.OnConflict", "3", "OnConflictFail"}},
		"OnConflict below zero":     {mongostore.Config{OnConflict: -1}, []string{"Config.OnConflict", "-1", "OnConflictMerge"}},
		"MaxBytes below zero":       {mongostore.Config{MaxBytes: -1}, []string{"Config.MaxBytes", "-1", "64"}},
		"MaxBytes over 15 MiB":      {mongostore.Config{MaxBytes: 15<<20 + 1}, []string{"Config.MaxBytes", "15728641", "15728640"}},
		"MaxBytes under PlainIDs":   {mongostore.Config{PlainIDs: true, MaxBytes: 7<<20 + 1}, []string{"Config.MaxBytes", "7340033", "7340032", "PlainIDs"}},
		"MaxBytes far too large":    {mongostore.Config{PlainIDs: true, MaxBytes: 16 << 20}, []string{"Config.MaxBytes", "16777216", "7340032", "PlainIDs"}},
		"WriteConcern w:0":          {mongostore.Config{WriteConcern: writeconcern.Unacknowledged()}, []string{"Config.WriteConcern", "w:0", "w:1"}},
		"keys and codecs": {
			mongostore.Config{CookieCodecs: []securecookie.Codec{securecookie.New(key, nil)}},
			[]string{"Config.CookieCodecs", "keys"},
		},
		"two at once": {mongostore.Config{TTL: -1, MaxBytes: -2}, []string{"Config.TTL", "-1ns", "Config.MaxBytes", "-2"}},
	}
	coll := mongotest.Shared(t).Database(t).Collection("sessions")
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := mongostore.NewMemory(&test.cfg, key)
			wantNames(t, "in memory", err, test.says...)
			store, err := mongostore.New(t.Context(), coll, &test.cfg, key)
			wantNames(t, "on MongoDB", err, test.says...)
			if store != nil {
				t.Error("a Store beside the error")
			}
		})
	}
}

func TestR22TheBoundsThemselvesAreAllowed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		const tenYears = 10 * 365 * 24 * time.Hour
		for _, cfg := range []mongostore.Config{
			{TTL: time.Second, MaxLifetime: time.Second, TouchAfter: 1, RemoveInterval: time.Second, Timeout: time.Hour, MaxBytes: 64},
			{TTL: tenYears, MaxLifetime: tenYears, TouchAfter: tenYears, RemoveInterval: tenYears, MaxBytes: 15 << 20},
			{PlainIDs: true, MaxBytes: 7 << 20},
			{AutoRemove: mongostore.AutoRemoveDisabled, OnConflict: mongostore.OnConflictFail, WriteConcern: writeconcern.W1()},
		} {
			if _, err := p.open(&cfg); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestR22ANilCollectionIsAnError(t *testing.T) {
	t.Parallel()
	_, err := mongostore.New(t.Context(), nil, nil, key)
	wantNames(t, "nil", err, "collection is nil")
}

func TestR22AnUnacknowledgedCollectionIsAnError(t *testing.T) {
	t.Parallel()
	unacknowledged := options.Collection().SetWriteConcern(writeconcern.Unacknowledged())
	server := mongotest.Shared(t)
	own, _ := watched(t, server) // FerretDB answers what must not be answered, and the client's next command reads that
	own.coll = mongotest.ForStore(t, own.coll).Clone(unacknowledged)
	_, err := own.open(nil)
	wantNames(t, "w:0", err, "w:0", "collection", "Config.WriteConcern")

	p := onMongoDB(t, server)
	p.coll = mongotest.ForStore(t, p.coll).Clone(unacknowledged)
	store := p.store(&mongostore.Config{WriteConcern: writeconcern.W1()})
	b := start(t, store, map[any]any{"n": 1})
	v := b.load(t, store)
	v.Values["n"] = 2
	v.saved(t)
	b.wantValues(t, store, map[any]any{"n": 2})
}

func TestNewCopiesItsConfig(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		cfg := &mongostore.Config{TTL: time.Hour, CookieCodecs: []securecookie.Codec{securecookie.New(key, nil)}}
		store := p.store(cfg)
		cfg.TTL, cfg.SkipEmpty, cfg.CookieCodecs[0] = 2*time.Hour, true, nil
		v := new(browser).load(t, store)
		v.Options.MaxAge = 0
		v.saved(t)
		v.wantCookie(t)
		p.wantDeadline(v.ID, time.Hour)
	})
}

func TestAZeroConfigIsNil(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		v := new(browser).load(t, p.store(new(mongostore.Config)))
		v.saved(t)
		if got := optionsOf(v.wantCookie(t)); got != *p.store(nil).Options {
			t.Errorf("the cookie has %+v", got)
		}
	})
}

func TestNewMemoryMakesARandomKey(t *testing.T) {
	t.Parallel()
	one, err := mongostore.NewMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := mongostore.NewMemory(&mongostore.Config{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, one, map[any]any{"n": 1})
	b.wantValues(t, one, map[any]any{"n": 1})
	wantErr(t, b.load(t, two).err, mongostore.ErrInvalidCookie)
	if one.Collection() != nil {
		t.Error("a store in memory has a collection")
	}
}

func TestNoIndexesStartsWhileMongoDBIsDown(t *testing.T) {
	t.Parallel()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(t.Context()) }()
	coll := client.Database("test").Collection("sessions")
	if _, err := mongostore.New(t.Context(), coll, nil, key); !errors.Is(err, mongostore.ErrUnavailable) {
		t.Errorf("New: %v, want ErrUnavailable", err)
	}
	store, err := mongostore.New(t.Context(), coll, &mongostore.Config{NoIndexes: true}, key)
	if err != nil {
		t.Fatal(err)
	}
	new(browser).load(t, store).wantNew(t)
	v := sending(signed(t, store, "a.b")).load(t, store)
	wantErr(t, v.err, mongostore.ErrUnavailable)
	if store.Collection().Name() != "sessions" {
		t.Errorf("the collection is %q", store.Collection().Name())
	}
}

func TestAutoRemoveHasNames(t *testing.T) {
	t.Parallel()
	for value, want := range map[mongostore.AutoRemove]string{
		mongostore.AutoRemoveNative: "Native", mongostore.AutoRemoveInterval: "Interval", mongostore.AutoRemoveDisabled: "Disabled",
		-1: "AutoRemove(-1)", 3: "AutoRemove(3)",
	} {
		if got := value.String(); got != want {
			t.Errorf("%d is %q, want %q", int(value), got, want)
		}
	}
}

func TestOnConflictHasNames(t *testing.T) {
	t.Parallel()
	for value, want := range map[mongostore.OnConflict]string{
		mongostore.OnConflictMerge: "Merge", mongostore.OnConflictOverwrite: "Overwrite", mongostore.OnConflictFail: "Fail",
		-1: "OnConflict(-1)", 3: "OnConflict(3)",
	} {
		if got := value.String(); got != want {
			t.Errorf("%d is %q, want %q", int(value), got, want)
		}
	}
}

func TestStoreIsAHandlersSessionStore(t *testing.T) {
	t.Parallel()
	store, err := mongostore.NewMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := new(browser).load(t, store)
	if v.Store() != store {
		t.Error("session.Store() is not the store") // echo reaches it so
	}
}
