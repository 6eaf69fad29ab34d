package database_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/example/internal/database"
)

func TestURIIsTakenAsItIs(t *testing.T) {
	for uri, want := range map[string]string{
		"mongodb://user:pass@db.example:27018/shop?tls=true": "shop",
		"mongodb://db.example":                               database.DefaultName,
	} {
		t.Setenv("MONGODB_URI", uri)
		server := start(t, database.Auto, t.TempDir())
		if server.URI != uri || server.Name != want {
			t.Errorf("%s: %+v", uri, server)
		}
		if shown := server.Kind + server.Data; strings.Contains(shown, "pass") || !strings.Contains(shown, "db.example") {
			t.Errorf("%s: shows %q", uri, shown)
		}
	}
}

func TestBadURIIsAnError(t *testing.T) {
	t.Setenv("MONGODB_URI", "http://db.example")
	if _, err := database.Start(t.Context(), database.Auto, t.TempDir(), nil); err == nil {
		t.Error("no error")
	}
}

func TestEmbeddedIsTheLastResort(t *testing.T) {
	t.Setenv("MONGODB_URI", "")
	t.Setenv("MONGOD", "")
	t.Setenv("PATH", t.TempDir())
	server := start(t, database.Auto, t.TempDir())
	if !strings.HasPrefix(server.Kind, "embedded FerretDB") {
		t.Errorf("chose %s", server.Kind)
	}
	ping(t, server.URI)
}

func TestMongodThatWasNamedMustStart(t *testing.T) {
	t.Setenv("MONGODB_URI", "")
	t.Setenv("MONGOD", "/nowhere/mongod")
	if _, err := database.Start(t.Context(), database.Auto, t.TempDir(), nil); err == nil {
		t.Error("no error")
	}
}

func TestMongodThatFailsIsPassedOver(t *testing.T) {
	failing := t.TempDir()
	script := "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ $1 = --logpath ] && echo no space left >$2; shift; done\nexit 1\n"
	if err := os.WriteFile(filepath.Join(failing, "mongod"), []byte(script), 0o700); err != nil { //nolint:gosec // G306: it must be executable
		t.Fatal(err)
	}
	t.Setenv("MONGODB_URI", "")
	t.Setenv("MONGOD", "")
	t.Setenv("PATH", failing)
	var notes []string
	server, err := database.Start(t.Context(), database.Auto, t.TempDir(), func(text string) { notes = append(notes, text) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, server) })
	if said := strings.Join(notes, "\n"); !strings.Contains(said, "no space left") || !strings.HasPrefix(server.Kind, "embedded") {
		t.Errorf("chose %s and said %q", server.Kind, said)
	}
}

func TestMongodKeepsItsDataInTheFolder(t *testing.T) {
	if _, err := exec.LookPath("mongod"); err != nil && os.Getenv("MONGOD") == "" {
		t.Skip("no mongod: set MONGOD or add it to the PATH")
	}
	dir := t.TempDir()
	server := start(t, database.Mongod, dir)
	ping(t, server.URI)
	if !strings.HasPrefix(server.Data, dir) {
		t.Errorf("data in %s, want it below %s", server.Data, dir)
	}
	stop(t, server)
	stop(t, server) // twice is fine
}

func TestUnknownKindIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := database.Start(t.Context(), "oracle", t.TempDir(), nil); err == nil {
		t.Error("no error")
	}
}

func start(t *testing.T, kind, dir string) *database.Server {
	t.Helper()
	server, err := database.Start(t.Context(), kind, dir, func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, server) })
	return server
}

func stop(t *testing.T, server *database.Server) {
	t.Helper()
	if err := server.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func ping(t *testing.T, uri string) {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(t.Context()) }()
	if err := client.Ping(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
