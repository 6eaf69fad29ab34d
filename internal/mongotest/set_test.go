package mongotest_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMembersOfAPrivateReplicaSetFailAndComeBack(t *testing.T) {
	t.Parallel()
	s := mongotest.PrivateReplicaSet(t)
	client, err := mongo.Connect(options.Client().ApplyURI(s.URI("")).SetTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) }()
	coll := client.Database("test").Collection("c")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	heal := func(*mongotest.Member) error { s.Heal(); return nil }
	for _, fault := range []struct {
		name        string
		do, recover func(*mongotest.Member) error
	}{
		{
			"killed",
			func(m *mongotest.Member) error { return m.Kill(ctx) },
			func(m *mongotest.Member) error { return m.Start(ctx) },
		},
		{"stepped down", func(m *mongotest.Member) error { return m.StepDown(ctx) }, heal},
		{"frozen", (*mongotest.Member).Freeze, (*mongotest.Member).Thaw},
		{"cut off from the others", func(m *mongotest.Member) error { s.CutOff(m, false); return nil }, heal},
		{"cut off from all", func(m *mongotest.Member) error { s.CutOff(m, true); return nil }, heal},
	} {
		if err := s.Calm(ctx); err != nil {
			t.Fatal(err)
		}
		old, err := s.Primary(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := fault.do(old); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		if _, err := s.Primary(ctx, old); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		eventually(t, "the new primary takes writes", func() bool { return insert(ctx, coll) == nil })
		if err := fault.recover(old); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
	}
}
