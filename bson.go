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
	return encoded(session.Values, encodeBSON)
}

func encodeBSON(values map[any]any) (bson.RawValue, error) {
	keys, err := sortedKeys(values, "BSONCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	doc := make(bson.D, len(keys))
	for i, key := range keys {
		doc[i] = bson.E{Key: key, Value: ordered(values[key], 0, &err)}
	}
	if err != nil {
		return bson.RawValue{}, err
	}
	raw, err := bson.Marshal(doc)
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw}, err
}

// Decode implements [Codec].
func (BSONCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
}

// ordered returns a value whose maps, which have no order, are encoded in that of their keys. It sets err if it is too deep.
func ordered(value any, depth int, err *error) any {
	if depth > values.MaxDepth {
		*err = errTooDeep
	}
	if *err != nil {
		return nil
	}
	m, _ := value.(map[string]any)
	list, _ := value.([]any)
	switch {
	case m != nil:
		doc := make(bson.D, 0, len(m))
		for _, key := range slices.Sorted(maps.Keys(m)) {
			doc = append(doc, bson.E{Key: key, Value: ordered(m[key], depth+1, err)})
		}
		return doc
	case list != nil:
		items := make(bson.A, len(list))
		for i := range list {
			items[i] = ordered(list[i], depth+1, err)
		}
		return items
	}
	return value
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
	case bson.TypeString:
		if text, ok := value.StringValueOK(); ok {
			return text, nil
		}
	case bson.TypeBoolean:
		return value.Boolean(), nil
	case bson.TypeDouble:
		return value.Double(), nil
	case bson.TypeInt32, bson.TypeInt64:
		return int(value.AsInt64()), nil
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
