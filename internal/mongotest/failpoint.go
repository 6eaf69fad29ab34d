package mongotest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Fail says which commands a server shall fail, and how: with ErrorCode, by
// closing the connection, late, or with a write concern error beside a write
// that was done. It is MongoDB's failCommand fail point.
type Fail struct {
	Commands []string // by name, as "find"
	// AppName limits it to the clients of that name (options.Client().SetAppName).
	// It may be empty on a server that no other test uses: [Failing], [Private].
	AppName string
	// ErrorCode is one of MongoDB's. After a code that tells of a lost primary
	// or a shutdown the driver waits for news of the server, up to its heartbeat
	// interval of 10 s: shorten that (SetHeartbeatInterval) on a standalone.
	ErrorCode         int32
	ErrorLabels       []string
	CloseConnection   bool          // before the command is done; [Proxy.DropReplies] does it after
	Block             time.Duration // waits before the command is done
	WriteConcernError bson.D        // code and errmsg
	Times             int           // fails so many, then no more; 0: all
	Skip              int           // lets so many pass, then fails all
}

// failPoint is a server's only one: whoever has taken it keeps others waiting.
type failPoint struct {
	free  chan struct{} // holds one token when nobody has it
	taken atomic.Pointer[taken]
}

type taken struct {
	by  testing.TB
	off func()
}

func newFailPoint() *failPoint {
	p := &failPoint{free: make(chan struct{}, 1)}
	p.free <- struct{}{}
	return p
}

// FailCommand switches f on, and off again at the latest when the test ends. A
// test's second call replaces the first; other tests that call it wait until it
// is off: rather use [Failing] than wait. Only servers started here have fail
// points, so not always [Shared].
func (s *Server) FailCommand(tb testing.TB, f Fail) (off func()) {
	tb.Helper()
	if f.AppName == "" && !s.private && !s.exclusive {
		tb.Fatal("mongotest: Fail.AppName is empty: that would fail the commands of other tests too")
	}
	off = s.takeFailPoint(tb)
	if err := s.configure(tb.Context(), f.mode(), f.data()); err != nil {
		off()
		tb.Fatalf("mongotest: %s: configureFailPoint: %v", s, err)
	}
	return off
}

// takeFailPoint waits until tb has the fail point, and returns what makes it
// free again.
func (s *Server) takeFailPoint(tb testing.TB) (off func()) {
	tb.Helper()
	p := s.fail
	if t := p.taken.Load(); t != nil && t.by == tb {
		return t.off
	}
	select {
	case <-p.free:
	case <-time.After(2 * time.Minute):
		tb.Fatal("mongotest: another test, or the parent of this one, has held the fail point for two minutes")
	}
	off = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.configure(ctx, "off", nil); err != nil && !s.private {
			tb.Errorf("mongotest: switch the fail point off: %v", err)
		}
		p.taken.Store(nil)
		p.free <- struct{}{}
	})
	p.taken.Store(&taken{tb, off})
	tb.Cleanup(off)
	return off
}

func (s *Server) configure(ctx context.Context, mode any, data bson.D) error {
	cmd := bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode}}
	if data != nil {
		cmd = append(cmd, bson.E{Key: "data", Value: data})
	}
	return s.client.Database("admin").RunCommand(ctx, cmd).Err()
}

func (f Fail) mode() any {
	switch {
	case f.Times > 0:
		return bson.D{{Key: "times", Value: f.Times}}
	case f.Skip > 0:
		return bson.D{{Key: "skip", Value: f.Skip}}
	}
	return "alwaysOn"
}

func (f Fail) data() bson.D {
	d := bson.D{{Key: "failCommands", Value: f.Commands}}
	add := func(set bool, key string, value any) {
		if set {
			d = append(d, bson.E{Key: key, Value: value})
		}
	}
	add(f.AppName != "", "appName", f.AppName)
	add(f.ErrorCode != 0, "errorCode", f.ErrorCode)
	add(f.ErrorLabels != nil, "errorLabels", f.ErrorLabels)
	add(f.CloseConnection, "closeConnection", true)
	add(f.Block > 0, "blockConnection", true)
	add(f.Block > 0, "blockTimeMS", f.Block.Milliseconds())
	add(f.WriteConcernError != nil, "writeConcernError", f.WriteConcernError)
	return d
}
