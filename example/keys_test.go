package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestKeyIsMadeOnceAndKeptPrivate(t *testing.T) {
	t.Setenv("SESSION_KEY", "")
	path := filepath.Join(t.TempDir(), "data", "session.key")
	first, err := loadKey(path)
	if err != nil || len(first) != keySize {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	second, err := loadKey(path)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second start has another key (%v)", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
}

func TestKeyFromTheEnvironment(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb, 0xef, 0xff, 7}, 8)
	for name, text := range map[string]string{
		"hex":              hex.EncodeToString(key),
		"upper case hex":   strings.ToUpper(hex.EncodeToString(key)),
		"base64":           base64.StdEncoding.EncodeToString(key),
		"base64url, plain": base64.RawURLEncoding.EncodeToString(key),
		"with a line end":  hex.EncodeToString(key) + "\n",
	} {
		t.Setenv("SESSION_KEY", text)
		got, err := loadKey(filepath.Join(t.TempDir(), "unused"))
		if err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"what?!": "neither hex nor base64",
		"0011":   "at least 32",
		base64.StdEncoding.EncodeToString(make([]byte, 31)): "31 bytes",
	} {
		t.Setenv("SESSION_KEY", text)
		if _, err := loadKey("unused"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestDamagedKeyFileIsNotReplaced(t *testing.T) {
	t.Setenv("SESSION_KEY", "")
	path := filepath.Join(t.TempDir(), "session.key")
	if err := os.WriteFile(path, []byte("??"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}
