// Package ferret runs FerretDB inside the process: a server that speaks
// MongoDB's protocol and keeps its data in SQLite files. It is what makes the
// demo start on a machine that has Go and nothing else.
package ferret

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// Server is a FerretDB listening on a free port of 127.0.0.1.
type Server struct {
	uri    string
	cancel context.CancelFunc
	done   chan struct{}
}

// Start serves the SQLite files in dir, which is made if it is missing.
// It runs until Stop, whatever becomes of ctx. Telemetry is off; the server's
// own log goes to logger (nil: nowhere). Safe for concurrent use.
func Start(ctx context.Context, dir string, logger *slog.Logger) (*Server, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	files, err := sqliteURL(dir)
	if err != nil {
		return nil, err
	}
	db, err := newFerretDB(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Logger:    logger,
		Handler:   "sqlite",
		SQLiteURL: files,
	})
	if err != nil {
		return nil, fmt.Errorf("start FerretDB on %s: %w", dir, err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{uri: singleConnection(db.MongoDBURI()), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_ = db.Run(ctx) // always nil: it returns when ctx is cancelled
	}()
	return s, nil
}

// starting lets one FerretDB be made at a time: its New sets a package variable.
var starting sync.Mutex

func newFerretDB(config *ferretdb.Config) (*ferretdb.FerretDB, error) {
	starting.Lock()
	defer starting.Unlock()
	return ferretdb.New(config)
}

// URI is the connection string to use. It holds clients to one connection:
// FerretDB's SQLite backend is not atomic over several.
func (s *Server) URI() string { return s.uri }

// Stop ends the server and waits for it. Disconnect clients first: it gives
// those that remain three seconds. Calling it again is fine.
func (s *Server) Stop() {
	s.cancel()
	<-s.done
}

// Version is the FerretDB module's version, such as "v1.24.0".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/FerretDB/FerretDB" {
			return module.Version
		}
	}
	return ""
}

// sqliteURL makes dir and names it the way FerretDB wants it: a file URL that
// ends in a slash.
func sqliteURL(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	u := url.URL{Scheme: "file", Opaque: filepath.ToSlash(dir) + "/"}
	return u.String(), nil
}

func singleConnection(uri string) string { return uri + "?maxPoolSize=1" }
