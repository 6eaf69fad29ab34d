package database

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// startTimeout bounds the wait for a server's first answer; a mongod that
// recovers from a crash may need a while.
const startTimeout = 30 * time.Second

// startMongod runs the mongod named by MONGOD, or the one on the PATH, on a
// free port of 127.0.0.1, with its data in dir.
func startMongod(ctx context.Context, dir string) (*Server, error) {
	binary, err := findMongod()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "mongod.log")
	child, err := startChild(ctx, binary, mongodArguments(dir, log, port)...)
	if err != nil {
		return nil, err
	}
	uri := fmt.Sprintf("mongodb://127.0.0.1:%d/?directConnection=true", port)
	if err := awaitPing(ctx, uri, child.done); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w; its log, %s, ends:\n%s", binary, err, log, tail(log)), child.stop(ctx))
	}
	return &Server{URI: uri, Name: DefaultName, Kind: binary + ", started by the demo", Data: dir, stop: child.stop}, nil
}

func findMongod() (string, error) {
	if binary := os.Getenv("MONGOD"); binary != "" {
		return exec.LookPath(binary)
	}
	binary, err := exec.LookPath("mongod")
	if err != nil {
		return "", fmt.Errorf("mongod: %w on the PATH", errAbsent)
	}
	return binary, nil
}

func mongodArguments(dir, log string, port int) []string {
	arguments := []string{
		"--dbpath", dir,
		"--port", strconv.Itoa(port),
		"--bind_ip", "127.0.0.1",
		"--logpath", log,
	}
	if runtime.GOOS != "windows" {
		arguments = append(arguments, "--nounixsocket")
	}
	return arguments
}

// freePort asks the system for a port that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// awaitPing waits until the server at uri answers, gone is closed or
// startTimeout has passed.
func awaitPing(ctx context.Context, uri string, gone <-chan struct{}) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no answer after %v", startTimeout))
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	answered := make(chan error, 1)
	go func() { answered <- client.Ping(ctx, nil) }()
	select {
	case <-gone:
		return errors.New("it ended at once")
	case err := <-answered:
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
}

// tail is the end of a log, to show with the error.
func tail(path string) []byte {
	const most = 1500
	text, err := os.ReadFile(path) //nolint:gosec // G304: a file of the demo's own data folder
	if err != nil {
		return []byte(err.Error())
	}
	if len(text) > most {
		text = text[len(text)-most:]
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	return text
}
