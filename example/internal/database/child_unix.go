//go:build unix

package database

import (
	"os"
	"syscall"
)

func ownProcessGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func terminate(process *os.Process) error { return process.Signal(syscall.SIGTERM) }
