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
	"context"
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
	flag.Usage = func() { _, _ = fmt.Fprint(os.Stderr, usage) }
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := run(context.Background(), flag.Args())
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "ferretdb:", err)
	}
	os.Exit(status)
}

// run starts the server, runs the command and returns the status to exit with.
func run(ctx context.Context, command []string) (status int, err error) {
	dir, err := os.MkdirTemp("", "mongostore-ferretdb-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	server, err := ferret.Start(ctx, dir, nil)
	if err != nil {
		return 1, err
	}
	defer server.Stop()
	return runCommand(ctx, command, server.URI())
}

// runCommand runs the command with MONGODB_URI in its environment, and waits
// until it ends by itself: SIGTERM is passed on, and an interrupt from the
// terminal reaches the command anyway, so here it is only kept from ending this
// program first.
func runCommand(ctx context.Context, command []string, uri string) (int, error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // G204: to run it is what this program is for
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), "MONGODB_URI="+uri)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		return 127, err // it did not start
	}
	return exitStatus(cmd.ProcessState), nil
}

// exitStatus is the command's own status, or 128 and the signal that ended it,
// as a shell says it.
func exitStatus(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
