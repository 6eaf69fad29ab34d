package mongostore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/bsonraw"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Codec turns the values of a session into the BSON value stored as "session", and back.
//
// Its methods are called concurrently, also with sessions that belong to no request. They read and set only Values and
// Options, copy what they keep of value, and never leave Values nil.
type Codec interface {
	// Encode returns session.Values in the form to store, but for binary of subtype 0x80, which marks sealed payloads. Equal
	// values should give equal bytes, or Save has to compare them. An error makes Save fail and should name the key.
	Encode(session *sessions.Session) (bson.RawValue, error)
	// Decode sets session.Values to what Encode was given, in new memory at each call. A MaxAge that it sets goes
	// before that of the record. It returns an error, which becomes ErrDecode, for a value that it does not know.
	Decode(value bson.RawValue, session *sessions.Session) error
}

// RecordCodec is a [Codec] for a format whose payload holds more than the application's values, such as connect-mongo's.
// A Store calls EncodeRecord for a payload that it is about to store, and Encode for one that it only compares.
type RecordCodec interface {
	Codec
	// EncodeRecord is Encode for a record that expires at expires. old is its present payload, as given to Decode, or
	// zero for a new record. session.Options.MaxAge is the session's own, even if expires is sooner. Return old if only
	// the deadline has changed.
	EncodeRecord(session *sessions.Session, old bson.RawValue, expires time.Time) (bson.RawValue, error)
	// Check returns an error about the settings of the codec; New passes it on.
	Check() error
}

// BytesCodec returns a Codec for MessagePack, CBOR and the like. It stores what marshal makes of a map[string]any, as
// binary of subtype 0, and gives unmarshal a *map[string]any. Keys must be strings. It also reads the records of
// JSONCodec and BSONCodec, but takes those of GobCodec for its own. Both functions must be safe for concurrent use.
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
	return encoded(session.Values, c.encode)
}

func (c bytesCodec) encode(values map[any]any) (bson.RawValue, error) {
	keys, err := sortedKeys(values, "BytesCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	named := make(map[string]any, len(keys))
	for _, key := range keys {
		named[key] = values[key]
	}
	data, err := c.marshal(named)
	return bsonraw.Binary(bson.TypeBinaryGeneric, data), err
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

// encoded returns what encode makes of values, or an error that names the one that does not encode, even alone.
func encoded(values map[any]any, encode func(map[any]any) (bson.RawValue, error)) (bson.RawValue, error) {
	payload, err := encode(values)
	if err == nil {
		return payload, nil
	}
	for key, value := range values {
		if _, err := encode(map[any]any{key: value}); err != nil {
			return bson.RawValue{}, fmt.Errorf("%s, a %T: %w", keyName(key), value, err)
		}
	}
	return bson.RawValue{}, err
}

// decodeAny decodes a payload of any of the codecs; its BSON type tells the encoding.
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
		values = make(map[any]any)
		err = eachFromBSON(value.Value, 0, func(key []byte, value any) { values[string(key)] = value })
	default:
		return fmt.Errorf("the payload is a BSON %v; it can be binary, a string or a document", value.Type)
	}
	if err == nil {
		session.Values = values
	}
	return err
}

// sortedKeys returns the keys of values, or an error if one is not a string.
func sortedKeys(values map[any]any, codec string) ([]string, error) {
	keys := make([]string, 0, len(values))
	for key := range values {
		text, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("its key is of type %T: %s takes only string keys; GobCodec takes any", key, codec)
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

// keyName writes a key of Values as in Go source, if it is of a basic type; a key of another type may hold secrets.
func keyName(key any) string {
	switch key.(type) {
	case string, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return fmt.Sprintf("Values[%#v]", key)
	}
	return fmt.Sprintf("a value with a key of type %T", key)
}

// roughSize guesses how long an encoding of values will be.
func roughSize(values map[any]any) int {
	size := 64 + 32*len(values)
	for _, value := range values {
		text, _ := value.(string)
		size += len(text)
	}
	return size
}
