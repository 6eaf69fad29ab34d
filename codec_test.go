package mongostore_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// known is a type of an application that it made known to gob, unknown one that it forgot.
type (
	known struct {
		Name string
		List []string
		Map  map[string]float64
		Next *known
	}
	unknown struct{ Name string }
)

// registered makes them known once, as an application does at its start.
var registered = sync.OnceFunc(func() {
	gob.Register(known{})
})

func TestGobKeepsKeysAndValuesOfAnyType(t *testing.T) {
	t.Parallel()
	registered()
	now := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		want := map[any]any{
			"": "", 1: "int", int64(1): "int64", true: "bool", 1.5: "float", "nil": nil, known{}.Name + "k": known{Name: "a", Next: &known{Name: "b"}},
			"bytes": []byte{0, 1}, "strings": []string{"a"}, "any": []any{1, "b", nil}, "nan": math.NaN(), "inf": math.Inf(-1),
			"map": map[string]any{"a.b": 1, "$c": map[string]any{}}, "uint": uint64(math.MaxUint64), "text": "\x00 ä \xff", "time": now,
		}
		start(t, store, want).wantValues(t, store, want)
	})
}

func TestR20ValuesThatCannotBeEncodedFailSaveAndLeaveTheRecord(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key, value any
		says       []string
	}{
		"unregistered":     {"profile", unknown{"s3cret"}, []string{`Values["profile"]`, "gob.Register(mongostore_test.unknown{})"}},
		"a func":           {"f", func() {}, []string{`Values["f"]`}},
		"a channel":        {"c", make(chan int), []string{`Values["c"]`}},
		"a nil pointer":    {"p", (*known)(nil), []string{`Values["p"]`}},
		"nested":           {"list", []any{1, unknown{"s3cret"}}, []string{`Values["list"]`}},
		"with a number":    {7, unknown{"s3cret"}, []string{"Values[7]"}},
		"the key itself":   {unknown{"s3cret"}, 1, []string{"mongostore_test.unknown"}},
		"no fields at all": {"hidden", struct{ hidden int }{1}, []string{`Values["hidden"]`, "exported"}},
	}
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 1})
		before := p.mustDocument(b.load(t, store).ID)
		p.clock.Advance(time.Hour)
		for what, test := range tests {
			for _, v := range []*visit{b.load(t, store), new(browser).load(t, store)} {
				v.Values["fine"], v.Values[test.key] = 1, test.value
				err := v.save()
				wantNames(t, what, err, append(test.says, "cannot be encoded")...)
				if err != nil && strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%s: the error holds the value: %v", what, err)
				}
				v.wantNoCookie(t)
				delete(v.Values, test.key)
				v.saved(t) // the next Save is not spoilt by it
				v.Options.MaxAge = -1
				if v.IsNew {
					v.saved(t)
				}
			}
			b.wantValues(t, store, map[any]any{"n": 1, "fine": 1})
		}
		_ = before
		p.wantCount(1)
	})
}

func TestR20AFailedEncodingLeavesTheRecordAsItWas(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{MaxBytes: 500})
		b := start(t, store, map[any]any{"n": 1})
		v := b.load(t, store)
		before := p.mustDocument(v.ID)
		p.clock.Advance(time.Hour)
		for _, value := range []any{unknown{}, strings.Repeat("x", 500)} {
			v.Values["x"] = value
			store.Regenerate(v.Session)
			if err := v.save(); err == nil {
				t.Errorf("Save of a %T: no error", value)
			}
			v.wantNoCookie(t)
			p.wantDocument(v.ID, before)
		}
	})
}

func TestR20ASessionThatIsTooLargeNamesItsLargestValue(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{MaxBytes: 2000})
		v := new(browser).load(t, store)
		v.Values["small"], v.Values["cart"], v.Values["mid"] = "x", strings.Repeat("s3cret", 300), strings.Repeat("y", 500)
		err := v.save()
		wantErr(t, err, mongostore.ErrTooLarge)
		wantNames(t, "too large", err, `Values["cart"]`, "Config.MaxBytes", "2000")
		if strings.Contains(err.Error(), "s3cret") {
			t.Error("the error holds the value")
		}
		v.wantNoCookie(t)
		p.wantCount(0)
	})
}

func TestMaxBytesIsTheLastSizeThatFits(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		v := new(browser).load(t, p.store(nil))
		v.Values["text"] = strings.Repeat("x", 200)
		v.saved(t)
		rec, _ := p.first.Record(v.Session)
		for limit, want := range map[int]error{rec.Size: nil, rec.Size - 1: mongostore.ErrTooLarge} {
			v := new(browser).load(t, p.store(&mongostore.Config{MaxBytes: limit}))
			v.Values["text"] = strings.Repeat("x", 200)
			wantErr(t, v.save(), want)
		}
	})
}

func TestASessionOfManyMegabytesIsKept(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{MaxBytes: 15 << 20})
		b := start(t, store, map[any]any{"blob": make([]byte, 15<<20-200)})
		if got := b.values(t, store)["blob"]; len(got.([]byte)) != 15<<20-200 {
			t.Errorf("%d bytes came back", len(got.([]byte)))
		}
	})
}

// unhashable is what gob makes of a map with a key that cannot be one: it decodes to a slice.
func unhashable(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(map[any]any{&[]int{1}: 1}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestR01ADamagedPayloadIsErrDecodeAndNothingPanics(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	registered()
	store := p.store(nil)
	b := start(t, store, map[any]any{"user": "ann", "known": known{Name: "x"}})
	id := b.load(t, store).ID
	whole := p.mustDocument(id)["session"].(bson.Binary).Data

	damaged := []any{
		"text",
		bson.A{},
		nil, 1,
		bson.Binary{},
		bson.Binary{Subtype: 2, Data: whole},
		bson.Binary{Subtype: 0x80, Data: whole},
		bson.Binary{Data: unhashable(t)},
		bson.Binary{Data: gobOf(t, map[string]int{"a": 1})},
		bson.Binary{Data: gobOf(t, 1)},
		bson.Binary{Data: bytes.Repeat([]byte{0xff}, 64)},
		bson.Binary{Data: bytes.Repeat([]byte{0x7f}, 64)},
	}
	for cut := 0; cut < len(whole); cut += 7 {
		damaged = append(damaged, bson.Binary{Data: whole[:cut]})
	}
	damaged = append(damaged, bson.Binary{Data: bytes.ReplaceAll(whole, []byte("mongostore_test.known"), []byte("mongostore_test.knowm"))})
	for _, payload := range damaged {
		replaceField(t, p.coll, id, "session", payload)
		v := b.load(t, store)
		if !errors.Is(v.err, mongostore.ErrDecode) || !v.IsNew || v.ID != "" || v.Values == nil || len(v.Values) > 0 {
			t.Errorf("%.40v: session %q, values %v, error %v; want ErrDecode beside a new one", payload, v.ID, v.Values, v.err)
		}
	}
	for i := 0; i < len(whole); i += 3 {
		altered := bytes.Clone(whole)
		altered[i] ^= 0x55
		replaceField(t, p.coll, id, "session", bson.Binary{Data: altered})
		if v := b.load(t, store); v.err != nil && !errors.Is(v.err, mongostore.ErrDecode) || v.Values == nil {
			t.Errorf("byte %d altered: values %v, error %v", i, v.Values, v.err)
		}
	}
	if _, err := p.coll.UpdateOne(t.Context(), bson.M{"_id": id}, bson.M{"$unset": bson.M{"session": 1}}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, b.load(t, store).err, mongostore.ErrDecode)
}

func gobOf(t *testing.T, value any) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(value); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// buggy is a codec of an application that has a bug.
type buggy struct {
	mongostore.GobCodec
	encode func(*sessions.Session) (bson.RawValue, error)
	decode func(*sessions.Session) error
}

func (f buggy) Encode(session *sessions.Session) (bson.RawValue, error) {
	if f.encode != nil {
		return f.encode(session)
	}
	return f.GobCodec.Encode(session)
}

func (f buggy) Decode(value bson.RawValue, session *sessions.Session) error {
	if f.decode != nil {
		return f.decode(session)
	}
	return f.GobCodec.Decode(value, session)
}

func TestR01ACodecThatPanicsOrLeavesHalfASessionDoesNoHarm(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"n": 1})
		for what, decode := range map[string]func(*sessions.Session) error{
			"panics": func(s *sessions.Session) error { s.Values["half"] = 1; s.Options.MaxAge = -1; panic("s3cret") },
			"fails":  func(s *sessions.Session) error { s.Values["half"] = 1; s.Options.Path = "/x"; return errors.New("no") },
			"no map": func(s *sessions.Session) error { s.Values = nil; return errors.New("no") },
		} {
			store := p.store(&mongostore.Config{PayloadCodec: buggy{decode: decode}})
			v := b.load(t, store)
			if !errors.Is(v.err, mongostore.ErrDecode) || v.Values == nil || len(v.Values) > 0 || *v.Options != *store.Options {
				t.Errorf("%s: values %v, options %+v, error %v", what, v.Values, v.Options, v.err)
			}
			if v.err != nil && strings.Contains(v.err.Error(), "s3cret") {
				t.Errorf("%s: the error holds what the codec panicked with", what)
			}
		}
		v := b.load(t, p.store(&mongostore.Config{PayloadCodec: buggy{decode: func(s *sessions.Session) error { s.Values = nil; return nil }}}))
		if v.err != nil || v.Values == nil {
			t.Errorf("a codec that leaves no values: values %v, error %v", v.Values, v.err)
		}
	})
}

func TestR20ACodecThatMakesInvalidBSONFailsSave(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		for _, value := range []bson.RawValue{{}, {Type: bson.TypeString, Value: []byte{9, 0, 0, 0, 'a'}}, {Type: 99}} {
			codec := buggy{encode: func(*sessions.Session) (bson.RawValue, error) { return value, nil }}
			v := new(browser).load(t, p.store(&mongostore.Config{PayloadCodec: codec}))
			wantNames(t, "invalid BSON", v.save(), "Config.PayloadCodec", "buggy")
			v.wantNoCookie(t)
		}
		p.wantCount(0)
	})
}

func TestACodecMaySetOptions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		codec := buggy{decode: func(s *sessions.Session) error { s.Values["n"], s.Options.Path = 1, "/app"; return nil }}
		store := p.store(&mongostore.Config{PayloadCodec: codec})
		b := start(t, store, map[any]any{"n": 1})
		if v := b.load(t, store); v.Options.Path != "/app" {
			t.Errorf("Path is %q, want what the codec set", v.Options.Path)
		}
		if store.Options.Path != "/" {
			t.Errorf("the store's Path became %q", store.Options.Path)
		}
	})
}
