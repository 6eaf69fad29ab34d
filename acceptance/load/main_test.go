// Package load tests the store under load: at full speed for long, and on a
// MongoDB that is slow.
//
// With MONGOSTORE_LONG=1 the tests run at full size.
package load

import (
	"os"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }

// long tells whether the tests run at full size.
var long = os.Getenv("MONGOSTORE_LONG") != ""

var signingKey = []byte("0123456789abcdef0123456789abcdef")
