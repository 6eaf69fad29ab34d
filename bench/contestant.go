package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// op is what a request does with its session. It is the request's path.
type op string

const (
	load       op = "load"
	unchanged  op = "unchanged"  // load and save as it is
	change     op = "change"     // load, set the count and save
	create     op = "new"        // save a new session
	regenerate op = "regenerate" // load, and save under another id or secret
	end        op = "end"        // not compared: load, and log out
	read       op = "read"       // not measured: answers all values, as JSON
)

var measured = []op{load, unchanged, change, create, regenerate}

// countHeader carries the count that change and create shall set.
const countHeader = "X-Count"

// cookieName is that of all contestants whose cookie has a name to choose.
const cookieName = "sid"

// contestant is one way of keeping sessions.
type contestant struct {
	key  string // for -contestants
	name string // for tables
	ops  []op   // that it takes part in; nil: all
	open func(context.Context, *stage) (app, error)
	// limit says why it cannot do an operation at this size; nil, or "": it can.
	limit func(size int, o op) string
	// deadline is what an unchanged Save must move; zero: it need not, or cannot be seen.
	deadline deadline
}

func (c *contestant) takesPart(o op) bool { return c.ops == nil || slices.Contains(c.ops, o) }

func (c *contestant) cannot(size int, o op) string {
	if c.limit == nil {
		return ""
	}
	return c.limit(size, o)
}

// does tells whether there will be numbers.
func (c *contestant) does(o op, size int) bool { return c.takesPart(o) && c.cannot(size, o) == "" }

// stage is what contestants are opened on.
type stage struct {
	uri      string // of the MongoDB
	database string // to be dropped after use
	values   values
	redis    string // the address of a Redis; empty: there is none
	dir      string // for files
	majority bool   // the client's write concern is majority
	install  bool   // npm may install what Node needs
}

// errNotRun says why a contestant takes no part at all. It is listed so.
type errNotRun string

func (e errNotRun) Error() string { return "not run: " + string(e) }

// app is an application on a contestant's store.
type app interface {
	// send carries a request with this cookie, "name=value" or empty.
	send(ctx context.Context, o op, count int, cookie string) (answer, error)
	close()
}

type answer struct {
	status int
	cookie string // as the browser would send it from now on; empty: not set
	body   []byte
}

// errNoSession is what loading with a cookie that is not good must end in.
var errNoSession = errors.New("no session")

// inProcess is an app that is called by httptest, without a network.
type inProcess struct {
	handler http.Handler
	closes  []func()
}

func (a *inProcess) send(ctx context.Context, o op, count int, cookie string) (answer, error) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/"+string(o), nil)
	r.Header.Set(countHeader, strconv.Itoa(count))
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	set, err := cookieOf(w.Header())
	return answer{w.Code, set, w.Body.Bytes()}, err
}

func (a *inProcess) close() {
	for _, end := range slices.Backward(a.closes) {
		end()
	}
}

// cookieOf returns the cookie that a response leaves in the browser: the last
// of that name.
func cookieOf(header http.Header) (string, error) {
	cookie := ""
	for _, line := range header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			return "", err
		}
		if c.MaxAge >= 0 && c.Value != "" {
			cookie = c.Name + "=" + c.Value
		}
	}
	return cookie, nil
}

// page answers a request by serve, which writes the body itself.
type page func(w http.ResponseWriter, r *http.Request, o op, count int) error

func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.Header.Get(countHeader))
	if err == nil {
		err = p(w, r, op(r.URL.Path[1:]), count)
	}
	switch {
	case errors.Is(err, errNoSession):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// writeCount answers the count that was found.
func writeCount(w http.ResponseWriter, count int) error {
	_, err := w.Write(strconv.AppendInt(nil, int64(count), 10))
	return err
}

// visitor is a browser with a session, and knows what the session must hold.
type visitor struct {
	cookie string
	count  int
}

// visit sends one request and sees to it that the contestant found what the
// last request left.
func (v *visitor) visit(ctx context.Context, a app, o op) error {
	count := v.next(o)
	got, err := a.send(ctx, o, count, v.cookie)
	if err != nil {
		return err
	}
	return v.took(o, count, got)
}

// next returns the count that the session has after this operation.
func (v *visitor) next(o op) int {
	if o == change {
		return v.count + 1
	}
	return v.count
}

// took compares the answer with what the session must have held, and keeps
// what the request made of it.
func (v *visitor) took(o op, count int, got answer) error {
	if got.status != http.StatusOK {
		return fmt.Errorf("%s: status %d: %.200s", o, got.status, got.body)
	}
	if found := string(got.body); o != create && found != strconv.Itoa(v.count) {
		return fmt.Errorf("%s: it found count %.40s, and %d was stored", o, found, v.count)
	}
	v.count = count
	if got.cookie != "" {
		v.cookie = got.cookie
	}
	if v.cookie == "" {
		return fmt.Errorf("%s: it set no cookie", o)
	}
	return nil
}

// readBack sees to it that the session holds what it must.
func (v *visitor) readBack(ctx context.Context, a app, vs values) error {
	got, err := a.send(ctx, read, 0, v.cookie)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return fmt.Errorf("read back: status %d: %.200s", got.status, got.body)
	}
	return vs.check(got.body, v.count)
}

// refused sees to it that a cookie is good for nothing any more.
func refused(ctx context.Context, a app, cookie string) error {
	got, err := a.send(ctx, read, 0, cookie)
	if err != nil {
		return err
	}
	if got.status != http.StatusNotFound {
		return fmt.Errorf("the cookie from before regenerate still works: status %d", got.status)
	}
	return nil
}

// collection is where a contestant on driver v2 keeps its sessions; close
// disconnects its client.
func (s *stage) collection(ctx context.Context, key string) (coll *mongo.Collection, end func(), err error) {
	client, err := mongo.Connect(clientOptions(s.uri, s.majority))
	if err != nil {
		return nil, nil, err
	}
	end = func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }
	return client.Database(s.database).Collection(key), end, nil
}
