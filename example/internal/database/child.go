package database

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// stopTimeout is how long a server may take to shut down before it is killed.
const stopTimeout = 15 * time.Second

// child is a process that this one started and must end.
type child struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the process has ended
}

// startChild starts a process that outlives ctx and an interrupt at the
// terminal, so that the app can finish its requests before it stops the database.
func startChild(ctx context.Context, binary string, arguments ...string) (*child, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(ctx, binary, arguments...) //nolint:gosec // G204: the mongod that the user has
	cmd.SysProcAttr = ownProcessGroup()
	cmd.Cancel = func() error { return terminate(cmd.Process) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	c := &child{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return c, nil
}

// stop asks the process to end and waits until it has. Twice is fine.
func (c *child) stop(ctx context.Context) error {
	c.cancel()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("database still stopping: %w", context.Cause(ctx))
	}
}
