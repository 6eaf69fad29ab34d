package recipes

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	mongotest.Main(m)
}

var (
	signingKey = []byte("0123456789abcdef0123456789abcdef")
	csrfKey    = []byte("fedcba9876543210fedcba9876543210")
)

// inMemory returns a store that keeps its sessions in the process.
func inMemory(t *testing.T, cfg *mongostore.Config) *mongostore.Store {
	t.Helper()
	store, err := mongostore.NewMemory(cfg, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// onMongoDB returns a store on a collection.
func onMongoDB(t *testing.T, coll *mongo.Collection, cfg *mongostore.Config) *mongostore.Store {
	t.Helper()
	store, err := mongostore.New(t.Context(), coll, cfg, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// down returns a store whose MongoDB refuses connections. It reads the cookies of inMemory and onMongoDB.
func down(t *testing.T) *mongostore.Store {
	t.Helper()
	port, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = port.Close()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + port.Addr().String()).SetServerSelectionTimeout(100 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(t.Context()) })
	return onMongoDB(t, client.Database("app").Collection("sessions"), &mongostore.Config{NoIndexes: true})
}

// serve runs a site for as long as the test.
func serve(t *testing.T, site http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(site)
	t.Cleanup(server.Close)
	return server
}

// browser keeps cookies and follows redirects.
type browser struct {
	*http.Client
	t   *testing.T
	url *url.URL
}

// open returns a browser at a site, with cookies that it has from before.
func open(t *testing.T, server *httptest.Server, cookies ...*http.Cookie) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	site, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(site, cookies)
	return &browser{&http.Client{Transport: server.Client().Transport, Jar: jar}, t, site}
}

// cookies returns what the browser sends to the front page.
func (b *browser) cookies() []*http.Cookie { return b.Jar.Cookies(b.url) }

// get asks for a page.
func (b *browser) get(path string) *answer { return b.send(http.MethodGet, path, "") }

// post sends a form as a page of the site does, and goes where that leads.
func (b *browser) post(path string, fields ...string) *answer {
	return b.send(http.MethodPost, path, b.url.String(), fields...)
}

// send sends names and values of fields from a page of that origin.
func (b *browser) send(method, path, origin string, fields ...string) *answer {
	b.t.Helper()
	form := make(url.Values)
	for pair := range slices.Chunk(fields, 2) {
		form.Set(pair[0], pair[1])
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url.String()+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return &answer{response, b.t, string(text)}
}

// answer is what came back, and has been read.
type answer struct {
	*http.Response
	t    *testing.T
	text string
}

// is fails the test if the status or the text are others; an empty text means any.
func (a *answer) is(status int, text string) {
	a.t.Helper()
	if a.StatusCode != status || text != "" && a.text != text {
		a.t.Errorf("%s: %d %q, want %d %q", a.Request.URL.Path, a.StatusCode, a.text, status, text)
	}
}
