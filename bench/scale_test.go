package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// testBed is a bed on the tests' server, and settings for a small run.
func testBed(t *testing.T) (*bed, scaling) {
	t.Helper()
	server := mongotest.Standalone(t)
	client, err := mongo.Connect(clientOptions(server.URI(), false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	sc := scaling{
		sizes: []int{50, 300}, expired: 2500, owned: 20, rounds: 2, requests: 40, clashes: 5, soak: time.Second,
		progress: func(string, ...any) {},
	}
	return &bed{server: server, client: client, database: server.Database(t)}, sc
}

func TestScaleReportsEachPart(t *testing.T) {
	t.Parallel()
	b, sc := testBed(t)
	for _, part := range sc.parts() {
		if err := part(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	report := b.report.String()
	for _, want := range []string{
		"| 50 | 1.00 / 1.00 (", "| 300 | ", "## ByUser", "| 20 | ", "deleted 2,500 sessions in", "| during the removal |",
		"| 1 process | 0 of 160 |", "| 4 processes | 0 of 160 |",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
}

func TestSoakEndsAfterItsTimeWithAVerdict(t *testing.T) {
	t.Parallel()
	b, sc := testBed(t)
	if err := sc.soaking(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if report := b.report.String(); strings.Count(report, "flat (median") != 2 {
		t.Errorf("the report is\n%s", report)
	}
	// Each visitor logs out at the end of its life.
	n, err := b.database.Collection("soak").CountDocuments(t.Context(), struct{}{})
	if err != nil || n != 0 {
		t.Errorf("%d sessions left, error %v", n, err)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	flat, rising, warming := make([]soakSample, 40), make([]soakSample, 40), make([]soakSample, 40)
	for i := range flat {
		flat[i].goroutines = 50 + i%3
		rising[i].goroutines = 50 + i
		warming[i].goroutines = min(10+10*i, 100)
	}
	for name, c := range map[string]struct {
		samples []soakSample
		want    string
	}{"flat": {flat, "flat ("}, "rising": {rising, "not flat ("}, "warming up": {warming, "flat ("}} {
		got := verdict(c.samples, func(s soakSample) float64 { return float64(s.goroutines) }, 2)
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestPopulationIsOfSessionsThatTheStoreTakesForItsOwn(t *testing.T) {
	t.Parallel()
	b, _ := testBed(t)
	g, err := grow(t.Context(), b, 'x', 30)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	for i := range 30 {
		v, err := g.people.visitor(g.ourApp, i, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.visit(t.Context(), g, load); err != nil {
			t.Errorf("session %d: %v", i, err)
		}
	}
	if n, err := g.store.Count(t.Context()); err != nil || n != 30 {
		t.Errorf("%d live sessions, error %v", n, err)
	}
}

func TestDistinctNumbers(t *testing.T) {
	t.Parallel()
	got := slices.Sorted(distinct(10, 10))
	if !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("%v", got)
	}
	if n := len(slices.Collect(distinct(3, 1000))); n != 3 {
		t.Errorf("%d numbers, want 3", n)
	}
}

func TestScaleRunsOnAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a server of its own")
	}
	var out strings.Builder
	if err := command(t.Context(), []string{"-soak", "200ms"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "# The store under load for long\n") {
		t.Errorf("%s", &out)
	}
}
