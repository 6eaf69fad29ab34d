package mongostore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Sealer encrypts payloads at rest. Its methods are safe for concurrent use and must not keep what they
// are given. additional names the record and its owner; it is authenticated, not stored.
//
// Open wraps ErrDecode when sealed can never be opened: an unknown key, altered bytes, other additional
// data. Any other error of either method counts as an outage, ErrUnavailable. A Sealer that asks a key
// service should honour ctx, which ends with Config.Timeout.
type Sealer interface {
	// Seal encrypts plaintext so that Open, given the same additional, returns it.
	Seal(ctx context.Context, plaintext, additional []byte) ([]byte, error)
	// Open returns what Seal was given.
	Open(ctx context.Context, sealed, additional []byte) ([]byte, error)
}

// AESGCM returns a [Sealer] that encrypts with AES-256-GCM, each record with a key of its own derived from
// one of keys (HKDF-SHA256, RFC 5869), so that the number of writes is no concern. Keys are 32 random bytes
// each; New reports bad ones. The first key seals, every key opens: to rotate, first add the new key at the
// end everywhere, then move it to the front, and drop the old one when no record needs it any more.
//
// What it makes is a version byte (1), eight bytes that tell the key, a nonce of 12 bytes, and the
// ciphertext with its tag of 16 bytes.
func AESGCM(keys ...[]byte) Sealer {
	sealer := &aesGCM{err: checkSealKeys(keys)}
	if sealer.err != nil {
		return sealer
	}
	for _, key := range keys {
		id, err := hkdf.Key(sha256.New, key, nil, "mongostore key id", keyIDSize)
		if err != nil {
			sealer.err = fmt.Errorf("mongostore: AESGCM: %w", err)
			return sealer
		}
		sealer.keys = append(sealer.keys, sealKey{[keyIDSize]byte(id), append([]byte{}, key...)})
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

func checkSealKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("mongostore: AESGCM has no key; it needs one of 32 random bytes")
	}
	for i, key := range keys {
		if len(key) != 32 {
			return fmt.Errorf("mongostore: AESGCM key %d has %d bytes; it needs 32 random ones", i+1, len(key))
		}
	}
	return nil
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
	sealed = append(sealed, envelopeVersion)
	sealed = append(sealed, key.id[:]...)
	return aead.Seal(sealed, nil, plaintext, bind(sealed, additional)), nil //nolint:gosec // the cipher makes the nonce
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
	for _, key := range a.keys {
		if key.id != [keyIDSize]byte(header[1:]) {
			continue
		}
		aead, err := key.aead(additional)
		if err != nil {
			return nil, err
		}
		plaintext, err := aead.Open(nil, nil, ciphertext, bind(header, additional))
		if err != nil {
			return nil, fmt.Errorf("%w: the payload, or the record or user it belongs to, was altered", ErrDecode)
		}
		return plaintext, nil
	}
	return nil, fmt.Errorf("%w: sealed with a key that AESGCM does not have", ErrDecode)
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

// bind authenticates the envelope's header with the additional data.
func bind(header, additional []byte) []byte {
	return append(append(make([]byte, 0, len(header)+len(additional)), header...), additional...)
}

// sealedSubtype is the BSON binary subtype of a sealed payload. Its first byte is the BSON type of what
// is inside, the rest is the Sealer's.
const sealedSubtype = 0x80

func isSealed(payload bson.RawValue) ([]byte, bool) {
	subtype, data, ok := payload.BinaryOK()
	return data, ok && subtype == sealedSubtype
}

// seal returns a payload as it is stored in rec, whose other fields are final.
func (p payloads) seal(ctx context.Context, rec *record, plain bson.RawValue) (bson.RawValue, error) {
	if p.sealer == nil {
		return plain, nil
	}
	sealed, err := guarded(func() ([]byte, error) {
		return p.sealer.Seal(ctx, plain.Value, rec.additional(plain.Type))
	})
	if err != nil {
		return bson.RawValue{}, fmt.Errorf("mongostore: Config.Sealer: %w: %w", ErrUnavailable, err)
	}
	return binaryValue(sealedSubtype, append([]byte{byte(plain.Type)}, sealed...)), nil
}

// unseal returns the payload of rec in the clear.
func (p payloads) unseal(ctx context.Context, rec *record) (bson.RawValue, error) {
	data, sealed := isSealed(rec.session)
	switch {
	case !sealed && (p.sealer == nil || p.acceptUnsealed):
		return rec.session, nil
	case !sealed:
		return bson.RawValue{}, fmt.Errorf("mongostore: %w: its payload is not sealed; Config.AcceptUnsealed lets such records in", ErrDecode)
	case p.sealer == nil:
		return bson.RawValue{}, fmt.Errorf("mongostore: %w: its payload is sealed, and there is no Config.Sealer", ErrDecode)
	case len(data) == 0:
		return bson.RawValue{}, fmt.Errorf("mongostore: %w: its sealed payload is empty", ErrDecode)
	}
	kind := bson.Type(data[0])
	plain, err := guarded(func() ([]byte, error) {
		return p.sealer.Open(ctx, data[1:], rec.additional(kind))
	})
	if err != nil && !errors.Is(err, ErrDecode) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return bson.RawValue{}, fmt.Errorf("mongostore: Config.Sealer: %w", err)
	}
	return bson.RawValue{Type: kind, Value: plain}, nil
}

// guarded turns a panic of the application's code into an error, which does not show what was thrown.
func guarded[T any](call func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic with a %T", r)
		}
	}()
	return call()
}

// additional is what a sealed payload is bound to, so that neither records nor owners can be swapped.
func (rec *record) additional(kind bson.Type) []byte {
	data := []byte("mongostore/1")
	for _, field := range []string{rec.id, rec.name, rec.user} {
		data = binary.BigEndian.AppendUint32(data, uint32(len(field))) //nolint:gosec // a document ends at 16 MiB
		data = append(data, field...)
	}
	data = binary.BigEndian.AppendUint64(data, uint64(rec.createdAt.UnixMilli()))
	tokened := byte(0)
	if rec.token != nil {
		tokened = 1
	}
	return append(data, tokened, byte(kind))
}
