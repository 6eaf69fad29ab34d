package mongotest_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestSecuredServersUserMayDoNoMoreThanThePrivilegesSay(t *testing.T) {
	t.Parallel()
	s := mongotest.Secured(t)
	db := s.Database(t)
	uri := s.UserURI(t, mongotest.Privilege{Database: db.Name(), Collection: "mine", Actions: []string{"insert"}})
	own := s.Client(t, options.Client().ApplyURI(uri)).Database(db.Name())
	if err := insert(t.Context(), own.Collection("mine")); err != nil {
		t.Errorf("what is allowed: %v", err)
	}
	const unauthorized = 13
	var se mongo.ServerError
	if err := insert(t.Context(), own.Collection("other")); !errors.As(err, &se) || !se.HasErrorCode(unauthorized) {
		t.Errorf("another collection: %v, want Unauthorized", err)
	}
	if err := own.Collection("mine").FindOne(t.Context(), bson.D{}).Err(); !errors.As(err, &se) || !se.HasErrorCode(unauthorized) {
		t.Errorf("another action: %v, want Unauthorized", err)
	}
}

func TestSecuredServerTakesTLSFromThoseWhoTrustItOnly(t *testing.T) {
	t.Parallel()
	s := mongotest.Secured(t)
	ping := func(opts *options.ClientOptions) error { return s.Client(t, opts).Ping(t.Context(), nil) }
	if err := ping(options.Client().SetTLSConfig(s.TLSConfig())); err != nil {
		t.Errorf("TLSConfig: %v", err)
	}
	certificate, err := tls.LoadX509KeyPair(s.CertFile, s.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	config := s.TLSConfig()
	config.Certificates = []tls.Certificate{certificate}
	if err := ping(options.Client().SetTLSConfig(config)); err != nil {
		t.Errorf("CertFile: %v", err)
	}
	stranger := options.Client().SetTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12})
	if err := ping(stranger.SetServerSelectionTimeout(time.Second)); err == nil {
		t.Error("a client that does not know the authority trusts the server")
	}
	host := options.Client().ApplyURI(s.URI()).Hosts[0]
	plain, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + host).SetServerSelectionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Disconnect(t.Context()) }()
	if err := plain.Ping(t.Context(), nil); err == nil {
		t.Error("a connection without TLS")
	}
}
