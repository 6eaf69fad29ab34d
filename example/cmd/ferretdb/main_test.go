package main

import (
	"context"
	"os"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// TestMain lets the test binary be the command that is run.
func TestMain(m *testing.M) {
	if os.Getenv("MONGOSTORE_FERRETDB_CHILD") == "" {
		os.Exit(m.Run())
	}
	client, err := mongo.Connect(options.Client().ApplyURI(os.Getenv("MONGODB_URI")))
	if err != nil {
		os.Exit(1)
	}
	if err := client.Ping(context.Background(), nil); err != nil {
		os.Exit(2)
	}
	_ = client.Disconnect(context.Background())
	os.Exit(42)
}

func TestCommandFindsTheServerAndItsStatusIsPassedOn(t *testing.T) {
	t.Setenv("MONGOSTORE_FERRETDB_CHILD", "yes")
	t.Setenv("TMPDIR", t.TempDir())
	status, err := run(t.Context(), []string{os.Args[0]})
	if err != nil || status != 42 {
		t.Errorf("status %d, %v; want 42", status, err)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestCommandThatIsNotThere(t *testing.T) {
	t.Parallel()
	if status, err := run(t.Context(), []string{"/nowhere/command"}); err == nil || status != 127 {
		t.Errorf("status %d, %v; want 127 and an error", status, err)
	}
}

func TestCommandEndedByASignal(t *testing.T) {
	t.Parallel()
	status, err := run(t.Context(), []string{"sh", "-c", "kill -TERM $$"})
	if err != nil || status != 128+15 {
		t.Errorf("status %d, %v; want 143", status, err)
	}
}
