// Package mongostore is a MongoDB session store for [gorilla/sessions]. Session data lives in MongoDB, the browser gets
// only a signed cookie, and expired sessions are deleted automatically.
//
// This program counts the visits of each browser:
//
//	package main
//
//	import (
//		"context"
//		"fmt"
//		"log"
//		"net/http"
//		"os"
//
//		"github.com/gorilla/sessions"
//		"github.com/mongostore/mongostore"
//		"go.mongodb.org/mongo-driver/v2/mongo"
//		"go.mongodb.org/mongo-driver/v2/mongo/options"
//	)
//
//	func main() {
//		client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
//		if err != nil {
//			log.Fatal(err)
//		}
//		coll := client.Database("app").Collection("sessions")
//		key := []byte(os.Getenv("SESSION_KEY"))
//		store, err := mongostore.New(context.Background(), coll, nil, key)
//		if err != nil {
//			log.Fatal(err)
//		}
//		http.Handle("/", counter(store))
//		log.Fatal(http.ListenAndServe("localhost:8080", nil))
//	}
//
//	// counter counts a visitor's requests.
//	func counter(store sessions.Store) http.Handler {
//		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//			session, _ := store.Get(r, "sid") // never nil; if MongoDB is down, Save reports it
//			visits, _ := session.Values["visits"].(int)
//			session.Values["visits"] = visits + 1
//			if err := session.Save(r, w); err != nil {
//				http.Error(w, "please try again", http.StatusServiceUnavailable)
//				return
//			}
//			fmt.Fprintln(w, "visit", visits+1)
//		})
//	}
//
// # Login and logout
//
// Call [Store.Regenerate] at login, so that older cookies are worthless after it. To log out, set session.Options.MaxAge
// to -1 and save. The session keeps any other MaxAge: 0 for a cookie that ends with the browser, more for "remember me".
//
// # Errors
//
// [Store.Get] returns a new session beside an error, safe to save; only ErrUnavailable needs an answer of its own, 503. If
// Save returns ErrNotFound, the session has ended: send the user to log in. Call session.Save; gorilla's sessions.Save
// turns errors into text.
//
// # Lifetime
//
// A session ends at its deadline, whether or not its record has been deleted by then: MaxAge, or Config.TTL if that is 0,
// after the last Save, and never later than Config.MaxLifetime after the login. With [Store.KeepAlive], requests that
// only read count too.
//
// # Concurrent requests
//
// Save merges: changes of different keys all survive, and so do additions with AddFlash. If two requests change the same
// key, the later Save wins, unless Config.OnConflict says otherwise. A late Save cannot bring back an ended session.
//
// # Values
//
// Config.PayloadCodec encodes the values: [GobCodec], the default, takes any type, [JSONCodec] and [BSONCodec] can be read
// by others, [BytesCodec] takes the functions of another format. A Config.Sealer, such as [AESGCM], encrypts them.
//
// # From outside a request
//
// With Config.UserID, [Store.ByUser] lists the sessions of a user and [Store.DestroyByUser] ends them: "your devices",
// "log out everywhere". [Store.Update] changes the values of a session and [Store.Destroy] ends it, whatever its requests
// are doing. Config.Observe is called after each operation, for metrics and logs.
//
// # Moving in
//
// Config.Previous is your former store: its sessions are imported, and nobody has to log in again. Config.PlainIDs stores
// sessions as connect-mongo does for Express.
//
// # Tests
//
// [NewMemory] needs no server. In a testing/synctest bubble, a session's lifetime passes at once.
//
// [gorilla/sessions]: https://pkg.go.dev/github.com/gorilla/sessions
package mongostore
