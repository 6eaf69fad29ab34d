// Package bsonraw reads and writes BSON in its raw form, without copies and without the driver's registry.
package bsonraw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Elements walks over a BSON document or array without copying anything. It checks the lengths of values, no more.
type Elements struct {
	Key   []byte        // of the current element
	Value bson.RawValue // of the current element
	Err   error         // ErrDamaged, once Next has found that

	rest []byte
}

// ErrDamaged means that a document's lengths do not fit together.
var ErrDamaged = errors.New("the BSON document is damaged")

// Walk starts before the first element of doc.
func Walk(doc []byte) Elements {
	if len(doc) < 5 || uint64(binary.LittleEndian.Uint32(doc)) != uint64(len(doc)) || doc[len(doc)-1] != 0 {
		return Elements{Err: ErrDamaged}
	}
	return Elements{rest: doc[4 : len(doc)-1]}
}

// Next goes to the next element and sets Key and Value. It returns false at the end, or with Err at damage.
func (e *Elements) Next() bool {
	if len(e.rest) == 0 {
		return false
	}
	kind, rest := bson.Type(e.rest[0]), e.rest[1:]
	end := bytes.IndexByte(rest, 0)
	if end < 0 {
		return e.fail()
	}
	e.Key, rest = rest[:end], rest[end+1:]
	n, ok := valueLength(kind, rest)
	if !ok || n > len(rest) {
		return e.fail()
	}
	e.Value, e.rest = bson.RawValue{Type: kind, Value: rest[:n:n]}, rest[n:]
	return true
}

func (e *Elements) fail() bool {
	e.Err, e.rest = ErrDamaged, nil
	return false
}

// valueLength returns how many bytes the value at the start of data takes (bsonspec.org, version 1.1).
func valueLength(kind bson.Type, data []byte) (n int, ok bool) {
	switch kind {
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
		return 0, true
	case bson.TypeBoolean:
		return 1, true
	case bson.TypeInt32:
		return 4, true
	case bson.TypeDouble, bson.TypeInt64, bson.TypeDateTime, bson.TypeTimestamp:
		return 8, true
	case bson.TypeObjectID:
		return 12, true
	case bson.TypeDecimal128:
		return 16, true
	case bson.TypeString, bson.TypeJavaScript, bson.TypeSymbol:
		return counted(data, 4)
	case bson.TypeBinary:
		return counted(data, 4+1)
	case bson.TypeDBPointer:
		return counted(data, 4+12)
	case bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeCodeWithScope:
		return counted(data, 0)
	case bson.TypeRegex:
		pattern := bytes.IndexByte(data, 0)
		flags := bytes.IndexByte(data[pattern+1:], 0)
		return pattern + flags + 2, pattern >= 0 && flags >= 0
	}
	return 0, false
}

// counted returns the length of a value that begins with a length; that leaves out this many of its bytes.
func counted(data []byte, more int) (n int, ok bool) {
	if len(data) < 4 {
		return 0, false
	}
	length := binary.LittleEndian.Uint32(data)
	return int(length) + more, length <= uint32(len(data)) //nolint:gosec // a document ends at 16 MiB
}

// Differ reports whether two decoded values would differ, whatever the width of integers. Keys in another order make that
// unknown.
func Differ(a, b bson.RawValue) (different, known bool) {
	switch {
	case isInteger(a) && isInteger(b):
		return a.AsInt64() != b.AsInt64(), true
	case a.Type != b.Type:
		return true, true
	case a.Type == bson.TypeEmbeddedDocument, a.Type == bson.TypeArray:
		return documentsDiffer(a.Value, b.Value)
	}
	return !bytes.Equal(a.Value, b.Value), true
}

func isInteger(value bson.RawValue) bool {
	return value.Type == bson.TypeInt32 || value.Type == bson.TypeInt64
}

// documentsDiffer walks over both side by side.
func documentsDiffer(a, b []byte) (different, known bool) {
	known = true
	x, y := Walk(a), Walk(b)
	for x.Next() {
		if !y.Next() || !bytes.Equal(x.Key, y.Key) {
			return false, false
		}
		different, sure := Differ(x.Value, y.Value)
		if different && sure {
			return true, true
		}
		known = known && sure
	}
	return false, known && !y.Next() && x.Err == nil && y.Err == nil
}

// Builder is an unfinished BSON document. Each method returns it with something appended, as append does.
type Builder []byte

// Build starts a document of about this size.
func Build(size int) Builder { return make(Builder, 4, size) }

// End ends the document.
func (b Builder) End() bson.Raw { return bson.Raw(b.EndAt(0)) }

// Begin starts a document within this one. EndAt ends it.
func (b Builder) Begin(key string) (inner Builder, start int) {
	b = b.field(bson.TypeEmbeddedDocument, key)
	return append(b, 0, 0, 0, 0), len(b)
}

// EndAt ends the document that starts there.
func (b Builder) EndAt(start int) Builder {
	b = append(b, 0)
	AppendLength(b[:start], len(b)-start)
	return b
}

func (b Builder) field(kind bson.Type, key string) Builder {
	return append(append(append(b, byte(kind)), key...), 0)
}

// Null appends null.
func (b Builder) Null(key string) Builder { return b.field(bson.TypeNull, key) }

// String appends a text.
func (b Builder) String(key, text string) Builder {
	return append(append(AppendLength(b.field(bson.TypeString, key), len(text)+1), text...), 0)
}

// Binary appends bytes of the generic subtype, or null for nil.
func (b Builder) Binary(key string, data []byte) Builder {
	if data == nil {
		return b.Null(key)
	}
	return append(append(AppendLength(b.field(bson.TypeBinary, key), len(data)), bson.TypeBinaryGeneric), data...)
}

// Bool appends a boolean.
func (b Builder) Bool(key string, value bool) Builder {
	if b = b.field(bson.TypeBoolean, key); value {
		return append(b, 1)
	}
	return append(b, 0)
}

// Int32 appends an integer of 32 bits.
func (b Builder) Int32(key string, n int) Builder {
	return AppendLength(b.field(bson.TypeInt32, key), n)
}

// Int64 appends an integer of 64 bits.
func (b Builder) Int64(key string, n int64) Builder {
	return binary.LittleEndian.AppendUint64(b.field(bson.TypeInt64, key), uint64(n)) //nolint:gosec // the bits
}

// Date appends a time, cut to milliseconds, or null for the zero time.
func (b Builder) Date(key string, t time.Time) Builder {
	if t.IsZero() {
		return b.Null(key)
	}
	return binary.LittleEndian.AppendUint64(b.field(bson.TypeDateTime, key), uint64(t.UnixMilli()))
}

// Document appends a document.
func (b Builder) Document(key string, doc bson.Raw) Builder {
	return append(b.field(bson.TypeEmbeddedDocument, key), doc...)
}

// Value appends a value of any type.
func (b Builder) Value(key string, value bson.RawValue) Builder {
	return append(b.field(value.Type, key), value.Value...)
}

// Binary returns data as a BSON binary value.
func Binary(subtype byte, data []byte) bson.RawValue {
	return EndBinary(append(BeginBinary(subtype, len(data)), data...))
}

// BeginBinary starts a BSON binary value of about this size: append its data, then call EndBinary.
func BeginBinary(subtype byte, size int) []byte {
	return append(make([]byte, 0, 5+size), 0, 0, 0, 0, subtype)
}

// EndBinary ends what BeginBinary started.
func EndBinary(value []byte) bson.RawValue {
	AppendLength(value[:0], len(value)-5)
	return bson.RawValue{Type: bson.TypeBinary, Value: value}
}

// AppendLength appends the length of a value as BSON writes it.
func AppendLength(b []byte, n int) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)) //nolint:gosec // a document ends at 16 MiB
}
