package legacy_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/legacy"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// The sessions in the collection "sessions" go on in the collection "logins".
//
//nolint:gosec // a server of a few lines has no timeouts
func ExampleMongoStore() {
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	db, key := client.Database("app"), []byte(os.Getenv("SESSION_KEY")) // the key as it was

	previous := legacy.MongoStore(db.Collection("sessions"), key)
	previous.MaxAge(30 * 24 * 60 * 60) // the maxAge of NewMongoStore
	cfg := &mongostore.Config{Previous: previous}
	store, err := mongostore.New(context.Background(), db.Collection("logins"), cfg, key)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", whoami(store))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

// whoami answers with the user's name.
//
//nolint:gosec // as an application would write it; plain text is no XSS
func whoami(store sessions.Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "sid") // the name as it was; never nil
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, session.Values["user"])
	})
}

// The attributes of the cookie are this store's own; where an application needs those of before, it sets them.
func ExampleMongoStore_attributes() {
	key := []byte(os.Getenv("SESSION_KEY"))
	store, err := mongostore.NewMemory(&mongostore.Config{Previous: sessions.NewCookieStore(key)})
	if err != nil {
		log.Fatal(err)
	}
	store.Options.SameSite = http.SameSiteNoneMode // as CookieStore has it, if the site is shown in frames of others
	store.Options.HttpOnly = false                 // if scripts read the cookie
	store.MaxAge(30 * 24 * 60 * 60)                // seconds
}
