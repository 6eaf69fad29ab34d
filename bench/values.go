package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
)

// values are what every contestant's sessions hold: a few that an application
// would have, and a text that brings them to the payload's size.
type values struct{ padding string }

const countKey = "count" // what a changed Save changes

// newValues returns values that take about size bytes when they are encoded.
func newValues(size int) values {
	without := values{}.with(0)
	encoded, _ := json.Marshal(without)
	return values{padding: text(max(0, size-len(encoded)))}
}

// with returns the values of a session at this count, of types that all codecs
// give back as they were.
func (v values) with(count int) map[string]any {
	return map[string]any{
		countKey:  count,
		"user":    "ada@example.com",
		"roles":   []any{"author", "editor"},
		"theme":   "dark",
		"cart":    []any{"sku-1041", "sku-2207", "sku-3310"},
		"padding": v.padding,
	}
}

// check compares what a contestant says a session holds, as JSON.
func (v values) check(answer []byte, count int) error {
	var is, want map[string]any
	if err := json.Unmarshal(answer, &is); err != nil {
		return fmt.Errorf("the values read back: %w", err)
	}
	encoded, err := json.Marshal(v.with(count))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(encoded, &want); err != nil {
		return err
	}
	for key := range want {
		if !reflect.DeepEqual(is[key], want[key]) {
			return fmt.Errorf("%s reads back as %.40v, and %.40v was stored", key, is[key], want[key])
		}
	}
	return nil
}

// text returns letters that do not compress to nothing, always the same.
func text(size int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret, and the same at each run
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[random.IntN(len(letters))]
	}
	return string(b)
}

// number returns a count as the codecs give it back.
func number(value any) int {
	switch n := value.(type) {
	case int:
		return n
	case float64:
		return int(n)
	}
	return -1
}
