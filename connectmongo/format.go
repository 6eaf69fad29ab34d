package connectmongo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// format is one of the two forms of a payload. A raw value is a bson.RawValue, or a JSON text as the Value of one.
type format interface {
	split(raw bson.RawValue) ([]field, error)            // the fields of an object, in their order
	join(fields []field) (bson.RawValue, error)          // the object of these fields
	decode(raw bson.RawValue) (map[string]any, error)    // the values of an object, as mongostore's codecs give them
	encode(key string, value any) (bson.RawValue, error) // a value that is new
	payload(object bson.RawValue) bson.RawValue          // what is stored of an object
}

type field struct {
	key string
	raw bson.RawValue
}

// object is a stored object, as it was written and as the application sees it.
type object struct {
	format format
	raw    bson.RawValue // zero: none is stored
	values map[string]any
}

func newObject(f format, raw bson.RawValue) (object, error) {
	values, err := f.decode(raw)
	if err != nil {
		return object{}, fmt.Errorf("connectmongo: the session is not an object: %w", err)
	}
	return object{f, raw, values}, nil
}

// cookie returns the object of express-session; nil if there is none.
func (o object) cookie() map[string]any {
	cookie, _ := o.values[cookieKey].(map[string]any)
	return cookie
}

// encodeObject returns values as they are to be stored in the place of an object. What is equal to what the object
// has stays as it was written, and keeps its place; new keys come after it, in alphabetical order but for the cookie,
// which express-session writes first. It reports whether anything differs.
func encodeObject(was object, values map[string]any) (raw bson.RawValue, changed bool, err error) {
	return encodeWithin(was, values, keptDepth)
}

// keptDepth is how many levels of objects keep what did not change as it was written; a change further down is
// written with the object around it. Each level is read once more, so without a bound a text that somebody else
// nested thousands of levels deep would take minutes.
const keptDepth = 16

func encodeWithin(was object, values map[string]any, depth int) (raw bson.RawValue, changed bool, err error) {
	var old, fields []field
	if !was.raw.IsZero() {
		if old, err = was.format.split(was.raw); err != nil {
			return raw, false, err
		}
	}
	left, last := maps.Clone(values), make(map[string]int, len(old))
	for i, f := range old {
		last[f.key] = i
	}
	for i, f := range old {
		value, ok := left[f.key]
		if !ok || i != last[f.key] { // of a key that is there twice, the last one counts
			changed = true
			continue
		}
		delete(left, f.key)
		raw, differs, err := encodeOver(was.format, f, was.values[f.key], value, depth)
		if err != nil {
			return raw, false, err
		}
		fields, changed = append(fields, field{f.key, raw}), changed || differs
	}
	for _, key := range slices.SortedFunc(maps.Keys(left), cookieFirst) {
		raw, err := was.format.encode(key, left[key])
		if err != nil {
			return raw, false, err
		}
		fields, changed = append(fields, field{key, raw}), true
	}
	raw, err = was.format.join(fields)
	return raw, changed, err
}

// encodeOver returns a value as it is to be stored in the place of a field with the value was.
func encodeOver(f format, old field, was, value any, depth int) (raw bson.RawValue, changed bool, err error) {
	if reflect.DeepEqual(was, value) {
		return old.raw, false, nil
	}
	before, isObject := was.(map[string]any)
	after, stays := value.(map[string]any)
	if isObject && stays && before != nil && after != nil && depth > 1 {
		return encodeWithin(object{f, old.raw, before}, after, depth-1)
	}
	if raw, err = f.encode(old.key, value); err != nil {
		return raw, false, err
	}
	// A value of another type may be the same once it is stored: an int in JSON, a struct.
	again, err := decodeOne(f, raw)
	if err != nil {
		return raw, false, err
	}
	if reflect.DeepEqual(was, again) || raw.Equal(old.raw) {
		return old.raw, false, nil
	}
	return raw, true, nil
}

func decodeOne(f format, raw bson.RawValue) (any, error) {
	one, err := f.join([]field{{"", raw}})
	if err != nil {
		return nil, err
	}
	values, err := f.decode(one)
	return values[""], err
}

func cookieFirst(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == cookieKey || b != cookieKey && a < b:
		return -1
	}
	return 1
}

// jsonFormat is that of stringify: true.
type jsonFormat struct{}

func (jsonFormat) split(raw bson.RawValue) (fields []field, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw.Value))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		name, _ := key.(string)
		fields = append(fields, field{name, bson.RawValue{Value: value}})
	}
	return fields, nil
}

func (jsonFormat) join(fields []field) (bson.RawValue, error) {
	var buf bytes.Buffer
	for i, f := range fields {
		key, err := marshalJSON(f.key)
		if err != nil {
			return bson.RawValue{}, err
		}
		buf.WriteByte("{,"[min(i, 1)])
		buf.Write(key)
		buf.WriteByte(':')
		buf.Write(f.raw.Value)
	}
	if len(fields) == 0 {
		buf.WriteByte('{')
	}
	buf.WriteByte('}')
	return bson.RawValue{Value: buf.Bytes()}, nil
}

func (jsonFormat) decode(raw bson.RawValue) (map[string]any, error) {
	if text := bytes.TrimSpace(raw.Value); len(text) == 0 || text[0] != '{' {
		return nil, errors.New("it is not JSON of an object")
	}
	return decodeWith(mongostore.JSONCodec{}, stringValue(string(raw.Value)))
}

func (jsonFormat) encode(key string, value any) (bson.RawValue, error) {
	text, err := marshalJSON(value)
	if err != nil {
		return bson.RawValue{}, encodeError(key, value, err)
	}
	return bson.RawValue{Value: text}, nil
}

func (jsonFormat) payload(object bson.RawValue) bson.RawValue {
	return stringValue(string(object.Value))
}

// bsonFormat is that of stringify: false.
type bsonFormat struct{}

func (bsonFormat) split(raw bson.RawValue) ([]field, error) {
	doc, ok := raw.DocumentOK()
	if !ok {
		return nil, errors.New("a document is damaged")
	}
	elements, err := doc.Elements()
	fields := make([]field, len(elements))
	for i, e := range elements {
		fields[i] = field{e.Key(), e.Value()}
	}
	return fields, err
}

func (bsonFormat) join(fields []field) (bson.RawValue, error) {
	doc := make(bson.D, len(fields))
	for i, f := range fields {
		doc[i] = bson.E{Key: f.key, Value: f.raw}
	}
	raw, err := bson.Marshal(doc)
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw}, err
}

func (bsonFormat) decode(raw bson.RawValue) (map[string]any, error) {
	return decodeWith(mongostore.BSONCodec{}, raw)
}

func (bsonFormat) encode(key string, value any) (bson.RawValue, error) {
	ordered, err := inOrder(value)
	if err != nil {
		return bson.RawValue{}, encodeError(key, value, err)
	}
	doc, err := bson.Marshal(bson.D{{Key: "", Value: ordered}})
	if err != nil {
		return bson.RawValue{}, encodeError(key, value, err)
	}
	return bson.Raw(doc).Index(0).Value(), nil
}

func (bsonFormat) payload(object bson.RawValue) bson.RawValue { return object }

// inOrder returns a value whose maps are in the order of their keys, so that equal values make equal bytes. It
// refuses text that is not UTF-8, which the driver of Node.js cannot read.
func inOrder(value any) (any, error) {
	switch v := value.(type) {
	case string:
		if !utf8.ValidString(v) {
			return nil, errors.New("the text is not UTF-8; keep it as a []byte")
		}
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		return mapInOrder(v)
	case []any:
		if v == nil {
			return nil, nil
		}
		return listInOrder(v)
	}
	return value, nil
}

func mapInOrder(m map[string]any) (any, error) {
	doc := make(bson.D, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		value, err := inOrder(m[key])
		if err != nil {
			return nil, err
		}
		doc = append(doc, bson.E{Key: key, Value: value})
	}
	return doc, nil
}

func listInOrder(values []any) (_ any, err error) {
	list := make(bson.A, len(values))
	for i := range values {
		if list[i], err = inOrder(values[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func decodeWith(codec mongostore.Codec, value bson.RawValue) (map[string]any, error) {
	session := sessions.Session{Values: make(map[any]any)}
	if err := codec.Decode(value, &session); err != nil {
		return nil, err
	}
	values := make(map[string]any, len(session.Values))
	for key, value := range session.Values {
		values[key.(string)] = value
	}
	return values, nil
}

func encodeError(key string, value any, err error) error {
	return fmt.Errorf("connectmongo: the value of %q, a %T, cannot be stored: %w", key, value, err)
}

func marshalJSON(value any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// unwrap returns the JSON of a session. kruptein makes a JSON text of what it is given, and what connect-mongo gives
// it is one already.
func unwrap(plaintext string) (string, error) {
	if len(plaintext) == 0 || plaintext[0] != '"' {
		return plaintext, nil
	}
	var text string
	decoder := json.NewDecoder(bytes.NewReader([]byte(plaintext)))
	if err := decoder.Decode(&text); err != nil {
		return "", fmt.Errorf("connectmongo: the session is no JSON text: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("connectmongo: the session is no JSON text: there is more after it")
	}
	return text, nil
}

func stringValue(text string) bson.RawValue {
	doc, _ := bson.Marshal(bson.D{{Key: "", Value: text}}) // a string always marshals
	return bson.Raw(doc).Index(0).Value()
}
