package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// setup is a kind of server, and what the stores' clients are held to.
type setup struct {
	key            string
	Server, Client string // for the reader
	version        string // of mongod; empty: FerretDB
	topology       string
	store          string   // MONGOSTORE_TEST_STORE
	ranOn          string   // what the suite must report
	packages       []string // of the root module; none: all that have a store
}

const (
	plainClient     = "no login"
	roleClient      = "TLS with a client's certificate, SCRAM, the [role](#permissions) that the store needs"
	strictClient    = "Stable API 1, strict, with deprecation errors"
	secondaryClient = "`readPreference=secondaryPreferred`; no command went to a secondary"
)

// setups are all that can be had.
func setups() []setup {
	var all []setup
	for _, version := range []string{"4.4.2", "6.0.5", "6.0.27"} {
		all = append(all, mongod(version+"-standalone", version, "standalone", "", plainClient),
			mongod(version+"-replicaset", version, "replicaset", "", plainClient))
	}
	return append(all,
		mongod("tls", "6.0.5", "secured", "role", roleClient),
		mongod("tls-4.4", "4.4.2", "secured", "role", roleClient),
		mongod("strict", "6.0.5", "standalone", "strict", strictClient),
		mongod("secondary", "6.0.5", "replicaset", "secondary", secondaryClient),
		setup{key: "ferretdb", Server: "FerretDB 1.24.0, embedded, `maxPoolSize=1`", Client: plainClient, ranOn: "FerretDB as MongoDB 7.0.42, standalone", packages: []string{"."}},
	)
}

func mongod(key, version, topology, store, client string) setup {
	kind := map[string]string{
		"standalone": "standalone", "replicaset": "replica set", "secured": "standalone with TLS and logins",
	}[topology]
	name := "mongod " + version + ", " + kind
	server := name
	if topology == "replicaset" {
		server += " of three"
	}
	return setup{key: key, Server: server, Client: client, version: version, topology: topology, store: store, ranOn: name}
}

func names() []string {
	var keys []string
	for _, s := range setups() {
		keys = append(keys, s.key)
	}
	return keys
}

// shortSuite are the tests of -short: some of each thing that a store does.
const shortSuite = "^Test(R02|R05|R1[0127]|Open|TheRole)"

// run runs the suite and counts. The error tells of failed tests, and of a
// suite that did not run on this server.
func (s setup) run(ctx context.Context, short bool, out io.Writer) (result, error) {
	r := result{Key: s.key, Server: s.Server, Client: s.Client, Date: time.Now().UTC().Format(time.DateOnly)}
	dir, err := os.MkdirTemp("", "servers-")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	report := filepath.Join(dir, "report")
	cmd, err := s.command(ctx, report, short)
	if err != nil {
		return r, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	cmd.Stderr = out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	countErr := r.count(pipe, out)
	runErr := cmd.Wait()
	r.Seconds = int(time.Since(began).Round(time.Second).Seconds())
	return r, errors.Join(countErr, runErr, s.verify(report, r))
}

// verify sees that the tests ran, and on the server that they were to run on.
func (s setup) verify(report string, r result) error {
	text, err := os.ReadFile(report) //nolint:gosec // ours
	switch {
	case err != nil:
		return err
	case !strings.Contains(string(text), s.ranOn+" ("), r.Passed == 0:
		return fmt.Errorf("%d tests passed, on: %s; want %s", r.Passed, text, s.ranOn)
	case r.Failed > 0:
		return fmt.Errorf("%d tests failed", r.Failed)
	}
	return nil
}

// command returns go test, with the environment of the set-up.
func (s setup) command(ctx context.Context, report string, short bool) (*exec.Cmd, error) {
	packages := s.packages
	if packages == nil {
		packages = []string{".", "./connectmongo", "./legacy", "./soajs"}
	}
	test := append([]string{"go", "test", "-json", "-count=1", "-p=1", "-parallel=4"}, packages...)
	if short {
		test = append(test, "-run="+shortSuite)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		return nil, err
	}
	if s.version == "" {
		test = append([]string{"go", "run", "./cmd/ferretdb", "--", "sh", "-c", `cd .. && exec "$@"`, "sh"}, test...)
	}
	cmd := exec.CommandContext(ctx, test[0], test[1:]...) //nolint:gosec // put together above
	// go test leaves it to a terminal to interrupt the tests too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.Dir = root
	// Beside FerretDB, tests that need more than it has start a mongod 6.0.5.
	version, kind := s.version, "mongod"
	if version == "" {
		cmd.Dir = filepath.Join(root, "example")
		version, kind = "6.0.5", ""
	}
	binary, err := exec.CommandContext(ctx, filepath.Join(root, "scripts", "mongod"), version).Output() //nolint:gosec // ours
	if err != nil {
		return nil, fmt.Errorf("scripts/mongod %s: %w", version, err)
	}
	cmd.Env = append(os.Environ(), "MONGODB_URI=", "MONGOSTORE_TEST_IMAGE=", "MONGOSTORE_TEST_SERVER="+kind,
		"MONGOD="+strings.TrimSpace(string(binary)), "MONGOSTORE_TEST_TOPOLOGY="+s.topology,
		"MONGOSTORE_TEST_STORE="+s.store, "MONGOSTORE_TEST_REPORT="+report)
	return cmd, nil
}
