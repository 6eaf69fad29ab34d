package mongotest

import (
	"context"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// suite holds the servers that the tests of this binary share.
var suite = servers{
	shared:     lazy{start: startShared},
	standalone: lazy{start: startStandalone},
	replicaSet: lazy{start: startReplicaSet},
	secured:    lazy{start: startSecured},
	failing:    newPool(4, startStandalone),
}

type servers struct {
	shared, standalone, replicaSet, secured lazy
	failing                                 *pool
}

// leftovers is told of all that is started, here and by [Private].
var leftovers watchdog

func (s *servers) run(m *testing.M) int {
	if err := leftovers.start(); err != nil {
		fmt.Fprintln(os.Stderr, "mongotest:", err)
		return 1
	}
	defer leftovers.stop()
	code := m.Run()
	servers := []*Server{s.shared.server, s.standalone.server, s.replicaSet.server, s.secured.server}
	var names []string
	for _, server := range append(servers, s.failing.servers...) {
		if server == nil {
			continue
		}
		if name := server.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
		server.remove()
	}
	if len(names) > 0 {
		Report("ran on " + strings.Join(names, "; "))
	}
	return code
}

// Report prints a line about the tests, such as what they ran on, and appends it to the file named by
// MONGOSTORE_TEST_REPORT: go test hides what a passing package prints.
func Report(line string) {
	info, _ := debug.ReadBuildInfo()
	name := "mongotest"
	if info != nil && info.Path != "" {
		name = strings.TrimSuffix(path.Base(info.Path), ".test")
	}
	line = name + " " + line + "\n"
	_, _ = os.Stdout.WriteString(line)
	if file := os.Getenv("MONGOSTORE_TEST_REPORT"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // a path its user chose
		if err != nil {
			fmt.Fprintln(os.Stderr, "mongotest:", err)
			return
		}
		_, _ = f.WriteString(line)
		_ = f.Close()
	}
}

// lazy starts a server when the first test asks for it.
type lazy struct {
	start  func(context.Context) (*Server, error)
	once   sync.Once
	server *Server
	err    error
}

func (l *lazy) get(tb testing.TB) *Server {
	tb.Helper()
	// The server outlives the test that happens to ask first.
	l.once.Do(func() {
		l.server, l.err = l.start(context.WithoutCancel(tb.Context()))
	})
	if l.err != nil {
		giveUp(tb, l.err)
	}
	return l.server
}

// pool lends servers, each to one test at a time, and starts them as tests come.
type pool struct {
	start   func(context.Context) (*Server, error)
	free    chan *Server // nil: one that is not started yet
	mu      sync.Mutex
	lent    map[testing.TB]*Server
	servers []*Server
}

func newPool(size int, start func(context.Context) (*Server, error)) *pool {
	p := &pool{start: start, free: make(chan *Server, size), lent: map[testing.TB]*Server{}}
	for range size {
		p.free <- nil
	}
	return p
}

func (p *pool) take(tb testing.TB) *Server {
	tb.Helper()
	p.mu.Lock()
	s := p.lent[tb]
	p.mu.Unlock()
	if s != nil {
		return s
	}
	select {
	case s = <-p.free:
	case <-time.After(2 * time.Minute):
		tb.Fatal("mongotest: other tests, or parents of this one, have held all servers for two minutes")
	}
	tb.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.lent, tb)
		p.free <- s
	})
	if s == nil {
		started, err := p.start(context.WithoutCancel(tb.Context()))
		if err != nil {
			giveUp(tb, err)
		}
		s, started.exclusive = started, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.servers, s) {
		p.servers = append(p.servers, s)
	}
	p.lent[tb] = s
	return s
}
