package wire

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// fault is one way in which the server fails a command.
type fault struct {
	label string // in the table
	name  string // MongoDB's
	fail  mongotest.Fail
	brief bool // part of a short run
}

// refusal is an error instead of the command.
func refusal(code int32, name string) fault {
	return fault{label: fmt.Sprint(code), name: name, fail: mongotest.Fail{ErrorCode: code}}
}

// doubt is a write concern error beside a write that was done.
func doubt(code int32, name string) fault {
	return fault{
		label: fmt.Sprintf("wc %d", code), name: name + ", as a write concern error",
		fail: mongotest.Fail{WriteConcernError: bson.D{{Key: "code", Value: code}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: name}}},
	}
}

func (f fault) inBrief() fault {
	f.brief = true
	return f
}

var faults = []fault{
	refusal(10107, "NotWritablePrimary").inBrief(),
	refusal(13435, "NotPrimaryNoSecondaryOk"),
	refusal(13436, "NotPrimaryOrSecondary"),
	refusal(189, "PrimarySteppedDown"),
	refusal(11602, "InterruptedDueToReplStateChange"),
	refusal(11600, "InterruptedAtShutdown"),
	refusal(91, "ShutdownInProgress"),
	refusal(6, "HostUnreachable"),
	refusal(7, "HostNotFound"),
	refusal(89, "NetworkTimeout"),
	refusal(9001, "SocketException"),
	refusal(262, "ExceededTimeLimit"),
	refusal(50, "MaxTimeMSExpired").inBrief(),
	refusal(112, "WriteConflict").inBrief(),
	refusal(16500, "TooManyRequests, Cosmos DB's throttling"),
	refusal(13, "Unauthorized").inBrief(),
	refusal(18, "AuthenticationFailed"),
	refusal(20, "IllegalOperation"),
	refusal(85, "IndexOptionsConflict").inBrief(),
	refusal(86, "IndexKeySpecsConflict"),
	refusal(121, "DocumentValidationFailure"),
	refusal(238, "NotImplemented").inBrief(),
	refusal(10334, "BSONObjectTooLarge").inBrief(),
	refusal(11000, "DuplicateKey").inBrief(),
	doubt(64, "WriteConcernTimeout").inBrief(),
	doubt(100, "UnsatisfiableWriteConcern"),
	doubt(91, "ShutdownInProgress"),
	doubt(11600, "InterruptedAtShutdown"),
	doubt(10107, "NotWritablePrimary"),
	{label: "closed", name: "the connection is closed before the command is done", fail: mongotest.Fail{CloseConnection: true}},
}

func (f fault) isDoubt() bool { return f.fail.WriteConcernError != nil }

// concerns reports whether a command can fail in this way: a read has no write
// concern.
func (f fault) concerns(command string) bool {
	return !f.isDoubt() || !slices.Contains([]string{"find", "getMore", "aggregate", "listIndexes"}, command)
}

// variants are how often a command fails, and on what.
var variants = []string{"standalone, once", "standalone, always", "replica set, once"}

const impossible = "—" // no fail point fails a later command once

// cell is one place of the table.
type cell struct{ operation, command, fault, variant string }

// TestErrorCodes lets each command of each operation fail with each error code
// that matters, and compares what came of it with testdata/error-codes.md.
func TestErrorCodes(t *testing.T) {
	s := scenario.New(t, "error codes on each command", "one browser per case")
	m := &matrix{scenario: s, cells: make(map[cell]string)}
	t.Run("on", func(t *testing.T) {
		m.run(t, "standalone", mongotest.Failing, 3, []int{1, 0})
		m.run(t, "replica set", mongotest.ReplicaSet, 1, []int{1})
	})
	s.Note("%d cases", len(m.cells))
	if !t.Failed() {
		m.compare(t)
	}
}

// matrix is the table under way.
type matrix struct {
	scenario *scenario.Scenario
	mu       sync.Mutex
	cells    map[cell]string
}

// run examines all operations on several servers of a topology.
func (m *matrix) run(t *testing.T, topology string, server func(testing.TB) *mongotest.Server, servers int, times []int) {
	t.Helper()
	work := make(chan operation, len(requests)+len(calls))
	for _, op := range slices.Concat(requests, calls) {
		work <- op
	}
	close(work)
	for i := range servers {
		t.Run(fmt.Sprintf("%s %d", topology, i+1), func(t *testing.T) {
			t.Parallel()
			app := bson.NewObjectID().Hex()
			srv := server(t)
			opts := options.Client().SetAppName(app).SetHeartbeatInterval(500 * time.Millisecond)
			p := &place{matrix: m, server: srv, site: newSite(t, srv, srv.URI(), opts), app: app, topology: topology, times: times}
			for op := range work {
				t.Run(op.name, func(t *testing.T) { p.examine(t, op) })
			}
		})
	}
}

// place is one server whose commands fail.
type place struct {
	*matrix
	*site
	server   *mongotest.Server
	app      string
	topology string
	times    []int
}

// examine fills the cells of one operation.
func (p *place) examine(t *testing.T, op operation) {
	expected := p.normal(t, op)
	for _, command := range op.commands {
		for _, f := range faults {
			if !f.concerns(command) || !long && !p.isBrief(op, f) {
				continue
			}
			for _, times := range p.times {
				variant := p.topology + map[bool]string{true: ", once", false: ", always"}[times == 1]
				got := impossible
				if op.skip == 0 || times == 0 {
					got = p.one(t, op, expected, command, f, times)
				}
				p.mu.Lock()
				p.cells[cell{op.name, command, f.label, variant}] = got
				p.mu.Unlock()
			}
		}
	}
}

// isBrief reports whether a case is part of a short run. An index takes a replica
// set half a second.
func (p *place) isBrief(op operation, f fault) bool {
	if p.server.IsReplicaSet() {
		return !op.indexes && (f.label == "10107" || f.label == "wc 64")
	}
	return f.brief
}

// normal is what an operation does without a fault.
func (p *place) normal(t *testing.T, op operation) outcome {
	t.Helper()
	x := &examination{visit: &visit{site: p.site, t: t}, operation: op}
	x.begin()
	o := outcome{nameOf(op.run(x.visit)), x.state(), x.answered()}
	want := outcome{"success", "old", o.cookie}
	if op.done != nil {
		want.record = "new"
	}
	if op.final != "" {
		want.answer = op.final
	}
	if o != want {
		t.Fatalf("without a fault: %v, want %v", o, want)
	}
	return o
}

// one examines an operation of which a command fails.
func (p *place) one(t *testing.T, op operation, expected outcome, command string, f fault, times int) string {
	t.Helper()
	fail := f.fail
	fail.Commands, fail.AppName, fail.Times, fail.Skip = []string{command}, p.app, times, op.skip
	x := &examination{
		visit:     &visit{site: p.site, t: t, kind: kind{impatient: times == 0}},
		operation: op, expected: expected, written: f.isDoubt(), noTTL: f.label == "238" && op.indexes,
	}
	o := x.examine(func() func() { return p.server.FailCommand(t, fail) })
	p.scenario.Requests.Add(1)
	p.scenario.Fault(f.kind())
	for _, problem := range x.problems {
		p.scenario.Violation("%s, %s, %s fails with %s, %d times (0: all): %s", p.topology, op.name, command, f.label, times, problem)
	}
	return o.String()
}

func (f fault) kind() string {
	switch {
	case f.isDoubt():
		return "write concern error"
	case f.fail.CloseConnection:
		return "connection closed"
	}
	return "error code"
}
