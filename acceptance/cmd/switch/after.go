package main

import (
	"context"
	"net/http"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/legacy"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// after is the application on mongostore, with the driver of today. The key and the name of the session are those
// of before; the collection is a new one.
func after(ctx context.Context, db *mongo.Database, key []byte) (http.Handler, error) {
	previous := legacy.MongoStore(db.Collection("sessions"), key)
	previous.MaxAge(30 * 24 * 60 * 60) // as NewStore had it
	store, err := mongostore.New(ctx, db.Collection("logins"), &mongostore.Config{Previous: previous}, key)
	if err != nil {
		return nil, err
	}
	return routes(store), nil
}
