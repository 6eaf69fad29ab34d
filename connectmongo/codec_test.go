package connectmongo_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// values are those of the fixtures in which dates and the like are stored as what they are.
func values(t *testing.T) map[any]any {
	t.Helper()
	object, err1 := bson.ObjectIDFromHex("0123456789abcdef01234567")
	decimal, err2 := bson.ParseDecimal128("1.10")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return map[any]any{
		"user": "ada", "date": time.UnixMilli(1767323045678).UTC(), "buffer": []byte{0, 1, 254, 255},
		"large": 9007199254740991.0, "larger": math.Pow(2, 60), "fraction": 0.1, "exponent": 1e21,
		"text": "naïve 😀 \u2028 \"quoted\" </script>", "nothing": nil,
		"list": []any{1, "two", nil, map[string]any{"three": 3}},
		"nested": map[string]any{
			"zulu": 1, "alpha": map[string]any{"when": time.UnixMilli(0).UTC(), "deep": []any{true}},
		},
		"a.b": "dot", "$c": "dollar", "": "no name", "missing": nil,
		"objectId": object, "long": 9007199254740993, "short": 5, "double": 5.0, "int": 5, "decimal": decimal,
		"uuid": bson.Binary{Subtype: 4, Data: []byte(strings.Repeat("\a", 16))},
	}
}

// textValues are those of the fixtures that are JSON.
func textValues() map[any]any {
	return map[any]any{
		"user": "ada", "date": "2026-01-02T03:04:05.678Z",
		"buffer": map[string]any{"type": "Buffer", "data": []any{0.0, 1.0, 254.0, 255.0}},
		"large":  9007199254740991.0, "larger": json.Number("1152921504606847000"), "fraction": 0.1, "exponent": 1e21,
		"text": "naïve 😀 \u2028 \"quoted\" </script>", "nothing": nil,
		"list": []any{1.0, "two", nil, map[string]any{"three": 3.0}},
		"nested": map[string]any{
			"zulu": 1.0, "alpha": map[string]any{"when": "1970-01-01T00:00:00.000Z", "deep": []any{true}},
		},
		"a.b": "dot", "$c": "dollar", "": "no name",
	}
}

func TestCodecReadsWhatEveryWriterWrote(t *testing.T) {
	t.Parallel()
	for _, f := range golden(t).Cases {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			want := textValues()
			if f.Native {
				want = values(t)
			}
			if got := decode(t, f.codec(), f.payload(t)).Values; !reflect.DeepEqual(got, want) {
				t.Errorf("the values are\n%v, want\n%v", got, want)
			}
		})
	}
}

func TestCodecReturnsThePayloadItselfIfNothingHasChanged(t *testing.T) {
	t.Parallel()
	for _, f := range golden(t).Cases {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			codec, payload := f.codec(), f.payload(t)
			session := decode(t, codec, payload)
			if got := encode(t, codec, session, payload); !got.Equal(payload) {
				t.Errorf("the payload was %v and is %v", payload, got)
			}
			// Also in the other form: a session stays in its own until it changes.
			codec.Document = !codec.Document
			if got := encode(t, codec, session, payload); !got.Equal(payload) {
				t.Errorf("the payload was %v and is %v", payload, got)
			}
		})
	}
}

func TestCodecKeepsWhatDidNotChangeAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, f := range golden(t).Cases {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			codec, payload := f.codec(), f.payload(t)
			session := decode(t, codec, payload)
			session.Values["new"] = "value"
			session.Values["nested"].(map[string]any)["zulu"] = "changed"
			session.Values["list"] = append(session.Values["list"].([]any), "appended")
			delete(session.Values, "user")
			stored := encode(t, codec, session, payload)
			if got := decode(t, codec, stored).Values; !same(t, got, session.Values) {
				t.Errorf("the values are\n%v, want\n%v", got, session.Values)
			}
			before, after := fieldsOf(t, codec, payload), fieldsOf(t, codec, stored)
			for _, key := range []string{"user", "list", "nested", "cookie", "new"} {
				delete(before, key)
				delete(after, key)
			}
			if !reflect.DeepEqual(before, after) {
				t.Errorf("the rest is\n%v, want\n%v", after, before)
			}
		})
	}
}

// same compares values that an application has set with those that came back.
func same(t *testing.T, a, b map[any]any) bool {
	t.Helper()
	codec := connectmongo.Codec{Document: true}
	return reflect.DeepEqual(decode(t, codec, encode(t, codec, &sessions.Session{Values: a}, bson.RawValue{})),
		decode(t, codec, encode(t, codec, &sessions.Session{Values: b}, bson.RawValue{})))
}

// fieldsOf returns the fields of a payload in the clear, each as it is stored.
func fieldsOf(t *testing.T, codec connectmongo.Codec, payload bson.RawValue) map[string]string {
	t.Helper()
	fields := make(map[string]string)
	if text, ok := payload.StringValueOK(); ok {
		if codec.Crypto != nil {
			var err error
			if text, err = codec.Crypto.Decrypt(text); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(text, `"`) {
				if err := json.Unmarshal([]byte(text), &text); err != nil {
					t.Fatal(err)
				}
			}
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &raw); err != nil {
			t.Fatal(err)
		}
		for key, value := range raw {
			fields[key] = string(value)
		}
		return fields
	}
	elements, err := payload.Document().Elements()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elements {
		fields[e.Key()] = e.Value().Type.String() + " " + e.Value().String()
	}
	return fields
}

func TestCodecMovesASessionToTheOtherFormWhenItChanges(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]connectmongo.Codec{
		"string":   {Document: true},
		"document": {},
	} {
		payload := fixtureOf(t, from).payload(t)
		session := decode(t, to, payload)
		session.Values["new"] = 1
		stored := encode(t, to, session, payload)
		if stored.Type == payload.Type {
			t.Errorf("%s: the form is still %v", from, stored.Type)
		}
		again := decode(t, to, stored)
		if *again.Options != *session.Options || again.Values["user"] != "ada" {
			t.Errorf("%s: options %+v, values %v", from, again.Options, again.Values)
		}
		if cookie := fieldsOf(t, to, stored)["cookie"]; !strings.Contains(cookie, "2030") && !strings.Contains(cookie, "18934560") {
			t.Errorf("%s: the cookie is %s", from, cookie)
		}
	}
}

func TestCodecOfANewSessionMakesWhatExpressSessionMakes(t *testing.T) {
	t.Parallel()
	session := &sessions.Session{
		Values:  map[any]any{"user": "ada", "b": []any{1}, "a": map[string]any{"z": 1, "a": "<"}},
		Options: &sessions.Options{Path: "/", MaxAge: 3600, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode},
	}
	got := encode(t, connectmongo.Codec{}, session, bson.RawValue{})
	const want = `{"cookie":{"expires":"2030-01-01T00:00:00.000Z","httpOnly":true,"originalMaxAge":3600000,"path":"/","sameSite":"lax","secure":true},"a":{"a":"<","z":1},"b":[1],"user":"ada"}`
	if text, ok := got.StringValueOK(); !ok || text != want {
		t.Errorf("it is %v, want %s", got, want)
	}
	got = encode(t, connectmongo.Codec{Document: true}, session, bson.RawValue{})
	document := bson.D{
		{Key: "cookie", Value: bson.D{
			{Key: "expires", Value: deadline},
			{Key: "httpOnly", Value: true},
			{Key: "originalMaxAge", Value: 3600000},
			{Key: "path", Value: "/"},
			{Key: "sameSite", Value: "lax"},
			{Key: "secure", Value: true},
		}},
		{Key: "a", Value: bson.D{{Key: "a", Value: "<"}, {Key: "z", Value: 1}}},
		{Key: "b", Value: bson.A{1}},
		{Key: "user", Value: "ada"},
	}
	raw, err := bson.Marshal(document)
	if err != nil || got.Type != bson.TypeEmbeddedDocument || string(got.Value) != string(raw) {
		t.Errorf("it is %v, want %v (%v)", got, bson.Raw(raw), err)
	}
}

func TestCodecMirrorsTheOptionsInTheCookie(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sessions.Options{
		"all":    {Path: "/app", Domain: "example.com", MaxAge: 60, Secure: true, HttpOnly: true, Partitioned: true, SameSite: http.SameSiteNoneMode},
		"lax":    {Path: "/", MaxAge: 1, SameSite: http.SameSiteLaxMode},
		"strict": {Path: "/", MaxAge: 10 * 365 * 86400, SameSite: http.SameSiteStrictMode},
		"none":   {},
	} {
		for _, codec := range []connectmongo.Codec{{}, {Document: true}} {
			options := o
			stored := encode(t, codec, &sessions.Session{Values: map[any]any{}, Options: &options}, bson.RawValue{})
			if got := decode(t, codec, stored); *got.Options != o {
				t.Errorf("%s: %+v comes back as %+v", name, o, *got.Options)
			}
			// Over those of another session, of which every one is replaced.
			old := fixtureOf(t, "every-attribute").payload(t)
			stored = encode(t, codec, &sessions.Session{Values: map[any]any{}, Options: &options}, old)
			if got := decode(t, codec, stored); *got.Options != o {
				t.Errorf("%s: over another one %+v comes back as %+v", name, o, *got.Options)
			}
		}
	}
}

func TestCodecReadsTheOptionsThatExpressGaveASession(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]sessions.Options{
		"string":          {Path: "/", MaxAge: 86400, HttpOnly: true},
		"document":        {Path: "/", MaxAge: 86400, HttpOnly: true},
		"browser-session": {Path: "/", HttpOnly: true},
		"every-attribute": {Path: "/app", Domain: "example.com", MaxAge: 86401, Secure: true, Partitioned: true, SameSite: http.SameSiteNoneMode},
	} {
		f := fixtureOf(t, name)
		if got := decode(t, f.codec(), f.payload(t)); *got.Options != want {
			t.Errorf("%s: %+v, want %+v", name, *got.Options, want)
		}
	}
}

func TestCodecTakesTheCookieAsExpressSessionWould(t *testing.T) {
	t.Parallel()
	defaults := sessions.Options{Path: "/default", MaxAge: 99}
	unset := sessions.Options{Path: "/", HttpOnly: true} // the defaults of express-session
	with := func(change func(*sessions.Options)) sessions.Options {
		options := unset
		change(&options)
		return options
	}
	maxAge := func(age int) sessions.Options { return with(func(o *sessions.Options) { o.MaxAge = age }) }
	sameSite := func(mode http.SameSite) sessions.Options {
		return with(func(o *sessions.Options) { o.SameSite = mode })
	}
	for cookie, want := range map[string]sessions.Options{
		`{"originalMaxAge":null}`:                 unset,
		`{"originalMaxAge":1}`:                    maxAge(1),
		`{"originalMaxAge":1e300}`:                maxAge(10 * 365 * 86400),
		`{"originalMaxAge":99999999999999999999}`: maxAge(10 * 365 * 86400),
		`{"originalMaxAge":-5}`:                   maxAge(99),
		`{"originalMaxAge":0}`:                    maxAge(99),
		`{"originalMaxAge":"soon"}`:               maxAge(99),
		`{"sameSite":true}`:                       sameSite(http.SameSiteStrictMode),
		`{"sameSite":false}`:                      unset,
		`{"sameSite":"Lax"}`:                      sameSite(http.SameSiteLaxMode),
		`{"path":5,"domain":[],"secure":1}`:       {HttpOnly: true},
		`{"path":null,"httpOnly":null}`:           {},
		`{"httpOnly":false}`:                      {Path: "/"},
		`{}`:                                      unset,
		`"text"`:                                  defaults,
		`null`:                                    defaults,
	} {
		options := defaults
		session := &sessions.Session{Options: &options}
		if err := (connectmongo.Codec{}).Decode(text(t, `{"cookie":`+cookie+`}`), session); err != nil || options != want {
			t.Errorf("%s: %+v, want %+v (%v)", cookie, options, want, err)
		}
		if len(session.Values) > 0 {
			t.Errorf("%s: the values are %v", cookie, session.Values)
		}
	}
}

func TestCodecKeepsWhatElseIsInTheCookie(t *testing.T) {
	t.Parallel()
	f := fixtureOf(t, "every-attribute")
	codec, payload := f.codec(), f.payload(t)
	session := decode(t, codec, payload)
	session.Options.MaxAge = 7200
	want := `{"originalMaxAge":7200000,"partitioned":true,"priority":"high","expires":"2030-01-01T00:00:00.000Z","secure":true,"httpOnly":false,"domain":"example.com","path":"/app","sameSite":"none"}`
	if got := fieldsOf(t, codec, encode(t, codec, session, payload))["cookie"]; got != want {
		t.Errorf("the cookie is %s, want %s", got, want)
	}
	session.Options.MaxAge = 0
	want = strings.Replace(strings.Replace(want, "7200000", "null", 1), `"2030-01-01T00:00:00.000Z"`, "null", 1)
	if got := fieldsOf(t, codec, encode(t, codec, session, payload))["cookie"]; got != want {
		t.Errorf("the cookie is %s, want %s", got, want)
	}
}

func TestCodecPutsACookieIntoASessionThatHasNone(t *testing.T) {
	t.Parallel()
	for _, old := range []string{`{"n":1}`, `{"n":1,"cookie":null}`, `{"n":1,"cookie":"text"}`} {
		session := decode(t, connectmongo.Codec{}, text(t, old))
		session.Options = &sessions.Options{Path: "/"}
		got, _ := encode(t, connectmongo.Codec{}, session, text(t, old)).StringValueOK()
		if want := `"cookie":{"expires":null,"httpOnly":false,"originalMaxAge":null,"path":"/"}`; !strings.Contains(got, want) || !strings.Contains(got, `"n":1`) {
			t.Errorf("%s becomes %s", old, got)
		}
	}
}

func TestCodecWritesOverAPayloadThatCannotBeRead(t *testing.T) {
	t.Parallel()
	session := &sessions.Session{Values: map[any]any{"n": 1}}
	got := encode(t, connectmongo.Codec{}, session, text(t, "no JSON"))
	if decode(t, connectmongo.Codec{}, got).Values["n"] != 1.0 {
		t.Errorf("it is %v", got)
	}
}

func TestCodecTakesTheLastOfAKeyThatIsThereTwice(t *testing.T) {
	t.Parallel()
	old := text(t, `{"cookie":{},"n":1,"m":1,"n":2}`)
	session := decode(t, connectmongo.Codec{}, old)
	session.Values["m"] = 3
	got, _ := encode(t, connectmongo.Codec{}, session, old).StringValueOK()
	if !strings.HasSuffix(got, `"m":3,"n":2}`) {
		t.Errorf("it is %s", got)
	}
}

func TestCodecRefusesKeysThatWouldBeLost(t *testing.T) {
	t.Parallel()
	var none bson.RawValue
	for _, key := range []any{"cookie", "id", "req", "save", "toString", "lastModified", 5} {
		session := &sessions.Session{Values: map[any]any{key: "x"}}
		_, err := (connectmongo.Codec{}).EncodeRecord(session, none, deadline)
		if err == nil || !strings.HasPrefix(err.Error(), "connectmongo: Values") {
			t.Errorf("%v: the error is %v", key, err)
		}
		if _, err := (connectmongo.Codec{}).Encode(session); (err != nil) != (key == "cookie" || key == 5) {
			t.Errorf("%v: the error of Encode is %v", key, err)
		}
	}
	// What Express has stored under such a name stays there, but cannot be changed.
	old := text(t, `{"cookie":{"originalMaxAge":null},"lastModified":"today"}`)
	session := decode(t, connectmongo.Codec{}, old)
	if got := encode(t, connectmongo.Codec{}, session, old); !got.Equal(old) {
		t.Errorf("it is %v", got)
	}
	session.Values["lastModified"] = "tomorrow"
	if _, err := (connectmongo.Codec{}).EncodeRecord(session, old, deadline); err == nil {
		t.Error("a change of it is stored")
	}
}

func TestCodecNamesTheValueThatCannotBeStored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codec connectmongo.Codec
		value any
	}{
		"JSON of a channel":              {connectmongo.Codec{}, make(chan int)},
		"JSON of NaN":                    {connectmongo.Codec{}, math.NaN()},
		"BSON of a channel":              {connectmongo.Codec{Document: true}, make(chan int)},
		"BSON of text that is not UTF-8": {connectmongo.Codec{Document: true}, map[string]any{"a": []any{"\xff"}}},
	} {
		for _, old := range []bson.RawValue{{}, text(t, `{"cookie":{},"odd":{"a":1}}`)} {
			session := &sessions.Session{Values: map[any]any{"odd": c.value}}
			_, err := c.codec.EncodeRecord(session, old, deadline)
			if err == nil || !strings.Contains(err.Error(), `"odd"`) && !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("%s: the error is %v", name, err)
			}
		}
	}
}

func TestCodecTakesValuesOfEveryGoType(t *testing.T) {
	t.Parallel()
	type cart struct{ Total int }
	for _, codec := range []connectmongo.Codec{{}, {Document: true}} {
		session := &sessions.Session{Values: map[any]any{
			"int": 1, "struct": cart{1}, "map": map[string]any(nil), "list": []any(nil), "strings": []string{"a"}, "time": deadline, "nil": nil,
			"bytes": []byte("a"), "nan": 1.5,
		}, Options: new(sessions.Options)}
		first := encode(t, codec, session, bson.RawValue{})
		for range 10 {
			if again := encode(t, codec, session, bson.RawValue{}); !again.Equal(first) {
				t.Fatalf("equal values make %v and %v", first, again)
			}
		}
		if again := encode(t, codec, session, first); !again.Equal(first) {
			t.Errorf("values that are equal once they are stored count as a change: %v, %v", first, again)
		}
	}
	codec := connectmongo.Codec{Document: true}
	session := &sessions.Session{Values: map[any]any{"nan": math.NaN()}, Options: new(sessions.Options)}
	first := encode(t, codec, session, bson.RawValue{})
	if again := encode(t, codec, session, first); !again.Equal(first) {
		t.Error("NaN counts as a change of NaN")
	}
}

func TestCodecErrorsSayWhatAPayloadIs(t *testing.T) {
	t.Parallel()
	gob, err := bson.Marshal(bson.D{{Key: "v", Value: []byte("gob")}})
	if err != nil {
		t.Fatal(err)
	}
	sealed := connectmongo.Codec{Crypto: plainCrypto{}}
	for name, c := range map[string]struct {
		codec   connectmongo.Codec
		payload bson.RawValue
		says    string
	}{
		"no JSON":             {connectmongo.Codec{}, text(t, "AAAA"), "Codec.Crypto is missing"},
		"empty":               {connectmongo.Codec{}, text(t, ""), "not an object"},
		"a list":              {connectmongo.Codec{}, text(t, "[1]"), "not an object"},
		"null":                {connectmongo.Codec{}, text(t, "null"), "not an object"},
		"cut off":             {connectmongo.Codec{}, text(t, `{"a":1`), "not an object"},
		"more after it":       {connectmongo.Codec{}, text(t, `{"a":1}{}`), "not an object"},
		"binary":              {connectmongo.Codec{}, bson.Raw(gob).Lookup("v"), "binary"},
		"damaged string":      {connectmongo.Codec{}, bson.RawValue{Type: bson.TypeString, Value: []byte{9}}, "damaged"},
		"damaged document":    {connectmongo.Codec{}, bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: []byte{9}}, "not an object"},
		"clear document":      {sealed, fixtureOf(t, "document").payload(t), "not encrypted"},
		"no JSON inside":      {sealed, text(t, "AAAA"), "not an object"},
		"no string inside":    {sealed, text(t, `"AAAA`), "no JSON text"},
		"more than a string":  {sealed, text(t, `"{}" 1`), "no JSON text"},
		"cannot be decrypted": {connectmongo.Codec{Crypto: plainCrypto{decrypt: errors.New("no")}}, text(t, "{}"), "cannot be decrypted"},
	} {
		session := &sessions.Session{Values: make(map[any]any)}
		err := c.codec.Decode(c.payload, session)
		if err == nil || !strings.HasPrefix(err.Error(), "connectmongo: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is %v, want it to say %q", name, err, c.says)
		}
		if len(session.Values) > 0 {
			t.Errorf("%s: the values are %v", name, session.Values)
		}
	}
}

func TestCodecChecksACryptoOfOnesOwn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, crypto := range map[string]plainCrypto{
		"does not encrypt": {encrypt: broken},
		"does not decrypt": {decrypt: broken},
		"as it was":        {prefix: "x"},
	} {
		if err := (connectmongo.Codec{Crypto: crypto}).Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if err := errors.Join((connectmongo.Codec{}).Check(), (connectmongo.Codec{Crypto: plainCrypto{}}).Check()); err != nil {
		t.Error(err)
	}
	_, err := connectmongo.Codec{Crypto: plainCrypto{encrypt: broken}}.Encode(&sessions.Session{})
	if !errors.Is(err, broken) {
		t.Errorf("the error of Encode is %v", err)
	}
}

// plainCrypto does not encrypt at all, or not well.
type plainCrypto struct {
	prefix           string
	encrypt, decrypt error
}

func (p plainCrypto) Encrypt(plaintext string) (string, error) {
	return p.prefix + plaintext, p.encrypt
}
func (p plainCrypto) Decrypt(ciphertext string) (string, error) { return ciphertext, p.decrypt }

// deadline is that of every record here.
var deadline = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func encode(t *testing.T, codec connectmongo.Codec, session *sessions.Session, old bson.RawValue) bson.RawValue {
	t.Helper()
	value, err := codec.EncodeRecord(session, old, deadline)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func decode(t *testing.T, codec connectmongo.Codec, payload bson.RawValue) *sessions.Session {
	t.Helper()
	session := &sessions.Session{Values: make(map[any]any), Options: new(sessions.Options)}
	if err := codec.Decode(payload, session); err != nil {
		t.Fatal(err)
	}
	return session
}

func text(tb testing.TB, text string) bson.RawValue {
	tb.Helper()
	doc, err := bson.Marshal(bson.D{{Key: "v", Value: text}})
	if err != nil {
		tb.Fatal(err)
	}
	return bson.Raw(doc).Lookup("v")
}

func TestCodecIsNotKeptBusyByValuesThatLieDeepInOneAnother(t *testing.T) {
	t.Parallel()
	nested := func(leaf string) bson.RawValue {
		const levels = 3000
		return text(t, `{"cookie":{},"a":`+strings.Repeat(`{"a":`, levels)+leaf+strings.Repeat(`}`, levels)+`}`)
	}
	old := nested("1")
	session := decode(t, connectmongo.Codec{}, nested("2"))
	const limit = 5 * time.Second // each level once more at each level takes minutes
	mongotest.NewYardstick(t).Within(t, "EncodeRecord", limit, func() { encode(t, connectmongo.Codec{}, session, old) })
}
