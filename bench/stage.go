package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/mongostore/mongostore/internal/mongotest"
)

const (
	standalone = "standalone"
	replicaSet = "replicaset"
)

// startMongo starts a server with mongod's own settings, but for a bound to
// its memory, and to its log of writes: three of them may share this machine.
func startMongo(ctx context.Context, topology string) (*mongotest.Server, error) {
	args := []string{"--wiredTigerCacheSizeGB", "1"}
	if topology == replicaSet {
		args = append(args, "--oplogSize", "1024")
	}
	return mongotest.Start(ctx, topology == replicaSet, args...)
}

func clientOptions(uri string, majority bool) *options.ClientOptions {
	opts := options.Client().ApplyURI(uri)
	if majority {
		opts.SetWriteConcern(writeconcern.Majority())
	}
	return opts
}

// scene is a stage with what watches it.
type scene struct {
	stage
	size   int
	client *mongo.Client
	watch  redis.Conn // of the Redis; nil: there is none
	closes []func()
}

// newStage makes a database, a folder and a Redis that last for one payload.
func newStage(ctx context.Context, server *mongotest.Server, topology string, size int) (_ *scene, err error) {
	s := &scene{size: size}
	s.uri, s.database, s.values = server.URI(), fmt.Sprintf("bench_%d", size), newValues(size)
	s.majority = topology == replicaSet
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.client, err = mongo.Connect(options.Client().ApplyURI(s.uri)); err != nil {
		return nil, err
	}
	s.closes = append(s.closes, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_ = s.client.Database(s.database).Drop(ctx)
		_ = s.client.Disconnect(ctx)
	})
	if s.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	s.closes = append(s.closes, func() { _ = os.RemoveAll(s.dir) })
	return s, s.startRedis(ctx)
}

func (s *scene) close() {
	for _, end := range slices.Backward(s.closes) {
		end()
	}
}

// commandsOf returns what counts the commands of a contestant.
func (s *scene) commandsOf(c *contestant) func(context.Context) (int64, error) {
	if c.key == redisKey {
		return func(context.Context) (int64, error) { return redisCommands(s.watch) }
	}
	return func(ctx context.Context) (int64, error) { return mongoCommands(ctx, s.client) }
}

// startRedis starts a redis-server that keeps nothing on disk, if there is one.
func (s *scene) startRedis(ctx context.Context) error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil //nolint:nilerr // the table says that it was not found
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir) //nolint:gosec,noctx // found on PATH; ended by its owner
	end, err := mongotest.Own(cmd)
	if err != nil {
		return err
	}
	s.closes = append(s.closes, end)
	s.redis = "127.0.0.1:" + port
	return until(ctx, func() error {
		conn, err := redis.Dial("tcp", s.redis)
		if err == nil {
			s.watch = conn
		}
		return err
	})
}

// freePort returns a port of 127.0.0.1 that nothing listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port, l.Close()
}

// until tries again and again, for some seconds.
func until(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
