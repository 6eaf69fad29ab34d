// Package mongotest gives tests a real MongoDB: the server that MONGODB_URI
// names, else a container of a Docker engine, else a mongod binary. What it
// starts it also stops, even when the test process is killed.
//
// A package that uses it hands its TestMain over:
//
//	func TestMain(m *testing.M) { mongotest.Main(m) }
//
// A program that is no test does the same by [Program] and [Start].
//
// The environment chooses; nothing set is fine where Docker or mongod is.
//
//	MONGODB_URI              a server to use, whatever its kind (FerretDB too)
//	MONGOSTORE_TEST_SERVER   uri, docker or mongod: only this one
//	MONGOSTORE_TEST_TOPOLOGY standalone (default), replicaset or secured, for [Shared]
//	MONGOSTORE_TEST_STORE    role, strict or secondary: what the stores' clients
//	                         are held to, where tests use [ForStore]. A user of
//	                         the narrowest role (of a secured server), the Stable
//	                         API alone, or secondaryPreferred and yet no command
//	                         to a secondary
//	MONGOSTORE_TEST_IMAGE    the image to run (default mongo:8.0)
//	MONGOD                   the binary to run (default: mongod on PATH, then
//	                         the one that scripts/mongod put in .cache)
//	MONGOSTORE_TEST_REPORT   a file to append the names of the servers to
package mongotest

import (
	"context"
	"os"
	"testing"
	"time"
)

// startTimeout bounds the start of one server, the download of an image aside.
const startTimeout = 90 * time.Second

// Main runs the tests of a package, prints the servers that they ran on, stops
// those servers and exits. Call it from TestMain; without it no server starts.
func Main(m *testing.M) {
	if isWatchdog() {
		guard(os.Stdin)
		os.Exit(0)
	}
	os.Exit(suite.run(m))
}

// Shared returns the server that the environment asks for. All tests of the
// binary share it, each with a [Server.Database] of its own.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	return suite.shared.get(tb)
}

// Standalone returns a single mongod with fail points and a TTL monitor that
// wakes every second: [Shared] if that is one, else one more. Where MONGODB_URI
// is the only server to be had, the test is skipped.
func Standalone(tb testing.TB) *Server {
	tb.Helper()
	if environment().sharedIs(standalone) {
		return suite.shared.get(tb)
	}
	return suite.standalone.get(tb)
}

// Failing returns a standalone whose fail points are this test's alone, until
// it ends. There are a few, which go from test to test.
func Failing(tb testing.TB) *Server {
	tb.Helper()
	return suite.failing.take(tb)
}

// ReplicaSet returns three members with an elected primary, fail points and a
// TTL monitor that wakes every second: [Shared] if that is one, else one more.
func ReplicaSet(tb testing.TB) *Server {
	tb.Helper()
	if environment().sharedIs(replicaSet) {
		return suite.shared.get(tb)
	}
	return suite.replicaSet.get(tb)
}

// Secured returns a mongod that takes TLS connections only and wants a login.
// Its URI is the administrator's; [Server.UserURI] makes lesser users. It is
// [Shared] if that is one, else one more.
func Secured(tb testing.TB) *Server {
	tb.Helper()
	if environment().sharedIs(secured) {
		return suite.shared.get(tb)
	}
	return suite.secured.get(tb)
}

// Private returns a standalone for this test alone, which it may stop, freeze
// and start again. It goes when the test ends.
func Private(tb testing.TB) *Server {
	tb.Helper()
	s, err := startStandalone(context.WithoutCancel(tb.Context()))
	if err != nil {
		giveUp(tb, err)
	}
	s.private = true
	tb.Cleanup(s.remove)
	return s
}
