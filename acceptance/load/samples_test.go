package load

import (
	"fmt"
	"reflect"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/mongostore/mongostore"
)

// sample is what the process holds at a moment.
type sample struct {
	at          time.Duration
	heap        float64 // MB that are reachable
	goroutines  float64
	connections float64 // to MongoDB
	table       float64 // entries of the store's table of sessions in use
}

// sample looks at what is held between two requests: it lets those under way
// end, and holds others back.
func (s *site) sample() sample {
	s.serving.Lock()
	defer s.serving.Unlock()
	return s.held()
}

// held looks at what is held now.
func (s *site) held() sample {
	collect()
	values := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(values)
	return sample{
		heap:        float64(values[0].Value.Uint64()) / 1e6,
		goroutines:  float64(values[1].Value.Uint64()),
		connections: float64(s.connections.Load()),
		table:       float64(tableSize(s.store)),
	}
}

// collect frees what is no longer in use: the objects, then what their clean-ups
// have let go.
func collect() {
	for range 3 {
		done := make(chan struct{})
		runtime.AddCleanup(&struct{ data [64]byte }{}, func(done chan struct{}) { close(done) }, done)
		runtime.GC()
		<-done
	}
}

// tableSize returns how many entries the store's table of sessions has. No API
// tells that, since no application needs it.
func tableSize(store *mongostore.Store) int {
	field := reflect.ValueOf(store).Elem().FieldByName("states").FieldByName("table")
	table := (*sync.Map)(unsafe.Pointer(field.UnsafeAddr())) //nolint:gosec // a field of this type, or the line above panics
	n := 0
	table.Range(func(any, any) bool { n++; return true })
	return n
}

// measure is one of the things that must not grow.
type measure struct {
	name  string
	of    func(sample) float64
	slack float64 // what it may vary by
}

var measures = []measure{
	{"heap (MB)", func(s sample) float64 { return s.heap }, 1},
	{"goroutines", func(s sample) float64 { return s.goroutines }, 10},
	{"connections", func(s sample) float64 { return s.connections }, 5},
	{"table entries", func(s sample) float64 { return s.table }, 50},
}

// growth is the median of a measure in the second quarter of the samples, and
// in the last. The first quarter is for pools and caches to fill.
type growth struct{ early, late float64 }

func (m measure) growth(samples []sample) growth {
	median := func(samples []sample) float64 {
		var values []float64
		for _, s := range samples {
			values = append(values, m.of(s))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	quarter := len(samples) / 4
	return growth{median(samples[quarter : 2*quarter]), median(samples[len(samples)-quarter:])}
}

func (m measure) flat(g growth) bool { return g.late <= g.early*1.25+m.slack }

func (g growth) String() string { return fmt.Sprintf("%.4g to %.4g", g.early, g.late) }

func TestFlat(t *testing.T) {
	for what, test := range map[string]struct {
		value func(i int) float64
		flat  bool
	}{
		"the same":                   {func(int) float64 { return 20 }, true},
		"more and less":              {func(i int) float64 { return float64(20 + i%5) }, true},
		"filling in the beginning":   {func(i int) float64 { return min(20, float64(i*3)) }, true},
		"a single peak":              {func(i int) float64 { return map[bool]float64{true: 1e6}[i == 38] }, true},
		"a little with each request": {func(i int) float64 { return float64(20 + i*5) }, false},
		"all at once":                {func(i int) float64 { return map[bool]float64{true: 500}[i >= 30] }, false},
	} {
		samples := make([]sample, 40)
		for i := range samples {
			v := test.value(i)
			samples[i] = sample{heap: v, goroutines: v, connections: v, table: v}
		}
		for _, m := range measures {
			if g := m.growth(samples); m.flat(g) != test.flat {
				t.Errorf("%s, %s: %v counts as flat: %v", what, m.name, g, m.flat(g))
			}
		}
	}
}
