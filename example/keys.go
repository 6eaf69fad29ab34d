package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keySize is what HMAC-SHA256, which signs the cookie, makes full use of.
const keySize = 32

// loadKey returns the key that signs the cookies: SESSION_KEY if it is set,
// else the one in the file, which is made at the first start. A new key at each
// start would sign everybody out.
func loadKey(path string) ([]byte, error) {
	if text := os.Getenv("SESSION_KEY"); text != "" {
		key, err := decodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("SESSION_KEY: %w", err)
		}
		return key, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // G304: a file of the demo's own data folder
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func makeKey(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, []byte(hex.EncodeToString(key)+"\n"), 0o600)
}

// decodeKey reads hex, or base64 in any of its alphabets.
func decodeKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	key, err := hex.DecodeString(text)
	if err != nil {
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		key, err = base64.RawStdEncoding.DecodeString(plain)
	}
	if err != nil {
		return nil, errors.New("is neither hex nor base64")
	}
	if len(key) < keySize {
		return nil, fmt.Errorf("has %d bytes, needs at least %d (try: openssl rand -hex %d)", len(key), keySize, keySize)
	}
	return key, nil
}
