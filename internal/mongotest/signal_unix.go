//go:build unix

package mongotest

import (
	"os"
	"syscall"
)

// ownGroup keeps a process out of the group that Ctrl-C is sent to.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
func thaw(p *os.Process) error   { return p.Signal(syscall.SIGCONT) }
