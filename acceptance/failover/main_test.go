// Package failover holds the test of a replica set that loses its primary again
// and again, while browsers are at work over HTTP on several app processes.
//
// Each round does one thing to the primary: it is killed (kill -9), shut down,
// asked to step down, frozen (SIGSTOP), cut off from the other members, or cut
// off from members and apps. A cut loses all that passes, in both directions,
// without closing a connection, and no new one can be opened; what was lost
// arrives when it is healed, as TCP sends it again. A primary that is cut off from the members alone goes on for
// some seconds as one, and the apps talk to it.
//
// What is promised, and checked here, of a server whose default write concern is
// majority (MongoDB 5.0 or later; before that, by w=majority in the URI):
//
//   - A change whose request was answered with success is there, once, then and
//     at the end.
//   - After a logout, a logout everywhere or a renewal that was answered with
//     success the old cookie lets nobody in. This, and that an acknowledged
//     login stays, holds for any write concern of the client: a quarter of the
//     browsers is on stores with w=1, whose other changes a failover may undo.
//   - Nobody is logged out but by a logout, or by a renewal of unknown outcome:
//     that one fails closed.
//   - Nobody sees what is another user's.
//   - No answer takes longer than twice the Timeout: a request loads and saves.
//
// What is not promised: which of two outcomes a request had that was answered
// with 503, and what a primary shows that was deposed and does not know it yet. MongoDB
// reads from it (readConcern local) until it steps down, so an app may for that
// moment see a session as it was. Nothing that is written then lasts, as no
// majority has it. The test counts such answers, and takes them only while two
// members may believe that they are the primary, and only if the same question
// gets the right answer afterwards.
package failover

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) {
	if uri := os.Getenv(uriVariable); uri != "" {
		if err := serve(uri); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	mongotest.Main(m)
}

const (
	apps     = 3
	browsers = 32
	timeout  = 5 * time.Second // Config.Timeout of the apps
	// recovery is what an app may take to serve again after the bare driver can
	// write with majority.
	recovery = 10 * time.Second
)

// length is how long the faults go on.
func length() time.Duration {
	if os.Getenv("MONGOSTORE_LONG") != "" {
		return 5 * time.Minute
	}
	return 0 // each kind of fault once
}
