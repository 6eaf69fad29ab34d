// Package mongostore keeps the sessions of [gorilla/sessions] in MongoDB. The browser holds a signed cookie;
// the values, their deadline and the removal of what has expired are the collection's.
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
//			session, _ := store.Get(r, "sid") // never nil; of an outage Save tells too
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
// Call [Store.Regenerate] at login, so that a cookie from before is worthless after it. Set
// session.Options.MaxAge to -1 and save to log out. A MaxAge that the application sets on a session is kept
// with it: 0 for a cookie that goes with the browser, more for "remember me".
//
// # Errors
//
// The session beside an error of [Store.Get] is new and safe to save; only ErrUnavailable needs an answer
// of its own, 503. From Save, ErrNotFound means that the session ended meanwhile: send the user to log in.
// Use session.Save, since gorilla's sessions.Save turns errors into text.
//
// # Lifetime
//
// A session ends when its deadline has passed, whether or not its record has been removed. The deadline is
// MaxAge, or Config.TTL if that is 0, after the last Save, and never later than Config.MaxLifetime after
// the login. [Store.KeepAlive] lets requests that only read count as well.
//
// # Requests at the same time
//
// Save merges: changes of different keys all survive, and so does what requests add with AddFlash. Of two
// changes of one key the later Save wins, unless Config.OnConflict says otherwise. A session that has ended
// is never brought back by a late Save.
//
// # Values
//
// Config.PayloadCodec encodes the values: [GobCodec], the default, takes any type, [JSONCodec] and
// [BSONCodec] can be read by others, [BytesCodec] takes the functions of another format. With a
// Config.Sealer, such as [AESGCM], the database holds them encrypted.
//
// # From outside
//
// With Config.UserID, [Store.ByUser] lists the sessions of a user and [Store.DestroyByUser] ends them:
// "your devices", "log out everywhere". [Store.Update] changes the values of a session and [Store.Destroy]
// ends it, whatever its requests are doing. Config.Observe is told of each operation, for metrics and logs.
//
// # Moving in
//
// Config.Previous is the store of before: its sessions are taken over, and nobody has to log in again.
// Config.PlainIDs stores sessions as connect-mongo does for Express.
//
// # Tests
//
// [NewMemory] needs no server. It works in a bubble of testing/synctest, where a session's lifetime passes
// at once.
//
// [gorilla/sessions]: https://pkg.go.dev/github.com/gorilla/sessions
package mongostore
