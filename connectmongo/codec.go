package connectmongo

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Codec stores values as connect-mongo does, for Config.PayloadCodec. The zero value is that of its default,
// stringify: true. Keys must be strings, and none of those that express-session keeps for itself: "cookie", "id",
// "req", "save" and the like; "lastModified" is connect-mongo's.
//
// Values come back as [mongostore.JSONCodec] and, with Document, [mongostore.BSONCodec] say. It reads both forms
// whatever Document is, and leaves a session in its form until it changes. What the application did not change
// stays as Express wrote it, byte for byte, down to 16 objects in one another: a Long stays a Long, a number beyond
// 2^53 keeps its digits.
//
// The object "cookie", which express-session keeps in each session, is not among the values. When a session is
// loaded its fields become those of session.Options: Path, Domain, MaxAge, Secure, HttpOnly, Partitioned and
// SameSite. When it is stored they go back, with an originalMaxAge of MaxAge and an expires of the deadline;
// what else is in it stays. So a session has the attributes of whoever made it, on both sides.
//
// A Codec is safe for concurrent use. Copies of it share Crypto.
type Codec struct {
	// Document stores a document, as connect-mongo does with stringify: false, instead of a JSON text. Under
	// Crypto it makes no difference.
	Document bool
	// Crypto encrypts, as connect-mongo does with cryptoAdapter or crypto. What is not encrypted is then
	// ErrDecode, so that nobody can plant values without the secret. Default: none.
	Crypto Crypto
}

var _ mongostore.RecordCodec = Codec{}

// Check reports what is wrong with Crypto, which it tries out.
func (c Codec) Check() error {
	if c.Crypto == nil {
		return nil
	}
	const text = "{}"
	ciphertext, err := c.Crypto.Encrypt(text)
	if err != nil {
		return fmt.Errorf("connectmongo: Codec.Crypto does not encrypt: %w", err)
	}
	plaintext, err := c.Crypto.Decrypt(ciphertext)
	if err != nil {
		return fmt.Errorf("connectmongo: Codec.Crypto does not decrypt what it encrypted: %w", err)
	}
	if text, err := unwrap(plaintext); err != nil || text != "{}" {
		return errors.New("connectmongo: Codec.Crypto does not decrypt what it encrypted: a text does not come back as it was")
	}
	return nil
}

// Encode implements [mongostore.Codec]: what EncodeRecord returns for a new record that ends when the cookie does.
// A Store uses it for comparisons, so it takes reserved names too.
func (c Codec) Encode(session *sessions.Session) (bson.RawValue, error) {
	values, err := stringKeys(session.Values)
	if err != nil {
		return bson.RawValue{}, err
	}
	options := optionsOf(session)
	return c.encode(object{}, values, options, time.Now().Add(time.Duration(options.MaxAge)*time.Second))
}

// EncodeRecord implements [mongostore.RecordCodec]. Its errors name the key that cannot be stored.
func (c Codec) EncodeRecord(session *sessions.Session, old bson.RawValue, expires time.Time) (bson.RawValue, error) {
	values, err := stringKeys(session.Values)
	if err != nil {
		return bson.RawValue{}, err
	}
	was, options := c.previous(old), optionsOf(session)
	if err := checkNames(values, was.values); err != nil {
		return bson.RawValue{}, err
	}
	if cookie := was.cookie(); cookie != nil {
		values[cookieKey] = cookieOf(cookie, options)
		if _, changed, err := encodeObject(was, values); err == nil && !changed {
			return old, nil
		}
	}
	return c.encode(was, values, options, expires)
}

// encode returns the payload of values in the place of an object.
func (c Codec) encode(was object, values map[string]any, options *sessions.Options, expires time.Time) (bson.RawValue, error) {
	format := c.format()
	values[cookieKey] = expiring(cookieOf(was.cookie(), options), options.MaxAge, expires, format)
	if was.format != format {
		was = object{format: format}
	}
	raw, _, err := encodeObject(was, values)
	if err != nil {
		return raw, err
	}
	return c.seal(format.payload(raw))
}

// Decode implements [mongostore.Codec].
func (c Codec) Decode(value bson.RawValue, session *sessions.Session) error {
	o, err := c.open(value)
	if err != nil {
		return err
	}
	session.Values = make(map[any]any, len(o.values))
	for key, value := range o.values {
		if key != cookieKey {
			session.Values[key] = value
		}
	}
	if cookie := o.cookie(); cookie != nil && session.Options != nil {
		setOptions(session.Options, cookie)
	}
	return nil
}

// format is that of what the codec writes. Ciphertexts hold JSON, also with Document.
func (c Codec) format() format {
	if c.Document && c.Crypto == nil {
		return bsonFormat{}
	}
	return jsonFormat{}
}

// previous returns what a payload holds that is about to be replaced; one that cannot be read holds nothing that
// could be kept.
func (c Codec) previous(old bson.RawValue) object {
	if old.IsZero() {
		return object{}
	}
	o, err := c.open(old)
	if err != nil {
		return object{}
	}
	return o
}

// open returns the object in a payload.
func (c Codec) open(value bson.RawValue) (object, error) {
	switch value.Type {
	case bson.TypeEmbeddedDocument:
		if c.Crypto != nil {
			return object{}, errors.New("connectmongo: the session is a document, which is not encrypted")
		}
		return newObject(bsonFormat{}, value)
	case bson.TypeString:
		text, ok := value.StringValueOK()
		if !ok {
			return object{}, errors.New("connectmongo: the session is a damaged string")
		}
		return c.openText(text)
	}
	return object{}, fmt.Errorf("connectmongo: the session is a BSON %v; connect-mongo stores a string or a document", value.Type)
}

func (c Codec) openText(text string) (object, error) {
	if c.Crypto != nil {
		plaintext, err := c.Crypto.Decrypt(text)
		if err != nil {
			return object{}, fmt.Errorf("connectmongo: the session cannot be decrypted: %w", err)
		}
		if text, err = unwrap(plaintext); err != nil {
			return object{}, err
		}
	}
	o, err := newObject(jsonFormat{}, bson.RawValue{Value: []byte(text)})
	if err != nil && c.Crypto == nil {
		err = fmt.Errorf("%w; if it is encrypted, Codec.Crypto is missing", err)
	}
	return o, err
}

func (c Codec) seal(payload bson.RawValue) (bson.RawValue, error) {
	if c.Crypto == nil {
		return payload, nil
	}
	text, ok := payload.StringValueOK()
	if !ok {
		return payload, errors.New("connectmongo: only text is encrypted")
	}
	ciphertext, err := c.Crypto.Encrypt(text)
	if err != nil {
		return payload, fmt.Errorf("connectmongo: the session cannot be encrypted: %w", err)
	}
	return stringValue(ciphertext), nil
}

// reserved are the names that express-session drops from a session, since its object Session has properties of
// these names, and the one that connect-mongo overwrites under touchAfter.
var reserved = []string{
	"req", "id", "touch", "resetMaxAge", "save", "reload", "destroy", "regenerate", "lastModified",
	"constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
	"__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
}

// stringKeys returns the values of the application in a map of its own.
func stringKeys(values map[any]any) (map[string]any, error) {
	strings := make(map[string]any, len(values)+1)
	for key, value := range values {
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("connectmongo: Values has a key of type %T: sessions that Express shares have string keys only", key)
		}
		strings[name] = value
	}
	if _, ok := strings[cookieKey]; ok {
		return nil, lostName(cookieKey)
	}
	return strings, nil
}

// checkNames refuses a reserved name, unless it is in the record as it is.
func checkNames(values, stored map[string]any) error {
	for _, name := range reserved {
		value, ok := values[name]
		was, kept := stored[name]
		if ok && (!kept || !reflect.DeepEqual(was, value)) {
			return lostName(name)
		}
	}
	return nil
}

func lostName(name string) error {
	return fmt.Errorf("connectmongo: Values[%q] would be lost: express-session or connect-mongo has a property of that name; use another one", name)
}

func optionsOf(session *sessions.Session) *sessions.Options {
	if session.Options == nil {
		return new(sessions.Options)
	}
	return session.Options
}
