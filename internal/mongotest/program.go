package mongotest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Program runs a program that is no test, and ends what it has started with
// [Start] and [Own] when it returns, or dies. Its result is the exit code.
func Program(main func() int) int {
	if isWatchdog() {
		guard(os.Stdin)
		return 0
	}
	if err := leftovers.start(); err != nil {
		fmt.Fprintln(os.Stderr, "mongotest:", err)
		return 1
	}
	defer leftovers.stop()
	return main()
}

// Start starts a standalone or a replica set of three for a [Program]: with
// mongod's own defaults, where a server for tests is set up to be small and to
// expire quickly. args go to each mongod.
func Start(ctx context.Context, replicaSet bool, args ...string) (*Server, error) {
	own := spec{plain: true, args: args}
	if replicaSet {
		return startSet(ctx, own)
	}
	return startSingle(ctx, own)
}

// Remove ends a server that [Start] started and removes its data.
func (s *Server) Remove() { s.remove() }

// Own starts another process of a [Program], out of the reach of Ctrl-C.
// The function it returns ends the process and waits for that.
func Own(cmd *exec.Cmd) (end func(), err error) {
	if !leftovers.running() {
		return nil, errNoMain
	}
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := fmt.Sprint(cmd.Process.Pid)
	leftovers.watch("pid", pid)
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		leftovers.forget("pid", pid)
	}, nil
}
