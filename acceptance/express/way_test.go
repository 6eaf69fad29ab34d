package express

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// TestTheWayInTheDocumentationCanBeWalked runs the two programs of
// docs/from-express.md as they stand there, but for the ports, and asks them
// what curl asks there.
func TestTheWayInTheDocumentationCanBeWalked(t *testing.T) {
	t.Parallel()
	needNode(t)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "from-express.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, port := range []string{"3000", "8080"} {
		text = strings.ReplaceAll(text, port, freePort(t))
	}
	server := mongotest.Shared(t)
	w := way{
		dir:         t.TempDir(),
		environment: append(os.Environ(), "MONGODB_URI="+server.DatabaseURI(server.Database(t).Name()), "SESSION_SECRET="+secret),
	}
	w.start(t, "node", w.file(t, "app.js", block(t, text, "js", "express()")))
	binary := filepath.Join(w.dir, "app")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, w.file(t, "main.go", block(t, text, "go", "package main"))) //nolint:gosec // our own page
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	w.start(t, binary)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	walked := 0
	for line := range strings.Lines(block(t, text, "sh", "curl -s")) {
		found := regexp.MustCompile(`(http://[^' ]+)'? +# (.+)\n`).FindStringSubmatch(line)
		if found == nil {
			t.Fatalf("what does %q answer?", line)
		}
		if got := get(t, client, found[1]); got != found[2]+"\n" {
			t.Errorf("%s answers %q, want %q", found[1], got, found[2])
		}
		walked++
	}
	if walked < 4 {
		t.Errorf("the way has %d steps", walked)
	}
}

// way is where the programs run.
type way struct {
	dir         string
	environment []string
}

func (w way) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // a folder of the test
		t.Fatal(err)
	}
	return path
}

// start runs a program until the test ends.
func (w way) start(t *testing.T, name string, arguments ...string) {
	t.Helper()
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, name, arguments...) //nolint:gosec // our own page
	var said strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = slices.Concat(w.environment, []string{"NODE_PATH=" + modules}), &said, &said
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", filepath.Base(name), said.String())
		}
	})
}

// block returns the code of a language in which some words occur.
func block(t *testing.T, page, language, words string) string {
	t.Helper()
	for _, found := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```\n").FindAllStringSubmatch(page, -1) {
		if strings.Contains(found[1], words) {
			return found[1]
		}
	}
	t.Fatalf("no %s has %q", language, words)
	return ""
}

// get waits for a program that is starting.
func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err == nil {
			body, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			return string(body)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// freePort returns one that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
