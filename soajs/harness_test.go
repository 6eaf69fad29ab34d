package soajs_test

import (
	"encoding/json"
	"net/url"
	"os"
	"strconv"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/mongostore/mongostore/soajs"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// file returns a dbConfig of the README of connect-mongo-soajs 0.2.2, as node -p 'JSON.stringify(…)' prints it:
// readme.json is the example, reference.json the full reference.
func file(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name) //nolint:gosec // our own
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, data string) soajs.Config {
	t.Helper()
	c, err := soajs.Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// edited returns a dbConfig with some keys set; a nil value takes one out.
func edited(t *testing.T, data []byte, keys map[string]any) string {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for key, value := range keys {
		if doc[key] = value; value == nil {
			delete(doc, key)
		}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// at points a dbConfig of the README to a server and a database of a test.
func at(t *testing.T, server *mongotest.Server, database string) map[string]any {
	t.Helper()
	u, err := url.Parse(server.URI())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Skip("the servers are several")
	}
	return map[string]any{"servers": []any{map[string]any{"host": u.Hostname(), "port": port}}, "name": database}
}
