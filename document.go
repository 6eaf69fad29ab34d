package mongostore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// elements walks over a BSON document or array, in its order, without a copy of anything. The lengths of
// values are checked; what is in them is not.
type elements struct {
	rest  []byte
	key   []byte
	value bson.RawValue
	err   error
}

var errDocument = errors.New("the BSON document is damaged")

// elementsOf begins the walk.
func elementsOf(doc []byte) elements {
	if len(doc) < 5 || uint64(binary.LittleEndian.Uint32(doc)) != uint64(len(doc)) || doc[len(doc)-1] != 0 {
		return elements{err: errDocument}
	}
	return elements{rest: doc[4 : len(doc)-1]}
}

// next goes to the next element: key and value are its then.
func (e *elements) next() bool {
	if len(e.rest) == 0 {
		return false
	}
	kind, rest := bson.Type(e.rest[0]), e.rest[1:]
	end := bytes.IndexByte(rest, 0)
	if end < 0 {
		return e.fail()
	}
	e.key, rest = rest[:end], rest[end+1:]
	n, ok := valueLength(kind, rest)
	if !ok || n > len(rest) {
		return e.fail()
	}
	e.value, e.rest = bson.RawValue{Type: kind, Value: rest[:n:n]}, rest[n:]
	return true
}

func (e *elements) fail() bool {
	e.err, e.rest = errDocument, nil
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

// counted returns the length of a value that begins with its own, which does not count so many of its bytes.
func counted(data []byte, more int) (n int, ok bool) {
	if len(data) < 4 {
		return 0, false
	}
	length := binary.LittleEndian.Uint32(data)
	return int(length) + more, length <= uint32(len(data)) //nolint:gosec // a document ends at 16 MiB
}

// bsonDiffers reports whether two values are different to a program that BSONCodec gives them to: the width of
// integers does not count. It is not known of documents whose keys are in another order, as those of a map are.
func bsonDiffers(a, b bson.RawValue) (different, known bool) {
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

// documentsDiffer goes over both side by side: one difference is enough to know.
func documentsDiffer(a, b []byte) (different, known bool) {
	known = true
	x, y := elementsOf(a), elementsOf(b)
	for x.next() {
		if !y.next() || !bytes.Equal(x.key, y.key) {
			return false, false
		}
		switch different, sure := bsonDiffers(x.value, y.value); {
		case !sure:
			known = false
		case different:
			return true, true
		}
	}
	return false, known && !y.next() && x.err == nil && y.err == nil
}

// document is a BSON document in the making. The commands of each request are built so, without the driver's
// registry.
type document []byte

// newDocument begins a document of about this size.
func newDocument(size int) document { return make(document, 4, size) }

func (d document) end() bson.Raw { return bson.Raw(d.endAt(0)) }

// begin starts a document within this one. It ends with endAt, given where it started.
func (d document) begin(key string) (inner document, start int) {
	d = d.field(bson.TypeEmbeddedDocument, key)
	return append(d, 0, 0, 0, 0), len(d)
}

func (d document) endAt(start int) document {
	d = append(d, 0)
	appendLength(d[:start], len(d)-start)
	return d
}

func (d document) field(kind bson.Type, key string) document {
	return append(append(append(d, byte(kind)), key...), 0)
}

func (d document) null(key string) document { return d.field(bson.TypeNull, key) }

func (d document) string(key, text string) document {
	return append(append(appendLength(d.field(bson.TypeString, key), len(text)+1), text...), 0)
}

func (d document) binary(key string, data []byte) document {
	return append(append(appendLength(d.field(bson.TypeBinary, key), len(data)), bson.TypeBinaryGeneric), data...)
}

func (d document) bool(key string, value bool) document {
	if d = d.field(bson.TypeBoolean, key); value {
		return append(d, 1)
	}
	return append(d, 0)
}

func (d document) int32(key string, n int) document {
	return appendLength(d.field(bson.TypeInt32, key), n)
}

func (d document) int64(key string, n int64) document {
	return binary.LittleEndian.AppendUint64(d.field(bson.TypeInt64, key), uint64(n)) //nolint:gosec // the bits
}

func (d document) date(key string, t time.Time) document {
	return binary.LittleEndian.AppendUint64(d.field(bson.TypeDateTime, key), uint64(t.UnixMilli()))
}

func (d document) value(key string, value bson.RawValue) document {
	return append(d.field(value.Type, key), value.Value...)
}
