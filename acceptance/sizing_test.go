package acceptance

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// TestBytesPerSession measures what a session takes in MongoDB beside its values, and holds
// docs/operations.md to it.
func TestBytesPerSession(t *testing.T) {
	t.Parallel()
	server := mongotest.Standalone(t)
	for _, values := range []int{100, 1000, 4000} {
		for name, sealer := range map[string]mongostore.Sealer{"in the clear": nil, "sealed": mongostore.AESGCM(encryptionKey)} {
			t.Run(fmt.Sprintf("%d bytes of values, %s", values, name), func(t *testing.T) {
				t.Parallel()
				coll := server.Database(t).Collection("sessions")
				store := openOn(t, server, coll, mongostore.Config{
					Sealer: sealer,
					UserID: func(s *sessions.Session) string { user, _ := s.Values["user"].(string); return user },
				})
				saveMany(t, store, inFull(20_000, 2_000), values)
				size := measure(t, store)
				t.Logf("document %.0f bytes, on disk %.0f; indexes %.0f", size.document, size.disk, size.indexes)
				const overhead = 400
				if size.document < float64(values) || size.document > float64(values)+overhead {
					t.Errorf("a document takes %.0f bytes, want the %d of its values and %d at most", size.document, values, overhead)
				}
			})
		}
	}
}

// saveMany stores n sessions of as many users, each with so many random bytes.
func saveMany(t *testing.T, store *mongostore.Store, n, values int) {
	t.Helper()
	var saving sync.WaitGroup
	for worker := range 8 {
		saving.Go(func() {
			for i := worker; i < n; i += 8 {
				text := make([]byte, values)
				_, _ = rand.Read(text) // which no compression makes smaller
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
				session, err := store.New(r, name)
				if err != nil {
					t.Error(err)
					return
				}
				session.Values["user"], session.Values["data"] = fmt.Sprintf("user%07d@example.com", i), text
				if err := session.Save(r, httptest.NewRecorder()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	saving.Wait()
}

// size is what a session takes, in bytes.
type size struct{ document, disk, indexes float64 }

func measure(t *testing.T, store *mongostore.Store) size {
	t.Helper()
	coll := store.Collection()
	if err := coll.Database().Client().Database("admin").RunCommand(t.Context(), bson.D{{Key: "fsync", Value: 1}}).Err(); err != nil {
		t.Fatal(err) // a checkpoint, without which nothing is on disk
	}
	var stats struct {
		Count, Size    float64
		StorageSize    float64 `bson:"storageSize"`
		TotalIndexSize float64 `bson:"totalIndexSize"`
	}
	if err := coll.Database().RunCommand(t.Context(), bson.D{{Key: "collStats", Value: coll.Name()}}).Decode(&stats); err != nil {
		t.Fatal(err)
	}
	return size{stats.Size / stats.Count, stats.StorageSize / stats.Count, stats.TotalIndexSize / stats.Count}
}
