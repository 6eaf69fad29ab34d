package mongostore_test

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// codecs are those of the package, and one as an application makes it.
func codecs() map[string]mongostore.Codec {
	return map[string]mongostore.Codec{
		"gob":   mongostore.GobCodec{},
		"json":  mongostore.JSONCodec{},
		"bson":  mongostore.BSONCodec{},
		"bytes": mongostore.BytesCodec(json.Marshal, json.Unmarshal),
	}
}

// eachCodec runs a test with every codec.
func eachCodec(t *testing.T, test func(t *testing.T, p *place, codec string, cfg *mongostore.Config)) {
	t.Helper()
	registered()
	for name, codec := range codecs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				test(t, p, name, &mongostore.Config{PayloadCodec: codec, UserID: userID})
			})
		})
	}
}

// goods is a value of an application.
type goods struct {
	Name  string  `json:"title"`
	Price float64 `json:"price"`
	Tags  []string
}

// eachValue stores the given values, one key each, and compares what comes back. It is on a mongod, since FerretDB
// lacks some types and takes no dot in a key.
func eachValue(t *testing.T, codec mongostore.Codec, cases map[string][2]any) {
	t.Helper()
	test := func(t *testing.T, p *place) {
		t.Helper()
		store := p.store(&mongostore.Config{PayloadCodec: codec})
		given, want := make(map[any]any), make(map[any]any)
		for key, value := range cases {
			given[key], want[key] = value[0], value[1]
		}
		got := start(t, store, given).values(t, store)
		for key := range want {
			if !values.Equal(got[key], want[key]) {
				t.Errorf("%s: a %T comes back as %#v, want %#v", key, given[key], got[key], want[key])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d values came back of %d", len(got), len(want))
		}
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, &place{t: t, clock: newClock()})
	})
	t.Run("mongod", func(t *testing.T) {
		t.Parallel()
		test(t, onMongoDB(t, mongotest.Standalone(t)))
	})
}

func TestJSONGivesBackWhatEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	eachValue(t, mongostore.JSONCodec{}, map[string][2]any{
		"":         {"", ""},
		"text":     {"ä\u2028\x00<&>\"\\", "ä\u2028\x00<&>\"\\"},
		"a.b":      {true, true},
		"$key":     {false, false},
		"key\x00":  {nil, nil},
		"int":      {-7, -7.0},
		"float":    {1.5, 1.5},
		"tiny":     {5e-324, 5e-324},
		"list":     {[]any{1, "b", nil, []any{}}, []any{1.0, "b", nil, []any{}}},
		"strings":  {[]string{"a", "b"}, []any{"a", "b"}},
		"no list":  {[]string(nil), nil},
		"map":      {map[string]any{"a": map[string]int{"b": 1}}, map[string]any{"a": map[string]any{"b": 1.0}}},
		"bytes":    {[]byte{0, 255}, "AP8="},
		"time":     {at, "2026-02-03T04:05:06.000000007+01:00"},
		"struct":   {goods{"tea", 2.5, nil}, map[string]any{"title": "tea", "price": 2.5, "Tags": nil}},
		"pointer":  {&goods{Name: "tea"}, map[string]any{"title": "tea", "price": 0.0, "Tags": nil}},
		"2^53":     {1 << 53, float64(1 << 53)},
		"2^53+1":   {1<<53 + 1, json.Number("9007199254740993")},
		"-2^53-1":  {-1<<53 - 1, json.Number("-9007199254740993")},
		"2^60":     {1 << 60, json.Number("1152921504606846976")},
		"maxint":   {math.MaxInt64, json.Number("9223372036854775807")},
		"maxuint":  {uint64(math.MaxUint64), json.Number("18446744073709551615")},
		"inside":   {[]any{map[string]any{"id": 1<<53 + 1}}, []any{map[string]any{"id": json.Number("9007199254740993")}}},
		"a number": {json.Number("12"), 12.0},
	})
}

func TestBSONGivesBackGoTypes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 3, 4, 5, 6, 7_008_009, time.FixedZone("", 3600))
	id := bson.NewObjectID()
	eachValue(t, mongostore.BSONCodec{}, map[string][2]any{
		"":         {"", ""},
		"text":     {"ä\x00<", "ä\x00<"},
		"a.b":      {true, true},
		"$key":     {false, false},
		"nil":      {nil, nil},
		"int":      {-7, -7},
		"int32":    {int32(7), 7},
		"int64":    {int64(7), 7},
		"uint8":    {uint8(7), 7},
		"maxint":   {math.MaxInt64, math.MaxInt64},
		"minint":   {math.MinInt64, math.MinInt64},
		"float":    {1.0, 1.0},
		"float32":  {float32(1.5), 1.5},
		"nan":      {math.NaN(), math.NaN()},
		"list":     {[]any{1, "b", nil, []any{}}, []any{1, "b", nil, []any{}}},
		"strings":  {[]string{"a", "b"}, []any{"a", "b"}},
		"map":      {map[string]any{"a": map[string]int{"b": 1}}, map[string]any{"a": map[string]any{"b": 1}}},
		"document": {bson.D{{Key: "a", Value: bson.A{1}}}, map[string]any{"a": []any{1}}},
		"bytes":    {[]byte{0, 255}, []byte{0, 255}},
		"no bytes": {[]byte{}, []byte{}},
		"subtype":  {bson.Binary{Subtype: 4, Data: make([]byte, 16)}, bson.Binary{Subtype: 4, Data: make([]byte, 16)}},
		"time":     {at, time.Date(2026, 2, 3, 3, 5, 6, 7_000_000, time.UTC)},
		"struct":   {struct{ Name string }{"tea"}, map[string]any{"name": "tea"}},
		"objectid": {id, id},
		"decimal":  {bson.NewDecimal128(1, 2), bson.NewDecimal128(1, 2)},
		"a number": {json.Number("9007199254740993"), 9007199254740993},
	})
}

func TestBytesGiveBackWhatTheirFunctionsDo(t *testing.T) {
	t.Parallel()
	eachValue(t, codecs()["bytes"], map[string][2]any{
		"text": {"ä", "ä"},
		"int":  {1, 1.0},
		"list": {[]any{"a", nil}, []any{"a", nil}},
		"map":  {map[string]any{"a": 1.5}, map[string]any{"a": 1.5}},
	})
}

func TestAnEmptySessionComesBackEmpty(t *testing.T) {
	t.Parallel()
	eachCodec(t, func(t *testing.T, p *place, _ string, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, nil)
		v := b.load(t, store)
		if v.err != nil || v.IsNew || v.Values == nil || len(v.Values) > 0 {
			t.Errorf("values %#v, error %v", v.Values, v.err)
		}
	})
}

func TestThePayloadsTypeTellsItsEncoding(t *testing.T) {
	t.Parallel()
	eachCodec(t, func(t *testing.T, p *place, codec string, cfg *mongostore.Config) {
		store := p.store(cfg)
		id := start(t, store, map[any]any{"user": "ada"}).load(t, store).ID
		raw, _ := mongostore.Document(store, id)
		payload := raw.Lookup("session")
		want := map[string]bson.Type{"gob": bson.TypeBinary, "bytes": bson.TypeBinary, "json": bson.TypeString, "bson": bson.TypeEmbeddedDocument}
		if payload.Type != want[codec] {
			t.Errorf("it is a %v, want a %v", payload.Type, want[codec])
		}
		if subtype, _, ok := payload.BinaryOK(); ok && subtype != 0 {
			t.Errorf("the binary's subtype is %d, want 0", subtype)
		}
	})
}

func TestMongoDBCanQueryWhatBSONCodecStores(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(&mongostore.Config{PayloadCodec: mongostore.BSONCodec{}})
	for _, total := range []float64{50, 150} {
		start(t, store, map[any]any{"cart": map[string]any{"total": total, "items": []any{"tea"}}})
	}
	for what, test := range map[string]struct {
		filter bson.D
		want   int64
	}{
		"more than 100": {bson.D{{Key: "session.cart.total", Value: bson.D{{Key: "$gt", Value: 100}}}}, 1},
		"with tea":      {bson.D{{Key: "session.cart.items", Value: "tea"}}, 2},
	} {
		if n, err := p.coll.CountDocuments(t.Context(), test.filter); n != test.want || err != nil {
			t.Errorf("%s: %d, %v; want %d", what, n, err, test.want)
		}
	}
}

func TestR20CodecsThatTakeStringKeysOnlyNameTheOneThatIsNot(t *testing.T) {
	t.Parallel()
	for codec, c := range codecs() {
		if codec == "gob" {
			continue
		}
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				store := p.store(&mongostore.Config{PayloadCodec: c})
				b := start(t, store, map[any]any{"n": "1"})
				before := p.mustDocument(b.load(t, store).ID)
				for says, key := range map[string]any{"Values[7]": 7, "Values[true]": true, "mongostore_test.known": known{Name: "s3cret"}.Map == nil} {
					v := b.load(t, store)
					if says == "mongostore_test.known" {
						key = struct{ mongostore.GobCodec }{}
						says = "GobCodec"
					}
					v.Values[key] = "s3cret"
					err := v.save()
					wantNames(t, codec, err, says, "string", "GobCodec")
					if err != nil && strings.Contains(err.Error(), "s3cret") {
						t.Errorf("the error holds the value: %v", err)
					}
					v.wantNoCookie(t)
					p.wantDocument(v.ID, before)
				}
			})
		})
	}
}

func TestR20AValueThatCannotBeEncodedIsNamedByEachCodec(t *testing.T) {
	t.Parallel()
	eachCodec(t, func(t *testing.T, p *place, codec string, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "1"})
		before := p.mustDocument(b.load(t, store).ID)
		bad := map[string]any{"channel": make(chan int), "inside": []any{map[string]any{"f": func() {}}}}
		switch codec {
		case "json", "bytes":
			bad["nan"] = math.NaN()
		case "bson":
			bad["zero\x00byte"], bad["too big"] = "x", uint64(math.MaxUint64)
			bad["nested"] = map[string]any{"zero\x00byte": 1}
		}
		for key, value := range bad {
			v := b.load(t, store)
			v.Values["fine"], v.Values[key] = "1", value
			wantNames(t, codec, v.save(), fmt.Sprintf("Values[%#v]", key), "cannot be encoded")
			v.wantNoCookie(t)
			p.wantDocument(v.ID, before)
		}
	})
}

func TestR20ASessionOfTwoMebibytesIsTooLargeForEachCodec(t *testing.T) {
	t.Parallel()
	eachCodec(t, func(t *testing.T, p *place, codec string, cfg *mongostore.Config) {
		cfg.Sealer = mongostore.AESGCM(oldSeal)
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "1"})
		before := p.mustDocument(b.load(t, store).ID)
		v := b.load(t, store)
		v.Values["blob"], v.Values["small"] = strings.Repeat("x", 2<<20), "y"
		err := v.save()
		wantErr(t, err, mongostore.ErrTooLarge)
		wantNames(t, codec, err, `Values["blob"]`, "Config.MaxBytes", "1048576")
		if len(err.Error()) > 500 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
		v.wantNoCookie(t)
		p.wantDocument(v.ID, before)
	})
}

func TestR20ACodecThatFailsFailsTheSave(t *testing.T) {
	t.Parallel()
	ours := errors.New("our codec is out of order")
	for what, test := range map[string]struct {
		encode func(*sessions.Session) (bson.RawValue, error)
		is     error
		says   string
	}{
		"an error":     {func(*sessions.Session) (bson.RawValue, error) { return bson.RawValue{}, ours }, ours, "out of order"},
		"a panic":      {func(*sessions.Session) (bson.RawValue, error) { panic("s3cret") }, nil, "panic"},
		"no value":     {func(*sessions.Session) (bson.RawValue, error) { return bson.RawValue{}, nil }, nil, "buggy"},
		"sealed":       {func(*sessions.Session) (bson.RawValue, error) { return rawBinary(0x80), nil }, nil, "0x80"},
		"unknown type": {func(*sessions.Session) (bson.RawValue, error) { return bson.RawValue{Type: 77, Value: []byte{1}}, nil }, nil, "buggy"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				b := start(t, p.store(nil), map[any]any{"n": 1})
				before := p.mustDocument(b.load(t, p.first).ID)
				store := p.store(&mongostore.Config{PayloadCodec: buggy{encode: test.encode}, Sealer: mongostore.AESGCM(oldSeal), AcceptUnsealed: true})
				v := b.load(t, store)
				v.Values["n"] = 2
				err := v.save()
				wantNames(t, what, err, test.says)
				if test.is != nil && !errors.Is(err, test.is) || err != nil && strings.Contains(err.Error(), "s3cret") {
					t.Errorf("error %v", err)
				}
				v.wantNoCookie(t)
				p.wantDocument(v.ID, before)
			})
		})
	}
}

func rawBinary(subtype byte) bson.RawValue {
	return bson.RawValue{Type: bson.TypeBinary, Value: []byte{1, 0, 0, 0, subtype, 'x'}}
}

func TestR20ABytesCodecWithoutBothFunctionsSaysSo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		for _, codec := range []mongostore.Codec{mongostore.BytesCodec(nil, json.Unmarshal), mongostore.BytesCodec(json.Marshal, nil)} {
			v := new(browser).load(t, p.store(&mongostore.Config{PayloadCodec: codec}))
			wantNames(t, "half a codec", v.save(), "BytesCodec", "both")
		}
		p.wantCount(0)
	})
}

// portable are values that every codec gives back as they are.
func portable() map[any]any {
	return map[any]any{
		"user": "ada", "ratio": 1.5, "ok": true, "nothing": nil, "_flash": []any{"hi", 2.5},
		"cart": map[string]any{"total": 9.5, "items": []any{"tea", map[string]any{"n": 1.5}}},
	}
}

func TestTheCodecsReadEachOthersRecords(t *testing.T) {
	t.Parallel()
	registered()
	for from, writes := range codecs() {
		for to, reads := range codecs() {
			if from == "bytes" && to != "bytes" || to == "bytes" && from == "gob" {
				continue // both are binary
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				onEach(t, func(t *testing.T, p *place) {
					b := start(t, p.store(&mongostore.Config{PayloadCodec: writes}), portable())
					store := p.store(&mongostore.Config{PayloadCodec: reads})
					b.wantValues(t, store, portable())
					v := b.load(t, store)
					v.Values["more"] = "x"
					v.saved(t)
					want := portable()
					want["more"] = "x"
					b.wantValues(t, store, want)
				})
			})
		}
	}
}

func TestR01APayloadOfAnotherEncodingIsErrDecodeAndNothingPanics(t *testing.T) {
	t.Parallel()
	damaged := []any{
		"", "{", "[]", `"text"`, "1", `{"a":1} {"b":2}`, `{"a":1}]`, `{"a":1}x`, "{\"a\":\"\n\"}", strings.Repeat(`{"a":`, 20000), nil, 1, true,
		bson.A{},
		bson.Binary{Subtype: 5, Data: []byte("{}")},
		bson.Binary{Data: []byte("{")},
		bson.Regex{Pattern: "a"},
		time.Now(),
	}
	for codec, c := range codecs() {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			store := p.store(&mongostore.Config{PayloadCodec: c})
			b := start(t, store, map[any]any{"n": "1"})
			id := b.load(t, store).ID
			for _, payload := range damaged {
				replaceField(t, p.coll, id, "session", payload)
				b.wantDecodeError(t, fmt.Sprintf("%.40v", payload), store)
			}
		})
	}
}

func TestR09ListsMergeUnderEachCodec(t *testing.T) {
	t.Parallel()
	eachCodec(t, func(t *testing.T, p *place, _ string, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"_flash": []any{"old"}, "n": "0"})
		shows, one, two := b.load(t, store), b.load(t, store), b.load(t, store)
		one.AddFlash("one")
		one.saved(t)
		shows.Flashes()
		shows.saved(t)
		two.AddFlash("two")
		two.saved(t)
		b.wantValues(t, store, map[any]any{"_flash": []any{"one", "two"}, "n": "0"})
	})
}

func TestR09TypedSlicesAreSingleValuesUnderEachCodec(t *testing.T) {
	t.Parallel()
	eachCodec(t, func(t *testing.T, p *place, codec string, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := start(t, store, map[any]any{"n": "0"})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["at"], second.Values["raw"] = []float64{1, 2}, []byte("b")
		second.saved(t)
		first.Values["at"], first.Values["raw"] = []float64{3, 4}, []byte("a")
		first.saved(t)
		got := fmt.Sprint(b.values(t, store)["at"])
		if got != "[3 4]" {
			t.Errorf("two positions became %s", got)
		}
		raw := map[string]any{"gob": []byte("a"), "bson": []byte("a"), "json": "YQ==", "bytes": "YQ=="}[codec]
		if got := b.values(t, store)["raw"]; !values.Equal(got, raw) {
			t.Errorf("the bytes became %v", got)
		}
	})
}

func TestR09AnUnchangedSaveDoesNotRewriteUnderAnyCodec(t *testing.T) {
	t.Parallel()
	eachCodec(t, func(t *testing.T, p *place, _ string, cfg *mongostore.Config) {
		store := p.store(cfg)
		b := new(browser)
		v := b.load(t, store)
		v.Values["int"], v.Values["strings"], v.Values["time"] = 1, []string{"a"}, time.Now()
		v.Values["bytes"], v.Values["map"], v.Values["big"] = []byte("x"), map[string]any{"a": 1, "b": 2, "c": []any{1}}, int64(1<<53+1)
		v.saved(t)
		v.arrive()
		before := p.mustDocument(v.ID)
		for _, again := range []*visit{v, b.load(t, store), b.load(t, store)} {
			p.clock.Advance(time.Minute)
			again.saved(t)
			after := p.mustDocument(v.ID)
			if after["version"] != before["version"] {
				t.Error("an unchanged session was written as a changed one")
			}
			if after["expires"] == before["expires"] {
				t.Error("its deadline was not moved")
			}
		}
	})
}

// eachMove runs a test with a store that has one codec and one that has another, on the same records.
func eachMove(t *testing.T, test func(t *testing.T, p *place, before, after *mongostore.Store)) {
	t.Helper()
	all := map[string]mongostore.Codec{"gob": mongostore.GobCodec{}, "json": mongostore.JSONCodec{}, "bson": mongostore.BSONCodec{}}
	for from, old := range all {
		for to, now := range all {
			if from == to {
				continue
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				onEach(t, func(t *testing.T, p *place) {
					for _, seal := range []mongostore.Sealer{nil, mongostore.AESGCM(oldSeal)} {
						test(t, p, p.store(&mongostore.Config{PayloadCodec: old, Sealer: seal}), p.store(&mongostore.Config{PayloadCodec: now, Sealer: seal}))
					}
				})
			})
		}
	}
}

func TestR09NothingIsLostWhileACollectionMovesToAnotherCodec(t *testing.T) {
	t.Parallel()
	eachMove(t, func(t *testing.T, _ *place, before, after *mongostore.Store) {
		b := start(t, before, map[any]any{"n": 1, "list": []any{1}, "gone": 2})
		first, second, third := b.load(t, after), b.load(t, after), b.load(t, before)
		second.Values["n"] = 2
		delete(second.Values, "gone")
		second.Values["list"] = append(second.Values["list"].([]any), 2)
		second.saved(t)
		first.Values["mine"] = "x"
		first.saved(t)
		third.Values["list"] = append(third.Values["list"].([]any), 3)
		third.saved(t)
		for _, store := range []*mongostore.Store{before, after} {
			got := fmt.Sprint(b.values(t, store))
			if want := "map[list:[1 2 3] mine:x n:2]"; got != want {
				t.Errorf("the session holds %s, want %s", got, want)
			}
		}
	})
}

func TestR09OnConflictFailSeesNoConflictInAnotherEncoding(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		b := start(t, p.store(nil), map[any]any{"n": 1})
		store := p.store(&mongostore.Config{PayloadCodec: mongostore.JSONCodec{}, OnConflict: mongostore.OnConflictFail})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["n"] = 2
		second.saved(t)
		first.Values["mine"] = 1
		first.saved(t)
		b.wantValues(t, store, map[any]any{"n": 2.0, "mine": 1.0})
	})
}

func TestR09AnotherCodecAloneIsNoChange(t *testing.T) {
	t.Parallel()
	eachMove(t, func(t *testing.T, p *place, before, after *mongostore.Store) {
		b := start(t, before, map[any]any{"n": 1, "list": []any{1}})
		v := b.load(t, after)
		was := p.mustDocument(v.ID)
		p.clock.Advance(time.Hour)
		v.saved(t)
		if is := p.mustDocument(v.ID); is["version"] != was["version"] || is["expires"] == was["expires"] {
			t.Errorf("the record is %v, was %v; want a touch", is, was)
		}
		v.Values["n"] = 2
		v.saved(t)
		if got := fmt.Sprint(b.values(t, before)["n"]); got != "2" {
			t.Errorf("n is %s", got)
		}
	})
}

func TestIntegersBeyondFloatsSurviveJSONAndBSON(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		asJSON, asBSON := p.store(&mongostore.Config{PayloadCodec: mongostore.JSONCodec{}}), p.store(&mongostore.Config{PayloadCodec: mongostore.BSONCodec{}})
		const big = 1<<53 + 1
		b := start(t, asBSON, map[any]any{"id": big})
		for i := range 3 {
			v := b.load(t, asJSON)
			v.Values["json"] = i
			v.saved(t)
			b.wantValues(t, asJSON, map[any]any{"id": json.Number("9007199254740993"), "json": float64(i)})
			v = b.load(t, asBSON)
			v.Values["json"] = "no"
			v.saved(t)
			b.wantValues(t, asBSON, map[any]any{"id": big, "json": "no"})
		}
	})
}

// update rewrites the golden files; the sealed ones then differ each time.
var update = flag.Bool("update", false, "rewrite testdata")

// golden is a record as it was stored once, and the value of its cookie.
type golden struct {
	Cookie string
	Record bson.Raw
}

// goldens are the configurations that the golden files were written with.
func goldens() map[string]*mongostore.Config {
	all := map[string]*mongostore.Config{"plain": {PlainIDs: true, PayloadCodec: mongostore.JSONCodec{}}}
	for name, codec := range codecs() {
		all[name] = &mongostore.Config{PayloadCodec: codec}
		all["sealed-"+name] = &mongostore.Config{PayloadCodec: codec, Sealer: mongostore.AESGCM(oldSeal)}
	}
	for _, cfg := range all {
		cfg.UserID, cfg.Labels = userID, device
	}
	return all
}

func goldenFile(name string) string { return filepath.Join("testdata", name+".json") }

// writeGolden stores a session and makes a golden file of it.
func writeGolden(t *testing.T, store *mongostore.Store, name string) {
	t.Helper()
	b := new(browser)
	v := b.load(t, store)
	v.r.Header.Set("User-Agent", "Lynx")
	maps.Copy(v.Values, portable())
	v.Options.MaxAge = 3600
	v.saved(t)
	rec, _ := store.Record(v.Session)
	raw, _ := mongostore.Document(store, rec.ID)
	handle, secret := credentials(t, store, v.cookie(t))
	if secret != "" {
		handle += "." + secret
	}
	text, err := bson.MarshalExtJSONIndent(golden{handle, raw}, true, false, "", "\t")
	wantErr(t, err, nil)
	wantErr(t, os.WriteFile(goldenFile(name), append(text, '\n'), 0o600), nil)
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	text, err := os.ReadFile(goldenFile(name))
	wantErr(t, err, nil)
	var g golden
	wantErr(t, bson.UnmarshalExtJSON(text, true, &g), nil)
	return g
}

func TestRecordsOfOldAreStillReadAndWritten(t *testing.T) {
	t.Parallel()
	registered()
	all := goldens()
	for _, name := range []string{"gob", "sealed-gob"} { // gob alone, which wanted these types registered
		all[name+"-stream"] = all[name]
	}
	gob.Register(time.Time{})
	gob.Register(map[string]any{})
	for what, cfg := range all {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := onMongoDB(t, mongotest.Shared(t))
			store := p.store(cfg)
			if *update && !strings.HasSuffix(what, "-stream") {
				writeGolden(t, store, what)
				wantErr(t, store.Clear(t.Context()), nil)
			}
			old := readGolden(t, what)
			var doc bson.D
			wantErr(t, bson.Unmarshal(old.Record, &doc), nil)
			for i := range doc {
				if doc[i].Key == "expires" { // long since: the server would remove it
					doc[i].Value = p.clock.Now().Add(time.Hour)
				}
			}
			_, err := p.coll.InsertOne(t.Context(), doc)
			wantErr(t, err, nil)
			id := old.Record.Lookup("_id").StringValue()
			b := sending(signed(t, store, old.Cookie))
			b.wantValues(t, store, portable())
			v := b.load(t, store)
			if rec, _ := store.Record(v.Session); rec.UserID != "ada" || rec.Labels["agent"] != "Lynx" || v.Options.MaxAge != 3600 {
				t.Errorf("the record is %+v, MaxAge %d", rec, v.Options.MaxAge)
			}
			p.clock.Advance(time.Minute)
			v.saved(t)
			if doc := p.mustDocument(id); doc["version"] != old.Record.Lookup("version").Int64() {
				t.Error("what was not changed is written anew")
			}
			v.Values["more"] = "x"
			v.saved(t)
			want := portable()
			want["more"] = "x"
			b.wantValues(t, store, want)
		})
	}
}

// form writes the fields of a document with their types.
func form(doc bson.Raw) (fields []string) {
	elements, _ := doc.Elements()
	for _, e := range elements {
		field := fmt.Sprint(e.Key(), " ", e.Value().Type)
		if subtype, data, ok := e.Value().BinaryOK(); ok {
			field += fmt.Sprintf(" 0x%02x", subtype)
			if subtype == 0x80 {
				field += fmt.Sprintf(" %x", data[:10]) // the type inside, and the envelope's version and key id
			}
		}
		fields = append(fields, field)
	}
	return fields
}

func TestRecordsAreWrittenInTheFormOfOld(t *testing.T) {
	t.Parallel()
	registered()
	for what, cfg := range goldens() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) {
				store := p.store(cfg)
				v := new(browser).load(t, store)
				maps.Copy(v.Values, portable())
				v.Options.MaxAge = 3600
				v.saved(t)
				now, _ := mongostore.Document(store, v.ID)
				old := readGolden(t, what).Record
				if !slices.Equal(form(now), form(old)) {
					t.Errorf("the document is\n%v, was\n%v", form(now), form(old))
				}
				text, ok := old.Lookup("session").StringValueOK()
				if got, _ := now.Lookup("session").StringValueOK(); ok && got != text {
					t.Errorf("the payload is %s, was %s", got, text)
				}
			})
		})
	}
}

func TestTheEncodingOfASmallSessionNeverChanges(t *testing.T) {
	t.Parallel()
	for codec, want := range map[string]bson.RawValue{
		"gob":   rawOf(bson.Binary{Data: []byte("\x00\x01\x02n\x03\x02\x00")}),
		"json":  rawOf(`{"n":1}`),
		"bson":  rawOf(bson.D{{Key: "n", Value: int32(1)}}),
		"bytes": rawOf(bson.Binary{Data: []byte(`{"n":1}`)}),
	} {
		got, err := codecs()[codec].Encode(&sessions.Session{Values: map[any]any{"n": 1}})
		if err != nil || got.Type != want.Type || !bytes.Equal(got.Value, want.Value) {
			t.Errorf("%s: %v %q, %v; want %q", codec, got.Type, got.Value, err, want.Value)
		}
	}
}

func rawOf(value any) bson.RawValue {
	kind, data, err := bson.MarshalValue(value)
	if err != nil {
		panic(err)
	}
	return bson.RawValue{Type: kind, Value: data}
}

func FuzzCodecs(f *testing.F) {
	registered()
	for _, codec := range codecs() {
		for _, values := range []map[any]any{{}, {"n": "1"}, portable()} {
			value, err := codec.Encode(&sessions.Session{Values: values})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(value.Type), value.Value)
		}
	}
	f.Add(byte(bson.TypeEmbeddedDocument), []byte{5, 0, 0, 0, 0})
	f.Add(byte(bson.TypeEmbeddedDocument), []byte{255, 255, 255, 127, 0})
	f.Add(byte(bson.TypeEmbeddedDocument), []byte("\x0c\x00\x00\x00\x02n\x00\x00\x00\x00\x00\x00")) // a string without its end
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		for name, codec := range codecs() {
			session := &sessions.Session{Values: make(map[any]any)}
			if err := codec.Decode(bson.RawValue{Type: bson.Type(kind), Value: data}, session); err != nil || session.Values == nil {
				if session.Values == nil {
					t.Fatalf("%s left no Values", name)
				}
				continue
			}
			value, err := codec.Encode(session)
			if err != nil {
				continue // another codec's types
			}
			again := &sessions.Session{Values: make(map[any]any)}
			if err := codec.Decode(value, again); err != nil {
				t.Fatalf("%s does not read what it wrote: %v", name, err)
			}
			if value, err = codec.Encode(again); err != nil {
				t.Fatalf("%s does not write again what it read: %v", name, err)
			}
			third := &sessions.Session{Values: make(map[any]any)}
			if err := codec.Decode(value, third); err != nil || !values.Equal(third.Values, again.Values) {
				t.Fatalf("%s: %v came back as %v, %v", name, again.Values, third.Values, err)
			}
		}
	})
}

// FuzzDiffer looks for a change that a codec would not see: it would be lost.
func FuzzDiffer(f *testing.F) {
	registered()
	for _, codec := range codecs() {
		for _, values := range []map[any]any{{}, {"n": "1"}, {"n": 1, "o": []any{1}}, portable()} {
			value, err := codec.Encode(&sessions.Session{Values: values})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(value.Type), value.Value, value.Value)
		}
	}
	for _, pair := range [][2]string{
		{`{"a":1,"b":2}`, `{"b":2,"a":1}`}, {`{"a":1}`, `{"a":1,"a":2}`}, {`{"a":"\\","b":1}`, `{"a":"\\\"","b":1}`}, {`{"a":{}}`, `{ "a":{} }`}, {`{}`, `{"a":1}`},
	} {
		f.Add(byte(bson.TypeString), rawOf(pair[0]).Value, rawOf(pair[1]).Value)
	}
	f.Fuzz(func(t *testing.T, kind byte, a, b []byte) {
		for name, codec := range codecs() {
			mine, stored := &sessions.Session{Values: make(map[any]any)}, &sessions.Session{Values: make(map[any]any)}
			if codec.Decode(bson.RawValue{Type: bson.Type(kind), Value: a}, mine) != nil {
				continue
			}
			if codec.Decode(bson.RawValue{Type: bson.Type(kind), Value: b}, stored) != nil {
				continue
			}
			value, err := codec.Encode(mine)
			if err != nil || codec.Decode(value, mine) != nil {
				continue
			}
			different, known := mongostore.Differ(codec, value, bson.RawValue{Type: bson.Type(kind), Value: b})
			if known && !different && !values.Equal(mine.Values, stored.Values) {
				t.Fatalf("%s takes %v for %v", name, mine.Values, stored.Values)
			}
		}
	})
}

func TestCodecsTellAChangeWithoutDecoding(t *testing.T) {
	t.Parallel()
	values := func(count any, inner ...string) map[any]any {
		m := map[string]any{}
		for _, key := range inner {
			m[key] = key
		}
		return map[any]any{"a": "text", "count": count, "m": m, "z": []any{"x", true, nil}}
	}
	for name, codec := range codecs() {
		if name == "bytes" {
			continue // its form is not known
		}
		encode := func(values map[any]any) bson.RawValue {
			value, err := codec.Encode(&sessions.Session{Values: values})
			wantErr(t, err, nil)
			return value
		}
		base := encode(values(1, "b", "c", "d"))
		for range 20 { // maps have no order
			if different, known := mongostore.Differ(codec, encode(values(1, "d", "c", "b")), base); different && known {
				t.Fatalf("%s: equal values differ", name)
			}
		}
		for what, changed := range map[string]map[any]any{"a number": values(2, "b", "c", "d"), "a key within": values(1, "b", "c", "e")} {
			if different, known := mongostore.Differ(codec, encode(changed), base); !different && known || what == "a number" && !known {
				t.Errorf("%s, %s: different %v, known %v", name, what, different, known)
			}
		}
	}
	for _, pair := range [][2]string{{`{"a":1}`, `{"a":1.0}`}, {`{"a":"b"}`, `{"a":"\u0062"}`}, {`{"a":{"b":1,"c":2}}`, `{"a":{"c":2,"b":1}}`}} {
		if different, known := mongostore.Differ(mongostore.JSONCodec{}, rawOf(pair[0]), rawOf(pair[1])); different || !known {
			t.Errorf("%s: different %v, known %v", pair, different, known)
		}
	}
	wide := rawOf(bson.D{{Key: "a", Value: bson.D{{Key: "x", Value: nil}, {Key: "y", Value: int64(1)}}}, {Key: "b", Value: int64(2)}})
	mine, err := mongostore.BSONCodec{}.Encode(&sessions.Session{Values: map[any]any{"a": map[string]any{"x": nil, "y": 1}, "b": 2}})
	wantErr(t, err, nil)
	if different, known := mongostore.Differ(mongostore.BSONCodec{}, mine, wide); different || !known {
		t.Errorf("the same numbers in 64 bits: different %v, known %v", different, known)
	}
	for what, pair := range map[string][2]any{
		"another order": {bson.D{{Key: "x", Value: 1}, {Key: "y", Value: 1}}, bson.D{{Key: "y", Value: 1}, {Key: "x", Value: 1}}},
		"a key twice":   {bson.D{{Key: "x", Value: 1}, {Key: "x", Value: 1}}, bson.D{{Key: "x", Value: 1}, {Key: "y", Value: 2}}},
	} {
		if different, known := mongostore.Differ(mongostore.BSONCodec{}, rawOf(pair[0]), rawOf(pair[1])); known && !different {
			t.Errorf("%s counts as no change", what)
		}
	}
	if _, known := mongostore.Differ(mongostore.JSONCodec{}, rawOf(`{"a":1}`), rawOf(`{"a":1\`)); known {
		t.Error("a damaged text is compared")
	}
}

// noting is a RecordCodec that keeps in the payload what the application does not see, as connect-mongo's format does:
// how often it was written, until when, and the session's own MaxAge.
type noting struct {
	mongostore.BSONCodec
	wrong error
}

type note struct {
	Values  bson.Raw
	Writes  int
	Expires time.Time
	MaxAge  int
}

func (n noting) Check() error { return n.wrong }

func (n noting) Encode(session *sessions.Session) (bson.RawValue, error) {
	return n.EncodeRecord(session, bson.RawValue{}, time.Time{})
}

func (n noting) EncodeRecord(session *sessions.Session, old bson.RawValue, expires time.Time) (bson.RawValue, error) {
	values, err := n.BSONCodec.Encode(session)
	if err != nil {
		return values, err
	}
	var is note
	if !old.IsZero() {
		if err := old.Unmarshal(&is); err != nil {
			return values, err
		}
	}
	if session.Options.MaxAge == is.MaxAge && bytes.Equal(is.Values, values.Value) {
		return old, nil
	}
	raw, err := bson.Marshal(note{values.Value, is.Writes + 1, expires, session.Options.MaxAge})
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw}, err
}

func (n noting) Decode(value bson.RawValue, session *sessions.Session) error {
	var is note
	if err := value.Unmarshal(&is); err != nil {
		return err
	}
	session.Options.MaxAge = is.MaxAge
	return n.BSONCodec.Decode(bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: is.Values}, session)
}

// noted returns what the codec keeps of a session.
func noted(t *testing.T, store *mongostore.Store, id string) (is note) {
	t.Helper()
	raw, _ := mongostore.Document(store, id)
	if err := raw.Lookup("session").Unmarshal(&is); err != nil {
		t.Fatal(err)
	}
	return is
}

func TestRecordCodecIsToldOfTheRecord(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(&mongostore.Config{PayloadCodec: noting{}, MaxLifetime: 2 * time.Hour})
		born := p.clock.Now()
		b := start(t, store, map[any]any{"n": 1})
		id := b.load(t, store).ID
		want := func(writes int, expires time.Time) {
			t.Helper()
			if is := noted(t, store, id); is.Writes != writes || !is.Expires.Equal(expires) || is.MaxAge != 14*86400 {
				t.Errorf("it keeps %+v, want %d writes, until %v, for 14 days", is, writes, expires)
			}
		}
		want(1, born.Add(2*time.Hour))
		p.clock.Advance(time.Hour)
		b.load(t, store).saved(t)
		want(1, born.Add(2*time.Hour))
		v, other := b.load(t, store), b.load(t, store)
		v.Values["n"], other.Values["m"] = 2, 2
		v.saved(t)
		want(2, born.Add(2*time.Hour))
		other.saved(t) // merged with what v wrote
		want(3, born.Add(2*time.Hour))
		wantErr(t, store.Update(t.Context(), id, func(values map[any]any) error { values["n"] = 3; return nil }), nil)
		want(4, born.Add(2*time.Hour))
		b.wantValues(t, store, map[any]any{"n": 3, "m": 2})
	})
}

func TestRecordCodecsMaxAgeIsTheSessionsOwn(t *testing.T) {
	t.Parallel()
	p := onMongoDB(t, mongotest.Shared(t))
	store := p.store(&mongostore.Config{PayloadCodec: noting{}})
	b := new(browser)
	v := b.load(t, store)
	v.Values["n"], v.Options.MaxAge = 1, 3600
	v.saved(t)
	v.arrive()
	// Another program, which does not know of the field maxAge, makes it a day.
	is := noted(t, store, v.ID)
	is.MaxAge = 86400
	if _, err := p.coll.UpdateByID(t.Context(), v.ID, bson.M{"$set": bson.M{"session": is}}); err != nil {
		t.Fatal(err)
	}
	v = b.load(t, store)
	if v.Options.MaxAge != 86400 {
		t.Errorf("MaxAge is %d after a load", v.Options.MaxAge)
	}
	v.Values["n"] = 2
	v.saved(t)
	rec, _ := store.Record(v.Session)
	if got := rec.ExpiresAt.Sub(p.clock.Now()); got != 24*time.Hour {
		t.Errorf("it lives %v after a Save, want a day", got)
	}
	p.clock.Advance(time.Hour)
	wantErr(t, store.Touch(t.Context(), v.ID), nil)
	if rec, err := store.Find(t.Context(), v.ID); err != nil || rec.ExpiresAt.Sub(p.clock.Now()) != 24*time.Hour {
		t.Errorf("after Touch it ends at %v, %v", rec.ExpiresAt, err)
	}
}

func TestR22NewReportsWhatIsWrongWithACodec(t *testing.T) {
	t.Parallel()
	wrong := errors.New("the secret is empty")
	_, err := mongostore.NewMemory(&mongostore.Config{PayloadCodec: noting{wrong: wrong}})
	wantErr(t, err, wrong)
}

// MongoDB stores no document that deep, but what is sealed, or on another server, may be.
func TestR01ADocumentAsDeepAsARecordCanBeIsErrDecode(t *testing.T) {
	t.Parallel()
	const largest = 16 << 20
	for kind, level := range map[bson.Type]int{bson.TypeEmbeddedDocument: 8, bson.TypeCodeWithScope: 17} {
		for _, test := range []struct {
			depth int
			fails bool
		}{{900, false}, {1100, true}, {largest / level, true}} {
			session := &sessions.Session{Values: make(map[any]any)}
			err := mongostore.BSONCodec{}.Decode(deepDocument(kind, level, test.depth), session)
			if (err != nil) != test.fails {
				t.Errorf("%v %d deep: %v", kind, test.depth, err)
			}
		}
	}
}

// deepDocument returns a document that holds one of this kind, which holds one, and so on; each takes level bytes.
func deepDocument(kind bson.Type, level, depth int) bson.RawValue {
	doc := make([]byte, 0, 5+level*depth)
	for i := range depth {
		size := 5 + level*(depth-i)
		doc = binary.LittleEndian.AppendUint32(doc, uint32(size)) //nolint:gosec // it is 16 MiB at most
		doc = append(doc, byte(kind), 'a', 0)
		if kind == bson.TypeCodeWithScope {
			doc = binary.LittleEndian.AppendUint32(doc, uint32(size-8)) //nolint:gosec // it is 16 MiB at most
			doc = append(doc, 1, 0, 0, 0, 0)                            // no code
		}
	}
	doc = append(append(doc, 5, 0, 0, 0, 0), make([]byte, depth)...)
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: doc}
}
