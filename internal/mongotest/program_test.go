package mongotest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// programEnv makes this binary a program that is no test.
const programEnv = "MONGOTEST_PROGRAM"

// ownsAProcess is that program: it prints the pid of a process that it owns, and
// ends with its standard input.
func ownsAProcess() int {
	cmd := sleeper()
	if _, err := mongotest.Own(cmd); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(cmd.Process.Pid)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 3
}

func sleeper() *exec.Cmd { return exec.Command("sleep", "600") } //nolint:noctx // its owner ends it

func TestProgramLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, die := range map[string]func(*exec.Cmd, io.Closer) error{
		"it returns": func(_ *exec.Cmd, in io.Closer) error { return in.Close() },
		"kill -9":    func(c *exec.Cmd, _ io.Closer) error { return c.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // itself
			cmd.Env = append(os.Environ(), programEnv+"=1")
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
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			if err := die(cmd, in); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); name == "it returns" && code != 3 {
				t.Errorf("exit code %d", code)
			}
			eventually(t, "what it owned is gone", func() bool { return !runs(pid) })
		})
	}
}

// runs tells whether there is a process that is more than a zombie.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if os.IsNotExist(err) {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestOwnerEndsItsProcess(t *testing.T) {
	t.Parallel()
	cmd := sleeper()
	end, err := mongotest.Own(cmd)
	if err != nil {
		t.Fatal(err)
	}
	end()
	if err := cmd.Process.Signal(syscall.Signal(0)); err == nil {
		t.Error("it still runs")
	}
}

func TestStartedServerHasTheDefaultsOfMongodAndTheArgumentsGiven(t *testing.T) {
	t.Parallel()
	s, err := mongotest.Start(t.Context(), false, "--setParameter", "notablescan=1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	for name, want := range map[string]int64{"ttlMonitorSleepSecs": 60, "notablescan": 1} {
		if got := parameter(t, s, name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	host := options.Client().ApplyURI(s.URI()).Hosts[0]
	s.Remove()
	if listens(host) {
		t.Error("the server is there after Remove")
	}
}

func TestStartedReplicaSetTakesWritesWithMajority(t *testing.T) {
	t.Parallel()
	s, err := mongotest.Start(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	if !s.IsReplicaSet() {
		t.Error("no replica set")
	}
}

// parameter returns a parameter of a server.
func parameter(t *testing.T, s *mongotest.Server, name string) int64 {
	t.Helper()
	raw, err := s.Client(t).Database("admin").RunCommand(t.Context(), bson.D{{Key: "getParameter", Value: 1}, {Key: name, Value: 1}}).Raw()
	if err != nil {
		t.Fatal(err)
	}
	if on, ok := raw.Lookup(name).BooleanOK(); ok && on {
		return 1
	}
	return raw.Lookup(name).AsInt64()
}
