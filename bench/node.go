package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// onNode are the session stores for Express.
func onNode() []*contestant {
	return []*contestant{
		{key: "express", name: "express-session + connect-mongo, HTTP", open: openExpress("express-connect-mongo"), deadline: deadline{"express", "expires"}},
		{key: "expresscmdb", name: "express-session + connect-mongodb-session, HTTP", open: openExpress("express-connect-mongodb-session"), deadline: deadline{"cmdb", "expires"}},
		{key: "connectmongo", name: "connect-mongo alone, in Node", open: openAlone, deadline: deadline{"alone", "expires"}},
	}
}

// node is a process of server.mjs.
type node struct {
	url    string
	client *http.Client
	cmd    *exec.Cmd
	end    func()
}

func (n *node) pid() int { return n.cmd.Process.Pid }

func (n *node) close() {
	n.client.CloseIdleConnections()
	n.end()
}

// startNode runs server.mjs, whose packages must be there.
func startNode(ctx context.Context, s *stage, kind string) (*node, error) {
	dir, err := nodeDir(ctx, s.install)
	if err != nil {
		return nil, err
	}
	all, err := json.Marshal(s.values.with(0))
	if err != nil {
		return nil, err
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "node", "server.mjs", kind, s.uri, s.database) //nolint:gosec // our own program
	cmd.Dir, cmd.Stderr = dir, &log
	cmd.Env = append(os.Environ(), "NODE_ENV=production", "BENCH_VALUES="+string(all))
	if s.majority {
		cmd.Env = append(cmd.Env, "BENCH_MAJORITY=1")
	}
	if _, err := cmd.StdinPipe(); err != nil { // it ends when this process does
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	end, err := mongotest.Own(cmd)
	if err != nil {
		return nil, err
	}
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		end()
		return nil, fmt.Errorf("node server.mjs %s: %s", kind, log.Bytes())
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	return &node{"http://127.0.0.1:" + strings.TrimSpace(port), &http.Client{Transport: transport}, cmd, end}, nil
}

// nodeDir returns the folder of server.mjs, in which npm has installed what it
// needs.
func nodeDir(ctx context.Context, install bool) (string, error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", errNotRun("node not found")
	}
	dir := nodeFolder()
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir, nil
	}
	if !install {
		return "", errNotRun("its packages are not installed: run npm ci in bench/node")
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--silent")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errNotRun(fmt.Sprintf("npm ci: %v: %.200s", err, out))
	}
	return dir, nil
}

// nodeFolder is found from this module and from the one around it.
func nodeFolder() string {
	if _, err := os.Stat("node"); err == nil {
		return "node"
	}
	return filepath.Join("bench", "node")
}

// express is an app that answers over HTTP, on connections that stay open.
type express struct{ *node }

func openExpress(kind string) func(context.Context, *stage) (app, error) {
	return func(ctx context.Context, s *stage) (app, error) {
		n, err := startNode(ctx, s, kind)
		if err != nil {
			return nil, err
		}
		return express{n}, nil
	}
}

func (e express) send(ctx context.Context, o op, count int, cookie string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/"+string(o), nil)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set(countHeader, strconv.Itoa(count))
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	res, err := e.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return answer{}, err
	}
	set, err := cookieOf(res.Header)
	return answer{res.StatusCode, set, body}, err
}

// alone is the store of connect-mongo without Express and HTTP around it: Node
// runs whole slices by itself. The cookie is the session's id.
type alone struct{ *node }

func openAlone(ctx context.Context, s *stage) (app, error) {
	n, err := startNode(ctx, s, "connect-mongo")
	if err != nil {
		return nil, err
	}
	return alone{n}, nil
}

type (
	aloneSlice struct {
		Op          op      `json:"op"`
		Concurrency int     `json:"concurrency"`
		Limit       float64 `json:"limit"` // milliseconds
		Visits      []visit `json:"visits"`
	}
	visit struct {
		Count  int    `json:"count"`
		Cookie string `json:"cookie"`
	}
	visited struct {
		Status int           `json:"status"`
		Cookie string        `json:"cookie"`
		Body   string        `json:"body"`
		Took   time.Duration `json:"took"`
	}
)

func (v visited) answer() answer { return answer{v.Status, v.Cookie, []byte(v.Body)} }

func (a alone) send(ctx context.Context, o op, count int, cookie string) (answer, error) {
	got, err := a.ask(ctx, aloneSlice{o, 1, 60000, []visit{{count, cookie}}})
	if err != nil {
		return answer{}, err
	}
	return got[0].answer(), nil
}

func (a alone) run(ctx context.Context, o op, concurrency int, limit time.Duration, visitors []*visitor) (latencies, error) {
	s := aloneSlice{o, concurrency, float64(limit.Milliseconds()), make([]visit, len(visitors))}
	for i, v := range visitors {
		s.Visits[i] = visit{v.next(o), v.cookie}
	}
	all, err := a.ask(ctx, s)
	if err != nil {
		return nil, err
	}
	took := make(latencies, len(all))
	for i, got := range all {
		if err := visitors[i].took(o, s.Visits[i].Count, got.answer()); err != nil {
			return nil, err
		}
		took[i] = got.Took
	}
	return took, nil
}

func (a alone) ask(ctx context.Context, s aloneSlice) ([]visited, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := a.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("connect-mongo: %.300s", text)
	}
	var got []visited
	return got, json.Unmarshal(text, &got)
}
