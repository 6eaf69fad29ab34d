package connectmongo

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// KrupteinOptions are those of createKrupteinAdapter and of the option crypto that have an effect there; key_size,
// iv_size and at_size have none. The zero value of each field is its default in connect-mongo.
type KrupteinOptions struct {
	// Algorithm is "aes-256-gcm", "aes-192-gcm" or "aes-128-gcm". Default: "aes-256-gcm".
	Algorithm string
	// Hashing is "sha512", "sha384" or "sha256". Default: "sha512".
	Hashing string
	// Encoding is what is called encodeas there: "base64", "base64url" or "hex". Default: "base64".
	Encoding string
}

// Kruptein returns what createKrupteinAdapter of connect-mongo 6 and its option crypto make: the format of kruptein
// 3.0.8, which that pins. Other versions of kruptein, and connect-mongo 5 if it was installed with one of them, have
// other formats.
//
// It derives a key for each salt by PBKDF2-HMAC-SHA512, which takes about ten milliseconds, and kruptein takes a new
// salt each time. Kruptein here keeps the keys of the last thousand salts, and takes a new one only after a million
// writes. It takes at most one set of options. What is wrong with them New reports.
func Kruptein(secret string, options ...KrupteinOptions) Crypto {
	k := &kruptein{secret: secret, keys: make(map[string][]byte)}
	k.err = k.init(options)
	return k
}

const (
	krupteinIterations = 15000
	krupteinSalt       = 128
	krupteinNonce      = 12
	krupteinTag        = 16

	keptKeys      = 1000
	writesPerSalt = 1 << 20 // random nonces of 12 bytes are safe for far more
)

type kruptein struct {
	secret   string
	keySize  int
	hash     func() hash.Hash
	encoding encoding
	err      error // what is wrong with the options

	mu     sync.Mutex
	keys   map[string][]byte // by salt
	salt   []byte            // of what is written
	writes int
}

// krupteinMessage is the wire format: a DER sequence of octet strings, some of which hold text.
type krupteinMessage struct {
	Ciphertext []byte // text
	HMAC       []byte // text, over the text of Ciphertext
	Nonce      []byte
	Salt       []byte
	Tag        []byte
	Additional []byte // text
}

func (k *kruptein) init(options []KrupteinOptions) (err error) {
	var o KrupteinOptions
	switch {
	case k.secret == "":
		return errors.New("connectmongo: Kruptein has no secret")
	case len(options) > 1:
		return errors.New("connectmongo: Kruptein takes one set of options")
	case len(options) == 1:
		o = options[0]
	}
	var ok bool
	if k.keySize, ok = map[string]int{"": 32, "aes-256-gcm": 32, "aes-192-gcm": 24, "aes-128-gcm": 16}[o.Algorithm]; !ok {
		return fmt.Errorf("connectmongo: Kruptein: Algorithm is %q, not aes-256-gcm, aes-192-gcm or aes-128-gcm", o.Algorithm)
	}
	if k.hash, ok = map[string]func() hash.Hash{"": sha512.New, "sha512": sha512.New, "sha384": sha512.New384, "sha256": sha256.New}[o.Hashing]; !ok {
		return fmt.Errorf("connectmongo: Kruptein: Hashing is %q, not sha512, sha384 or sha256", o.Hashing)
	}
	k.encoding, err = encodingOf("Kruptein", o.Encoding)
	return err
}

// Encrypt implements [Crypto].
func (k *kruptein) Encrypt(plaintext string) (string, error) {
	if k.err != nil {
		return "", k.err
	}
	text, err := marshalJSON(plaintext) // as kruptein does with whatever it is given
	if err != nil {
		return "", err
	}
	salt := k.writingSalt()
	key, err := k.key(salt)
	if err != nil {
		return "", err
	}
	k.keep(salt, key)
	aead, err := newGCM(key)
	if err != nil {
		return "", err
	}
	nonce, additional := random(krupteinNonce), k.mac(random(128), text)
	sealed := aead.Seal(nil, nonce, text, additional)
	ciphertext := k.encoding.encode(sealed[:len(text)])
	message, err := asn1.Marshal(krupteinMessage{
		Ciphertext: []byte(ciphertext),
		HMAC:       []byte(k.encoding.encode(k.mac(key, []byte(ciphertext)))),
		Nonce:      nonce,
		Salt:       salt,
		Tag:        sealed[len(text):],
		Additional: []byte(k.encoding.encode(additional)),
	})
	return k.encoding.encode(message), err
}

// Decrypt implements [Crypto]. What it returns is the JSON that kruptein made.
func (k *kruptein) Decrypt(ciphertext string) (string, error) {
	if k.err != nil {
		return "", k.err
	}
	m, err := k.parse(ciphertext)
	if err != nil {
		return "", err
	}
	key, err := k.key(m.Salt)
	if err != nil {
		return "", err
	}
	if !hmac.Equal(m.HMAC, []byte(k.encoding.encode(k.mac(key, m.Ciphertext)))) {
		return "", errAltered
	}
	k.keep(m.Salt, key)
	sealed, err1 := k.encoding.decode(string(m.Ciphertext))
	additional, err2 := k.encoding.decode(string(m.Additional))
	if err := errors.Join(err1, err2); err != nil {
		return "", errAltered
	}
	aead, err := newGCM(key)
	if err != nil {
		return "", err
	}
	plaintext, err := aead.Open(nil, m.Nonce, append(sealed, m.Tag...), additional)
	if err != nil || !json.Valid(plaintext) {
		return "", errAltered
	}
	return string(plaintext), nil
}

// parse reads a message, and checks the lengths that a cipher would panic at.
func (k *kruptein) parse(ciphertext string) (m krupteinMessage, err error) {
	der, err := k.encoding.decode(ciphertext)
	if err != nil {
		return m, fmt.Errorf("connectmongo: not a ciphertext of Kruptein in this encoding: %w", err)
	}
	rest, err := asn1.Unmarshal(der, &m)
	if err != nil || len(rest) > 0 {
		return m, errors.New("connectmongo: not a ciphertext of kruptein 3.0.8, or altered")
	}
	if len(m.Nonce) != krupteinNonce || len(m.Tag) != krupteinTag || len(m.Salt) != krupteinSalt {
		return m, errors.New("connectmongo: the ciphertext has the lengths of another algorithm, or was altered")
	}
	return m, nil
}

// key returns the key of a salt.
func (k *kruptein) key(salt []byte) ([]byte, error) {
	k.mu.Lock()
	key := k.keys[string(salt)]
	k.mu.Unlock()
	if key != nil {
		return key, nil
	}
	key, err := pbkdf2.Key(k.hash, k.secret, salt, krupteinIterations, k.keySize)
	if err != nil {
		return nil, fmt.Errorf("connectmongo: Kruptein: %w", err)
	}
	return key, nil
}

// keep remembers the key of a salt, and forgets another one if there are many.
func (k *kruptein) keep(salt, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for other := range k.keys {
		if len(k.keys) < keptKeys {
			break
		}
		if other != string(k.salt) {
			delete(k.keys, other)
		}
	}
	k.keys[string(salt)] = key
}

// writingSalt returns the salt of what is written now.
func (k *kruptein) writingSalt() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.writes%writesPerSalt == 0 {
		k.salt = random(krupteinSalt)
	}
	k.writes++
	return bytes.Clone(k.salt)
}

func (k *kruptein) mac(key, data []byte) []byte {
	mac := hmac.New(k.hash, key)
	mac.Write(data)
	return mac.Sum(nil)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
