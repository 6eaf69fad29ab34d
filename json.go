package mongostore

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// JSONCodec stores values as a JSON text in a string, as connect-mongo does with stringify. Keys must be
// strings. Values come back as encoding/json gives them: float64, string, bool, nil, []any, map[string]any;
// an integer beyond 2^53, which float64 would round, comes back as json.Number.
type JSONCodec struct{}

// Encode implements [Codec].
func (JSONCodec) Encode(session *sessions.Session) (bson.RawValue, error) {
	keys, err := sortedKeys(session.Values, "JSONCodec")
	if err != nil {
		return bson.RawValue{}, err
	}
	buf := bytes.NewBuffer(make([]byte, 4, roughSize(session.Values)))
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	separator := byte('{')
	for _, key := range keys {
		buf.WriteByte(separator)
		separator = ','
		_ = encoder.Encode(key) // a string always encodes, and ends in a line break, where the colon goes
		buf.Bytes()[buf.Len()-1] = ':'
		if err := encoder.Encode(session.Values[key]); err != nil {
			return bson.RawValue{}, cannotEncode(key, session.Values[key], err)
		}
		buf.Truncate(buf.Len() - 1)
	}
	if len(keys) == 0 {
		buf.WriteByte('{')
	}
	buf.WriteString("}\x00")
	appendLength(buf.Bytes()[:0], buf.Len()-4)
	return bson.RawValue{Type: bson.TypeString, Value: buf.Bytes()}, nil
}

// Decode implements [Codec].
func (JSONCodec) Decode(value bson.RawValue, session *sessions.Session) error {
	return decodeAny(value, session, decodeGob)
}

// differ goes over the members of both objects side by side, as they stand in the same
// order if both are this codec's, and decodes only what is written differently.
func (JSONCodec) differ(mine, stored bson.RawValue) (different, known bool) {
	if stored.Type != bson.TypeString {
		return false, false
	}
	a, b := members(textOf(mine)), members(textOf(stored))
	for a.next() {
		if !b.next() || !bytes.Equal(a.key, b.key) {
			return false, false
		}
		if !bytes.Equal(a.value, b.value) && !sameJSON(a.value, b.value) {
			return true, true
		}
	}
	return false, !b.next() && a.ended && b.ended
}

func sameJSON(a, b []byte) bool {
	x, err1 := decodeJSON(a)
	y, err2 := decodeJSON(b)
	return err1 == nil && err2 == nil && sameValue(x, y)
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

// hasLongNumber reports whether there may be an integer beyond 2^53, which has 16 digits, in a JSON text.
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

// jsonMembers walks over the members of a JSON object without decoding them. It takes valid JSON without white
// space between tokens; over any other it does not come to the end.
type jsonMembers struct {
	rest       []byte // from the brace or comma before the next member
	key, value []byte // as they are written
	ended      bool
}

func members(object []byte) jsonMembers { return jsonMembers{rest: object} }

func (m *jsonMembers) next() bool {
	if string(m.rest) == "{}" || string(m.rest) == "}" {
		m.ended = true
	}
	if m.ended || len(m.rest) == 0 {
		return false
	}
	text := m.rest[1:]
	end := jsonLength(text)
	if end == 0 || text[0] != '"' || end == len(text) || text[end] != ':' {
		return false
	}
	m.key, text = text[:end], text[end+1:]
	end = jsonLength(text)
	m.value, m.rest = text[:end], text[end:]
	return end > 0 && len(m.rest) > 0 && (m.rest[0] == ',' || m.rest[0] == '}')
}

// jsonLength returns how long the value at the start of a JSON text is.
func jsonLength(text []byte) int {
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
			return i
		}
	}
	return len(text)
}
