package acceptance

import (
	"testing"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestZZProbe(t *testing.T) {
	server := mongotest.Standalone(t)
	coll := server.Database(t).Collection("sessions")
	remover := openOn(t, server, coll, mongostore.Config{AutoRemove: mongostore.AutoRemoveDisabled})
	if err := remover.EnsureIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, remover, 200_000, expired)
	coll.Database().RunCommand(t.Context(), bson.D{{Key: "profile", Value: 2}})
	start := time.Now()
	n, err := remover.RemoveExpired(t.Context())
	t.Log(n, err, time.Since(start))
	coll.Database().RunCommand(t.Context(), bson.D{{Key: "profile", Value: 0}})
	cur, err := coll.Database().Collection("system.profile").Find(t.Context(), bson.D{}, options.Find().SetProjection(bson.D{{Key: "op", Value: 1}, {Key: "planSummary", Value: 1}, {Key: "keysExamined", Value: 1}, {Key: "docsExamined", Value: 1}, {Key: "millis", Value: 1}, {Key: "fromMultiPlanner", Value: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for cur.Next(t.Context()) {
		if i%20 < 2 {
			t.Log(cur.Current)
		}
		i++
	}
}
