package mongotest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// mongod runs the mongod at path.
type mongod struct{ path string }

func (b mongod) String() string { return "the mongod binary" }

func (b mongod) run(ctx context.Context, spec spec) (instance, error) {
	dir, err := os.MkdirTemp("", "mongotest-")
	if err != nil {
		return nil, err
	}
	leftovers.watch("dir", dir)
	p := &process{path: b.path, dir: dir, args: spec.command("127.0.0.1", filepath.Join(dir, "data"))}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		p.remove()
		return nil, err
	}
	if err := p.start(ctx); err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

// process is a mongod that runs on this machine.
type process struct {
	path, dir string
	args      []string
	cmd       *exec.Cmd
	exited    chan struct{}
}

func (p *process) start(context.Context) error {
	log, err := os.OpenFile(p.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(p.path, p.args...) //nolint:gosec,noctx // the tester's own mongod; remove ends it
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start mongod: %w", err)
	}
	pid := fmt.Sprint(p.cmd.Process.Pid)
	leftovers.watch("pid", pid)
	cmd, exited := p.cmd, make(chan struct{})
	p.exited = exited
	go func() {
		_ = cmd.Wait()
		leftovers.forget("pid", pid)
		close(exited)
	}()
	return nil
}

func (p *process) stop(ctx context.Context) error { return p.end(ctx, syscall.SIGTERM) }
func (p *process) kill(ctx context.Context) error { return p.end(ctx, syscall.SIGKILL) }

func (p *process) end(ctx context.Context, signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *process) freeze() error { return freeze(p.cmd.Process) }
func (p *process) thaw() error   { return thaw(p.cmd.Process) }

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) log() string {
	text, _ := os.ReadFile(p.logFile())
	return tail(text)
}

func (p *process) logFile() string { return filepath.Join(p.dir, "log") }

func (p *process) remove() {
	if p.exited != nil {
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	_ = os.RemoveAll(p.dir)
	leftovers.forget("dir", p.dir)
}

// tail returns the end of a log, where the reason of a failure is.
func tail(log []byte) string { return string(log[max(0, len(log)-2000):]) }
