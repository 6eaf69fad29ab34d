package acceptance

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// The names of a cluster as a DNS has them: that of the URI, and that of its
// only member.
const (
	cluster = "sessions.mongotest.test."
	member  = "node.mongotest.test."
)

// nameServer is a DNS server on the loopback interface.
type nameServer struct {
	address string
	port    uint16 // of the member
	txt     string
	mu      sync.Mutex
	asked   map[string]int // by type and name
}

// asking is the name server that this process asks, nil for the system's.
var asking atomic.Pointer[nameServer]

// resolver returns one that asks it. It is set once, before anything dials:
// the net package reads its resolver whenever it does.
func resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if n := asking.Load(); n != nil {
			network, address = "udp", n.address
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

// startNameServer starts one that knows a cluster of one member, and makes it
// the one that this process asks until the test ends.
func startNameServer(t *testing.T, port uint16, txt string) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{address: conn.LocalAddr().String(), port: port, txt: txt, asked: map[string]int{}}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(started) }}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	asking.Store(n)
	t.Cleanup(func() {
		asking.Store(nil)
		_ = server.Shutdown()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n
}

// ServeDNS answers one question.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(r)
	question := r.Question[0]
	kind := dns.TypeToString[question.Qtype]
	n.mu.Lock()
	n.asked[kind+" "+question.Name]++
	n.mu.Unlock()
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 60}
	switch kind + " " + question.Name {
	case "SRV _mongodb._tcp." + cluster:
		answer.Answer = []dns.RR{&dns.SRV{Hdr: header, Port: n.port, Target: member}}
	case "TXT " + cluster:
		answer.Answer = []dns.RR{&dns.TXT{Hdr: header, Txt: []string{n.txt}}}
	case "A " + member:
		answer.Answer = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)}}
	case "AAAA " + member: // it has none
	default:
		answer.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(answer)
}

func (n *nameServer) times(question string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[question]
}

// srvURI is a connection string as a hosting service hands it out.
func srvURI(user *url.Userinfo, host, database string) string {
	return (&url.URL{Scheme: "mongodb+srv", User: user, Host: strings.TrimSuffix(host, "."), Path: "/" + database}).String()
}

func memberOf(t *testing.T, server *mongotest.Server) (user *url.Userinfo, port uint16) {
	t.Helper()
	u, err := url.Parse(server.URI())
	if err != nil {
		t.Fatal(err)
	}
	address, err := net.ResolveTCPAddr("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	return u.User, address.AddrPort().Port()
}

// TestOpenFollowsSRV opens a store by a name of which DNS has the address, the
// port and the database to log in at, over TLS with an authority of its own.
func TestOpenFollowsSRV(t *testing.T) {
	server := mongotest.Secured(t)
	user, port := memberOf(t, server)
	db := server.Database(t)
	n := startNameServer(t, port, "authSource=admin")
	trust := server.TLSConfig()
	trust.ServerName = "localhost" // what the certificate says; the member's name is not in it

	store, err := mongostore.Open(t.Context(), srvURI(user, cluster, db.Name()),
		&mongostore.Config{ClientOptions: options.Client().SetTLSConfig(trust)}, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if got := store.Collection().Database().Name(); got != db.Name() {
		t.Errorf("the database is %q, want %q, the URI's", got, db.Name())
	}
	save(t, store, "v1")
	if count, err := db.Collection("sessions").CountDocuments(t.Context(), bson.D{}); err != nil || count != 1 {
		t.Errorf("%d sessions are stored (%v), want 1", count, err)
	}
	for _, question := range []string{"SRV _mongodb._tcp." + cluster, "TXT " + cluster, "A " + member} {
		if n.times(question) == 0 {
			t.Errorf("DNS was not asked for %s", question)
		}
	}
}

// TestOpenSaysWhatIsWrongWithSRV looks at the errors of what is commonly wrong.
func TestOpenSaysWhatIsWrongWithSRV(t *testing.T) {
	server := mongotest.Secured(t)
	user, port := memberOf(t, server)
	trust := server.TLSConfig()
	trust.ServerName = "localhost"
	const patience = 2 * time.Second
	soon := func() *options.ClientOptions { return options.Client().SetServerSelectionTimeout(patience) }
	const elsewhere = "elsewhere.mongotest.test."
	for _, test := range []struct {
		name, host, txt string
		opts            *options.ClientOptions
		wants           string
		unavailable     bool
	}{
		{"no such name", elsewhere, "", soon().SetTLSConfig(trust), "elsewhere.mongotest.test", false},
		{"an authority that is not trusted", cluster, "authSource=admin", soon().SetTLSConfig(&tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12}), "unknown authority", true},
		{"a name that the certificate has not", cluster, "authSource=admin", soon().SetTLSConfig(server.TLSConfig()), "not node.mongotest.test", true},
		{"logging in at the wrong database", cluster, "authSource=other", soon().SetTLSConfig(trust), "uthentication failed", false},
		{"an option that DNS must not set", cluster, "tls=false", soon().SetTLSConfig(trust), "tls", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			startNameServer(t, port, test.txt)
			var store *mongostore.Store
			var err error
			mongotest.NewYardstick(t).Within(t, "Open", patience, func() { // and not twice that
				store, err = mongostore.Open(t.Context(), srvURI(user, test.host, "sessions"),
					&mongostore.Config{ClientOptions: test.opts}, signingKey)
			})
			if err == nil {
				_ = store.Close()
				t.Fatal("Open works, want an error")
			}
			if !strings.Contains(err.Error(), test.wants) {
				t.Errorf("the error is %q, want it to say %q", err, test.wants)
			}
			if password, _ := user.Password(); strings.Contains(err.Error(), ":"+password+"@") {
				t.Errorf("the error is %q, with the password", err)
			}
			if got := errors.Is(err, mongostore.ErrUnavailable); got != test.unavailable {
				t.Errorf("ErrUnavailable: %v, want %v", got, test.unavailable)
			}
		})
	}
}

// save stores a new session with one value, and returns its cookie.
func save(t *testing.T, store *mongostore.Store, value string) *http.Cookie {
	t.Helper()
	r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, site.String(), nil), httptest.NewRecorder()
	session, err := store.Get(r, name)
	if err == nil {
		session.Values["a"] = value
		err = session.Save(r, w)
	}
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := http.ParseSetCookie(w.Header().Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}
