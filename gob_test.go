package mongostore_test

import (
	"bytes"
	"encoding/gob"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

func encodeGob(t *testing.T, values map[any]any) bson.RawValue {
	t.Helper()
	value, err := mongostore.GobCodec{}.Encode(&sessions.Session{Values: values})
	wantErr(t, err, nil)
	return value
}

func decodeGob(value bson.RawValue) (map[any]any, error) {
	session := sessions.Session{Values: make(map[any]any)}
	err := mongostore.GobCodec{}.Decode(value, &session)
	return session.Values, err
}

func TestGobCodecKeepsTheExactTypeOfCommonValues(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 90*60)
	for _, value := range []any{
		nil, true, false, "", "a\x00\xff", math.MinInt, math.MaxInt,
		int8(math.MinInt8), int16(math.MinInt16), int32(math.MinInt32), int64(math.MinInt64),
		int8(math.MaxInt8), int16(math.MaxInt16), int32(math.MaxInt32), int64(math.MaxInt64),
		uint(math.MaxUint), uint8(math.MaxUint8), uint16(math.MaxUint16), uint32(math.MaxUint32), uint64(math.MaxUint64),
		float32(1.5), float32(math.Inf(1)), 0.1, math.Copysign(0, -1), math.MaxFloat64, math.NaN(),
		time.Time{},
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 6, zone),
		[]byte(nil),
		[]byte{},
		[]byte{0, 1},
		[]string(nil),
		[]string{},
		[]string{"", "b"},
		[]any(nil),
		[]any{},
		[]any{nil, 1, "b", []any{int8(2)}},
		map[string]string(nil),
		map[string]string{},
		map[string]string{"a": "b", "c": "", "": "d"},
		map[string]any(nil),
		map[string]any{},
		map[string]any{"a": map[string]any{"b": []byte{1}}, "c": nil},
	} {
		got, err := decodeGob(encodeGob(t, map[any]any{"key": value}))
		wantErr(t, err, nil)
		if is, ok := got["key"]; !ok || len(got) != 1 || reflect.TypeOf(is) != reflect.TypeOf(value) || !values.Equal(is, value) {
			t.Errorf("%#v comes back as %#v", value, got)
		}
	}
}

func TestGobCodecLeavesToGobOnlyWhatNeedsIt(t *testing.T) {
	t.Parallel()
	registered()
	type alike string // not registered, and so refused
	values := map[any]any{"a": "common", "b": known{Name: "x"}, 1: "key", "c": []any{known{Name: "y"}}, "d": []string{"common"}}
	stored := encodeGob(t, values)
	got, err := decodeGob(stored)
	wantErr(t, err, nil)
	if !reflect.DeepEqual(got, values) {
		t.Errorf("%#v comes back as %#v", values, got)
	}
	_, data := stored.Binary()
	var rest map[any]any
	wantErr(t, gob.NewDecoder(bytes.NewReader(data[len("\x00\x02\x02a\x0f\x06common\x02d\x12\x02\x06common\x00"):])).Decode(&rest), nil)
	if want := map[any]any{"b": values["b"], 1: "key", "c": values["c"]}; !reflect.DeepEqual(rest, want) {
		t.Errorf("gob has %#v, want %#v", rest, want)
	}
	if _, err := (mongostore.GobCodec{}).Encode(&sessions.Session{Values: map[any]any{"x": alike("a")}}); err == nil {
		t.Error("a type that only looks common is stored without being registered")
	}
}

func TestGobCodecEncodesEqualValuesEqually(t *testing.T) {
	t.Parallel()
	valuesOf := func(keys string) map[any]any {
		values, inner, texts := map[any]any{}, map[string]any{}, map[string]string{}
		for key := range strings.SplitSeq(keys, "") {
			values[key], inner[key], texts[key] = key, key, key
		}
		values["inner"], values["texts"] = inner, texts
		return values
	}
	want := encodeGob(t, valuesOf("abcdefghijklmnopqrstuvwxyz"))
	for range 20 {
		if !encodeGob(t, valuesOf("zyxwvutsrqponmlkjihgfedcba")).Equal(want) {
			t.Fatal("equal values have different forms")
		}
	}
}

func TestGobCodecRefusesValuesThatHoldThemselves(t *testing.T) {
	t.Parallel()
	m := map[string]any{}
	m["self"] = m
	list := []any{nil}
	list[0] = list
	for _, value := range []any{m, list} {
		_, err := mongostore.GobCodec{}.Encode(&sessions.Session{Values: map[any]any{"loop": value}})
		if err == nil || !strings.Contains(err.Error(), `Values["loop"]`) {
			t.Errorf("the error is %v, want one that names the key", err)
		}
	}
}

func TestGobCodecReportsADamagedForm(t *testing.T) {
	t.Parallel()
	whole := encodeGob(t, map[any]any{
		"a": 1, "b": "text", "c": []any{1.5, float32(2)}, "d": map[string]any{"k": uint(7)}, "e": time.Unix(1, 0), "f": []byte("x"),
		"g": map[string]string{"k": "v"}, "h": []string{"s"},
	})
	_, data := whole.Binary()
	for end := 2; end < len(data); end++ {
		if _, err := decodeGob(rawOf(bson.Binary{Data: data[:end]})); err == nil {
			t.Errorf("the first %d of %d bytes decode without an error", end, len(data))
		}
	}
	for what, damaged := range map[string]string{
		"an unknown kind":         "\x00\x01\x02a\xff\x00",
		"an endless length":       "\x00\x01\x02a\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
		"a length beyond 64 bits": "\x00\x01\x02a\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
		"lists of any length":     "\x00\x01\x02a" + strings.Repeat("\x13\x7f", 60),
		"lists without an end":    "\x00\x01\x02a" + strings.Repeat("\x13\x02", 2000),
		"a time that is none":     "\x00\x01\x02a\x10\x0fxxxxxxxxxxxxxxx\x00",
		"no gob stream behind it": "\x00\x02\x00\x00",
	} {
		if _, err := decodeGob(rawOf(bson.Binary{Data: []byte(damaged)})); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
