package attack

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/securecookie"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestMain(m *testing.M) {
	if bomb := os.Getenv(bombVariable); bomb != "" {
		explode(bomb)
		return
	}
	mongotest.Main(m)
}

// inFull returns the first number in a full run, the other one otherwise.
func inFull(full, short int) int {
	if os.Getenv("MONGOSTORE_LONG") != "" {
		return full
	}
	return short
}

var (
	signingKey = []byte("0123456789abcdef0123456789abcdef")
	sealingKey = []byte("fedcba9876543210fedcba9876543210")
)

// target is a site under attack.
type target struct {
	*scenario.Scenario
	t      *testing.T
	store  *mongostore.Store
	coll   *mongo.Collection
	uri    string // with the database
	server *httptest.Server
	lines  map[string]*line // open connections, by what is connected
}

// attacked begins a scenario with a site of its own; a nil cfg means the defaults.
func attacked(t *testing.T, name, load string, cfg *mongostore.Config, watch ...*options.ClientOptions) *target {
	t.Helper()
	mongod := mongotest.Standalone(t)
	coll := mongod.Database(t, watch...).Collection("sessions")
	if cfg == nil {
		cfg = new(mongostore.Config)
	}
	cfg.UserID = UserOf
	store, err := mongostore.New(t.Context(), coll, cfg, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	server := httptest.NewTLSServer(Site(store))
	t.Cleanup(server.Close)
	return &target{scenario.New(t, name, load), t, store, coll, mongod.DatabaseURI(coll.Database().Name()), server, make(map[string]*line)}
}

// visitor is a browser.
type visitor struct {
	at   *target
	http *http.Client
	user string
}

func (at *target) visitor(user string) *visitor {
	at.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		at.t.Fatal(err)
	}
	return &visitor{at, &http.Client{Transport: at.server.Client().Transport, Jar: jar}, user}
}

// holding returns a browser with a copy of a cookie.
func (at *target) holding(cookie string) *visitor {
	at.t.Helper()
	v := at.visitor("")
	address, err := url.Parse(at.server.URL)
	if err != nil {
		at.t.Fatal(err)
	}
	v.http.Jar.SetCookies(address, []*http.Cookie{{Name: "sid", Value: cookie, Path: "/", Secure: true}})
	return v
}

// login returns a visitor who has logged in.
func (at *target) login(user string, more ...string) *visitor {
	at.t.Helper()
	v := at.visitor(user)
	if a := v.ask("/login", append(more, "user", user)...); a.User != user || a.Error != "" {
		at.t.Fatalf("a login of %q: %+v", user, a)
	}
	return v
}

// ask sends a request with parameters, as name and value in turn.
func (v *visitor) ask(path string, parameters ...string) Answer {
	v.at.t.Helper()
	return v.askAt(v.at.server.URL, path, parameters...)
}

func (v *visitor) askAt(site, path string, parameters ...string) Answer {
	v.at.t.Helper()
	form := make(url.Values)
	for pair := range slices.Chunk(parameters, 2) {
		form.Set(pair[0], pair[1])
	}
	r, err := http.NewRequestWithContext(v.at.t.Context(), http.MethodPost, site+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.at.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	v.at.Requests.Add(1)
	response, err := v.http.Do(r) //nolint:bodyclose // read does
	if err != nil {
		v.at.t.Fatal(err)
	}
	return read(v.at.t, response)
}

func read(t *testing.T, response *http.Response) Answer {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	a := Answer{Status: response.StatusCode}
	if a.Status != http.StatusOK {
		_, _ = io.Copy(io.Discard, response.Body)
		return a
	}
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// cookie returns the value of the visitor's cookie; "" without one.
func (v *visitor) cookie(name string) string {
	address, err := url.Parse(v.at.server.URL)
	if err != nil {
		v.at.t.Fatal(err)
	}
	for _, c := range v.http.Jar.Cookies(address) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// handle returns the id of the visitor's record.
func (v *visitor) handle() string {
	v.at.t.Helper()
	handle, _, _ := strings.Cut(opened(v.at.t, "sid", v.cookie("sid")), ".")
	return handle
}

// opened returns what a cookie carries.
func opened(t *testing.T, name, cookie string) string {
	t.Helper()
	var carried []byte
	if err := codecOf(signingKey).Decode(name, cookie, &carried); err != nil {
		t.Fatal(err)
	}
	return string(carried)
}

// forged returns a cookie as one who has the key can make it.
func forged(t *testing.T, name, carried string) string {
	t.Helper()
	return forgedWith(t, signingKey, name, carried)
}

func forgedWith(t *testing.T, key []byte, name, carried string) string {
	t.Helper()
	cookie, err := codecOf(key).Encode(name, []byte(carried))
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

func codecOf(key []byte) *securecookie.SecureCookie {
	return securecookie.New(key, nil).MaxAge(0).MaxLength(1 << 20).SetSerializer(securecookie.NopEncoder{})
}

// line is a connection to a site on which a request may hold anything.
type line struct {
	conn *tls.Conn
	in   *bufio.Reader
}

// raw sends a request with this Cookie header, byte for byte. A status of 0
// means that the server hung up.
func (at *target) raw(path, header string) Answer {
	at.t.Helper()
	at.Requests.Add(1)
	request := "GET " + path + " HTTP/1.1\r\nHost: example.com\r\nCookie: " + header + "\r\n\r\n"
	address := at.server.Listener.Addr().String()
	l := at.lines[address]
	if l == nil {
		transport, _ := at.server.Client().Transport.(*http.Transport)
		config := transport.TLSClientConfig.Clone()
		config.ServerName = "example.com"
		conn, err := (&tls.Dialer{Config: config}).DialContext(at.t.Context(), "tcp", address)
		if err != nil {
			at.t.Fatal(err)
		}
		l = &line{conn.(*tls.Conn), bufio.NewReader(conn)}
		at.lines[address] = l
		at.t.Cleanup(func() { _ = conn.Close() })
	}
	_, _ = io.WriteString(l.conn, request)        // an answer may come all the same
	response, err := http.ReadResponse(l.in, nil) //nolint:bodyclose // read does
	if err != nil {
		delete(at.lines, address)
		return Answer{}
	}
	if response.Close || response.StatusCode != http.StatusOK {
		delete(at.lines, address)
	}
	return read(at.t, response)
}

// who tells whom the site takes the holder of this header for.
func (at *target) who(header string) Answer {
	at.t.Helper()
	return at.raw("/who", header)
}

// nobody fails unless a header lets nobody in, and is answered: a site that
// panics hangs up.
func (at *target) nobody(what, header string) {
	at.t.Helper()
	if a := at.who(header); a.User != "" || a.ID != "" || a.Status == 0 {
		at.Violation("%s: status %d, let in as %q (%s)", what, a.Status, a.User, a.Error)
	}
}

// documents returns all records as they are, by id.
func (at *target) documents() map[string]string {
	at.t.Helper()
	cursor, err := at.coll.Find(at.t.Context(), bson.D{})
	if err != nil {
		at.t.Fatal(err)
	}
	found := make(map[string]string)
	for cursor.Next(at.t.Context()) {
		found[cursor.Current.Lookup("_id").String()] = string(cursor.Current)
	}
	if err := cursor.Err(); err != nil {
		at.t.Fatal(err)
	}
	return found
}

// document returns a record.
func (at *target) document(id string) bson.M {
	at.t.Helper()
	var doc bson.M
	if err := at.coll.FindOne(at.t.Context(), bson.D{{Key: "_id", Value: id}}).Decode(&doc); err != nil {
		at.t.Fatal(err)
	}
	return doc
}

// put stores a record in the place of the one with its id.
func (at *target) put(doc bson.M) {
	at.t.Helper()
	_, err := at.coll.ReplaceOne(at.t.Context(), bson.D{{Key: "_id", Value: doc["_id"]}}, doc, options.Replace().SetUpsert(true))
	if err != nil {
		at.t.Fatal(err)
	}
}

// random returns so many random bytes as text of two hexadecimal digits each.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x", b)
}
