package mongotest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Proxy stands between a client and a server and spoils what passes: an answer
// that is lost after the write was done, a network that is cut or slow.
type Proxy struct {
	target  string // the server's address
	address string // its own
	uri     string

	mu       sync.Mutex
	listener net.Listener // nil while it is cut
	links    map[*link]struct{}
	drops    map[string]int // how many more replies are dropped, by command
	refusals int            // how many finds are answered by an error, once no insert's reply is to be dropped
	dropped  int
	delay    time.Duration
	held     func(from string) bool // whose traffic does not pass; see link.from
	refuses  bool                   // those whose traffic does not pass get no new connection
	changed  chan struct{}          // closed when held changes
	work     sync.WaitGroup
}

// Proxy returns a proxy in front of the server; of a replica set, in front of
// its primary. It goes when the test ends.
func (s *Server) Proxy(tb testing.TB) *Proxy {
	tb.Helper()
	if s.CAFile != "" {
		tb.Skip("mongotest: a proxy cannot read TLS")
	}
	target, err := s.primary(tb)
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	p := newProxy(tb, target)
	p.uri = direct(s.uri, p.address)
	return p
}

func newProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	p := &Proxy{target: target, address: address(port), links: map[*link]struct{}{}, changed: make(chan struct{})}
	p.Hang(false)
	p.Restore(tb)
	tb.Cleanup(func() {
		p.Cut()
		p.work.Wait()
	})
	return p
}

// URI returns the server's connection string with the proxy's address. It is a
// direct connection, as else the driver would find its way round the proxy.
func (p *Proxy) URI() string { return p.uri }

// DropReplies closes a client's connection instead of passing on the reply to a
// command of that name, so many times from now on: the server has done what the
// client does not hear of. An earlier DropReplies is forgotten.
func (p *Proxy) DropReplies(command string, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drops = map[string]int{command: times}
}

// LoseInsert drops the reply to the next insert, and then refuses the two finds
// by which a Save looks for what it has inserted.
func (p *Proxy) LoseInsert() {
	p.DropReplies("insert", 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusals = 2
}

// Dropped returns how many replies were dropped.
func (p *Proxy) Dropped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

// Delay holds each reply back for d, from now on.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Hang holds all traffic, with the connections open, until Hang(false).
func (p *Proxy) Hang(on bool) { p.hold(func(string) bool { return on }, false) }

// hold holds the traffic of those connections, from now on, and lets all others
// pass. It may also refuse new ones.
func (p *Proxy) hold(held func(from string) bool, refuses bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.refuses = held, refuses
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut closes all connections and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for l := range p.links {
		l.close()
	}
}

// Restore takes connections again after [Proxy.Cut].
func (p *Proxy) Restore(tb testing.TB) {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return
	}
	var config net.ListenConfig
	l, err := config.Listen(tb.Context(), "tcp", p.address)
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	p.listener = l
	p.work.Go(func() { p.accept(l) })
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target) //nolint:noctx // on this machine; ends with the listener
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{proxy: p, client: client, server: server, closed: make(chan struct{}), pending: map[uint32]fate{}}
		l.close = sync.OnceFunc(func() {
			close(l.closed)
			_ = client.Close()
			_ = server.Close()
		})
		p.add(listener, l)
		p.work.Go(func() { p.carry(l, client, l.request) })
		p.work.Go(func() { p.carry(l, server, l.reply) })
	}
}

// add makes a link known to Cut, which may have been quicker.
func (p *Proxy) add(listener net.Listener, l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != listener {
		l.close()
		return
	}
	p.links[l] = struct{}{}
}

// carry passes the messages from one side on until either side ends.
func (p *Proxy) carry(l *link, from io.Reader, pass func(message) error) {
	for {
		m, err := readMessage(from)
		if err == nil {
			err = pass(m)
		}
		if err != nil {
			break
		}
	}
	l.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// link is one client's connection.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	closed         chan struct{}
	close          func()
	once           sync.Once
	mu             sync.Mutex
	from           string          // the port on which the member of a replica set listens that opened it; "": no member did
	pending        map[uint32]fate // requests whose replies do not arrive as they are
}

var errDropped = errors.New("closed")

func (l *link) request(m message) error {
	allowed := true
	l.once.Do(func() { allowed = l.identify(m) })
	if !allowed {
		return errDropped
	}
	if f := l.proxy.fateOf(m.command()); f != passed {
		l.mu.Lock()
		l.pending[m.id()] = f
		l.mu.Unlock()
	}
	if !l.wait(0) {
		return errDropped
	}
	_, err := l.server.Write(m)
	return err
}

// identify notes who sent the first message, and reports whether that may
// connect.
func (l *link) identify(m message) bool {
	l.mu.Lock()
	l.from = m.sender()
	l.mu.Unlock()
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	return !l.proxy.refuses || !l.proxy.held(l.from)
}

func (l *link) reply(m message) error {
	l.proxy.mu.Lock()
	delay := l.proxy.delay
	l.proxy.mu.Unlock()
	l.mu.Lock()
	f := l.pending[m.responseTo()]
	l.mu.Unlock()
	if f == dropped || !l.wait(delay) {
		return errDropped
	}
	if f == refused {
		m = m.refused()
	}
	_, err := l.client.Write(m)
	return err
}

// wait returns after d, and not while the proxy hangs; false: the link is closed.
func (l *link) wait(d time.Duration) bool {
	if d > 0 {
		select {
		case <-time.After(d):
		case <-l.closed:
			return false
		}
	}
	l.mu.Lock()
	from := l.from
	l.mu.Unlock()
	for {
		l.proxy.mu.Lock()
		held, changed := l.proxy.held(from), l.proxy.changed
		l.proxy.mu.Unlock()
		if !held {
			return true
		}
		select {
		case <-changed:
		case <-l.closed:
			return false
		}
	}
}

// fate is what becomes of a reply.
type fate int

const (
	passed fate = iota
	dropped
	refused
)

// fateOf returns the fate of the reply to a command that has just come.
func (p *Proxy) fateOf(command string) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.drops[command] > 0:
		p.drops[command]--
		p.dropped++
		return dropped
	case command == "find" && p.refusals > 0 && p.drops["insert"] == 0:
		p.refusals--
		return refused
	}
	return passed
}

// message is one of MongoDB's wire protocol, header and all.
type message []byte

func readMessage(r io.Reader) (message, error) {
	var header [16]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(header[:])
	if size < 16 || size > 64<<20 {
		return nil, errors.New("not MongoDB's protocol")
	}
	m := make(message, size)
	copy(m, header[:])
	_, err := io.ReadFull(r, m[16:])
	return m, err
}

func (m message) id() uint32         { return binary.LittleEndian.Uint32(m[4:]) }
func (m message) responseTo() uint32 { return binary.LittleEndian.Uint32(m[8:]) }

// refused returns the reply that refuses what m replies to: the client may not
// do it, so no driver tries again.
func (m message) refused() message {
	body, _ := bson.Marshal(bson.D{
		{Key: "ok", Value: 0}, {Key: "code", Value: 13}, {Key: "codeName", Value: "Unauthorized"}, {Key: "errmsg", Value: "refused"},
	})
	const header = 16 + 4 + 1 // with flags and section kind
	out := append(make(message, header), body...)
	copy(out, m[:16])
	binary.LittleEndian.PutUint32(out, uint32(len(out))) //nolint:gosec // a hundred bytes
	return out
}

// command returns the name of the command in an OP_MSG: the first key of its
// first section, the body.
func (m message) command() string {
	const opMsg, body = 2013, 16 + 4 + 1 + 4 + 1 // header, flags, section kind, size, type
	if binary.LittleEndian.Uint32(m[12:]) != opMsg || len(m) <= body || m[20] != 0 {
		return ""
	}
	name, _, _ := bytes.Cut(m[body:], []byte{0})
	return string(name)
}

// sender returns the port of the mongod that sent this, the first message of
// its connection. Members with test commands name themselves in it.
func (m message) sender() string {
	const size = 4 // of the string's length
	_, value, ok := bytes.Cut(m, []byte("\x02hostInfo\x00"))
	if !ok || len(value) < size {
		return ""
	}
	host, _, _ := bytes.Cut(value[size:], []byte{0})
	return string(host[bytes.LastIndexByte(host, ':')+1:])
}

// primary returns the address of the server that takes writes.
func (s *Server) primary(tb testing.TB) (string, error) {
	tb.Helper()
	var hello struct {
		Primary string `bson:"primary"`
	}
	err := s.client.Database("admin").RunCommand(tb.Context(), map[string]int{"hello": 1}).Decode(&hello)
	if hello.Primary != "" || err != nil {
		return hello.Primary, err
	}
	return options.Client().ApplyURI(s.uri).Hosts[0], nil
}

// direct returns uri with one other host and a direct connection to it.
func direct(uri, host string) string {
	_, rest, _ := strings.Cut(uri, "://")
	hosts, query, _ := strings.Cut(rest, "?")
	login := ""
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		login = hosts[:at+1]
	}
	params := []string{"directConnection=true"}
	for param := range strings.SplitSeq(query, "&") {
		if param != "" && !strings.HasPrefix(param, "replicaSet=") && !strings.HasPrefix(param, "directConnection=") {
			params = append(params, param)
		}
	}
	return "mongodb://" + login + host + "/?" + strings.Join(params, "&")
}
