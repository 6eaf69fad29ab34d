//go:build !unix

package database

import (
	"os"
	"syscall"
)

func ownProcessGroup() *syscall.SysProcAttr { return nil }

func terminate(process *os.Process) error { return process.Kill() }
