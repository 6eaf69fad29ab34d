// Command ferretdb runs a command beside an embedded FerretDB, a server that
// speaks MongoDB's protocol, on a free port of 127.0.0.1 and an empty folder:
//
//	go run ./cmd/ferretdb -- command [argument ...]
//
// The command finds the server in MONGODB_URI and runs in the caller's folder.
// Its exit status becomes this program's (though "go run" turns every failure
// into 1). The server and its data are gone afterwards.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/mongostore/mongostore/example/internal/ferret"
)

const usage = `usage: ferretdb [--] command [argument ...]

Starts an embedded FerretDB on a free port of 127.0.0.1 with an empty data
folder, runs the command with MONGODB_URI set to it, and passes on its exit
status. For example:

	go run ./cmd/ferretdb -- go test ./...
	go run ./cmd/ferretdb -- make -C .. test

FerretDB is not MongoDB: it has no TTL indexes, and it is not atomic over
parallel connections (the URI says maxPoolSize=1).
`

func main() {
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := run(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
	}
	os.Exit(status)
}

// run starts the server, runs the command and returns the status to exit with.
func run(command []string) (status int, err error) {
	dir, err := os.MkdirTemp("", "mongostore-ferretdb-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	server, err := ferret.Start(dir, nil)
	if err != nil {
		return 1, err
	}
	defer server.Stop()
	return runCommand(command, server.URI())
}

// runCommand runs the command with MONGODB_URI in its environment. It lives
// until the command ends: an interrupt from the terminal reaches the command by
// itself, SIGTERM is passed on.
func runCommand(command []string, uri string) (int, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "MONGODB_URI="+uri)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGTERM {
				_ = cmd.Process.Signal(s) // it may just have ended
			}
		case err := <-done:
			return exitStatus(err)
		}
	}
}

// exitStatus is the command's own status, or 128 and the signal that ended it,
// as a shell says it.
func exitStatus(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 1, err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return exit.ExitCode(), nil
}
