package acceptance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
)

// A process is this test binary run once more, as one of several processes
// that share a collection. What it shall do stands in its environment; it
// begins when it reads a line, and ends with the pipe it reads from.
const (
	roleVariable = "MONGOSTORE_ACCEPTANCE_ROLE"
	uriVariable  = "MONGOSTORE_ACCEPTANCE_URI" // with a database
)

// The roles of a process.
const (
	roleNative   = "native"   // opens a store that leaves removal to MongoDB
	roleInterval = "interval" // opens one that removes every second
	roleCron     = "cron"     // removes once
)

// processTimeout bounds the life of a process.
const processTimeout = 5 * time.Minute

// play is main of such a process. It prints "ready", then "opened" or an error
// and, at the end, how many sessions it removed.
func play(role, uri string) error {
	ctx, cancel := context.WithTimeout(context.Background(), processTimeout)
	defer cancel()
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	var removed int64 // by the removal's goroutine, which Close waits for
	cfg := &mongostore.Config{UserID: func(*sessions.Session) string { return "" }}
	switch role {
	case roleInterval:
		cfg.AutoRemove, cfg.RemoveInterval = mongostore.AutoRemoveInterval, time.Second
		cfg.Observe = func(_ context.Context, e mongostore.Event) { removed += e.Removed }
	case roleCron:
		cfg.AutoRemove = mongostore.AutoRemoveDisabled
	}
	store, err := mongostore.Open(ctx, uri, cfg, signingKey)
	if err != nil {
		return err
	}
	fmt.Println("opened")
	if role == roleCron {
		removed, err = store.RemoveExpired(ctx)
	} else {
		_, _ = io.Copy(io.Discard, in)
	}
	err = errors.Join(err, store.Close())
	fmt.Println(removed)
	return err
}

// process is one under way.
type process struct {
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

// startProcesses starts several, and returns when all wait for a line.
func startProcesses(t *testing.T, n int, role, uri string) []*process {
	t.Helper()
	list := make([]*process, n)
	for i := range list {
		cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this binary
		cmd.Env = append(os.Environ(), roleVariable+"="+role, uriVariable+"="+uri)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := &process{in, bufio.NewReader(out), cmd}
		t.Cleanup(func() { _ = p.in.Close(); _ = p.cmd.Wait() })
		list[i] = p
	}
	for _, p := range list {
		p.expect(t, "ready")
	}
	return list
}

// begin lets all go at once.
func begin(t *testing.T, list []*process) {
	t.Helper()
	for _, p := range list {
		if _, err := io.WriteString(p.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("a process said %q and then no more: %v", line, err)
	}
	return strings.TrimSpace(line)
}

func (p *process) expect(t *testing.T, want string) {
	t.Helper()
	if got := p.line(t); got != want {
		t.Fatalf("a process says %q, want %q", got, want)
	}
}

// removed ends a process and returns how many sessions it removed.
func (p *process) removed(t *testing.T) int {
	t.Helper()
	if err := p.in.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p.line(t))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
