package mongostore

import (
	"maps"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// BSONCodec stores values as a document, as connect-mongo does with stringify: false, so that MongoDB can
// query them: db.sessions.find({"session.cart.total": {$gt: 100}}). Keys must be strings. Values come back
// as bool, int, float64, string, nil, time.Time (UTC, whole milliseconds), []byte, []any, map[string]any,
// or the driver's type for what only BSON has, such as bson.ObjectID. MongoDB before 5.0 refuses keys that
// begin with a dollar sign.
type BSONCodec struct{}

// Encode implements [Codec].
func (BSONCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	keys, err := sortedKeys(session.Values, "BSONCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	doc := make(bson.D, len(keys))
	for i, key := range keys {
		value, err := ordered(session.Values[key], 0)
		if err != nil {
			return bson.RawValue{}, cannotEncode(key, session.Values[key], err)
		}
		doc[i] = bson.E{Key: key, Value: value}
	}
	raw, err := bson.Marshal(doc)
	if err != nil {
		return bson.RawValue{}, blame(doc, err)
	}
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw}, nil
}

// Decode implements [Codec].
func (BSONCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
}

// ordered returns a value whose maps, which have no order, are encoded in that of their keys.
func ordered(value any, depth int) (_ any, err error) {
	if depth > deepest {
		return nil, errTooDeep
	}
	switch v := value.(type) {
	case map[string]any:
		if v == nil {
			return value, nil
		}
		doc := make(bson.D, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			inner, err := ordered(v[key], depth+1)
			if err != nil {
				return nil, err
			}
			doc = append(doc, bson.E{Key: key, Value: inner})
		}
		return doc, nil
	case []any:
		if v == nil {
			return value, nil
		}
		list := make(bson.A, len(v))
		for i := range v {
			if list[i], err = ordered(v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return value, nil
}

// differ goes by the values.
func (BSONCodec) differ(mine, stored bson.RawValue) (different, known bool) {
	if stored.Type != bson.TypeEmbeddedDocument {
		return false, false
	}
	return bsonDiffers(mine, stored)
}

// blame finds the value because of which an encoding failed.
func blame(doc bson.D, err error) error {
	for _, e := range doc {
		if _, one := bson.Marshal(bson.D{e}); one != nil {
			return cannotEncode(e.Key, e.Value, one)
		}
	}
	return err
}

func decodeBSON(doc bson.Raw) (map[any]any, error) {
	values := make(map[any]any)
	e := elementsOf(doc)
	for e.next() {
		value, err := fromBSON(e.value, 0)
		if err != nil {
			return nil, err
		}
		values[string(e.key)] = value
	}
	return values, e.err
}

// fromBSON returns a BSON value in the type that a Go program would have used for it.
func fromBSON(value bson.RawValue, depth int) (any, error) {
	if depth > deepest { // more than MongoDB stores; the stack of a goroutine has an end
		return nil, errTooDeep
	}
	switch value.Type {
	case bson.TypeEmbeddedDocument:
		m := make(map[string]any)
		e := elementsOf(value.Value)
		for e.next() {
			v, err := fromBSON(e.value, depth+1)
			if err != nil {
				return nil, err
			}
			m[string(e.key)] = v
		}
		return m, e.err
	case bson.TypeArray:
		list := []any{}
		e := elementsOf(value.Value)
		for e.next() {
			v, err := fromBSON(e.value, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, e.err
	case bson.TypeCodeWithScope: // which the driver decodes, however deep
		if tooDeep(value, depth) {
			return nil, errTooDeep
		}
	}
	return scalarFromBSON(value)
}

// tooDeep reports whether values lie deeper in one another than is decoded.
func tooDeep(value bson.RawValue, depth int) bool {
	if depth > deepest {
		return true
	}
	doc := value.Value
	switch value.Type {
	case bson.TypeEmbeddedDocument, bson.TypeArray:
	case bson.TypeCodeWithScope:
		_, doc, _ = value.CodeWithScopeOK()
	default:
		return false
	}
	for e := elementsOf(doc); e.next(); {
		if tooDeep(e.value, depth+1) {
			return true
		}
	}
	return false
}

func scalarFromBSON(value bson.RawValue) (any, error) {
	if err := value.Validate(); err != nil {
		return nil, err
	}
	switch value.Type {
	case bson.TypeString:
		if text, ok := value.StringValueOK(); ok {
			return text, nil
		}
		return nil, errDocument
	case bson.TypeBoolean:
		return value.Boolean(), nil
	case bson.TypeDouble:
		return value.Double(), nil
	case bson.TypeInt32:
		return int(value.Int32()), nil
	case bson.TypeInt64:
		return int(value.Int64()), nil
	case bson.TypeDateTime:
		return time.UnixMilli(value.DateTime()).UTC(), nil
	case bson.TypeNull, bson.TypeUndefined:
		return nil, nil
	case bson.TypeBinary:
		if subtype, data, ok := value.BinaryOK(); ok && subtype == bson.TypeBinaryGeneric {
			return append([]byte{}, data...), nil
		}
	}
	var v any
	err := value.Unmarshal(&v)
	return v, err
}
