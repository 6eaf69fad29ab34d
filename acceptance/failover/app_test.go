package failover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// An app is this test binary run once more, with the URI in its environment. It
// prints its address and serves until its standard input ends.
const uriVariable = "MONGOSTORE_FAILOVER_URI"

// The cookies, each with a store of its own.
const (
	majority = "sid"      // the client's write concern is the server's default
	weak     = "sid-weak" // it is w=1
)

const (
	userKey = "user"
	listKey = "list"
)

// page is the answer of the app to a question about the session.
type page struct {
	User   string            `json:"user"`
	Values map[string]string `json:"values,omitempty"`
	List   []string          `json:"list,omitempty"`
}

// serve is main of an app.
func serve(uri string) error {
	router := mux.NewRouter()
	for name, uri := range map[string]string{majority: uri, weak: uri + "&w=1"} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		store, err := mongostore.Open(ctx, uri, &mongostore.Config{
			Collection: name, Timeout: timeout,
			UserID: userOf,
		}, []byte("0123456789abcdef0123456789abcdef"))
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }()
		store.Options.Secure = false
		routes(router.PathPrefix("/"+name).Methods(http.MethodPost).Subrouter(), store, name)
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: router, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler acts on the session of a request and says whether to save it, which
// an error forbids.
type handler func(store *mongostore.Store, s *sessions.Session, r *http.Request) (save bool, err error)

func routes(router *mux.Router, store *mongostore.Store, name string) {
	for path, act := range map[string]handler{
		"/login": login, "/set": set, "/append": add, "/read": read, "/logout": logout, "/everywhere": everywhere,
	} {
		router.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			session, err := store.Get(r, name)
			save := false
			if err == nil || path == "/logout" { // which a load that failed does not keep from trying
				save, err = act(store, session, r)
			}
			if save {
				err = session.Save(r, w)
			}
			answer(w, session, err)
		})
	}
}

func userOf(s *sessions.Session) string {
	user, _ := s.Values[userKey].(string)
	return user
}

// written is the status of a change that the primary made, but for all one knows
// no majority has.
const written = http.StatusGatewayTimeout

// answer writes the session, or why there is none.
func answer(w http.ResponseWriter, s *sessions.Session, err error) {
	var exception mongo.WriteException
	switch {
	case errors.As(err, &exception) && exception.WriteConcernError != nil:
		http.Error(w, err.Error(), written)
		return
	case errors.Is(err, mongostore.ErrUnavailable), errors.Is(err, mongostore.ErrConflict):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	case errors.Is(err, mongostore.ErrNotFound):
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p := page{User: userOf(s), Values: map[string]string{}}
	for key, value := range s.Values {
		if name, _ := key.(string); name != userKey && name != listKey {
			p.Values[name], _ = value.(string)
		}
	}
	list, _ := s.Values[listKey].([]any)
	for _, item := range list {
		p.List = append(p.List, fmt.Sprint(item))
	}
	_ = json.NewEncoder(w).Encode(p)
}

func login(store *mongostore.Store, s *sessions.Session, r *http.Request) (bool, error) {
	store.Regenerate(s)
	s.Values[userKey] = r.FormValue("user")
	return true, nil
}

// The others do nothing for who is not logged in; the answer tells.

func set(_ *mongostore.Store, s *sessions.Session, r *http.Request) (bool, error) {
	s.Values[r.FormValue("key")] = r.FormValue("value")
	return loggedIn(s)
}

func add(_ *mongostore.Store, s *sessions.Session, r *http.Request) (bool, error) {
	s.AddFlash(r.FormValue("value"), listKey)
	return loggedIn(s)
}

func read(_ *mongostore.Store, s *sessions.Session, _ *http.Request) (bool, error) {
	return userOf(s) != "", nil
}

func logout(_ *mongostore.Store, s *sessions.Session, _ *http.Request) (bool, error) {
	s.Options.MaxAge = -1
	return true, nil
}

func everywhere(store *mongostore.Store, s *sessions.Session, r *http.Request) (bool, error) {
	if save, err := loggedIn(s); !save {
		return false, err
	}
	_, err := store.DestroyByUser(r.Context(), userOf(s))
	s.Options.MaxAge = -1
	return err == nil, err
}

func loggedIn(s *sessions.Session) (bool, error) {
	if userOf(s) == "" {
		return false, mongostore.ErrNotFound
	}
	return true, nil
}

// startApps starts the app processes and returns their addresses.
func startApps(t *testing.T, uri string) (addresses []string) {
	t.Helper()
	for range apps {
		cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this binary
		cmd.Env = append(os.Environ(), uriVariable+"="+uri)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		end, err := mongotest.Own(cmd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); end() })
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("an app said %q and then no more: %v", line, err)
		}
		addresses = append(addresses, "http://"+strings.TrimSpace(line))
	}
	return addresses
}
