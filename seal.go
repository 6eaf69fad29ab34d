package mongostore

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Sealer encrypts payloads at rest. Its methods must be safe for concurrent use and must not keep their arguments.
// additional identifies the record and its owner; it is authenticated, not stored.
//
// Open wraps ErrDecode if sealed can never be opened: an unknown key, altered bytes, other additional data. Any other
// error of either method counts as an outage, ErrUnavailable. ctx ends with Config.Timeout; honour it if you do I/O.
type Sealer interface {
	// Seal encrypts plaintext so that Open, given the same additional, returns it.
	Seal(ctx context.Context, plaintext, additional []byte) ([]byte, error)
	// Open returns what Seal was given.
	Open(ctx context.Context, sealed, additional []byte) ([]byte, error)
}

// AESGCM returns a [Sealer] that encrypts with AES-256-GCM. Each record gets a key of its own, derived from one of keys
// (HKDF-SHA256, RFC 5869), so the number of writes is no concern. Keys are 32 random bytes each; New reports bad ones.
// The first key seals, every key opens. To rotate, add the new key at the end everywhere, then move it to the front, and
// drop the old one when no record needs it any more.
//
// A sealed payload is a version byte (1), eight bytes that identify the key, a nonce of 12 bytes, and the ciphertext with
// its tag of 16 bytes.
func AESGCM(keys ...[]byte) Sealer {
	if len(keys) == 0 {
		return &aesGCM{err: errors.New("mongostore: AESGCM has no key; it needs one of 32 random bytes")}
	}
	sealer := new(aesGCM)
	for i, key := range keys {
		if len(key) != 32 {
			return &aesGCM{err: fmt.Errorf("mongostore: AESGCM key %d has %d bytes; it needs 32 random ones", i+1, len(key))}
		}
		id, err := hkdf.Key(sha256.New, key, nil, "mongostore key id", keyIDSize)
		if err != nil {
			return &aesGCM{err: fmt.Errorf("mongostore: AESGCM: %w", err)}
		}
		sealer.keys = append(sealer.keys, sealKey{[keyIDSize]byte(id), bytes.Clone(key)})
	}
	return sealer
}

const (
	envelopeVersion = 1
	keyIDSize       = 8
	envelopeHeader  = 1 + keyIDSize
)

type aesGCM struct {
	keys []sealKey
	err  error // what is wrong with the keys
}

type sealKey struct {
	id     [keyIDSize]byte
	master []byte
}

// Seal implements [Sealer].
func (a *aesGCM) Seal(_ context.Context, plaintext, additional []byte) ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	key := a.keys[0]
	aead, err := key.aead(additional)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 0, envelopeHeader+len(plaintext)+aead.Overhead())
	sealed = append(append(sealed, envelopeVersion), key.id[:]...)
	// The header is authenticated with the additional data.
	return aead.Seal(sealed, nil, plaintext, slices.Concat(sealed, additional)), nil //nolint:gosec // the cipher makes the nonce
}

// Open implements [Sealer].
func (a *aesGCM) Open(_ context.Context, sealed, additional []byte) ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if len(sealed) < envelopeHeader || sealed[0] != envelopeVersion {
		return nil, fmt.Errorf("%w: not an envelope of AESGCM", ErrDecode)
	}
	header, ciphertext := sealed[:envelopeHeader], sealed[envelopeHeader:]
	i := slices.IndexFunc(a.keys, func(key sealKey) bool { return key.id == [keyIDSize]byte(header[1:]) })
	if i < 0 {
		return nil, fmt.Errorf("%w: sealed with a key that AESGCM does not have", ErrDecode)
	}
	aead, err := a.keys[i].aead(additional)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, ciphertext, slices.Concat(header, additional))
	if err != nil {
		return nil, fmt.Errorf("%w: the payload, or the record or user it belongs to, was altered", ErrDecode)
	}
	return plaintext, nil
}

// aead returns the cipher of one record.
func (k sealKey) aead(additional []byte) (cipher.AEAD, error) {
	digest := sha256.Sum256(additional)
	key, err := hkdf.Key(sha256.New, k.master, nil, "mongostore payload"+string(digest[:]), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
