package mongotest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// A runner starts mongod processes.
type runner interface {
	run(ctx context.Context, spec spec) (instance, error)
	fmt.Stringer
}

// An instance is one mongod that a runner started.
type instance interface {
	stop(ctx context.Context) error  // shuts it down; the data stay
	start(ctx context.Context) error // starts it again: same port, same data
	freeze() error                   // it answers nothing, and its connections stay open
	thaw() error
	alive() bool
	log() string // the last lines of it
	remove()     // ends it at once and removes its data
}

// spec says how to start a mongod.
type spec struct {
	port  int
	args  []string // beside those that all have
	files string   // a folder that args name files of
	peer  instance // the first member of the same replica set
	ports []int    // of all its members; on the first only
}

// command is mongod's command line, for an address to listen on and a folder
// for its data.
func (s spec) command(bind, data string) []string {
	return append([]string{
		"--bind_ip", bind, "--port", strconv.Itoa(s.port), "--dbpath", data, "--nounixsocket",
		"--wiredTigerCacheSizeGB", "0.25",
		"--setParameter", "diagnosticDataCollectionEnabled=false",
		"--setParameter", "enableTestCommands=1",
		"--setParameter", "ttlMonitorSleepSecs=1",
	}, s.args...)
}

// freePort returns a port of 127.0.0.1 that nothing listens on. It is below the
// range that systems give to outgoing connections, so that it stays free while
// a stopped server waits to be started again.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(12000)           //nolint:gosec // no secret
		l, err := net.Listen("tcp", address(port)) //nolint:noctx // returns at once
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port between 20000 and 32000")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// poll calls try every few milliseconds until it succeeds, and returns its last
// error when ctx ends first.
func poll(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
