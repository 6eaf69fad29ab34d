// Package express holds the tests of connectmongo beside a real Express: two
// applications on one MongoDB, and one browser that goes to both. `make
// acceptance-express` runs them; without Node.js and the packages of
// package.json they are skipped.
package express

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// needNode skips a test where Node.js or the packages are missing, unless they
// were asked for.
func needNode(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat("node_modules")
	}
	switch {
	case err == nil:
	case os.Getenv(tableVariable) != "":
		t.Fatalf("%v: install Node.js 20 or later, and run npm ci in acceptance/express", err)
	default:
		t.Skip("make acceptance-express runs this")
	}
}

// input is what app.js reads.
type input struct {
	URI  string `json:"uri"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
	Apps []app  `json:"apps"`
}

// app is one application of Express.
type app struct {
	Name       string         `json:"name"`
	Database   string         `json:"database"`
	Collection string         `json:"collection"`
	Session    map[string]any `json:"session"`          // options of express-session
	Store      map[string]any `json:"store,omitempty"`  // options of connect-mongo
	Crypto     map[string]any `json:"crypto,omitempty"` // a kind, and the options of its adapter
	IDKey      string         `json:"idKey,omitempty"`  // of a transformId that is HMAC-SHA256
}

// startExpress starts applications in one process of Node.js that lives as
// long as the test, and returns their addresses.
func startExpress(t *testing.T, uri string, id identity, apps []app) map[string]string {
	t.Helper()
	var started struct {
		Ports map[string]int `json:"ports"`
	}
	startNode(t, "app.js", input{uri, id.cert, id.key, apps}).read(t, &started)
	urls := make(map[string]string, len(apps))
	for _, a := range apps {
		urls[a.Name] = fmt.Sprintf("https://127.0.0.1:%d", started.Ports[a.Name])
	}
	return urls
}

// node is a script under way.
type node struct {
	script string
	out    *bufio.Reader
	said   *strings.Builder // on stderr
}

// startNode runs a script that reads a line of JSON and prints some. It lives
// as long as the test: it ends with its stdin.
func startNode(t *testing.T, script string, in any) *node {
	t.Helper()
	line, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{script: script, said: new(strings.Builder)}
	cmd := exec.CommandContext(t.Context(), "node", script) //nolint:gosec // a script of ours
	cmd.Stderr = n.said
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
		if text := n.said.String(); text != "" {
			t.Logf("%s said:\n%s", script, text)
		}
	})
	if _, err := stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	n.out = bufio.NewReader(stdout)
	return n
}

// read takes the next line that the script prints.
func (n *node) read(t *testing.T, into any) {
	t.Helper()
	line, err := n.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s: %v", n.script, err)
	}
	if err := json.Unmarshal(line, into); err != nil {
		t.Fatalf("%s: %v: %s", n.script, err, line)
	}
}
