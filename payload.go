package mongostore

import (
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// payloads encodes and seals what is stored as "session", and the way back.
type payloads struct {
	codec          Codec
	maxBytes       int
	sealer         Sealer
	acceptUnsealed bool
}

// encode returns the values of session in stored form. Its errors name the key and the remedy.
func (p payloads) encode(session *sessions.Session) (bson.RawValue, error) {
	value, err := guarded(func() (bson.RawValue, error) { return p.codec.Encode(session) })
	return p.checked(session, value, err)
}

// encodeRecord is encode for what is about to be stored in the place of old.
func (p payloads) encodeRecord(session *sessions.Session, old bson.RawValue, maxAge int, expires time.Time) (bson.RawValue, error) {
	codec, ok := p.codec.(RecordCodec)
	if !ok {
		return p.encode(session)
	}
	uncut, options := *session, *session.Options
	options.MaxAge = maxAge
	uncut.Options = &options
	value, err := guarded(func() (bson.RawValue, error) { return codec.EncodeRecord(&uncut, old, expires) })
	return p.checked(session, value, err)
}

// checked returns what the codec made of session, if it may be stored.
func (p payloads) checked(session *sessions.Session, value bson.RawValue, err error) (bson.RawValue, error) {
	if err != nil {
		return value, fmt.Errorf("mongostore: the session's values cannot be encoded: %w", err)
	}
	if err := value.Validate(); err != nil {
		return value, fmt.Errorf("mongostore: Config.PayloadCodec %T made an invalid BSON value: %w", p.codec, err)
	}
	if _, sealed := isSealed(value); sealed {
		return value, fmt.Errorf("mongostore: Config.PayloadCodec %T made binary of subtype 0x80, which marks sealed payloads", p.codec)
	}
	if len(value.Value) > p.maxBytes {
		return value, fmt.Errorf("mongostore: %w: its values take %d bytes, Config.MaxBytes is %d%s",
			ErrTooLarge, len(value.Value), p.maxBytes, p.largest(session))
	}
	return value, nil
}

// differ reports whether two payloads hold different values, if the codec can tell without decoding them: mine is
// what it has just encoded, stored what it may have written long ago. Codecs that embed one of these do not count.
func (p payloads) differ(mine, stored bson.RawValue) (different, known bool) {
	switch codec := p.codec.(type) {
	case GobCodec:
		return codec.differ(mine, stored)
	case JSONCodec:
		return codec.differ(mine, stored)
	case BSONCodec:
		return codec.differ(mine, stored)
	}
	return false, false
}

// largest names the value that takes most of a session that is too large.
func (p payloads) largest(session *sessions.Session) string {
	size, name := 0, ""
	for key, v := range session.Values {
		one := *session
		one.Values = map[any]any{key: v}
		value, err := guarded(func() (bson.RawValue, error) { return p.codec.Encode(&one) })
		if err == nil && len(value.Value) > size {
			size, name = len(value.Value), keyName(key)
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; the largest is %s with %d bytes: keep it in a collection of its own", name, size)
}

// decode sets the values of session to those of a payload in the clear. It survives a codec that panics,
// since what a record holds must never take a request down.
func (p payloads) decode(value bson.RawValue, session *sessions.Session) error {
	if value.IsZero() {
		return fmt.Errorf("mongostore: %w: %w", ErrDecode, errors.New("the field session is missing"))
	}
	_, err := guarded(func() (struct{}, error) { return struct{}{}, p.codec.Decode(value, session) })
	if session.Values == nil {
		session.Values = make(map[any]any)
	}
	if err != nil {
		return fmt.Errorf("mongostore: %w: %w", ErrDecode, err)
	}
	return nil
}

// values returns the values of a payload in the clear.
func (p payloads) values(value bson.RawValue) (map[any]any, error) {
	scratch := &sessions.Session{Values: make(map[any]any), Options: new(sessions.Options)}
	err := p.decode(value, scratch)
	return scratch.Values, err
}

// valuesAs returns the values of a payload as they would come back if they were stored in the encoding of
// another one. A codec reads what others wrote, but their types differ: an int is a float64 after JSON, and
// must not be taken for a change.
func (p payloads) valuesAs(encoding, value bson.RawValue) (map[any]any, error) {
	values, err := p.values(value)
	if err != nil || value.Type == encoding.Type {
		return values, err
	}
	again, err := p.encode(&sessions.Session{Values: values, Options: new(sessions.Options)})
	if err != nil {
		return values, nil //nolint:nilerr // what this codec does not take, Save will complain of
	}
	return p.values(again)
}
