package mongostore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/bsonraw"
	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// payloads encodes and seals what is stored as "session", and opens and decodes it.
type payloads struct{ cfg *Config }

// encode returns the values of session in stored form. Its errors name the key and what to do.
func (p payloads) encode(session *sessions.Session) (bson.RawValue, error) {
	return p.checked(session, func() (bson.RawValue, error) { return p.cfg.PayloadCodec.Encode(session) })
}

// encodeRecord is encode for a payload that is about to replace old.
func (p payloads) encodeRecord(session *sessions.Session, old bson.RawValue, maxAge int, expires time.Time) (bson.RawValue, error) {
	codec, ok := p.cfg.PayloadCodec.(RecordCodec)
	if !ok {
		return p.encode(session)
	}
	uncut, options := *session, *session.Options
	options.MaxAge = maxAge
	uncut.Options = &options
	return p.checked(session, func() (bson.RawValue, error) { return codec.EncodeRecord(&uncut, old, expires) })
}

// checked returns what the codec makes of session, and an error if that may not be stored.
func (p payloads) checked(session *sessions.Session, encode func() (bson.RawValue, error)) (bson.RawValue, error) {
	value, err := recovering(encode)
	if err != nil {
		return value, fmt.Errorf("mongostore: the session's values cannot be encoded: %w", err)
	}
	if err := value.Validate(); err != nil {
		return value, fmt.Errorf("mongostore: Config.PayloadCodec %T made an invalid BSON value: %w", p.cfg.PayloadCodec, err)
	}
	if _, sealed := isSealed(value); sealed {
		return value, fmt.Errorf("mongostore: Config.PayloadCodec %T made binary of subtype 0x80, which marks sealed payloads",
			p.cfg.PayloadCodec)
	}
	if len(value.Value) > p.cfg.MaxBytes {
		return value, fmt.Errorf("mongostore: %w: its values take %d bytes, Config.MaxBytes is %d%s",
			ErrTooLarge, len(value.Value), p.cfg.MaxBytes, p.largest(session))
	}
	return value, nil
}

// keepOptions reports whether the payload holds the attributes of the cookie.
func (p payloads) keepOptions() bool {
	_, ok := p.cfg.PayloadCodec.(RecordCodec)
	return ok
}

// changed reports whether two payloads hold different values; mine has just been encoded. It decodes them only if their
// encodings differ and the codec cannot tell.
func (p payloads) changed(mine, stored bson.RawValue) (bool, error) {
	if mine.Equal(stored) {
		return false, nil
	}
	if different, known := p.differ(mine, stored); known {
		return different, nil
	}
	a, err := p.values(mine)
	if err != nil {
		return false, fmt.Errorf("mongostore: the session's values would not come back: %w", err)
	}
	b, err := p.valuesAs(mine, stored)
	return !values.EqualMaps(a, b), err
}

// differ reports whether two payloads hold different values, if the codec can tell without decoding them: it has just
// encoded mine, and may have written stored long ago. Codecs that embed one of these do not count.
func (p payloads) differ(mine, stored bson.RawValue) (different, known bool) {
	if mine.Type != stored.Type {
		return false, false
	}
	switch p.cfg.PayloadCodec.(type) {
	case GobCodec:
		return gobDiffers(mine, stored)
	case JSONCodec:
		return jsonDiffers(mine, stored)
	case BSONCodec:
		return bsonraw.Differ(mine, stored)
	}
	return false, false
}

// largest names the value that takes most of a session.
func (p payloads) largest(session *sessions.Session) string {
	size, name := 0, ""
	for key, v := range session.Values {
		one := *session
		one.Values = map[any]any{key: v}
		value, err := recovering(func() (bson.RawValue, error) { return p.cfg.PayloadCodec.Encode(&one) })
		if err == nil && len(value.Value) > size {
			size, name = len(value.Value), keyName(key)
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; the largest is %s with %d bytes: keep it in a collection of its own", name, size)
}

// decode sets the values of session to those of a payload in the clear. A codec that panics on it is an error.
func (p payloads) decode(value bson.RawValue, session *sessions.Session) error {
	if value.IsZero() {
		return undecodable(errors.New("the field session is missing"))
	}
	_, err := recovering(func() (struct{}, error) { return struct{}{}, p.cfg.PayloadCodec.Decode(value, session) })
	if session.Values == nil {
		session.Values = make(map[any]any)
	}
	return undecodable(err)
}

// values returns the values of a payload in the clear.
func (p payloads) values(value bson.RawValue) (map[any]any, error) {
	scratch := &sessions.Session{Values: make(map[any]any), Options: new(sessions.Options)}
	if err := p.decode(value, scratch); err != nil {
		return nil, err
	}
	return scratch.Values, nil
}

// valuesAs returns the values of a payload as they would come back from the encoding of another one. A codec reads what
// others wrote, but in other types: an int that JSON made a float64 is no change.
func (p payloads) valuesAs(encoding, value bson.RawValue) (map[any]any, error) {
	values, err := p.values(value)
	if err != nil || value.Type == encoding.Type {
		return values, err
	}
	again, err := p.encode(&sessions.Session{Values: values, Options: new(sessions.Options)})
	if err != nil {
		return values, nil //nolint:nilerr // Save will report what this codec does not take
	}
	return p.values(again)
}

// sealedSubtype is the BSON binary subtype of a sealed payload: a byte with the BSON type inside, and the Sealer's data.
const sealedSubtype = 0x80

func isSealed(payload bson.RawValue) ([]byte, bool) {
	subtype, data, ok := payload.BinaryOK()
	return data, ok && subtype == sealedSubtype
}

// seal returns a payload as it is stored in rec, whose other fields must be final.
func (p payloads) seal(ctx context.Context, rec *record.Record, plain bson.RawValue) (bson.RawValue, error) {
	if p.cfg.Sealer == nil {
		return plain, nil
	}
	additional := additionalOf(rec, plain.Type)
	sealed, err := recovering(func() ([]byte, error) { return p.cfg.Sealer.Seal(ctx, plain.Value, additional) })
	if err != nil {
		return bson.RawValue{}, sealerDown(err)
	}
	return bsonraw.Binary(sealedSubtype, append([]byte{byte(plain.Type)}, sealed...)), nil
}

func sealerDown(err error) error {
	return fmt.Errorf("mongostore: Config.Sealer: %w: %w", ErrUnavailable, err)
}

// unseal returns the payload of rec in the clear.
func (p payloads) unseal(ctx context.Context, rec *record.Record) (bson.RawValue, error) {
	data, sealed := isSealed(rec.Session)
	var none bson.RawValue
	switch {
	case rec.Damage != nil:
		return none, undecodable(rec.Damage)
	case !sealed && (p.cfg.Sealer == nil || p.cfg.AcceptUnsealed):
		return rec.Session, nil
	case !sealed:
		return none, undecodable(errors.New("its payload is not sealed; Config.AcceptUnsealed lets such records in"))
	case p.cfg.Sealer == nil:
		return none, undecodable(errors.New("its payload is sealed, and there is no Config.Sealer"))
	case len(data) == 0:
		return none, undecodable(errors.New("its sealed payload is empty"))
	}
	kind := bson.Type(data[0])
	plain, err := recovering(func() ([]byte, error) { return p.cfg.Sealer.Open(ctx, data[1:], additionalOf(rec, kind)) })
	switch {
	case errors.Is(err, ErrDecode):
		return none, fmt.Errorf("mongostore: Config.Sealer: %w", err)
	case err != nil:
		return none, sealerDown(err)
	}
	return bson.RawValue{Type: kind, Value: plain}, nil
}

// additionalOf returns what a sealed payload is bound to, so that neither records nor owners can be swapped.
func additionalOf(rec *record.Record, kind bson.Type) []byte {
	data := []byte("mongostore/1")
	for _, field := range []string{rec.ID, rec.Name, rec.User} {
		data = binary.BigEndian.AppendUint32(data, uint32(len(field))) //nolint:gosec // a document ends at 16 MiB
		data = append(data, field...)
	}
	data = binary.BigEndian.AppendUint64(data, uint64(rec.CreatedAt.UnixMilli()))
	if rec.Token == nil {
		return append(data, 0, byte(kind))
	}
	return append(data, 1, byte(kind))
}
