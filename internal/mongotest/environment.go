package mongotest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

type topology string

const (
	standalone topology = "standalone"
	replicaSet topology = "replicaset"
	secured    topology = "secured"
)

const defaultImage = "mongo:8.0"

// env is what the environment asks for.
type env struct {
	uri      string
	kind     string // uri, docker, mongod or empty: the first that can be had
	topology topology
	image    string // empty: defaultImage, if it can be had
	mongod   string
}

func environment() env {
	e := env{
		uri:      os.Getenv("MONGODB_URI"),
		kind:     os.Getenv("MONGOSTORE_TEST_SERVER"),
		topology: topology(os.Getenv("MONGOSTORE_TEST_TOPOLOGY")),
		image:    os.Getenv("MONGOSTORE_TEST_IMAGE"),
		mongod:   os.Getenv("MONGOD"),
	}
	if e.topology == "" {
		e.topology = standalone
	}
	if e.kind == "docker" || e.kind == "mongod" {
		e.uri = ""
	}
	return e
}

func (e env) validate() error {
	switch e.kind {
	case "", "uri", "docker", "mongod":
	default:
		return fmt.Errorf("MONGOSTORE_TEST_SERVER=%s: want uri, docker or mongod", e.kind)
	}
	switch e.topology {
	case standalone, replicaSet, secured:
	default:
		return fmt.Errorf("MONGOSTORE_TEST_TOPOLOGY=%s: want standalone, replicaset or secured", e.topology)
	}
	if e.kind == "uri" && e.uri == "" {
		return errors.New("MONGOSTORE_TEST_SERVER=uri: set MONGODB_URI")
	}
	return nil
}

// sharedIs tells whether the shared server is one of ours with this topology.
func (e env) sharedIs(t topology) bool { return e.uri == "" && e.topology == t }

// errNoServer is returned when there is nothing to start a server with.
var errNoServer = errors.New("no MongoDB to test on: set MONGODB_URI, or start a Docker engine, " +
	"or put mongod on PATH or name it in MONGOD, or run `make test`, which fetches one")

// giveUp ends a test that gets no server. It fails, but for one case: on a
// foreign server, with nothing to start another, a test that needs more skips.
func giveUp(tb testing.TB, err error) {
	tb.Helper()
	if environment().uri != "" && errors.Is(err, errNoServer) {
		tb.Skipf("mongotest: this test needs a server of its own beside MONGODB_URI: %v", err)
	}
	tb.Fatalf("mongotest: %v", err)
}

// findRunner returns the first thing at hand that can start a mongod.
func findRunner(ctx context.Context) (runner, error) {
	e := environment()
	if err := e.validate(); err != nil {
		return nil, err
	}
	binary, binaryErr := findBinary(e)
	if e.kind == "mongod" {
		return binary, binaryErr
	}
	if e.kind == "uri" {
		return nil, errNoServer
	}
	docker, err := findDocker(ctx, e.image)
	switch {
	case err == nil:
		return docker, nil
	case e.kind == "docker" || e.image != "":
		return nil, err
	case binaryErr != nil:
		return nil, errors.Join(errNoServer, err, binaryErr)
	case !errors.Is(err, errNoEngine):
		fmt.Fprintf(os.Stderr, "mongotest: %v; using %s instead\n", err, binary)
	}
	return binary, nil
}

// findBinary looks for mongod where MONGOD says, on PATH, and in the .cache
// folder of the checkout that holds the working directory.
func findBinary(e env) (runner, error) {
	if e.mongod != "" {
		path, err := exec.LookPath(e.mongod)
		if err != nil {
			return nil, fmt.Errorf("MONGOD: %w", err)
		}
		return mongod{path}, nil
	}
	if path, err := exec.LookPath("mongod"); err == nil {
		return mongod{path}, nil
	}
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".cache", "mongod", "mongod")
		if _, err := os.Stat(path); err == nil {
			return mongod{path}, nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return nil, fmt.Errorf("%w (no mongod on PATH)", errNoServer)
}
