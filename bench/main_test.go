package main

import (
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// testScene is a scene on the tests' server, in a database of its own.
func testScene(t *testing.T, size int) *scene {
	t.Helper()
	server := mongotest.Standalone(t)
	s, err := newStage(t.Context(), server, standalone, size)
	if err != nil {
		t.Fatal(err)
	}
	s.database = server.Database(t).Name()
	t.Cleanup(s.close)
	return s
}

// enteredOn opens a contestant, if what it needs is there.
func enteredOn(t *testing.T, s *scene, c *contestant) app {
	t.Helper()
	a, err := c.open(t.Context(), &s.stage)
	if missing, ok := err.(errNotRun); ok { //nolint:errorlint // never wrapped
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}
