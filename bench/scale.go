package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// scaling are the settings of what is not compared with others: how the store
// itself bears size, time and contention.
type scaling struct {
	sizes    []int // of collections, ascending
	expired  int   // sessions to remove while requests run
	owned    int   // sessions of one user
	rounds   int
	requests int // in one turn
	clashes  int // rounds of requests at once on one session
	soak     time.Duration
	progress func(format string, args ...any)
}

// bed is the server that it runs on, and where the report goes.
type bed struct {
	server   *mongotest.Server
	client   *mongo.Client
	database *mongo.Database
	report   strings.Builder
}

// scaledPayload is small: millions of sessions must fit on the disk.
const scaledPayload = 300

// run runs the parts one after the other and returns their report.
func (sc scaling) run(ctx context.Context) (string, error) {
	before := loadAverage()
	server, err := mongotest.Start(ctx, false, "--wiredTigerCacheSizeGB", "2")
	if err != nil {
		return "", err
	}
	defer server.Remove() //nolint:contextcheck // that ctx is done is no reason to leave it
	client, err := mongo.Connect(clientOptions(server.URI(), false))
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	b := &bed{server: server, client: client, database: client.Database("bench")}
	parts, title := sc.parts(), "# The store at scale\n\n"
	if sc.soak > 0 {
		parts, title = []part{sc.soaking}, "# The store under load for long\n\n"
	}
	b.report.WriteString(title)
	newEnvironment(ctx, before, []string{server.String()}).withoutPeers().write(&b.report)
	for _, part := range parts {
		b.report.WriteString("\n")
		if err := part(ctx, b); err != nil {
			return "", err
		}
	}
	return b.report.String(), nil
}

// part is one question, and writes its answer into the report.
type part func(context.Context, *bed) error

func (sc scaling) parts() []part { return []part{sc.growth, sc.byUser, sc.removal, sc.contention} }

func (b *bed) printf(format string, args ...any) { fmt.Fprintf(&b.report, format, args...) }

// deliver writes a report to file.md, or to out if there is no file.
func deliver(out io.Writer, file, report string) error {
	if file == "" {
		_, err := io.WriteString(out, report)
		return err
	}
	return os.WriteFile(file+".md", []byte(report), 0o644) //nolint:gosec // for everybody to read
}

// grouped writes a number as people read it: 5,000,000.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
