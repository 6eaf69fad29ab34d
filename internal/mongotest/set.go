package mongotest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// Set is a replica set of three members for one test, which may do to each
// member what it likes. Members and clients reach a member through a proxy
// only: its address is the proxy's.
type Set struct {
	Members []*Member
}

// Member is one mongod of a [Set].
type Member struct {
	instance instance
	port     string // its own, behind the proxy
	proxy    *Proxy
	client   *mongo.Client // connected to it past the proxy
}

// PrivateReplicaSet returns a replica set for this test alone. It goes when the
// test ends.
func PrivateReplicaSet(tb testing.TB) *Set {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	r, err := begin(ctx)
	if err != nil {
		giveUp(tb, err)
	}
	s := &Set{}
	for range 3 {
		m, err := startMember(ctx, tb, r)
		if err != nil {
			giveUp(tb, err)
		}
		s.Members = append(s.Members, m)
	}
	quick := bson.D{{Key: "electionTimeoutMillis", Value: 3000}, {Key: "heartbeatIntervalMillis", Value: 300}}
	if err := initiate(ctx, s.hosts(), s.URI(""), quick); err != nil {
		tb.Fatalf("mongotest: initiate the replica set: %v; the log of its first member ends:\n%s", err, s.Members[0].instance.log())
	}
	return s
}

func startMember(ctx context.Context, tb testing.TB, r runner) (*Member, error) {
	tb.Helper()
	i, uri, err := startOne(ctx, r, spec{host: true, args: []string{
		"--oplogSize", "64", "--replSet", setName,
		// A member that follows a silent one turns to another within seconds.
		"--setParameter", "oplogNetworkTimeoutBufferSeconds=1",
		"--setParameter", "oplogFetcherSteadyStateMaxFetcherRestarts=0",
	}}, nil)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(i.remove)
	opts := options.Client().ApplyURI(uri).SetDirect(true).SetHeartbeatInterval(500 * time.Millisecond)
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = client.Disconnect(canceled(ctx)) })
	_, port, err := net.SplitHostPort(opts.Hosts[0])
	return &Member{instance: i, port: port, proxy: newProxy(tb, opts.Hosts[0]), client: client}, err //nolint:contextcheck // the proxy's is tb's
}

// canceled returns the context to disconnect by from a server that is about to
// go, which need not be told that sessions end.
func canceled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// URI returns the connection string with a database in it, or none if that is "".
func (s *Set) URI(database string) string {
	return "mongodb://" + strings.Join(s.hosts(), ",") + "/" + database + "?replicaSet=" + setName
}

// Collection returns a collection of a client that writes with majority.
func (s *Set) Collection(tb testing.TB, database, name string) *mongo.Collection {
	tb.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(s.URI(database)).SetWriteConcern(writeconcern.Majority()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Disconnect(canceled(tb.Context())) })
	return client.Database(database).Collection(name)
}

func (s *Set) hosts() (hosts []string) {
	for _, m := range s.Members {
		hosts = append(hosts, m.proxy.address)
	}
	return hosts
}

// Primary waits for a primary that is none of the others, and returns it. One
// that was deposed and does not know it yet counts too.
func (s *Set) Primary(ctx context.Context, others ...*Member) (primary *Member, err error) {
	err = poll(ctx, func(ctx context.Context) error {
		for _, m := range s.Members {
			if !slices.Contains(others, m) && m.state(ctx) == statePrimary {
				primary = m
				return nil
			}
		}
		return errors.New("mongotest: no primary")
	})
	return primary, err
}

// Calm waits until one member is the primary and all others follow it.
func (s *Set) Calm(ctx context.Context) error {
	return poll(ctx, func(ctx context.Context) error {
		count := map[int]int{}
		for _, m := range s.Members {
			count[m.state(ctx)]++
		}
		if count[statePrimary] != 1 || count[stateSecondary] != len(s.Members)-1 {
			return fmt.Errorf("mongotest: members by state: %v", count)
		}
		return nil
	})
}

// Revive kills and starts the members that neither lead nor follow, as an
// operator does with one that hangs, and returns how many.
func (s *Set) Revive(ctx context.Context) (revived int, err error) {
	for _, m := range s.Members {
		if state := m.state(ctx); state == statePrimary || state == stateSecondary {
			continue
		}
		if err := errors.Join(m.Kill(ctx), m.Start(ctx)); err != nil {
			return revived, err
		}
		revived++
	}
	return revived, nil
}

// Deposed waits until a member no longer takes itself for the primary.
func (m *Member) Deposed(ctx context.Context) error {
	return poll(ctx, func(ctx context.Context) error {
		if m.state(ctx) == statePrimary {
			return errors.New("mongotest: it takes itself for the primary")
		}
		return nil
	})
}

// The states of a member, as MongoDB numbers them.
const (
	statePrimary   = 1
	stateSecondary = 2
	stateUnknown   = 6
)

// state asks a member what it takes itself for.
func (m *Member) state(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	var status struct {
		State int `bson:"myState"`
	}
	if m.client.Database("admin").RunCommand(ctx, bson.D{{Key: "replSetGetStatus", Value: 1}}).Decode(&status) != nil {
		return stateUnknown
	}
	return status.State
}

// Kill ends a member at once, as by kill -9.
func (m *Member) Kill(ctx context.Context) error { return m.instance.kill(ctx) }

// Stop shuts a member down, sooner than a signal would: mongod lets clients go
// on for 15 seconds then.
func (m *Member) Stop(ctx context.Context) error {
	err := m.client.Database("admin").RunCommand(ctx, bson.D{{Key: "shutdown", Value: 1}, {Key: "timeoutSecs", Value: 2}}).Err()
	return poll(ctx, func(context.Context) error {
		if m.instance.alive() {
			return fmt.Errorf("mongotest: it goes on: %w", err)
		}
		return nil
	})
}

// Start starts a member again after Kill or Stop, and returns when it answers.
func (m *Member) Start(ctx context.Context) error {
	if err := m.instance.start(ctx); err != nil {
		return err
	}
	return ready(ctx, "mongodb://"+m.proxy.target, m.instance)
}

// Freeze makes a member answer nothing, with its connections open, until Thaw.
// As with a machine that hangs, nobody can open a new one.
func (m *Member) Freeze() error {
	m.proxy.hold(func(string) bool { return true }, true)
	return m.instance.freeze()
}

// Thaw ends Freeze.
func (m *Member) Thaw() error {
	m.proxy.Hang(false)
	return m.instance.thaw()
}

// StepDown makes a primary a secondary that is no candidate for some seconds.
func (m *Member) StepDown(ctx context.Context) error {
	return m.client.Database("admin").RunCommand(ctx, bson.D{{Key: "replSetStepDown", Value: 10}}).Err()
}

// CutOff holds all that passes between a member and the others in either
// direction, as a network does that loses packets, and lets them open no new
// connection; with clients also what passes between the member and these.
func (s *Set) CutOff(cut *Member, clients bool) {
	for _, m := range s.Members {
		m.proxy.hold(func(from string) bool {
			if m != cut {
				return from == cut.port
			}
			return from != cut.port && (clients || from != "")
		}, true)
	}
}

// Heal ends CutOff. What was held arrives.
func (s *Set) Heal() {
	for _, m := range s.Members {
		m.proxy.Hang(false)
	}
}

// ResetClients closes the connections of clients, and takes new ones.
func (m *Member) ResetClients() {
	m.proxy.mu.Lock()
	defer m.proxy.mu.Unlock()
	for l := range m.proxy.links {
		l.mu.Lock()
		from := l.from
		l.mu.Unlock()
		if from == "" {
			l.close()
		}
	}
}
