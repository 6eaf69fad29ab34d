// Package acceptance holds the tests that take long, or need more than the
// store itself does: random histories beside a model, DNS, a large backlog,
// applications on other stores. They need redis-server on PATH.
//
// With MONGOSTORE_LONG=1 they run at full size.
package acceptance

import (
	"encoding/gob"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) {
	gob.Register(map[string]any{})
	net.DefaultResolver = resolver()
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Getenv(uriVariable)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	mongotest.Main(m)
}

// long tells whether the tests run at full size.
var long = os.Getenv("MONGOSTORE_LONG") != ""

// inFull returns the first number in a full run, the other one otherwise.
func inFull(full, short int) int {
	if long {
		return full
	}
	return short
}

var (
	signingKey    = []byte("0123456789abcdef0123456789abcdef")
	encryptionKey = []byte("fedcba9876543210fedcba9876543210")
)
