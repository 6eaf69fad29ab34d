//go:build !unix

package mongotest

import (
	"errors"
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

func freeze(*os.Process) error { return errors.New("only a container can be frozen on this system") }
func thaw(*os.Process) error   { return nil }
