package acceptance

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/boj/redistore"
	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/legacy"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ginStore makes a Store one of gin-contrib/sessions.
type ginStore struct{ *mongostore.Store }

// Options implements ginsessions.Store. It replaces all of the cookie's attributes, as there.
func (s ginStore) Options(options ginsessions.Options) {
	s.Store.Options = options.ToGorillaOptions()
}

// A gin application goes on with the cookies of gin-contrib's Mongo store.
func Example_gin() {
	key := []byte(os.Getenv("SESSION_KEY")) // as it was
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	db := client.Database("app")
	previous := legacy.MongoStore(db.Collection("sessions"), key)
	previous.MaxAge(3600) // as NewStore had it
	store, err := mongostore.New(context.Background(), db.Collection("logins"), &mongostore.Config{Previous: previous}, key)
	if err != nil {
		log.Fatal(err)
	}
	router := gin.Default()
	router.Use(ginsessions.Sessions("sid", ginStore{store}))
}

// tolerant tells an outage of Redis from a session that is not there, which New of boj/redistore returns no error for.
type tolerant struct{ *redistore.RediStore }

// New implements sessions.Store.
func (s tolerant) New(r *http.Request, name string) (*sessions.Session, error) {
	session, err := s.RediStore.New(r, name)
	if invalid := securecookie.Error(nil); err != nil && !errors.As(err, &invalid) {
		err = fmt.Errorf("%w: %w", mongostore.ErrUnavailable, err)
	}
	return session, err
}

// The sessions of a Redis go on in MongoDB.
func Example_redistore() {
	key := []byte(os.Getenv("SESSION_KEY")) // as it was
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017"))
	if err != nil {
		log.Fatal(err)
	}
	coll := client.Database("app").Collection("sessions")
	previous, err := redistore.NewRediStore(10, "tcp", "localhost:6379", "", "", key) // as it was
	if err != nil {
		log.Fatal(err)
	}
	store, err := mongostore.New(context.Background(), coll, &mongostore.Config{Previous: tolerant{previous}}, key)
	if err != nil {
		log.Fatal(err)
	}
	_ = store
}
