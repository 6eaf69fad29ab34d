// Package e2e drives the demo with a real browser: make e2e.
package e2e

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
)

const (
	operatorPassword = "a password for the walk"
	appName          = "mongostore-demo" // by which the demo's commands are known to the server
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// demo is the built program, as a process of its own.
type demo struct {
	url string // such as http://localhost:8080
}

// buildDemo compiles the demo once for all who start it.
func buildDemo(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "demo")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "..") //nolint:gosec // G204: arguments are this file's
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return binary
}

// startDemo runs it on a free port until the test ends, with its own signing key.
func startDemo(t *testing.T, binary string, server *mongotest.Server, arguments ...string) *demo {
	t.Helper()
	arguments = append([]string{"-addr", "127.0.0.1:0", "-server", "uri", "-data", t.TempDir(), "-env", os.DevNull}, arguments...)
	cmd := exec.CommandContext(t.Context(), binary, arguments...) //nolint:gosec // G204: arguments are this file's
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), "MONGODB_URI="+server.DatabaseURI("demo_walk"), "OPERATOR_PASSWORD="+operatorPassword, "SESSION_KEY=")
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, address := readAddress(output)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, output)
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	if address == "" {
		t.Fatalf("the demo did not say where it is:\n%s", said)
	}
	return &demo{url: address}
}

// readAddress reads what the demo prints until the line with its address.
func readAddress(output io.Reader) (said, address string) {
	pattern := regexp.MustCompile(`^Open +(http://\S+)`)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		said += lines.Text() + "\n"
		if found := pattern.FindStringSubmatch(lines.Text()); found != nil {
			return said, found[1]
		}
	}
	return said, ""
}

// until tries again every tenth of a second until the condition holds.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
}

// root is the repository's folder.
func root(t *testing.T, parts ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func lacks(text string, parts ...string) (missing []string) {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			missing = append(missing, part)
		}
	}
	return missing
}
