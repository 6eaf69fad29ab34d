package mongostore

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Codec turns the values of a session into the BSON value stored as "session", and back.
//
// Its methods run concurrently, also on sessions that are no request's. They read and set only Values and
// Options, copy what they keep of value, and never leave Values nil. An error of Decode becomes ErrDecode.
// Encode must not make binary of subtype 0x80, which marks sealed payloads.
type Codec interface {
	// Encode returns session.Values as they are to be stored. The same values should give the same bytes, or a
	// request that changed nothing has to compare them. Its error makes Save fail and should name the key.
	Encode(session *sessions.Session) (bson.RawValue, error)
	// Decode sets session.Values to what Encode was given, in new memory at each call. For a value that it
	// does not know it returns an error.
	Decode(value bson.RawValue, session *sessions.Session) error
}

// GobCodec stores values with encoding/gob, as binary (subtype 0). It takes keys and values of any type;
// types other than Go's basic ones must be made known by gob.Register in every program that reads them.
//
// GobCodec, JSONCodec and BSONCodec read each other's records, so that a collection can move from one to
// another while it is in use. All are safe for concurrent use.
type GobCodec struct{}

// Encode implements [Codec].
func (GobCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(session.Values); err != nil {
		return bson.RawValue{}, gobError(session.Values, err)
	}
	return binaryValue(bson.TypeBinaryGeneric, buf.Bytes()), nil
}

// Decode implements [Codec].
func (GobCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
}

// JSONCodec stores values as a JSON text in a string, as connect-mongo does with stringify. Keys must be
// strings. Values come back as encoding/json gives them: float64, string, bool, nil, []any, map[string]any;
// an integer beyond 2^53, which float64 would round, comes back as json.Number.
type JSONCodec struct{}

// Encode implements [Codec].
func (JSONCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	values, err := stringKeys(session.Values, "JSONCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	text, err := marshalJSON(values)
	if err != nil {
		return bson.RawValue{}, blame(values, err, func(_ string, v any) error { _, err := marshalJSON(v); return err })
	}
	return stringValue(text), nil
}

// Decode implements [Codec].
func (JSONCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
}

// BSONCodec stores values as a document, as connect-mongo does with stringify: false, so that MongoDB can
// query them: db.sessions.find({"session.cart.total": {$gt: 100}}). Keys must be strings. Values come back
// as bool, int, float64, string, nil, time.Time (UTC, whole milliseconds), []byte, []any, map[string]any,
// or the driver's type for what only BSON has, such as bson.ObjectID. MongoDB before 5.0 refuses keys that
// begin with a dollar sign.
type BSONCodec struct{}

// Encode implements [Codec].
func (BSONCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	values, err := stringKeys(session.Values, "BSONCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	doc := make(bson.D, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		doc = append(doc, bson.E{Key: key, Value: values[key]})
	}
	raw, err := bson.Marshal(doc)
	if err != nil {
		return bson.RawValue{}, blame(values, err, func(key string, v any) error { _, err := bson.Marshal(bson.D{{Key: key, Value: v}}); return err })
	}
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw}, nil
}

// Decode implements [Codec].
func (BSONCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
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
	values, err := stringKeys(session.Values, "BytesCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	data, err := c.marshal(values)
	if err != nil {
		return bson.RawValue{}, blame(values, err, func(key string, v any) error { _, err := c.marshal(map[string]any{key: v}); return err })
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
		text, ok := value.StringValueOK()
		if !ok {
			return errors.New("the payload is a damaged string")
		}
		values, err = decodeJSON(text)
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

func decodeGob(data []byte) (map[any]any, error) {
	values := make(map[any]any)
	err := gob.NewDecoder(bytes.NewReader(data)).Decode(&values) //nolint:gosec // what gob may make is registered; see SECURITY.md
	return values, err
}

func marshalJSON(v any) (string, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return string(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), err
}

func decodeJSON(text string) (map[any]any, error) {
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON value")
	}
	return anyKeys(floats(values).(map[string]any)), nil
}

// floats replaces the numbers in what JSON gave, in place, by float64 where that is exact.
func floats(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = floats(v[key])
		}
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	case json.Number:
		return float(v)
	}
	return value
}

// float keeps an integer beyond 2^53 as it was written, since float64 rounds most of them.
func float(n json.Number) any {
	f, err := n.Float64()
	if err != nil {
		return n
	}
	const exact = 1 << 53
	i, err := strconv.ParseInt(string(n), 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && (i > exact || i < -exact) {
		return n
	}
	return f
}

func decodeBSON(doc bson.Raw) (map[any]any, error) {
	elements, err := doc.Elements()
	if err != nil {
		return nil, err
	}
	values := make(map[any]any, len(elements))
	for _, e := range elements {
		if values[e.Key()], err = fromBSON(e.Value()); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// fromBSON returns a BSON value in the type that a Go program would have used for it.
func fromBSON(value bson.RawValue) (any, error) {
	switch value.Type {
	case bson.TypeEmbeddedDocument:
		elements, err := value.Document().Elements()
		if err != nil {
			return nil, err
		}
		m := make(map[string]any, len(elements))
		for _, e := range elements {
			if m[e.Key()], err = fromBSON(e.Value()); err != nil {
				return nil, err
			}
		}
		return m, nil
	case bson.TypeArray:
		elements, err := value.Array().Values()
		if err != nil {
			return nil, err
		}
		list := make([]any, len(elements))
		for i, e := range elements {
			if list[i], err = fromBSON(e); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return scalarFromBSON(value)
}

func scalarFromBSON(value bson.RawValue) (any, error) {
	if err := value.Validate(); err != nil {
		return nil, err
	}
	switch value.Type {
	case bson.TypeInt32:
		return int(value.Int32()), nil
	case bson.TypeInt64:
		return int(value.Int64()), nil
	case bson.TypeDateTime:
		return time.UnixMilli(value.DateTime()).UTC(), nil
	case bson.TypeNull, bson.TypeUndefined:
		return nil, nil
	case bson.TypeBinary:
		if subtype, data := value.Binary(); subtype == bson.TypeBinaryGeneric {
			return append([]byte{}, data...), nil
		}
	}
	var v any
	err := value.Unmarshal(&v)
	return v, err
}

// stringKeys returns values with their keys as strings, or an error that names one that is none.
func stringKeys(values map[any]any, codec string) (map[string]any, error) {
	strings := make(map[string]any, len(values))
	for key, value := range values {
		text, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("the key of %s is of type %T: %s takes only string keys; GobCodec takes any", keyName(key), key, codec)
		}
		strings[text] = value
	}
	return strings, nil
}

func anyKeys(values map[string]any) map[any]any {
	m := make(map[any]any, len(values))
	for key, value := range values {
		m[key] = value
	}
	return m
}

// blame finds the value because of which an encoding failed.
func blame(values map[string]any, err error, encode func(key string, value any) error) error {
	for key, value := range values {
		if one := encode(key, value); one != nil {
			return fmt.Errorf("%s, a %T: %w", keyName(key), value, one)
		}
	}
	return err
}

// gobError names the key whose value does not encode, and what to do about it.
func gobError(values map[any]any, err error) error {
	for key, value := range values {
		one := gob.NewEncoder(new(bytes.Buffer)).Encode(map[any]any{key: value})
		if one != nil {
			return fmt.Errorf("%s: %w; gob needs gob.Register(%T{}) at start, and exported fields", keyName(key), one, value)
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
	value := make([]byte, 0, 5+len(data))
	value = appendLength(value, len(data))
	value = append(value, subtype)
	return bson.RawValue{Type: bson.TypeBinary, Value: append(value, data...)}
}

// stringValue returns text as a BSON string value.
func stringValue(text string) bson.RawValue {
	value := make([]byte, 0, 5+len(text))
	value = appendLength(value, len(text)+1)
	value = append(value, text...)
	return bson.RawValue{Type: bson.TypeString, Value: append(value, 0)}
}

func appendLength(b []byte, n int) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)) //nolint:gosec // MaxBytes is checked after
}
