package connectmongo_test

import (
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/mongostore/mongostore/connectmongo"
)

const plaintext = `{"cookie":{"originalMaxAge":null},"user":"ada"}`

// quick are options that derive a key in no time.
func quick(o connectmongo.WebCryptoOptions) connectmongo.WebCryptoOptions {
	o.Iterations = 1
	return o
}

// cryptos are one of each kind, with a secret.
func cryptos(secret string) map[string]connectmongo.Crypto {
	return map[string]connectmongo.Crypto{
		"GCM base64":    connectmongo.WebCrypto(secret, quick(connectmongo.WebCryptoOptions{})),
		"GCM base64url": connectmongo.WebCrypto(secret, quick(connectmongo.WebCryptoOptions{Encoding: "base64url", Algorithm: "AES-GCM"})),
		"GCM hex":       connectmongo.WebCrypto(secret, quick(connectmongo.WebCryptoOptions{Encoding: "hex", IVLength: 16, Salt: []byte("sea")})),
		"CBC":           connectmongo.WebCrypto(secret, quick(connectmongo.WebCryptoOptions{Algorithm: "AES-CBC", IVLength: 16})),
		"kruptein":      connectmongo.Kruptein(secret),
		"kruptein hex":  connectmongo.Kruptein(secret, connectmongo.KrupteinOptions{Algorithm: "aes-192-gcm", Hashing: "sha384", Encoding: "hex"}),
	}
}

func TestCryptosDecryptWhatTheyEncrypted(t *testing.T) {
	t.Parallel()
	for name, crypto := range cryptos("secret") {
		seen := make(map[string]bool)
		for range 3 {
			ciphertext, err := crypto.Encrypt(plaintext)
			if err != nil {
				t.Fatal(name, err)
			}
			if seen[ciphertext] {
				t.Errorf("%s: it encrypts a text twice to the same", name)
			}
			seen[ciphertext] = true
			got, err := crypto.Decrypt(ciphertext)
			if want := map[bool]string{false: plaintext, true: `"` + strings.ReplaceAll(plaintext, `"`, `\"`) + `"`}[strings.HasPrefix(name, "kruptein")]; err != nil || got != want {
				t.Errorf("%s: it decrypts to %q, %v; want %q", name, got, err, want)
			}
		}
	}
}

func TestCryptosRefuseWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	strangers := cryptos("another secret")
	for name, crypto := range cryptos("secret") {
		good, err := crypto.Encrypt(plaintext)
		if err != nil {
			t.Fatal(name, err)
		}
		refuses := func(what, ciphertext string) {
			t.Helper()
			got, err := crypto.Decrypt(ciphertext)
			if got == plaintext || err == nil && name != "CBC" {
				t.Errorf("%s: what is %s decrypts to %q, %v", name, what, got, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "connectmongo: ") {
				t.Errorf("%s: the error is %v", name, err)
			}
		}
		for i := 0; i < len(good); i += 1 + len(good)/100 {
			other := byte('A')
			if good[i] == other {
				other = 'B'
			}
			if strings.Contains(name, "hex") {
				other = "01"[1-int(good[i]&1)] // never the same digit
			}
			refuses("altered", good[:i]+string(other)+good[i+1:])
			if i%7 == 0 {
				refuses("truncated", good[:i])
			}
		}
		refuses("longer", good+good)
		refuses("no text of the encoding", "!"+good)
		refuses("of two lines", good[:4]+"\n"+good[4:])
		stranger, err := strangers[name].Encrypt(plaintext)
		if err != nil {
			t.Fatal(name, err)
		}
		refuses("of another secret", stranger)
	}
}

func TestKrupteinRefusesOtherAlgorithms(t *testing.T) {
	t.Parallel()
	// A sequence of six empty octet strings.
	message := append([]byte{0x30, 12}, strings.Repeat("\x04\x00", 6)...)
	_, err := connectmongo.Kruptein("secret").Decrypt(base64.StdEncoding.EncodeToString(message))
	if err == nil || !strings.Contains(err.Error(), "another algorithm") {
		t.Errorf("the error is %v", err)
	}
}

func TestCryptosSayWhatIsWrongWithTheirOptions(t *testing.T) {
	t.Parallel()
	type web = connectmongo.WebCryptoOptions
	type kruptein = connectmongo.KrupteinOptions
	for want, crypto := range map[string]connectmongo.Crypto{
		"WebCrypto has no secret":      connectmongo.WebCrypto(""),
		"WebCrypto takes one":          connectmongo.WebCrypto("s", web{}, web{}),
		"Encoding is \"utf8\"":         connectmongo.WebCrypto("s", web{Encoding: "utf8"}),
		"Iterations is -1":             connectmongo.WebCrypto("s", web{Iterations: -1}),
		"IVLength is -1":               connectmongo.WebCrypto("s", quick(web{IVLength: -1})),
		"AES-CBC takes 16":             connectmongo.WebCrypto("s", quick(web{Algorithm: "AES-CBC", IVLength: 12})),
		"Algorithm is \"AES-CTR\"":     connectmongo.WebCrypto("s", quick(web{Algorithm: "AES-CTR"})),
		"Kruptein has no secret":       connectmongo.Kruptein(""),
		"Kruptein takes one":           connectmongo.Kruptein("s", kruptein{}, kruptein{}),
		"Hashing is \"md5\"":           connectmongo.Kruptein("s", kruptein{Hashing: "md5"}),
		"Algorithm is \"aes-256-cbc\"": connectmongo.Kruptein("s", kruptein{Algorithm: "aes-256-cbc"}),
		"Encoding is \"latin1\"":       connectmongo.Kruptein("s", kruptein{Encoding: "latin1"}),
	} {
		_, err1 := crypto.Encrypt("{}")
		_, err2 := crypto.Decrypt("{}")
		for _, err := range []error{err1, err2, connectmongo.Codec{Crypto: crypto}.Check()} {
			if err == nil || !strings.HasPrefix(err.Error(), "connectmongo: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v, want it to say %q", err, want)
			}
		}
	}
}

func TestKrupteinForgetsKeysAndIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	crypto := connectmongo.Kruptein("secret")
	connectmongo.FillKeys(crypto)
	good := make([]string, 4)
	for i := range good {
		ciphertext, err := connectmongo.Kruptein("secret").Encrypt(plaintext)
		if err != nil {
			t.Fatal(err)
		}
		good[i] = ciphertext
	}
	var wg sync.WaitGroup
	for _, ciphertext := range good {
		wg.Go(func() {
			for range 10 {
				if _, err := crypto.Decrypt(ciphertext); err != nil {
					t.Error(err)
				}
				if _, err := crypto.Encrypt(plaintext); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := connectmongo.FillKeys(crypto); n > connectmongo.KeptKeys {
		t.Errorf("it keeps %d keys", n)
	}
}
