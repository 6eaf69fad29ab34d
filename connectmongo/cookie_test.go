package connectmongo_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gorilla/securecookie"
	"github.com/mongostore/mongostore/connectmongo"
)

const cookieSecret = "keyboard cat"

func TestCookieIsWhatExpressSessionMakes(t *testing.T) {
	t.Parallel()
	codec := connectmongo.Cookie(cookieSecret)
	for _, s := range golden(t).Signatures {
		for _, value := range []any{s.ID, []byte(s.ID)} {
			if got, err := codec.Encode("connect.sid", value); err != nil || got != s.Encoded {
				t.Errorf("%q is encoded as %q, %v; want %q", s.ID, got, err, s.Encoded)
			}
		}
	}
}

func TestCookieReadsWhatExpressSessionMakesEncodedOrNot(t *testing.T) {
	t.Parallel()
	codec := connectmongo.Cookie(cookieSecret)
	for _, s := range golden(t).Signatures {
		for _, value := range []string{s.Encoded, s.Signed} {
			if strings.Contains(s.ID, "%") && value == s.Signed {
				continue // an escape as it stands there, to express-session too
			}
			var text string
			var bytes []byte
			err := errors.Join(codec.Decode("connect.sid", value, &text), codec.Decode("connect.sid", value, &bytes))
			if err != nil || text != s.ID || string(bytes) != s.ID {
				t.Errorf("%q is decoded as %q and %q, %v; want %q", value, text, bytes, err, s.ID)
			}
		}
	}
}

func TestCookieSignsWithTheFirstSecretAndVerifiesWithEach(t *testing.T) {
	t.Parallel()
	before, after := connectmongo.Cookie("old"), connectmongo.Cookie("new", "old")
	retired := connectmongo.Cookie("new")
	value := encoded(t, before, "id")
	if got := decoded(t, after, value); got != "id" {
		t.Errorf("a cookie of the old secret gives %q", got)
	}
	if renewed := encoded(t, after, "id"); renewed != encoded(t, retired, "id") {
		t.Error("the first secret is not the one that signs")
	}
	var id string
	wantDecodeError(t, retired.Decode("connect.sid", value, &id), "none of the secrets")
}

func TestCookieThatDoesNotVerifyIsADecodeError(t *testing.T) {
	t.Parallel()
	codec := connectmongo.Cookie(cookieSecret)
	good := golden(t).Signatures[0]
	for value, want := range map[string]string{
		"":                               `does not begin with "s:"`,
		"plain":                          `does not begin with "s:"`,
		"j%3A%7B%7D":                     `does not begin with "s:"`,
		"s:":                             "is not signed",
		"s:plain":                        "is not signed",
		"s:plain.":                       "none of the secrets",
		"s%3Aplain":                      "is not signed",
		good.Signed + "=":                "none of the secrets",
		good.Signed + "A":                "none of the secrets",
		good.Signed[:len(good.Signed)-1]: "none of the secrets",
		strings.Replace(good.Signed, "plain", "other", 1): "none of the secrets",
		strings.ToLower(good.Signed):                      "none of the secrets",
		"%zz" + good.Signed:                               `does not begin with "s:"`,
	} {
		id := "untouched"
		err := codec.Decode("connect.sid", value, &id)
		wantDecodeError(t, err, want)
		if id != "untouched" {
			t.Errorf("%q sets the id to %q", value, id)
		}
		if err != nil && len(value) > 20 && strings.Contains(err.Error(), value[8:]) {
			t.Errorf("the error quotes the cookie: %v", err)
		}
	}
}

func TestCookieThatIsUsedWronglySaysSo(t *testing.T) {
	t.Parallel()
	codec := connectmongo.Cookie(cookieSecret)
	_, err1 := codec.Encode("connect.sid", 5)
	err2 := codec.Decode("connect.sid", golden(t).Signatures[0].Signed, new(int))
	_, err3 := connectmongo.Cookie().Encode("connect.sid", "id")
	err4 := connectmongo.Cookie("a", "").Decode("connect.sid", "s:id.x", new(string))
	for want, err := range map[string]error{"not a int": err1, "not a *int": err2, "no secret": err3, "secret 2 of Cookie is empty": err4} {
		var e securecookie.Error
		if !errors.As(err, &e) || !e.IsUsage() || e.IsDecode() || e.IsInternal() || e.Cause() != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want a securecookie.Error of usage that says %q", err, want)
		}
	}
}

func encoded(t *testing.T, codec securecookie.Codec, id string) string {
	t.Helper()
	value, err := codec.Encode("connect.sid", []byte(id))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func decoded(t *testing.T, codec securecookie.Codec, value string) (id string) {
	t.Helper()
	if err := codec.Decode("connect.sid", value, &id); err != nil {
		t.Fatal(err)
	}
	return id
}

func wantDecodeError(t *testing.T, err error, says string) {
	t.Helper()
	var e securecookie.Error
	if !errors.As(err, &e) || !e.IsDecode() || e.IsUsage() || e.IsInternal() {
		t.Errorf("the error is %v, want a securecookie.Error of decoding", err)
	} else if !strings.HasPrefix(err.Error(), "connectmongo: ") || !strings.Contains(err.Error(), says) {
		t.Errorf("the error is %q, want it to say %q", err, says)
	}
}
