// Package wire holds the tests of what goes wrong between the store and its
// server: each error code that matters on each command, in a table that is kept
// in testdata, and faults of the network, by toxiproxy.
//
// With MONGOSTORE_LONG=1 they run at full size.
package wire

import (
	"os"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/rs/zerolog"
)

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's log
	mongotest.Main(m)
}

// long tells whether the tests run at full size.
var long = os.Getenv("MONGOSTORE_LONG") != ""

const cookieName = "sid"

var signingKey = []byte("0123456789abcdef0123456789abcdef")
