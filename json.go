package mongostore

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/bsonraw"
	"github.com/mongostore/mongostore/internal/values"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// JSONCodec stores values as a JSON text in a string, as connect-mongo does with stringify. Keys must be strings. Values
// come back as encoding/json decodes them: float64, string, bool, nil, []any, map[string]any. An integer beyond 2^53,
// which float64 would round, comes back as json.Number.
type JSONCodec struct{}

// Encode implements [Codec].
func (JSONCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	return encoded(session.Values, encodeJSON)
}

func encodeJSON(values map[any]any) (bson.RawValue, error) {
	keys, err := sortedKeys(values, "JSONCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	buf := bytes.NewBuffer(make([]byte, 4, roughSize(values)))
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	buf.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			buf.WriteByte(',')
		}
		_ = encoder.Encode(key) // never fails; the colon replaces the line break at its end
		buf.Bytes()[buf.Len()-1] = ':'
		if err := encoder.Encode(values[key]); err != nil {
			return bson.RawValue{}, err
		}
		buf.Truncate(buf.Len() - 1)
	}
	buf.WriteString("}\x00")
	bsonraw.AppendLength(buf.Bytes()[:0], buf.Len()-4)
	return bson.RawValue{Type: bson.TypeString, Value: buf.Bytes()}, nil
}

// Decode implements [Codec].
func (JSONCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
}

// jsonDiffers walks over the keys and values of both objects side by side, since the codec sorts them, and decodes only
// values that are written differently. White space between tokens, or a stored text that is no object, makes it unknown.
func jsonDiffers(mine, stored bson.RawValue) (different, known bool) {
	a, b := textOf(mine), textOf(stored)
	for isKey := true; len(a) > 1 && len(b) > 1 && a[0] == b[0]; isKey = !isKey { // a brace, colon or comma
		var x, y []byte
		x, a = cutJSON(a[1:])
		y, b = cutJSON(b[1:])
		switch {
		case bytes.Equal(x, y):
		case isKey, len(b) == 0, b[0] != ',' && b[0] != '}':
			return false, false
		case !sameJSON(x, y):
			return true, true
		}
	}
	return false, string(a) == "}" && string(b) == "}"
}

func sameJSON(a, b []byte) bool {
	x, err1 := decodeJSON(a)
	y, err2 := decodeJSON(b)
	return err1 == nil && err2 == nil && values.Equal(x, y)
}

// textOf returns the text of a BSON string, in place.
func textOf(value bson.RawValue) []byte {
	if len(value.Value) < 5 {
		return nil
	}
	return value.Value[4 : len(value.Value)-1]
}

func decodeObject(text []byte) (map[any]any, error) {
	value, err := decodeJSON(text)
	if err != nil {
		return nil, err
	}
	values, ok := value.(map[string]any)
	if !ok && value != nil {
		return nil, errors.New("the payload is JSON, but not an object")
	}
	return anyKeys(values), nil
}

// decodeJSON decodes numbers to float64 unless that would round them.
func decodeJSON(text []byte) (value any, err error) {
	if !hasLongNumber(text) && json.Unmarshal(text, &value) == nil {
		return value, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON value")
	}
	return floats(value), nil
}

// hasLongNumber reports whether a JSON text may have an integer beyond 2^53, which has 16 digits.
func hasLongNumber(text []byte) bool {
	digits := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			digits = 0
		} else if digits++; digits == 16 {
			return true
		}
	}
	return false
}

// floats replaces the numbers in a decoded value, in place, by float64 where that is exact.
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

// float keeps an integer beyond 2^53 as it is written, since float64 rounds most of them.
func float(n json.Number) any {
	const exact = 1 << 53
	f, err := n.Float64()
	i, notInteger := n.Int64()
	if err != nil || errors.Is(notInteger, strconv.ErrRange) || notInteger == nil && (i > exact || i < -exact) {
		return n
	}
	return f
}

// cutJSON cuts off the value at the start of a JSON text.
func cutJSON(text []byte) (value, rest []byte) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth < 0 || depth == 0 && !quoted && (text[i] == ',' || text[i] == ':') {
			return text[:i], text[i:]
		}
	}
	return text, nil
}
