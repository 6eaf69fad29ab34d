package connectmongo_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/connectmongo"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// FuzzCookie decodes what a browser may send. What verifies was signed: encoded again, it verifies too.
func FuzzCookie(f *testing.F) {
	for _, s := range golden(f).Signatures {
		f.Add(s.Encoded)
		f.Add(s.Signed)
	}
	for _, value := range []string{"", "s:", "s:.", "s%3A%", "j:{}", "s:a.b.c"} {
		f.Add(value)
	}
	codec := connectmongo.Cookie("new", cookieSecret)
	f.Fuzz(func(t *testing.T, value string) {
		var id, again string
		if err := codec.Decode("connect.sid", value, &id); err != nil {
			wantDecodeError(t, err, "")
			return
		}
		renewed, err := codec.Encode("connect.sid", id)
		if err != nil {
			t.Fatal(err)
		}
		if err := codec.Decode("connect.sid", renewed, &again); err != nil || again != id {
			t.Errorf("%q becomes %q, %v", id, again, err)
		}
	})
}

// FuzzCodec reads what a record may hold, and writes it back: unchanged it stays the same, and changed no other value
// is lost.
func FuzzCodec(f *testing.F) {
	for _, c := range golden(f).Cases {
		payload := c.payload(f)
		f.Add(payload.Type == bson.TypeString, payload.Value)
	}
	for _, s := range []string{"", "null", "{", `{"cookie":5}`, `{"a":1,"a":{"b":1}}`, `{"cookie":{"originalMaxAge":-1,"expires":{}},"":[]}`} {
		f.Add(true, text(f, s).Value)
	}
	f.Fuzz(func(t *testing.T, isText bool, data []byte) {
		payload := bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: data}
		if isText {
			payload.Type = bson.TypeString
		}
		for _, codec := range []connectmongo.Codec{{}, {Document: true}, {Crypto: plainCrypto{}}} {
			session := &sessions.Session{Values: make(map[any]any), Options: &sessions.Options{Path: "/", MaxAge: 60}}
			if codec.Decode(payload, session) != nil {
				continue
			}
			if session.Options.MaxAge < 0 {
				t.Fatalf("MaxAge is %d, a logout", session.Options.MaxAge)
			}
			stored, err := codec.EncodeRecord(session, payload, deadline)
			session.Values["another key"] = "value"
			changed, errOfChange := codec.EncodeRecord(session, payload, deadline)
			if isText == codec.Document { // in the other form, not all of it may be possible
				continue
			}
			if err != nil || errOfChange != nil {
				t.Fatalf("what was read cannot be stored: %v, %v", err, errOfChange)
			}
			wantStored(t, codec, changed, session)
			delete(session.Values, "another key")
			wantStored(t, codec, stored, session)
		}
	})
}

// FuzzCrypto decrypts what a record may hold. Only what was encrypted with the secret decrypts, to what it was; AES-CBC
// cannot tell.
func FuzzCrypto(f *testing.F) {
	wants := make(map[string]string)
	all := cryptos("secret")
	for name, crypto := range all {
		good, err := crypto.Encrypt(plaintext)
		if err != nil {
			f.Fatal(err)
		}
		if wants[name], err = crypto.Decrypt(good); err != nil {
			f.Fatal(err)
		}
		f.Add(name, good)
		f.Add(name, good[:len(good)-4])
		f.Add(name, "")
	}
	f.Fuzz(func(t *testing.T, name, ciphertext string) {
		crypto, ok := all[name]
		if !ok {
			return
		}
		got, err := crypto.Decrypt(ciphertext)
		if err == nil && name != "CBC" && got != wants[name] {
			t.Errorf("%s: it decrypts to %q, want an error", name, got)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "connectmongo: ") {
			t.Errorf("%s: the error is %v", name, err)
		}
	})
}

// wantStored reads what was stored. The values are compared as text, in which NaN equals NaN.
func wantStored(t *testing.T, codec connectmongo.Codec, stored bson.RawValue, session *sessions.Session) {
	t.Helper()
	got, want := fmt.Sprintf("%#v", decode(t, codec, stored).Values), fmt.Sprintf("%#v", session.Values)
	if got != want {
		t.Errorf("the values were %s and are %s", want, got)
	}
}
