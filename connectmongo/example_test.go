package connectmongo_test

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
)

// A Go application beside one of Express with connect-mongo, on its collection and with its cookie.
//
//nolint:gosec // a server of a few lines has no timeouts
func Example() {
	store, err := mongostore.Open(context.Background(), os.Getenv("MONGODB_URI"), &mongostore.Config{
		PlainIDs:     true,
		CookieCodecs: []securecookie.Codec{connectmongo.Cookie(os.Getenv("SESSION_SECRET"))},
		PayloadCodec: connectmongo.Codec{},
	})
	if err != nil {
		log.Fatal(err)
	}
	store.Options.Secure = os.Getenv("NODE_ENV") == "production"
	http.Handle("/go", visits(store))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

// visits counts a visitor's requests.
//
//nolint:errcheck,gosec // as an application would write it; plain text is no XSS
func visits(store sessions.Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := store.Get(r, "connect.sid")       // never nil; if MongoDB is down, Save reports it
		visits, _ := session.Values["visits"].(float64) // as JSON has its numbers
		session.Values["visits"] = visits + 1
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "Go: visit %v of %v\n", visits+1, session.Values["user"])
	})
}

// Two secrets of the cookie, ids that are stored as a hash, documents, touchAfter, and a deadline of its own for each
// session of an Express that has the same.
func ExampleCodec() {
	cfg := &mongostore.Config{
		PlainIDs: true,
		CookieCodecs: []securecookie.Codec{
			connectmongo.Cookie(os.Getenv("SESSION_SECRET")),
			connectmongo.Cookie(os.Getenv("OLD_SESSION_SECRET")),
		},
		PayloadCodec: connectmongo.Codec{Document: true},             // stringify: false
		TransformID:  mongostore.HashID([]byte(os.Getenv("ID_KEY"))), // transformId
		LastModified: true,                                           // touchAfter
	}
	_ = cfg
}

// What connect-mongo encrypts with createWebCryptoAdapter({ secret, encoding: 'base64url' }).
func ExampleWebCrypto() {
	cfg := &mongostore.Config{
		PlainIDs:     true,
		CookieCodecs: []securecookie.Codec{connectmongo.Cookie(os.Getenv("SESSION_SECRET"))},
		PayloadCodec: connectmongo.Codec{
			Crypto: connectmongo.WebCrypto(os.Getenv("CRYPTO_SECRET"), connectmongo.WebCryptoOptions{Encoding: "base64url"}),
		},
	}
	_ = cfg
}

// What connect-mongo encrypts with createKrupteinAdapter({ secret }) or crypto: { secret }.
func ExampleKruptein() {
	codec := connectmongo.Codec{Crypto: connectmongo.Kruptein(os.Getenv("CRYPTO_SECRET"))}
	_ = codec
}

// A Go application that leaves Express behind: logins go on in a collection with split tokens, under a cookie that is
// replaced at the first Save. Express does not know them from then on.
func ExampleCookie() {
	ctx, uri := context.Background(), os.Getenv("MONGODB_URI")
	express, err := mongostore.Open(ctx, uri, &mongostore.Config{
		PlainIDs:     true,
		CookieCodecs: []securecookie.Codec{connectmongo.Cookie(os.Getenv("SESSION_SECRET"))},
		PayloadCodec: connectmongo.Codec{},
	})
	if err != nil {
		log.Fatal(err)
	}
	store, err := mongostore.Open(ctx, uri, &mongostore.Config{
		Collection:   "logins",
		PayloadCodec: mongostore.JSONCodec{}, // of Express come maps and lists, which gob would want registered
		Previous:     express,
	}, []byte(os.Getenv("SESSION_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	_ = store
}
