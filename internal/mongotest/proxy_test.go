package mongotest_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// behind returns a collection as seen through a proxy, and as it is.
func behind(t *testing.T, s *mongotest.Server, opts ...*options.ClientOptions) (p *mongotest.Proxy, through, plain *mongo.Collection) {
	t.Helper()
	p = s.Proxy(t)
	db := s.Database(t)
	opts = append(opts, options.Client().ApplyURI(p.URI()).SetServerSelectionTimeout(time.Minute))
	return p, s.Client(t, opts...).Database(db.Name()).Collection("c"), db.Collection("c")
}

func TestProxyLosesTheReplyToAWriteThatWasDone(t *testing.T) {
	t.Parallel()
	p, through, plain := behind(t, mongotest.Shared(t), options.Client().SetRetryWrites(false))
	if err := insert(t.Context(), through); err != nil {
		t.Fatal(err)
	}
	p.DropReplies("insert", 1)
	if err := insert(t.Context(), through); !mongo.IsNetworkError(err) {
		t.Errorf("Insert = %v, want a network error", err)
	}
	if n := count(t, plain); n != 2 || p.Dropped() != 1 {
		t.Errorf("%d documents and %d replies dropped, want 2 and 1", n, p.Dropped())
	}
	if err := insert(t.Context(), through); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestDriverRetriesAWriteWhoseReplyWasLost(t *testing.T) {
	t.Parallel()
	p, through, plain := behind(t, mongotest.ReplicaSet(t))
	p.DropReplies("insert", 1)
	if err := insert(t.Context(), through); err != nil {
		t.Errorf("Insert = %v, want the driver to try again", err)
	}
	if n := count(t, plain); n != 1 || p.Dropped() != 1 {
		t.Errorf("%d documents and %d replies dropped, want 1 and 1", n, p.Dropped())
	}
}

func TestProxyCutsAndRestores(t *testing.T) {
	t.Parallel()
	p, through, plain := behind(t, mongotest.Shared(t))
	if err := insert(t.Context(), through); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := insert(ctx, through); err == nil {
		t.Error("a write passed a cut line")
	}
	p.Restore(t)
	if err := insert(t.Context(), through); err != nil {
		t.Errorf("restored: %v", err)
	}
	if n := count(t, plain); n != 2 {
		t.Errorf("%d documents, want 2", n)
	}
}

func TestProxyHangsAndDelays(t *testing.T) {
	t.Parallel()
	p, through, _ := behind(t, mongotest.Shared(t))
	if err := insert(t.Context(), through); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(bool){
		"hang": p.Hang,
		"delay": func(on bool) {
			p.Delay(map[bool]time.Duration{true: time.Hour}[on])
		},
	} {
		spoil(true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := insert(ctx, through); !mongo.IsTimeout(err) {
			t.Errorf("%s: %v, want a time-out", name, err)
		}
		cancel()
		spoil(false)
		if err := insert(t.Context(), through); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}
