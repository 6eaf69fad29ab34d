package mongotest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
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
	kill(ctx context.Context) error  // ends it at once; the data stay
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
	plain bool     // with the defaults of mongod, not those that suit tests
	host  bool     // a container is in the network of the machine
}

// command is mongod's command line, for an address to listen on and a folder
// for its data.
func (s spec) command(bind, data string) []string {
	args := []string{"--bind_ip", bind, "--port", strconv.Itoa(s.port), "--dbpath", data, "--nounixsocket"}
	if !s.plain {
		args = append(args,
			"--wiredTigerCacheSizeGB", "0.25",
			"--setParameter", "diagnosticDataCollectionEnabled=false",
			"--setParameter", "enableTestCommands=1",
			"--setParameter", "ttlMonitorSleepSecs=1")
	}
	return append(args, s.args...)
}

// freePort returns a port of 127.0.0.1 that nothing listens on, another one at
// each call. It is below the range that systems give to outgoing connections,
// so that it stays free while a stopped server waits to be started again.
func freePort() (int, error) {
	const first, span = 20000, 12000
	for range 100 {
		port := first + int(atomic.AddUint32(&lastPort, 1)%span)
		l, err := net.Listen("tcp", address(port)) //nolint:noctx // returns at once
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d", first, first+span-1)
}

// lastPort begins somewhere else in each process, as several may run at once.
var lastPort = rand.Uint32N(1 << 31) //nolint:gosec // no secret

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
