package mongostore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Codec turns the values of a session into the BSON value stored as "session", and back.
//
// Its methods run concurrently, also on sessions that are no request's. They read and set only Values and
// Options, copy what they keep of value, and never leave Values nil. A MaxAge that Decode sets is the session's
// own, before that of the record. An error of Decode becomes ErrDecode.
// Encode must not make binary of subtype 0x80, which marks sealed payloads.
type Codec interface {
	// Encode returns session.Values as they are to be stored. The same values should give the same bytes, or a
	// request that changed nothing has to compare them. Its error makes Save fail and should name the key.
	Encode(session *sessions.Session) (bson.RawValue, error)
	// Decode sets session.Values to what Encode was given, in new memory at each call. For a value that it
	// does not know it returns an error.
	Decode(value bson.RawValue, session *sessions.Session) error
}

// RecordCodec is a [Codec] that is told more about the record: for a format in which the payload holds more than
// the application's values, such as connect-mongo's. A Store calls EncodeRecord for what it is about to store,
// and Encode for what it only compares.
type RecordCodec interface {
	Codec
	// EncodeRecord is Encode for a record that ends at expires. old is the payload that it has now, as Decode
	// is given it, and zero for a new record. session.Options.MaxAge is the session's own, also where expires is
	// sooner. To return old says that nothing has changed but the deadline.
	EncodeRecord(session *sessions.Session, old bson.RawValue, expires time.Time) (bson.RawValue, error)
	// Check reports what is wrong with the settings of the codec; New passes it on.
	Check() error
}

// BytesCodec returns a Codec that stores what marshal makes of a map[string]any, as binary (subtype 0), for
// MessagePack, CBOR and the like. unmarshal is given a *map[string]any. Keys must be strings. It reads the
// records of JSONCodec and BSONCodec too; those of GobCodec it takes for its own.
func BytesCodec(marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) Codec {
	return bytesCodec{marshal, unmarshal}
}

type bytesCodec struct {
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
}

func (c bytesCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	if c.marshal == nil || c.unmarshal == nil {
		return bson.RawValue{}, errors.New("BytesCodec needs both functions")
	}
	keys, err := sortedKeys(session.Values, "BytesCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	values := make(map[string]any, len(keys))
	for _, key := range keys {
		values[key] = session.Values[key]
	}
	data, err := c.marshal(values)
	if err != nil {
		return bson.RawValue{}, c.blame(values, err)
	}
	return binaryValue(bson.TypeBinaryGeneric, data), nil
}

func (c bytesCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, func(data []byte) (map[any]any, error) {
		var values map[string]any
		if err := c.unmarshal(bytes.Clone(data), &values); err != nil {
			return nil, err
		}
		return anyKeys(values), nil
	})
}

// decodeAny decodes what any of the codecs wrote: the BSON type of a payload is its encoding.
func decodeAny(value bson.RawValue, session *sessions.Session, decodeBinary func([]byte) (map[any]any, error)) error {
	var values map[any]any
	var err error
	switch value.Type {
	case bson.TypeBinary:
		subtype, data, ok := value.BinaryOK()
		if !ok || subtype != bson.TypeBinaryGeneric {
			return fmt.Errorf("the payload is binary of subtype 0x%02x", subtype)
		}
		values, err = decodeBinary(data)
	case bson.TypeString:
		values, err = decodeObject(textOf(value))
	case bson.TypeEmbeddedDocument:
		doc, ok := value.DocumentOK()
		if !ok {
			return errors.New("the payload is a damaged document")
		}
		values, err = decodeBSON(doc)
	default:
		return fmt.Errorf("the payload is a BSON %v; it can be binary, a string or a document", value.Type)
	}
	if err == nil {
		session.Values = values
	}
	return err
}

// sortedKeys returns the keys of values, or an error that names one that is no string.
func sortedKeys(values map[any]any, codec string) ([]string, error) {
	keys := make([]string, 0, len(values))
	for key := range values {
		text, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("the key of %s is of type %T: %s takes only string keys; GobCodec takes any", keyName(key), key, codec)
		}
		keys = append(keys, text)
	}
	slices.Sort(keys)
	return keys, nil
}

func anyKeys(values map[string]any) map[any]any {
	m := make(map[any]any, len(values))
	for key, value := range values {
		m[key] = value
	}
	return m
}

func cannotEncode(key string, value any, err error) error {
	return fmt.Errorf("%s, a %T: %w", keyName(key), value, err)
}

func (c bytesCodec) blame(values map[string]any, err error) error {
	for key, value := range values {
		if _, one := c.marshal(map[string]any{key: value}); one != nil {
			return cannotEncode(key, value, one)
		}
	}
	return err
}

// keyName writes a key of Values as in Go source, if it is of a basic type; another may hold anything.
func keyName(key any) string {
	switch key.(type) {
	case string, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprintf("Values[%#v]", key)
	}
	return fmt.Sprintf("a value with a key of type %T", key)
}

// binaryValue returns data as a BSON binary value.
func binaryValue(subtype byte, data []byte) bson.RawValue {
	return endBinary(append(beginBinary(subtype, len(data)), data...))
}

// beginBinary begins a BSON binary value of about this size; endBinary ends it, once its data is appended.
func beginBinary(subtype byte, size int) []byte {
	return append(make([]byte, 0, 5+size), 0, 0, 0, 0, subtype)
}

func endBinary(value []byte) bson.RawValue {
	appendLength(value[:0], len(value)-5)
	return bson.RawValue{Type: bson.TypeBinary, Value: value}
}

// roughSize guesses how long an encoding of values will be.
func roughSize(values map[any]any) int {
	size := 64
	for _, value := range values {
		if text, ok := value.(string); ok {
			size += len(text)
		}
		size += 32
	}
	return size
}

func appendLength(b []byte, n int) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)) //nolint:gosec // MaxBytes is checked after
}
