package connectmongo_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// fixtures are what the packages for Node.js wrote: acceptance/express/fixtures.js made them.
type fixtures struct {
	Signatures []struct{ ID, Signed, Encoded string }
	Cases      []fixture
}

// fixture is a session, and the settings of the store that wrote it.
type fixture struct {
	Name   string
	Native bool // dates and the like are stored as what they are
	Store  struct {
		Stringify *bool
		Crypto    struct{ Secret string }
	}
	Crypto struct {
		Kind, Secret, Algorithm, Encoding, Salt string
		Encodeas, Hashing                       string
		Iterations, IVLength                    int
	}
	Document json.RawMessage
}

func golden(tb testing.TB) (all fixtures) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "fixtures.json"))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

func fixtureOf(tb testing.TB, name string) fixture {
	tb.Helper()
	for _, f := range golden(tb).Cases {
		if f.Name == name {
			return f
		}
	}
	tb.Fatalf("there is no fixture %q", name)
	return fixture{}
}

// codec returns the codec with the settings of a fixture.
func (f fixture) codec() connectmongo.Codec {
	c := connectmongo.Codec{Document: f.Native || f.Store.Stringify != nil && !*f.Store.Stringify}
	switch {
	case f.Store.Crypto.Secret != "":
		c.Crypto = connectmongo.Kruptein(f.Store.Crypto.Secret)
	case f.Crypto.Kind == "kruptein":
		c.Crypto = connectmongo.Kruptein(f.Crypto.Secret, connectmongo.KrupteinOptions{
			Algorithm: f.Crypto.Algorithm, Hashing: f.Crypto.Hashing, Encoding: f.Crypto.Encodeas,
		})
	case f.Crypto.Kind == "web":
		options := connectmongo.WebCryptoOptions{
			Algorithm: f.Crypto.Algorithm, Encoding: f.Crypto.Encoding, IVLength: f.Crypto.IVLength, Iterations: f.Crypto.Iterations,
		}
		if f.Crypto.Salt != "" {
			options.Salt = []byte(f.Crypto.Salt)
		}
		c.Crypto = connectmongo.WebCrypto(f.Crypto.Secret, options)
	}
	return c
}

// payload returns what is stored as "session".
func (f fixture) payload(tb testing.TB) bson.RawValue {
	tb.Helper()
	var doc bson.Raw
	if err := bson.UnmarshalExtJSON(f.Document, true, &doc); err != nil {
		tb.Fatal(err)
	}
	return doc.Lookup("session")
}
