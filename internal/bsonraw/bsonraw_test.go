package bsonraw_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/bsonraw"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// every holds a value of each type.
var every = bson.D{
	{Key: "null", Value: nil},
	{Key: "undefined", Value: bson.Undefined{}},
	{Key: "least", Value: bson.MinKey{}},
	{Key: "most", Value: bson.MaxKey{}},
	{Key: "bool", Value: true},
	{Key: "int32", Value: int32(1)},
	{Key: "int64", Value: int64(1)},
	{Key: "double", Value: 1.5},
	{Key: "date", Value: bson.DateTime(1)},
	{Key: "timestamp", Value: bson.Timestamp{T: 1}},
	{Key: "id", Value: bson.ObjectID{1}},
	{Key: "decimal", Value: bson.NewDecimal128(1, 2)},
	{Key: "string", Value: "a"},
	{Key: "javascript", Value: bson.JavaScript("a")},
	{Key: "symbol", Value: bson.Symbol("a")},
	{Key: "binary", Value: []byte("a")},
	{Key: "pointer", Value: bson.DBPointer{DB: "a"}},
	{Key: "document", Value: bson.D{{Key: "a", Value: 1}}},
	{Key: "array", Value: bson.A{1, "a"}},
	{Key: "code", Value: bson.CodeWithScope{Code: "a", Scope: bson.D{}}},
	{Key: "regex", Value: bson.Regex{Pattern: "a", Options: "i"}},
	{Key: "", Value: "no key"},
}

func marshal(t *testing.T, value any) bson.Raw {
	t.Helper()
	raw, err := bson.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestWalkSeesWhatTheDriverSees(t *testing.T) {
	t.Parallel()
	raw := marshal(t, every)
	want, err := raw.Elements()
	if err != nil {
		t.Fatal(err)
	}
	e := bsonraw.Walk(raw)
	for _, element := range want {
		if !e.Next() || string(e.Key) != element.Key() || !e.Value.Equal(element.Value()) {
			t.Fatalf("%q: the walk is at %q, %v, error %v", element.Key(), e.Key, e.Value, e.Err)
		}
	}
	if e.Next() || e.Err != nil {
		t.Errorf("after the last: %q, error %v", e.Key, e.Err)
	}
}

func TestWalkTellsOfDamage(t *testing.T) {
	t.Parallel()
	walk := func(doc []byte) error {
		e := bsonraw.Walk(doc)
		for e.Next() {
		}
		return e.Err
	}
	raw := marshal(t, every)
	for end := range raw {
		if err := walk(raw[:end]); !errors.Is(err, bsonraw.ErrDamaged) {
			t.Errorf("cut to %d bytes: error %v", end, err)
		}
	}
	for what, elements := range map[string]string{
		"no end of the key":      "\x0aabc",
		"a type that is none":    "\x20a\x00",
		"a text beyond the end":  "\x02a\x00\xff\x00\x00\x00a\x00",
		"a negative length":      "\x05a\x00\xff\xff\xff\xff\x00a",
		"no length":              "\x02a\x00\x01",
		"a number cut short":     "\x12a\x00\x01\x02",
		"a regex without an end": "\x0ba\x00abc",
		"a regex without flags":  "\x0ba\x00abc\x00i",
	} {
		doc := append(bsonraw.Build(64), elements...).End()
		if err := walk(doc); !errors.Is(err, bsonraw.ErrDamaged) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

func TestBuilderWritesWhatTheDriverWrites(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1700000000123)
	b := bsonraw.Build(8).Null("null").String("string", "ä").Binary("binary", []byte("b")).
		Bool("yes", true).Bool("no", false).Int32("int32", -3).Int64("int64", -4).Date("date", at)
	b, start := b.Begin("document")
	b = b.Value("value", bsonraw.Binary(0x80, []byte("c"))).EndAt(start)
	want := marshal(t, bson.D{
		{Key: "null", Value: nil},
		{Key: "string", Value: "ä"},
		{Key: "binary", Value: []byte("b")},
		{Key: "yes", Value: true},
		{Key: "no", Value: false},
		{Key: "int32", Value: int32(-3)},
		{Key: "int64", Value: int64(-4)},
		{Key: "date", Value: at},
		{Key: "document", Value: bson.D{{Key: "value", Value: bson.Binary{Subtype: 0x80, Data: []byte("c")}}}},
	})
	if got := b.End(); string(got) != string(want) {
		t.Errorf("built %v, want %v", got, want)
	}
}

func TestDifferKnowsWhatItCanTell(t *testing.T) {
	t.Parallel()
	ab, ba := bson.D{{Key: "a", Value: 1}, {Key: "b", Value: 2}}, bson.D{{Key: "b", Value: 2}, {Key: "a", Value: 1}}
	tests := map[string]struct {
		a, b             any
		different, known bool
	}{
		"equal texts":                   {"a", "a", false, true},
		"other texts":                   {"a", "b", true, true},
		"integers of other widths":      {int32(1), int64(1), false, true},
		"other integers":                {int32(1), int64(2), true, true},
		"other types":                   {int32(1), 1.0, true, true},
		"equal documents":               {ab, ab, false, true},
		"keys in another order":         {ab, ba, false, false},
		"a key more":                    {ab, ab[:1], false, false},
		"a key less":                    {ab[:1], ab, false, false},
		"other values":                  {ab, bson.D{{Key: "a", Value: 1}, {Key: "b", Value: 3}}, true, true},
		"one difference is enough":      {bson.A{ab, 1}, bson.A{ba, 2}, true, true},
		"what is not known stays so":    {bson.A{ab, 1}, bson.A{ba, 1}, false, false},
		"equal lists":                   {bson.A{1, "a"}, bson.A{1, "a"}, false, true},
		"documents beside lists of one": {bson.D{{Key: "0", Value: 1}}, bson.A{1}, true, true},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			value := func(v any) bson.RawValue { return marshal(t, bson.D{{Key: "v", Value: v}}).Lookup("v") }
			if different, known := bsonraw.Differ(value(test.a), value(test.b)); different != test.different || known != test.known {
				t.Errorf("different %v, known %v", different, known)
			}
		})
	}
}
