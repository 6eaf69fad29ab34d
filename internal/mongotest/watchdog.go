package mongotest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// watchdogEnv marks the process that cleans up when the test process dies.
const watchdogEnv = "MONGOTEST_WATCHDOG"

// watchdog is a child that outlives a killed test process. It is told on its
// standard input what was started ("pid 7", "container x", "dir /tmp/y"; a
// line with a leading "-" takes that back) and ends all that is left at EOF.
type watchdog struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
}

func isWatchdog() bool { return os.Getenv(watchdogEnv) != "" }

func (w *watchdog) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.cmd = exec.Command(self) //nolint:gosec,noctx // this very test binary; stop ends it
	w.cmd.Env = append(os.Environ(), watchdogEnv+"=1")
	w.cmd.SysProcAttr = ownGroup()
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	return w.cmd.Start()
}

func (w *watchdog) stop() {
	_ = w.in.Close()
	_ = w.cmd.Wait()
}

func (w *watchdog) running() bool { return w.cmd != nil }

func (w *watchdog) watch(kind, name string)  { w.tell(kind + " " + name) }
func (w *watchdog) forget(kind, name string) { w.tell("-" + kind + " " + name) }

func (w *watchdog) tell(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = fmt.Fprintln(w.in, line)
}

var errNoMain = errors.New("call mongotest.Main from TestMain: it stops what is started here")

// guard is the watchdog's life: it reads in to its end and cleans up.
func guard(in io.Reader) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var left []string
	for lines := bufio.NewScanner(in); lines.Scan(); {
		line := lines.Text()
		if done, ok := strings.CutPrefix(line, "-"); ok {
			left = slices.DeleteFunc(left, func(l string) bool { return l == done })
			continue
		}
		left = append(left, line)
	}
	for _, line := range slices.Backward(left) { // a folder is named before the process that writes to it
		end(line)
	}
}

func end(line string) {
	kind, name, _ := strings.Cut(line, " ")
	switch kind {
	case "pid":
		pid, err := strconv.Atoi(name)
		if err != nil {
			return
		}
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	case "container":
		removeContainer(name)
	case "dir":
		// A process just killed may still write to it.
		for range 100 {
			if os.RemoveAll(name) == nil {
				return
			}
		}
	}
}
