package mongostore

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Codec turns the values of a session into the BSON value stored as "session", and back.
//
// Its methods run concurrently, also on sessions that are no request's. They read and set only Values and
// Options, copy what they keep of value, and never leave Values nil. An error of Decode becomes ErrDecode.
type Codec interface {
	Encode(session *sessions.Session) (bson.RawValue, error)
	Decode(value bson.RawValue, session *sessions.Session) error
}

// GobCodec stores values with encoding/gob, as binary (subtype 0). It takes keys and values of any type;
// types other than Go's basic ones must be made known by gob.Register in every program that reads them.
// It is safe for concurrent use.
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
	subtype, data, ok := value.BinaryOK()
	if !ok || subtype != bson.TypeBinaryGeneric {
		return fmt.Errorf("the payload is BSON %v, not binary of subtype 0 as GobCodec writes it", value.Type)
	}
	values := make(map[any]any)
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&values); err != nil {
		return err
	}
	session.Values = values
	return nil
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

// payloads encodes and decodes with the store's codec and its limits.
type payloads struct {
	codec    Codec
	maxBytes int
}

// encode returns the values of session as they are stored. Its errors name the key and the remedy.
func (p payloads) encode(session *sessions.Session) (bson.RawValue, error) {
	value, err := p.codec.Encode(session)
	if err != nil {
		return value, fmt.Errorf("mongostore: the session's values cannot be encoded: %w", err)
	}
	if err := value.Validate(); err != nil {
		return value, fmt.Errorf("mongostore: Config.PayloadCodec %T made an invalid BSON value: %w", p.codec, err)
	}
	if len(value.Value) > p.maxBytes {
		return value, fmt.Errorf("mongostore: %w: its values take %d bytes, Config.MaxBytes is %d%s",
			ErrTooLarge, len(value.Value), p.maxBytes, p.largest(session))
	}
	return value, nil
}

// largest names the value that takes most of a session that is too large.
func (p payloads) largest(session *sessions.Session) string {
	size, name := 0, ""
	for key, v := range session.Values {
		one := *session
		one.Values = map[any]any{key: v}
		if value, err := p.codec.Encode(&one); err == nil && len(value.Value) > size {
			size, name = len(value.Value), keyName(key)
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; the largest is %s with %d bytes: keep it in a collection of its own", name, size)
}

// decode sets the values of session to those of a stored payload. It survives a codec that panics, since
// what a record holds must never take a request down.
func (p payloads) decode(value bson.RawValue, session *sessions.Session) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("mongostore: %w: the codec panicked", ErrDecode)
		}
		if session.Values == nil {
			session.Values = make(map[any]any)
		}
	}()
	if value.IsZero() {
		return fmt.Errorf("mongostore: %w: %w", ErrDecode, errors.New("the field session is missing"))
	}
	if err := p.codec.Decode(value, session); err != nil {
		return fmt.Errorf("mongostore: %w: %w", ErrDecode, err)
	}
	return nil
}

// values returns the values of a stored payload.
func (p payloads) values(value bson.RawValue) (map[any]any, error) {
	scratch := &sessions.Session{Values: make(map[any]any), Options: new(sessions.Options)}
	err := p.decode(value, scratch)
	return scratch.Values, err
}

// binaryValue returns data as a BSON binary value.
func binaryValue(subtype byte, data []byte) bson.RawValue {
	value := make([]byte, 0, 5+len(data))
	n := uint32(len(data)) //nolint:gosec // a payload is far below 4 GiB: MaxBytes is checked after
	value = append(value, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), subtype)
	return bson.RawValue{Type: bson.TypeBinary, Value: append(value, data...)}
}
