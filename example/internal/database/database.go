// Package database finds the demo a MongoDB: the one it is told of, a mongod
// or a container that it starts itself, or a server inside the process.
package database

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mongostore/mongostore/example/internal/ferret"
)

// DefaultName is the database used when MONGODB_URI names none.
const DefaultName = "mongostore_demo"

// The kinds of server that Start understands, in the order in which Auto tries them.
const (
	Auto     = "auto"
	URI      = "uri"
	Mongod   = "mongod"
	Docker   = "docker"
	Embedded = "embedded"
)

// Server is a running server and what to tell people about it.
type Server struct {
	URI   string // connection string; may hold a password: not for print
	Name  string // database to use
	Kind  string // who runs it, such as "embedded FerretDB v1.24.0"
	Data  string // where the data is
	NoTTL bool   // it is known to lack TTL indexes
	stop  func(context.Context) error
}

// Stop ends the server if this process started it, and waits for it.
// Disconnect clients first.
func (s *Server) Stop(ctx context.Context) error {
	if s.stop == nil {
		return nil
	}
	return s.stop(ctx)
}

// errAbsent: this machine has no such server. Auto goes on to the next kind.
var errAbsent = errors.New("not found")

// Start brings up a server of the kind, with its data below dir unless the
// server is someone else's. note is called with what a user should know about
// the choice.
func Start(ctx context.Context, kind, dir string, note func(string)) (*Server, error) {
	switch kind {
	case Auto:
		return startFirst(ctx, dir, note)
	case URI:
		return fromURI(os.Getenv("MONGODB_URI"))
	case Mongod:
		return startMongod(ctx, filepath.Join(dir, "mongod"))
	case Docker:
		return startDocker(ctx, dir, note)
	case Embedded:
		return startEmbedded(ctx, filepath.Join(dir, "ferretdb"))
	}
	return nil, fmt.Errorf("unknown kind of server %q", kind)
}

// startFirst starts the first kind that this machine has. What the user named
// in the environment must work; what was merely found may fail.
func startFirst(ctx context.Context, dir string, note func(string)) (*Server, error) {
	if os.Getenv("MONGODB_URI") != "" {
		return Start(ctx, URI, dir, note)
	}
	if os.Getenv("MONGOD") != "" {
		return Start(ctx, Mongod, dir, note)
	}
	for _, kind := range []string{Mongod, Docker} {
		server, err := Start(ctx, kind, dir, note)
		if err == nil {
			return server, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if !errors.Is(err, errAbsent) {
			note(fmt.Sprintf("%s did not start, going on without it: %v", kind, err))
		}
	}
	return Start(ctx, Embedded, dir, note)
}

func startEmbedded(ctx context.Context, dir string) (*Server, error) {
	server, err := ferret.Start(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	return &Server{
		URI:   server.URI(),
		Name:  DefaultName,
		Kind:  "embedded FerretDB " + ferret.Version(),
		Data:  dir,
		NoTTL: true,
		stop:  func(context.Context) error { server.Stop(); return nil },
	}, nil
}
