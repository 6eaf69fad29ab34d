package mongostore

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/bsonraw"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// GobCodec stores keys and values of any type with their exact Go types, as BSON binary of subtype 0. Under string
// keys, nil, string, bool, numbers, time.Time, []byte, []string, []any, map[string]string and map[string]any have a
// form that is cheap to read. Everything else goes through encoding/gob, and every program that reads it must
// gob.Register its types. GobCodec also reads plain gob streams.
//
// GobCodec, JSONCodec and BSONCodec read each other's records, so a collection can move from one to another while
// it is in use. All are safe for concurrent use.
type GobCodec struct{}

// Encode implements [Codec].
func (GobCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	return encoded(session.Values, encodeCompact)
}

// Decode implements [Codec].
func (GobCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
}

// gobDiffers compares the forms: equal values have equal forms, except in a gob stream.
func gobDiffers(mine, stored bson.RawValue) (different, known bool) {
	whole := func(value bson.RawValue) bool {
		_, data, ok := value.BinaryOK()
		return ok && bytes.HasPrefix(data, []byte(compactWhole))
	}
	return !mine.Equal(stored), whole(mine) && whole(stored)
}

// decodeGob returns the values of a compact form or of a gob stream.
func decodeGob(data []byte) (map[any]any, error) {
	mixed := bytes.HasPrefix(data, []byte(compactMixed))
	if !mixed && !bytes.HasPrefix(data, []byte(compactWhole)) {
		return decodeStream(data)
	}
	r := compactReader{data: data, text: string(data), at: len(compactWhole)}
	values := make(map[any]any)
	for n := r.uvarint(); n > 0; n = r.uvarint() {
		key := r.take(n - 1)
		values[key] = r.value(0)
	}
	if r.err != nil || !mixed {
		return values, r.err
	}
	rest, err := decodeStream(data[r.at:])
	maps.Copy(values, rest)
	return values, err
}

func decodeStream(data []byte) (map[any]any, error) {
	values := make(map[any]any)
	err := gob.NewDecoder(bytes.NewReader(data)).Decode(&values)
	return values, err
}

// GobCodec stores the compact form. Like gob it keeps the exact type of every value, but it stores no description
// of the common types, which gob writes into each stream and compiles again for each one it reads. Values of other
// types, and values under keys that are not strings, follow in a gob stream.
//
//	form   = 0x00 0x01 { key value } 0x00
//	       | 0x00 0x02 { key value } 0x00 gob stream of a map[any]any
//	key    = length + 1, bytes
//	value  = kind, content
//
// Keys are sorted, here and in maps, so that equal values have equal forms. No gob stream begins with a zero byte,
// so a payload that does not begin with one is a gob stream as a whole.
const (
	compactWhole = "\x00\x01"
	compactMixed = "\x00\x02"
)

// The kinds of values. They are stored, so never renumber them. Lengths and unsigned integers are varints, signed
// integers are zigzag varints, as in encoding/binary; floats are little-endian.
const (
	kindNil byte = iota
	kindFalse
	kindTrue
	kindInt
	kindInt8
	kindInt16
	kindInt32
	kindInt64
	kindUint
	kindUint8
	kindUint16
	kindUint32
	kindUint64
	kindFloat32
	kindFloat64
	kindString  // length, bytes
	kindTime    // length, what MarshalBinary makes
	kindBytes   // []byte; here and below, the length is stored plus one, and 0 means nil
	kindStrings // []string: each as length, bytes
	kindList    // []any: each as value
	kindTexts   // map[string]string: each as length, bytes, length, bytes
	kindMap     // map[string]any: each as length, bytes, value
)

var (
	errUncommon = errors.New("a type that is left to gob")
	errTooDeep  = fmt.Errorf("its values lie more than %d deep in one another", values.MaxDepth)
	errDamaged  = errors.New("the payload is damaged")
)

// encodeCompact returns values in the compact form.
func encodeCompact(values map[any]any) (bson.RawValue, error) {
	var few [16]string
	keys := few[:0]
	for key := range values {
		if text, ok := key.(string); ok {
			keys = append(keys, text)
		}
	}
	slices.Sort(keys)
	w := compactWriter{data: bsonraw.BeginBinary(bson.TypeBinaryGeneric, roughSize(values))}
	start := len(w.data)
	w.data = append(w.data, compactWhole...)
	common := keys[:0]
	for _, key := range keys {
		before := len(w.data)
		w.text(key, 1)
		w.value(values[key], 0)
		if errors.Is(w.err, errUncommon) {
			w.data, w.err = w.data[:before], nil
		} else {
			common = append(common, key)
		}
	}
	w.data = append(w.data, 0)
	if len(common) == len(values) || w.err != nil {
		return bsonraw.EndBinary(w.data), w.err
	}
	rest := maps.Clone(values)
	for _, key := range common {
		delete(rest, key)
	}
	copy(w.data[start:], compactMixed)
	stream := bytes.NewBuffer(w.data)
	err := gob.NewEncoder(stream).Encode(rest)
	if err != nil {
		for _, value := range rest {
			err = fmt.Errorf("%w; gob needs gob.Register(%T{}) at start, and exported fields", err, value)
		}
	}
	return bsonraw.EndBinary(stream.Bytes()), err
}

// compactWriter writes a compact form. After an error, which stays, it writes no values.
type compactWriter struct {
	data []byte
	err  error
}

// value writes kind and content of a value. The error is errUncommon if there is no kind for its type.
func (w *compactWriter) value(value any, depth int) {
	if w.err == nil && depth > values.MaxDepth {
		w.err = errTooDeep
	}
	if w.err != nil {
		return
	}
	switch v := value.(type) {
	case nil:
		w.data = append(w.data, kindNil)
	case bool:
		kind := kindFalse
		if v {
			kind = kindTrue
		}
		w.data = append(w.data, kind)
	case string:
		w.data = append(w.data, kindString)
		w.text(v, 0)
	case time.Time:
		w.time(v)
	case []byte:
		w.count(kindBytes, v == nil, len(v))
		w.data = append(w.data, v...)
	case []string:
		w.count(kindStrings, v == nil, len(v))
		for _, text := range v {
			w.text(text, 0)
		}
	case []any:
		w.count(kindList, v == nil, len(v))
		for _, item := range v {
			w.value(item, depth+1)
		}
	case map[string]string:
		writeMap(w, kindTexts, v, func(text string) { w.text(text, 0) })
	case map[string]any:
		writeMap(w, kindMap, v, func(item any) { w.value(item, depth+1) })
	default:
		w.number(value)
	}
}

// writeMap writes a map in the order of its keys.
func writeMap[T any](w *compactWriter, kind byte, m map[string]T, write func(T)) {
	w.count(kind, m == nil, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		w.text(key, 0)
		write(m[key])
	}
}

// number writes an integer, whose kinds are in the order of reflect's, or a float.
func (w *compactWriter) number(value any) {
	switch v := value.(type) {
	case int, int8, int16, int32, int64:
		n := reflect.ValueOf(v)
		kind := kindInt + byte(n.Kind()-reflect.Int) //nolint:gosec // at most 4 more
		w.data = binary.AppendVarint(append(w.data, kind), n.Int())
	case uint, uint8, uint16, uint32, uint64:
		n := reflect.ValueOf(v)
		kind := kindUint + byte(n.Kind()-reflect.Uint) //nolint:gosec // at most 4 more
		w.data = binary.AppendUvarint(append(w.data, kind), n.Uint())
	case float32:
		w.data = binary.LittleEndian.AppendUint32(append(w.data, kindFloat32), math.Float32bits(v))
	case float64:
		w.data = binary.LittleEndian.AppendUint64(append(w.data, kindFloat64), math.Float64bits(v))
	default:
		w.err = errUncommon
	}
}

// text writes the length of text plus more, and its bytes.
func (w *compactWriter) text(text string, more int) {
	w.data = append(binary.AppendUvarint(w.data, uint64(len(text)+more)), text...) //nolint:gosec // lengths are not negative
}

// count writes a kind and the length of something that may be nil.
func (w *compactWriter) count(kind byte, isNil bool, length int) {
	if w.data = append(w.data, kind); isNil {
		length = -1
	}
	w.data = binary.AppendUvarint(w.data, uint64(length+1))
}

// time leaves a time without a binary form to gob, which reports it.
func (w *compactWriter) time(t time.Time) {
	var few [20]byte
	form, err := t.AppendBinary(few[:0])
	if err != nil {
		w.err = errUncommon
		return
	}
	w.data = append(append(w.data, kindTime, byte(len(form))), form...) //nolint:gosec // 15 or 16
}

// compactReader reads a compact form. After an error, which stays, it reads zero values.
type compactReader struct {
	data []byte
	text string // the same: its parts take no memory of their own
	at   int
	err  error
}

func (r *compactReader) left() uint64 { return uint64(len(r.data) - r.at) } //nolint:gosec // not negative

func (r *compactReader) fail() { r.err, r.at = errDamaged, len(r.data) }

func (r *compactReader) byte() byte {
	if b := r.take(1); b != "" {
		return b[0]
	}
	return kindNil
}

func (r *compactReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data[r.at:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.at += n
	return v
}

// take returns the next n bytes.
func (r *compactReader) take(n uint64) string {
	if n > r.left() {
		r.fail()
		return ""
	}
	start := r.at
	r.at += int(n) //nolint:gosec // no more than there is
	return r.text[start:r.at]
}

func (r *compactReader) string() string { return r.take(r.uvarint()) }

// count returns the length of something that may be nil, which is at most the bytes left, since each element takes one.
func (r *compactReader) count() (n int, isNil bool) {
	length := r.uvarint()
	if length == 0 {
		return 0, true
	}
	if length-1 > r.left() {
		r.fail()
		return 0, false
	}
	return int(length - 1), false //nolint:gosec // no more than there is
}

// value returns the next value.
func (r *compactReader) value(depth int) any {
	if depth > values.MaxDepth {
		r.fail()
		return nil
	}
	switch kind := r.byte(); kind {
	case kindNil:
		return nil
	case kindFalse, kindTrue:
		return kind == kindTrue
	case kindString:
		return r.string()
	case kindTime:
		return r.time()
	case kindBytes:
		if n, isNil := r.count(); !isNil {
			return []byte(r.take(uint64(n))) //nolint:gosec // not negative
		}
		return []byte(nil)
	case kindStrings:
		return items(r, r.string)
	case kindList:
		return items(r, func() any { return r.value(depth + 1) })
	case kindTexts:
		return entries(r, r.string)
	case kindMap:
		return entries(r, func() any { return r.value(depth + 1) })
	default:
		return r.number(kind)
	}
}

func (r *compactReader) number(kind byte) any {
	switch {
	case kind >= kindInt && kind <= kindUint64:
		value, fits := integers[kind-kindInt](r.uvarint())
		if !fits {
			r.fail()
		}
		return value
	case kind == kindFloat32:
		var b [4]byte
		copy(b[:], r.take(4))
		return math.Float32frombits(binary.LittleEndian.Uint32(b[:]))
	case kind == kindFloat64:
		var b [8]byte
		copy(b[:], r.take(8))
		return math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
	}
	r.fail()
	return nil
}

// integers are those of the kinds from kindInt to kindUint64.
var integers = [...]func(stored uint64) (value any, fits bool){
	integer[int], integer[int8], integer[int16], integer[int32], integer[int64],
	integer[uint], integer[uint8], integer[uint16], integer[uint32], integer[uint64],
}

// integer returns a stored integer as a T. It does not fit if it is of a wider machine.
func integer[T int | int8 | int16 | int32 | int64 | uint | uint8 | uint16 | uint32 | uint64](n uint64) (value any, fits bool) {
	if ^T(0) < 0 { // signed: zigzag
		n = n>>1 ^ -(n & 1)
	}
	return T(n), uint64(T(n)) == n
}

func (r *compactReader) time() (t time.Time) {
	if form := r.string(); r.err == nil && t.UnmarshalBinary([]byte(form)) != nil {
		r.fail()
	}
	return t
}

// few bounds the room that is made for elements before they are read: in a damaged payload a length may be anything.
const few = 64

// items returns a slice of what next returns.
func items[T any](r *compactReader, next func() T) []T {
	n, isNil := r.count()
	if isNil {
		return nil
	}
	list := make([]T, 0, min(n, few))
	for ; n > 0 && r.err == nil; n-- {
		list = append(list, next())
	}
	return list
}

// entries returns a map of what next returns.
func entries[T any](r *compactReader, next func() T) map[string]T {
	n, isNil := r.count()
	if isNil {
		return nil
	}
	m := make(map[string]T, min(n, few))
	for ; n > 0 && r.err == nil; n-- {
		key := r.string()
		m[key] = next()
	}
	return m
}
