package connectmongo

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Crypto encrypts sessions in a form that connect-mongo reads: it is what that calls a cryptoAdapter. Its methods run
// concurrently. An error of Decrypt becomes mongostore.ErrDecode.
type Crypto interface {
	// Encrypt returns the text that is stored of a session, which is JSON.
	Encrypt(plaintext string) (ciphertext string, err error)
	// Decrypt returns what Encrypt was given, or that as a JSON string.
	Decrypt(ciphertext string) (plaintext string, err error)
}

// WebCryptoOptions are those of createWebCryptoAdapter. The zero value of each field is its default there, and both
// sides must have the same.
type WebCryptoOptions struct {
	// Algorithm is "AES-GCM" or "AES-CBC". With AES-CBC nobody notices that a ciphertext was altered. Default: "AES-GCM".
	Algorithm string
	// Encoding is "base64", "base64url" or "hex". Default: "base64".
	Encoding string
	// IVLength is that of the nonce, in bytes. Default: 12, and 16 with AES-CBC, which takes no other.
	IVLength int
	// Salt goes into the key. Default: a constant of connect-mongo.
	Salt []byte
	// Iterations are those of PBKDF2. Default: 310000.
	Iterations int
}

// WebCrypto returns what createWebCryptoAdapter of connect-mongo 6 makes: AES-256 with a key that PBKDF2-HMAC-SHA256
// derives from secret, once, which takes about a tenth of a second. It takes at most one set of options. What is
// wrong with them New reports.
func WebCrypto(secret string, options ...WebCryptoOptions) Crypto {
	w := new(webCrypto)
	w.err = w.init(secret, options)
	return w
}

type webCrypto struct {
	encoding encoding
	block    cipher.Block
	aead     cipher.AEAD // nil: AES-CBC
	err      error       // what is wrong with the options
}

func (w *webCrypto) init(secret string, options []WebCryptoOptions) (err error) {
	var o WebCryptoOptions
	switch {
	case secret == "":
		return errors.New("connectmongo: WebCrypto has no secret")
	case len(options) > 1:
		return errors.New("connectmongo: WebCrypto takes one set of options")
	case len(options) == 1:
		o = options[0]
	}
	if w.encoding, err = encodingOf("WebCrypto", o.Encoding); err != nil {
		return err
	}
	if o.Iterations == 0 {
		o.Iterations = 310_000
	}
	if o.Iterations < 0 {
		return fmt.Errorf("connectmongo: WebCrypto: Iterations is %d", o.Iterations)
	}
	if o.Salt == nil {
		o.Salt = []byte("connect-mongo:webcrypto-default-salt")
	}
	key, err := pbkdf2.Key(sha256.New, secret, o.Salt, o.Iterations, 32)
	if err != nil {
		return fmt.Errorf("connectmongo: WebCrypto: %w", err)
	}
	if w.block, err = aes.NewCipher(key); err != nil {
		return fmt.Errorf("connectmongo: WebCrypto: %w", err)
	}
	return w.initMode(o.Algorithm, o.IVLength)
}

func (w *webCrypto) initMode(algorithm string, nonce int) (err error) {
	switch algorithm {
	case "", "AES-GCM":
		if nonce == 0 {
			nonce = 12
		}
		if nonce < 0 {
			return fmt.Errorf("connectmongo: WebCrypto: IVLength is %d", nonce)
		}
		w.aead, err = cipher.NewGCMWithNonceSize(w.block, nonce)
	case "AES-CBC":
		if nonce != 0 && nonce != aes.BlockSize {
			return fmt.Errorf("connectmongo: WebCrypto: IVLength is %d; AES-CBC takes 16", nonce)
		}
	default:
		return fmt.Errorf("connectmongo: WebCrypto: Algorithm is %q, not AES-GCM or AES-CBC", algorithm)
	}
	return err
}

// Encrypt implements [Crypto].
func (w *webCrypto) Encrypt(plaintext string) (string, error) {
	if w.err != nil {
		return "", w.err
	}
	if w.aead != nil {
		nonce := random(w.aead.NonceSize())
		return w.encoding.encode(w.aead.Seal(nonce, nonce, []byte(plaintext), nil)), nil
	}
	iv, padded := random(aes.BlockSize), pad([]byte(plaintext))
	cipher.NewCBCEncrypter(w.block, iv).CryptBlocks(padded, padded)
	return w.encoding.encode(append(iv, padded...)), nil
}

// Decrypt implements [Crypto].
func (w *webCrypto) Decrypt(ciphertext string) (string, error) {
	if w.err != nil {
		return "", w.err
	}
	data, err := w.encoding.decode(ciphertext)
	if err != nil {
		return "", fmt.Errorf("connectmongo: not a ciphertext of WebCrypto in this encoding: %w", err)
	}
	if w.aead == nil {
		return w.decryptCBC(data)
	}
	if len(data) < w.aead.NonceSize()+w.aead.Overhead() {
		return "", errShort
	}
	nonce, data := data[:w.aead.NonceSize()], data[w.aead.NonceSize():]
	plaintext, err := w.aead.Open(nil, nonce, data, nil)
	if err != nil {
		return "", errAltered
	}
	return string(plaintext), nil
}

var (
	errShort   = errors.New("connectmongo: the ciphertext is too short")
	errAltered = errors.New("connectmongo: the ciphertext was made with another secret, or altered")
)

func (w *webCrypto) decryptCBC(data []byte) (string, error) {
	if len(data) < 2*aes.BlockSize || len(data)%aes.BlockSize != 0 {
		return "", errShort
	}
	iv, data := data[:aes.BlockSize], data[aes.BlockSize:]
	cipher.NewCBCDecrypter(w.block, iv).CryptBlocks(data, data)
	plaintext, ok := unpad(data)
	if !ok {
		return "", errAltered
	}
	return string(plaintext), nil
}

// pad fills up a block as PKCS #7 says.
func pad(data []byte) []byte {
	n := aes.BlockSize - len(data)%aes.BlockSize
	return append(data, bytes.Repeat([]byte{byte(n)}, n)...)
}

func unpad(data []byte) ([]byte, bool) {
	n := int(data[len(data)-1])
	if n == 0 || n > aes.BlockSize || !bytes.Equal(data[len(data)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, false
	}
	return data[:len(data)-n], true
}

func random(n int) []byte {
	b := make([]byte, n, n+64)
	_, _ = rand.Read(b) // never fails
	return b
}

// encoding is one of those of a Buffer in Node.js.
type encoding struct {
	encode func([]byte) string
	decode func(string) ([]byte, error)
}

func encodingOf(what, name string) (encoding, error) {
	switch name {
	case "", "base64":
		return encoding{base64.StdEncoding.EncodeToString, strict(base64.StdEncoding)}, nil
	case "base64url":
		return encoding{base64.RawURLEncoding.EncodeToString, strict(base64.RawURLEncoding)}, nil
	case "hex":
		return encoding{hex.EncodeToString, hex.DecodeString}, nil
	}
	return encoding{}, fmt.Errorf("connectmongo: %s: Encoding is %q, not base64, base64url or hex", what, name)
}

// strict decodes base64 of one form only: no line breaks, no stray bits at the end.
func strict(e *base64.Encoding) func(string) ([]byte, error) {
	e = e.Strict()
	return func(text string) ([]byte, error) {
		if strings.ContainsAny(text, "\r\n") {
			return nil, base64.CorruptInputError(strings.IndexAny(text, "\r\n"))
		}
		return e.DecodeString(text)
	}
}
