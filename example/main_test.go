package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRunServesUntilItIsStopped(t *testing.T) {
	t.Setenv("SESSION_KEY", "")
	dir := t.TempDir()
	for range 2 { // the second run finds the folder of the first
		ctx, stop := context.WithCancel(t.Context())
		stdout := &buffer{}
		done := make(chan error, 1)
		go func() {
			done <- run(ctx, []string{"-addr", "127.0.0.1:0", "-data", dir, "-server", "embedded", "-env", os.DevNull}, stdout, io.Discard)
		}()
		base := stdout.waitFor(t, regexp.MustCompile(`Open +http://localhost(:\d+)`), done)
		stdout.waitFor(t, regexp.MustCompile(`(embedded FerretDB)[^\n]*\nData`), done)
		if got := status(t, "http://127.0.0.1"+base+"/signin"); got != http.StatusOK {
			t.Errorf("status %d", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestPortInUseIsSaid(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.Addr().String()
	err = run(t.Context(), []string{"-addr", addr, "-data", t.TempDir(), "-env", os.DevNull}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), addr+" is in use") || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("got %v", err)
	}
}

func TestUnreachableServerIsSaid(t *testing.T) {
	t.Setenv("MONGODB_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200")
	err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-data", t.TempDir(), "-env", os.DevNull}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, io.Discard, &text); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	for _, flag := range []string{"-addr", "-data", "-server", "-ttl", "-env", "-insecure-cookies", "MONGODB_URI", "SESSION_KEY", "OPERATOR_PASSWORD"} {
		if !strings.Contains(text.String(), flag) {
			t.Errorf("usage lacks %s", flag)
		}
	}
	for _, wrong := range [][]string{{"-nope"}, {"argument"}} {
		if err := run(t.Context(), wrong, io.Discard, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

func TestPageURL(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"127.0.0.1":  "http://localhost:80",
		"::1":        "http://localhost:80",
		"0.0.0.0":    "http://localhost:80",
		"192.0.2.7":  "http://192.0.2.7:80",
		"2001:db8::": "http://[2001:db8::]:80",
	} {
		if got := pageURL(&net.TCPAddr{IP: net.ParseIP(ip), Port: 80}); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]string{
		14 * 24 * time.Hour: "14 days",
		25 * time.Hour:      "25 hours",
		59 * time.Minute:    "59 minutes",
		time.Minute:         "1 minute",
		-time.Hour:          "1 minute",
	} {
		if got := until(time.Now().Add(left)); got != want {
			t.Errorf("%v: %s, want %s", left, got, want)
		}
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}

// buffer collects what a running program prints.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// waitFor returns the first group of the pattern once it has been printed.
func (b *buffer) waitFor(t *testing.T, pattern *regexp.Regexp, done <-chan error) string {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if found := pattern.FindStringSubmatch(b.String()); found != nil {
			return found[1]
		}
		select {
		case err := <-done:
			t.Fatalf("ended with %v; printed:\n%s", err, b.String())
		case <-deadline:
			t.Fatalf("never printed %v:\n%s", pattern, b.String())
		case <-tick.C:
		}
	}
}
