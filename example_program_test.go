package mongostore_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func Example() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	coll := client.Database("app").Collection("sessions")
	key := []byte(os.Getenv("SESSION_KEY"))
	store, err := mongostore.New(context.Background(), coll, nil, key)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", counter(store))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

// counter counts a visitor's requests.
func counter(store sessions.Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid") // never nil; if MongoDB is down, Save reports it
		visits, _ := session.Values["visits"].(int)
		session.Values["visits"] = visits + 1
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "visit", visits+1)
	})
}
