package mongotest_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestPrivateServerKeepsItsDataOverAStop(t *testing.T) {
	t.Parallel()
	s := mongotest.Private(t)
	coll := s.Database(t).Collection("c")
	if err := insert(t.Context(), coll); err != nil {
		t.Fatal(err)
	}
	s.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := insert(ctx, coll); err == nil {
		t.Error("a stopped server took a write")
	}
	s.Start(t)
	eventually(t, "the old client finds the server again", func() bool { return insert(t.Context(), coll) == nil })
	if n := count(t, coll); n != 2 {
		t.Errorf("%d documents, want 2", n)
	}
}

func TestFrozenServerAnswersNothingUntilItThaws(t *testing.T) {
	t.Parallel()
	s := mongotest.Private(t)
	coll := s.Database(t).Collection("c")
	if err := insert(t.Context(), coll); err != nil {
		t.Fatal(err)
	}
	s.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := insert(ctx, coll); !mongo.IsTimeout(err) {
		t.Errorf("a frozen server: %v, want a time-out", err)
	}
	s.Thaw(t)
	if err := insert(t.Context(), coll); err != nil {
		t.Error(err)
	}
}

func TestServersThatOthersUseCannotBeStopped(t *testing.T) {
	t.Parallel()
	s := mongotest.Standalone(t)
	if !fails(t, s.Stop) {
		t.Error("a shared server was stopped")
	}
}

// fatal is a test that notes its end.
type fatal struct {
	testing.TB
	failed bool
}

func (f *fatal) Fatal(...any)          { f.failed = true; panic(f) }
func (f *fatal) Fatalf(string, ...any) { f.failed = true; panic(f) }

// fails tells whether do ends its test.
func fails(tb testing.TB, do func(testing.TB)) bool {
	tb.Helper()
	f := &fatal{TB: tb}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		do(f)
	}()
	return f.failed
}
