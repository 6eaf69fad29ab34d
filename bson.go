package mongostore

import (
	"maps"
	"slices"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/bsonraw"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// BSONCodec stores values as a document, as connect-mongo does with stringify: false, so that MongoDB can query them:
// db.sessions.find({"session.cart.total": {$gt: 100}}). Keys must be strings. Values come back as bool, int, float64,
// string, nil, time.Time (UTC, whole milliseconds), []byte, []any or map[string]any, and what only BSON has in the
// driver's type, such as bson.ObjectID. MongoDB before 5.0 refuses keys that begin with a dollar sign.
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
func ordered(value any, depth int) (any, error) {
	if depth > values.MaxDepth {
		return nil, errTooDeep
	}
	switch v := value.(type) {
	case map[string]any:
		if v != nil {
			return orderedMap(v, depth)
		}
	case []any:
		if v != nil {
			return orderedList(v, depth)
		}
	}
	return value, nil
}

func orderedMap(m map[string]any, depth int) (any, error) {
	doc := make(bson.D, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		value, err := ordered(m[key], depth+1)
		if err != nil {
			return nil, err
		}
		doc = append(doc, bson.E{Key: key, Value: value})
	}
	return doc, nil
}

func orderedList(values []any, depth int) (_ any, err error) {
	list := make(bson.A, len(values))
	for i := range values {
		if list[i], err = ordered(values[i], depth+1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// differ compares the values.
func (BSONCodec) differ(mine, stored bson.RawValue) (different, known bool) {
	if stored.Type != bson.TypeEmbeddedDocument {
		return false, false
	}
	return bsonraw.Differ(mine, stored)
}

// blame finds the value that does not encode.
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
	err := eachFromBSON(doc, 0, func(key []byte, value any) { values[string(key)] = value })
	return values, err
}

// eachFromBSON passes on the elements of a document or array as Go values.
func eachFromBSON(doc []byte, depth int, yield func(key []byte, value any)) error {
	e := bsonraw.Walk(doc)
	for e.Next() {
		value, err := fromBSON(e.Value, depth)
		if err != nil {
			return err
		}
		yield(e.Key, value)
	}
	return e.Err
}

// fromBSON returns a BSON value in the type that a Go program would have used for it.
func fromBSON(value bson.RawValue, depth int) (any, error) {
	if depth > values.MaxDepth { // deeper than MongoDB stores; a goroutine's stack is limited
		return nil, errTooDeep
	}
	switch value.Type {
	case bson.TypeEmbeddedDocument:
		m := make(map[string]any)
		err := eachFromBSON(value.Value, depth+1, func(key []byte, v any) { m[string(key)] = v })
		return m, err
	case bson.TypeArray:
		list := []any{}
		err := eachFromBSON(value.Value, depth+1, func(_ []byte, v any) { list = append(list, v) })
		return list, err
	case bson.TypeCodeWithScope: // the driver decodes it, however deep it is
		if tooDeep(value, depth) {
			return nil, errTooDeep
		}
	}
	return scalarFromBSON(value)
}

// tooDeep reports whether values are nested deeper than is decoded.
func tooDeep(value bson.RawValue, depth int) bool {
	var doc []byte
	switch value.Type {
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		doc = value.Value
	case bson.TypeCodeWithScope:
		_, doc, _ = value.CodeWithScopeOK()
	}
	deep := depth > values.MaxDepth
	for e := bsonraw.Walk(doc); !deep && e.Next(); {
		deep = tooDeep(e.Value, depth+1)
	}
	return deep
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
		return nil, bsonraw.ErrDamaged
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
