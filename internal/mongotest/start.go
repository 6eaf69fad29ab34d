package mongotest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// startShared connects to MONGODB_URI, or starts the topology asked for.
func startShared(ctx context.Context) (*Server, error) {
	e := environment()
	if err := e.validate(); err != nil {
		return nil, err
	}
	if e.uri == "" {
		switch e.topology {
		case replicaSet:
			return startReplicaSet(ctx)
		case secured:
			return startSecured(ctx)
		}
		return startStandalone(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s, err := open(ctx, e.uri, "MONGODB_URI")
	if err == nil && e.topology == replicaSet && !s.IsReplicaSet() {
		_ = s.client.Disconnect(ctx)
		return nil, errors.New("MONGOSTORE_TEST_TOPOLOGY=replicaset, but MONGODB_URI is no replica set")
	}
	return s, err
}

func startStandalone(ctx context.Context) (*Server, error) {
	return startSingle(ctx, spec{})
}

func startSingle(ctx context.Context, spec spec) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	r, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	i, uri, err := startOne(ctx, r, spec, nil)
	if err != nil {
		return nil, err
	}
	return finish(ctx, uri, r, i)
}

// begin returns what servers are started with, when someone will stop them.
func begin(ctx context.Context) (runner, error) {
	if !leftovers.running() {
		return nil, errNoMain
	}
	return findRunner(ctx)
}

// finish opens the server that instances make up, or removes them.
func finish(ctx context.Context, uri string, r runner, instances ...instance) (*Server, error) {
	s, err := open(ctx, uri, r.String())
	if err != nil {
		for _, i := range instances {
			i.remove()
		}
		return nil, err
	}
	s.instances = instances
	return s, nil
}

// startOne starts a mongod on a free port and waits until it answers. Another
// process may take the port first: then it tries another.
func startOne(ctx context.Context, r runner, spec spec, params url.Values) (instance, string, error) {
	var failures error
	for range 3 {
		port, err := freePort()
		if err != nil {
			return nil, "", err
		}
		spec.port = port
		i, err := r.run(ctx, spec)
		if err != nil {
			failures = errors.Join(failures, err)
			continue
		}
		uri := "mongodb://" + address(port) + "/"
		if len(params) > 0 {
			uri += "?" + params.Encode()
		}
		if err = ready(ctx, uri, i); err == nil {
			return i, uri, nil
		}
		failures = errors.Join(failures, fmt.Errorf("%s does not answer: %w; its log ends:\n%s", r, err, i.log()))
		i.remove()
	}
	return nil, "", failures
}

// ready waits until the mongod at uri answers.
func ready(ctx context.Context, uri string, i instance) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return poll(ctx, func(ctx context.Context) error {
		if !i.alive() {
			cancel(errors.New("it ended"))
			return errors.New("see its log")
		}
		return ping(ctx, uri)
	})
}

// ping asks by a new client, since one that was refused waits before it tries
// again.
func ping(ctx context.Context, uri string) error {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	opts := options.Client().ApplyURI(uri).SetDirect(true)
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", opts.Hosts[0])
	if err != nil {
		return err
	}
	_ = conn.Close()
	client, err := mongo.Connect(opts)
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(ctx) }()
	return client.Ping(ctx, readpref.Nearest())
}

const setName = "mongotest"

func startReplicaSet(ctx context.Context) (*Server, error) {
	return startSet(ctx, spec{args: []string{"--oplogSize", "64"}})
}

// startSet starts three members and waits for the first majority write.
func startSet(ctx context.Context, member spec) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	r, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	members, hosts, err := startMembers(ctx, r, member)
	if err != nil {
		return nil, err
	}
	uri := "mongodb://" + strings.Join(hosts, ",") + "/?replicaSet=" + setName
	// No test takes its primary away, and it keeps the role while the machine is busy.
	settings := bson.D{{Key: "electionTimeoutMillis", Value: 60_000}}
	if err := initiate(ctx, hosts, uri, settings); err != nil {
		err = fmt.Errorf("initiate the replica set: %w; the log of its first member ends:\n%s", err, members[0].log())
		for _, m := range members {
			m.remove()
		}
		return nil, err
	}
	return finish(ctx, uri, r, members...)
}

func startMembers(ctx context.Context, r runner, member spec) (members []instance, hosts []string, err error) {
	var ports []int
	for range 3 {
		port, err := freePort()
		if err != nil {
			return nil, nil, err
		}
		ports = append(ports, port)
		hosts = append(hosts, address(port))
	}
	member.ports, member.args = ports[1:], append(slices.Clip(member.args), "--replSet", setName)
	for _, member.port = range ports {
		m, err := r.run(ctx, member)
		if err == nil {
			members = append(members, m)
			err = ready(ctx, "mongodb://"+address(member.port), m)
		}
		if err != nil {
			for _, m := range members {
				err = fmt.Errorf("%w\n%s", err, m.log())
				m.remove()
			}
			return nil, nil, err
		}
		member.peer, member.ports = members[0], nil
	}
	return members, hosts, nil
}

// initiate makes the members a set whose first one is the primary.
func initiate(ctx context.Context, hosts []string, uri string, settings bson.D) error {
	first, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + hosts[0]).SetDirect(true))
	if err != nil {
		return err
	}
	defer func() { _ = first.Disconnect(context.WithoutCancel(ctx)) }()
	var members bson.A
	for id, host := range hosts {
		members = append(members, bson.D{{Key: "_id", Value: id}, {Key: "host", Value: host}})
	}
	admin := first.Database("admin")
	err = admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: bson.D{
		{Key: "_id", Value: setName},
		{Key: "members", Value: members},
		{Key: "settings", Value: settings},
	}}}).Err()
	if err != nil {
		return err
	}
	// Ask for the election rather than wait for a time-out.
	_ = poll(ctx, func(ctx context.Context) error {
		return admin.RunCommand(ctx, bson.D{{Key: "replSetStepUp", Value: 1}}).Err()
	})
	return writable(ctx, uri)
}

// writable waits for a write that a majority has.
func writable(ctx context.Context, uri string) error {
	client, err := mongo.Connect(options.Client().ApplyURI(uri + "&w=majority"))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	return poll(ctx, func(ctx context.Context) error {
		_, err := client.Database("mongotest").Collection("ready").InsertOne(ctx, bson.D{})
		return err
	})
}
