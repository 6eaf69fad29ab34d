package soajs_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/soajs"
)

// The dbConfig in a file opens a store. What of it has no meaning any more is in the log.
//
//nolint:gosec // a server of a few lines has no timeouts
func ExampleParse() {
	data, err := os.ReadFile("dbconfig.json")
	if err != nil {
		log.Fatal(err)
	}
	dbConfig, err := soajs.Parse(data)
	if err != nil {
		log.Fatal(err)
	}
	for _, ignored := range dbConfig.Ignored() {
		log.Print("ignored: ", ignored)
	}
	cfg := dbConfig.Config()
	cfg.CookieCodecs = []securecookie.Codec{connectmongo.Cookie(os.Getenv("SESSION_SECRET"))}
	store, err := mongostore.Open(context.Background(), dbConfig.URI(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", counter(store))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

// counter counts a visitor's requests.
//
//nolint:gosec // as an application would write it; a number is no XSS
func counter(store sessions.Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "soajsID")       // never nil; if MongoDB is down, Save reports it
		visits, _ := session.Values["visits"].(int) // with stringify: true, numbers are float64
		session.Values["visits"] = visits + 1
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "visit", visits+1)
	})
}

// What is wrong is named, all of it at once.
func ExampleParse_errors() {
	_, err := soajs.Parse([]byte(`{
		"servers": [{"host": "127.0.0.1", "port": 27017}],
		"URLParam": {"maxpoolsize": 5, "w": 0},
		"expireAfter": "2 weeks"
	}`))
	fmt.Println(err)
	// Output:
	// soajs: expireAfter is a string, not a number
	// soajs: URLParam.maxpoolsize is no key of a dbConfig; maxPoolSize is
	// soajs: URLParam.w is 0, which is unacknowledged: nobody could tell whether a session was stored; use 1 or more, or "majority"
}

// A dbConfig may be written in Go, too. Names and passwords are escaped.
func ExampleConfig() {
	dbConfig := soajs.Config{
		Prefix:      "dev_",
		Name:        "core_session",
		Servers:     []soajs.Server{{Host: "a.example.com", Port: 27017}, {Host: "b.example.com"}},
		Credentials: &soajs.Credentials{Username: "app", Password: "p@ss/word"},
		URLParam:    map[string]any{"replicaSet": "rs", "authSource": "admin"},
		ExtraParam:  soajs.ExtraParam{Server: map[string]any{"reconnectTries": 30}},
		Collection:  "sessions",
		ExpireAfter: 14 * 24 * 60 * 60 * 1000,
	}
	fmt.Println(dbConfig.Validate())
	fmt.Println(dbConfig.URI())
	fmt.Println(dbConfig.Config().TTL)
	fmt.Println(dbConfig.Ignored())
	// Output:
	// <nil>
	// mongodb://app:p%40ss%2Fword@a.example.com:27017,b.example.com:27017/dev_core_session?authSource=admin&replicaSet=rs
	// 336h0m0s
	// [extraParam.server.reconnectTries: the driver reconnects for as long as it is asked]
}
