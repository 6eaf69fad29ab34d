package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

func TestTheBrowserStaysLoggedInThroughTheSwitch(t *testing.T) {
	server := mongotest.Shared(t)
	var said strings.Builder
	if err := walk(t.Context(), server.DatabaseURI(server.Database(t).Name()), io.MultiWriter(os.Stdout, &said)); err != nil {
		t.Fatal(err)
	}
	walked := regexp.MustCompile(`cookie \S+ +->`).ReplaceAllString(said.String(), "->")
	for _, want := range []string{
		"GET /login/ada   -> 200 ada, visit 0\n",
		"-> 200 ada, visit 2\n",
		"db.sessions: 1 documents\n      {_id string, data string, modified bson.DateTime}\n",
		"-> 200 ada, visit 3\n      the browser now has the cookie ",
		"-> 200 ada, visit 4\n",
		"db.sessions: 0 documents\n  db.logins: 1 documents\n      {_id string, token bson.Binary, name string, session bson.Binary, expires bson.DateTime}\n",
		"GET /logout      -> 200 nobody, visit 0\n      the browser now has the cookie (none)\n  db.sessions: 0 documents\n  db.logins: 0 documents\n  GET /profile     -> 200 nobody, visit 0\n",
	} {
		if !strings.Contains(walked, want) {
			t.Errorf("missing: %q", want)
		}
	}
}
