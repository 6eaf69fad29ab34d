package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a run of two contestants, with what can go missing.
func sample() *results {
	floor, gin := contestants()[0], peers()[0]
	return &results{Environment: environment{Date: "2026-01-02", Cores: 2}, Rounds: 3, Cells: []cell{
		{Topology: replicaSet, Payload: 4096, Concurrency: 1},
		{Topology: standalone, Payload: 1024, Concurrency: 8, NotRun: map[string]string{"redistore": "redis-server not found"}, Rows: []row{
			{Key: floor.key, Name: floor.name, Op: load, Median: 1, P99: 1, Commands: 1, Allocations: 98, Allocated: 15100, CPUMicros: 80},
			{Key: gin.key, Name: gin.name, Op: load, Median: 1.234, P99: 12.5, Commands: 1, Allocations: -1},
			{Key: floor.key, Name: floor.name, Op: create, Median: 1, P99: 1},
			{Key: gin.key, Name: gin.name, Op: create, Cannot: "too small"},
		}},
	}}
}

func TestTables(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := sample().write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| | load | new session |\n|---|---|---|\n",
		"| gin-contrib/sessions, mongodriver | 1.23 / 12 | – |\n",
		"| floor: bare driver v2, the same commands | 1.0 · 98, 15 · 80 |",
		"| gin-contrib/sessions, mongodriver | 1.0 · n/a · 0 | – |\n",
		"Not run: redistore: redis-server not found.\n",
		"–: gin-contrib/sessions, mongodriver, new session: too small.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func TestPlotIsXMLWithADotForEachNumber(t *testing.T) {
	t.Parallel()
	picture := plot(sample().main())
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(picture, "<g class="); n != 3 {
		t.Errorf("%d dots, want 3", n)
	}
}

func TestReadmeSectionIsWrittenFromSavedResults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "results")
	if err := sample().save(path); err != nil {
		t.Fatal(err)
	}
	readme := filepath.Join(t.TempDir(), "README.md")
	before := "# A\n" + beginMark + "\nold\n" + endMark + "\nz\n"
	if err := os.WriteFile(readme, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := command(t.Context(), []string{"-readme", readme, "-from", path + ".json"}, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(readme) //nolint:gosec // written above
		if err != nil {
			t.Fatal(err)
		}
		got := string(text)
		if !strings.HasPrefix(got, "# A\n"+beginMark+"\n") || !strings.HasSuffix(got, endMark+"\nz\n") ||
			strings.Contains(got, "old") || strings.Count(got, "| gin-contrib/sessions, mongodriver | 1.23 / 12 | – |") != 1 {
			t.Errorf("the README became\n%s", got)
		}
	}
	if _, err := splice("# no marks", ""); err == nil {
		t.Error("no error without marks")
	}
}
