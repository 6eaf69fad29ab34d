package mongotest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// victimEnv marks the test process that is to die with a server running.
const victimEnv = "MONGOTEST_VICTIM"

func TestServerIsGoneWhenTheTestProcessDies(t *testing.T) {
	t.Parallel()
	for name, die := range map[string]func(*exec.Cmd, io.Closer) error{
		"kill -9": func(c *exec.Cmd, _ io.Closer) error { return c.Process.Kill() },
		"Ctrl-C":  func(c *exec.Cmd, _ io.Closer) error { return c.Process.Signal(os.Interrupt) },
		"SIGTERM": func(c *exec.Cmd, _ io.Closer) error { return c.Process.Signal(syscall.SIGTERM) },
		"panic":   func(_ *exec.Cmd, in io.Closer) error { return in.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			victim, in, host := startVictim(t)
			if !listens(host) {
				t.Fatal("the victim has no server")
			}
			if err := die(victim, in); err != nil {
				t.Fatal(err)
			}
			if err := victim.Wait(); err == nil {
				t.Error("the victim ended well")
			}
			eventually(t, "the server is gone", func() bool { return !listens(host) })
			// Its folders are in this test's own TMPDIR.
			eventually(t, "its data are gone", func() bool {
				left, err := os.ReadDir(tempDir(victim))
				return err == nil && len(left) == 0
			})
		})
	}
}

// startVictim runs this binary again, as a test that holds a server.
func startVictim(t *testing.T) (victim *exec.Cmd, in io.Closer, host string) {
	t.Helper()
	victim = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$", "-test.count=1") //nolint:gosec // itself
	victim.Env = append(os.Environ(), victimEnv+"=1", "TMPDIR="+t.TempDir(), "MONGOSTORE_TEST_REPORT=")
	in, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if uri, ok := strings.CutPrefix(lines.Text(), "server "); ok {
			return victim, in, options.Client().ApplyURI(uri).Hosts[0]
		}
	}
	t.Fatal("the victim got no server")
	return nil, nil, ""
}

func TestVictim(t *testing.T) {
	if os.Getenv(victimEnv) == "" {
		t.Skip("run by TestServerIsGoneWhenTheTestProcessDies")
	}
	fmt.Println("server", mongotest.Standalone(t).URI())
	_, _ = io.Copy(io.Discard, os.Stdin)
	panic("as a broken test would")
}

func tempDir(c *exec.Cmd) string {
	for _, e := range c.Env {
		if dir, ok := strings.CutPrefix(e, "TMPDIR="); ok && dir != os.Getenv("TMPDIR") {
			return dir
		}
	}
	return ""
}

func listens(host string) bool {
	c, err := net.Dial("tcp", host) //nolint:noctx // on this machine
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}
