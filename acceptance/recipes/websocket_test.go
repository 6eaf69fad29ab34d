package recipes

import (
	"context"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func ExampleSockets() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	coll, key := client.Database("app").Collection("sessions"), []byte(os.Getenv("SESSION_KEY"))

	sockets := &Sockets{Every: 30 * time.Second}
	sockets.Store, err = mongostore.New(context.Background(), coll, &mongostore.Config{Observe: sockets.Observe}, key)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /socket", sockets)
}

// chat is a process of a site with websockets.
type chat struct {
	*httptest.Server
	store *mongostore.Store
}

// startChat starts a process whose sockets look each so often.
func startChat(t *testing.T, coll *mongo.Collection, every time.Duration) chat {
	t.Helper()
	sockets := &Sockets{Every: every}
	cfg := &mongostore.Config{Observe: sockets.Observe, UserID: func(session *sessions.Session) string {
		user, _ := session.Values["user"].(string)
		return user
	}}
	sockets.Store = onMongoDB(t, coll, cfg)
	site := http.NewServeMux()
	site.Handle("/", NetHTTP(sockets.Store))
	site.Handle("/socket", sockets)
	return chat{serve(t, site), sockets.Store}
}

// dial opens a websocket, which is closed with the test.
func (b *browser) dial() *websocket.Conn {
	b.t.Helper()
	//nolint:bodyclose // there is none
	conn, _, err := websocket.Dial(b.t.Context(), b.url.String()+"/socket", &websocket.DialOptions{HTTPClient: b.Client})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// echoes tells that a socket is open.
func echoes(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := conn.Read(t.Context()); err != nil || string(message) != "hello" {
		t.Fatalf("sent back: %q, error %v", message, err)
	}
}

// closes waits until the server closes a socket.
func closes(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), "logged out") {
		t.Errorf("a socket whose login has ended: %v", err)
	}
}

func TestSocketsEndWithTheirLogin(t *testing.T) {
	t.Parallel()
	const never, soon = 24 * time.Hour, 100 * time.Millisecond
	for _, c := range []struct {
		name  string
		every time.Duration // that the sockets look
		end   func(t *testing.T, here, elsewhere chat, ada *browser)
	}{
		{"logout in this process", never, func(_ *testing.T, _, _ chat, ada *browser) { ada.post("/logout") }},
		{"login anew in this process", never, func(_ *testing.T, _, _ chat, ada *browser) { ada.post("/login", "user", "bob") }},
		{"log out everywhere in this process", never, func(t *testing.T, here, _ chat, _ *browser) {
			t.Helper()
			if n, err := here.store.DestroyByUser(t.Context(), "ada"); n != 1 || err != nil {
				t.Errorf("%d ended, error %v", n, err)
			}
		}},
		{"logout in another process", soon, func(t *testing.T, _, elsewhere chat, ada *browser) {
			t.Helper()
			open(t, elsewhere.Server, ada.cookies()...).post("/logout")
		}},
		{"login anew in another process", soon, func(t *testing.T, _, elsewhere chat, ada *browser) {
			t.Helper()
			open(t, elsewhere.Server, ada.cookies()...).post("/login", "user", "bob")
		}},
		{"expiry", soon, func(t *testing.T, here, _ chat, _ *browser) {
			t.Helper()
			past := bson.D{{Key: "$set", Value: bson.D{{Key: "expires", Value: time.Now()}}}}
			if _, err := here.store.Collection().UpdateOne(t.Context(), bson.D{{Key: "user", Value: "ada"}}, past); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			coll := mongotest.Shared(t).Database(t).Collection("sessions")
			here, elsewhere := startChat(t, coll, c.every), startChat(t, coll, c.every)
			ada, eve := open(t, here.Server), open(t, here.Server)
			ada.post("/login", "user", "ada")
			eve.post("/login", "user", "eve")
			ending, staying := ada.dial(), eve.dial()
			echoes(t, ending)
			c.end(t, here, elsewhere, ada)
			closes(t, ending)
			echoes(t, staying)
		})
	}
}

func TestSocketsOutliveAnOutage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	sockets := &Sockets{Store: down(t), Every: time.Millisecond}
	if sockets.ended(ctx, mongostore.Record{ID: "some"}) {
		t.Error("an outage of MongoDB ended a socket")
	}
}

func TestSocketsSleepWhenNobodyLogsOut(t *testing.T) {
	t.Parallel()
	sockets := new(Sockets)
	wake := make(chan struct{}, 1)
	sockets.open.Store(wake, "some")
	site := serve(t, NetHTTP(inMemory(t, &mongostore.Config{Observe: sockets.Observe})))
	open(t, site).post("/logout").is(http.StatusOK, "")
	ada := open(t, site)
	ada.post("/login", "user", "ada")
	ada.post("/logout").is(http.StatusOK, "")
	if len(wake) > 0 {
		t.Error("logouts of others, and of nobody, wake a socket")
	}
}

func TestSocketsAreForThoseWhoAreLoggedIn(t *testing.T) {
	t.Parallel()
	here := startChat(t, mongotest.Shared(t).Database(t).Collection("sessions"), time.Hour)
	ada := open(t, here.Server)
	ada.get("/socket").is(http.StatusUnauthorized, "")
	ada.post("/basket/apple")
	ada.get("/socket").is(http.StatusUnauthorized, "")
	ada.post("/login", "user", "ada")
	//nolint:bodyclose // there is none
	_, response, err := websocket.Dial(t.Context(), here.URL+"/socket", &websocket.DialOptions{
		HTTPClient: ada.Client, HTTPHeader: http.Header{"Origin": {"https://evil.example"}},
	})
	if err == nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site: %v, error %v", response, err)
	}
	lost := open(t, serve(t, &Sockets{Store: down(t), Every: time.Hour}), ada.cookies()...)
	lost.get("/socket").is(http.StatusServiceUnavailable, "")
}
