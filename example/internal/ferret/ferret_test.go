package ferret_test

import (
	"path/filepath"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/example/internal/ferret"
)

func TestDataSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a folder, with blanks", "data")
	for want := range int64(2) {
		server, err := ferret.Start(t.Context(), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := insert(t, server.URI()); got != want+1 {
			t.Errorf("%d documents, want %d", got, want+1)
		}
		server.Stop()
		server.Stop() // twice is fine
	}
}

func TestFolderThatCannotBeMadeIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := ferret.Start(t.Context(), "/dev/null/data", nil); err == nil {
		t.Error("no error")
	}
}

// insert adds a document and returns how many there are.
func insert(t *testing.T, uri string) int64 {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(t.Context()) }()
	coll := client.Database("test").Collection("things")
	if _, err := coll.InsertOne(t.Context(), bson.D{{Key: "a", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	n, err := coll.CountDocuments(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
