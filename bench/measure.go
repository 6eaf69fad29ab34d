package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// slice is what one contestant did in one round: some requests of one kind.
type slice struct {
	latencies latencies
	cpu       time.Duration // of the client: this process, or Node's
	commands  int64         // that the database counted
}

// batch is an app that runs a whole slice by itself.
type batch interface {
	run(ctx context.Context, o op, concurrency int, limit time.Duration, visitors []*visitor) (latencies, error)
}

// process is an app whose work another process does.
type process interface{ pid() int }

// cut runs one slice: each visitor sends one request, so many at once, until
// all have or the time is over.
func cut(ctx context.Context, e *entrant, o op, concurrency int, limit time.Duration, visitors []*visitor) (slice, error) {
	runtime.GC()
	commands, err := e.commands(ctx)
	if err != nil {
		return slice{}, err
	}
	cpu, err := cpuOf(e.app)
	if err != nil {
		return slice{}, err
	}
	run := runAll
	if b, ok := e.app.(batch); ok {
		run = func(ctx context.Context, _ app, o op, concurrency int, limit time.Duration, visitors []*visitor) (latencies, error) {
			return b.run(ctx, o, concurrency, limit, visitors)
		}
	}
	took, err := run(ctx, e.app, o, concurrency, limit, visitors)
	if err != nil {
		return slice{}, err
	}
	s := slice{latencies: took}
	after, err := cpuOf(e.app)
	if err != nil {
		return slice{}, err
	}
	s.cpu = after - cpu
	done, err := e.commands(ctx)
	s.commands = done - commands
	return s, err
}

// runAll sends the requests from this process.
func runAll(ctx context.Context, a app, o op, concurrency int, limit time.Duration, visitors []*visitor) (latencies, error) {
	took := make(latencies, len(visitors))
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	start := time.Now()
	for range min(concurrency, len(visitors)) {
		workers.Go(func() {
			for failed.Load() == nil && time.Since(start) < limit {
				i := int(next.Add(1)) - 1
				if i >= len(visitors) {
					return
				}
				begin := time.Now()
				runtime.Gosched() // as in a server, a request that has come waits until it is its turn
				if err := visitors[i].visit(ctx, a, o); err != nil {
					failed.Store(&err)
					return
				}
				took[i] = time.Since(begin)
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return took[:min(int(next.Load()), len(visitors))], ctx.Err()
}

// allocations runs an operation once per visitor, one after the other, and
// returns how much was allocated per request.
func allocations(ctx context.Context, a app, o op, visitors []*visitor) (count, size float64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, v := range visitors {
		if err := v.visit(ctx, a, o); err != nil {
			return 0, 0, err
		}
	}
	runtime.ReadMemStats(&after)
	n := float64(len(visitors))
	return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n, nil
}

// cpuOf returns the processor time that an app's process has used.
func cpuOf(a app) (time.Duration, error) {
	if p, ok := a.(process); ok {
		return cpuOfPID(p.pid())
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, err
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}

// cpuOfPID reads /proc, which counts in hundredths of a second.
func cpuOfPID(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: too short", pid)
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// counted are the commands of MongoDB that are requests' work.
var counted = []string{"find", "insert", "update", "delete", "findAndModify"}

// mongoCommands returns how many commands the server has been sent so far.
func mongoCommands(ctx context.Context, client *mongo.Client) (int64, error) {
	status, err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Raw()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, name := range counted {
		sum += status.Lookup("metrics", "commands", name, "total").AsInt64()
	}
	return sum, nil
}

// redisCommands is the same for a Redis.
func redisCommands(conn redis.Conn) (int64, error) {
	text, err := redis.String(conn.Do("INFO", "commandstats"))
	if err != nil {
		return 0, err
	}
	var sum int64
	for line := range strings.Lines(text) {
		name, stats, ok := strings.Cut(line, ":calls=")
		if !ok || name == "cmdstat_info" {
			continue
		}
		calls, _, _ := strings.Cut(stats, ",")
		n, err := strconv.ParseInt(calls, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
