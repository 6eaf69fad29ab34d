package mongostore

import (
	"math"
	"reflect"
)

// merge puts together two sets of changes to one session: base is what this request loaded, mine what it
// makes of it, theirs what another request stored meanwhile, all in stored form. Where only one side
// changed a key its change stands; where both did, mine does and the key is returned as a conflict. Lists
// to which both appended keep what either added. Nothing that is passed in is altered.
//
// single names the keys that are no lists for the application, though their stored form may be one.
func merge(base, mine, theirs map[any]any, single func(key any) bool) (merged map[any]any, conflicts []any) {
	merged = make(map[any]any, len(theirs)+len(mine))
	for key := range union(base, mine, theirs) {
		value, present, conflict := mergeKey(at(base, key), at(mine, key), at(theirs, key), single(key))
		if present {
			merged[key] = value
		}
		if conflict {
			conflicts = append(conflicts, key)
		}
	}
	return merged, conflicts
}

// entry is the value of a key, which may be absent.
type entry struct {
	value   any
	present bool
}

func at(values map[any]any, key any) entry {
	value, present := values[key]
	return entry{value, present}
}

func (e entry) equal(other entry) bool {
	return e.present == other.present && sameValue(e.value, other.value)
}

// list returns the entry as a list; an absent one is the empty list.
func (e entry) list() ([]any, bool) {
	if !e.present {
		return nil, true
	}
	list, ok := e.value.([]any)
	return list, ok
}

// mergeKey merges the changes of one key.
func mergeKey(base, mine, theirs entry, single bool) (value any, present, conflict bool) {
	switch {
	case mine.equal(base), mine.equal(theirs):
		return theirs.value, theirs.present, false
	case theirs.equal(base):
		return mine.value, mine.present, false
	}
	if list, ok := mergeLists(base, mine, theirs); ok && !single {
		return list, len(list) > 0, false
	}
	return mine.value, mine.present, true
}

// mergeLists joins two lists of which at least one is base with something appended, so that a flash that
// is added while another request shows the others is neither lost nor shown twice.
func mergeLists(base, mine, theirs entry) ([]any, bool) {
	b, ok1 := base.list()
	m, ok2 := mine.list()
	t, ok3 := theirs.list()
	if !ok1 || !ok2 || !ok3 {
		return nil, false
	}
	if added, ok := appended(b, m); ok {
		return join(t, added), true
	}
	if added, ok := appended(b, t); ok {
		return join(m, added), true
	}
	return nil, false
}

// appended returns what list has after base, if it begins with base.
func appended(base, list []any) ([]any, bool) {
	if len(list) < len(base) {
		return nil, false
	}
	for i := range base {
		if !sameValue(base[i], list[i]) {
			return nil, false
		}
	}
	return list[len(base):], true
}

func join(a, b []any) []any {
	return append(append(make([]any, 0, len(a)+len(b)), a...), b...)
}

func union(maps ...map[any]any) map[any]struct{} {
	keys := make(map[any]struct{})
	for _, m := range maps {
		for key := range m {
			keys[key] = struct{}{}
		}
	}
	return keys
}

// sameValues reports whether two sets of values in stored form are equal.
func sameValues(a, b map[any]any) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		other, ok := b[key]
		if !ok || !sameValue(value, other) {
			return false
		}
	}
	return true
}

// sameValue is reflect.DeepEqual, except that NaN equals NaN: what comes out of one stored payload equals
// what comes out of the same payload again.
func sameValue(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	return same(reflect.ValueOf(a), reflect.ValueOf(b), 0)
}

// deepest bounds how deep into values one goes: those out of a payload are trees, but they may be deep, and a
// map of the application's may hold itself.
const deepest = 1000

func same(a, b reflect.Value, depth int) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() || depth > deepest {
		return false
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return a.Float() == b.Float() || math.IsNaN(a.Float()) && math.IsNaN(b.Float())
	case reflect.Complex64, reflect.Complex128:
		x, y := a.Complex(), b.Complex()
		return sameValue(real(x), real(y)) && sameValue(imag(x), imag(y))
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		return sameElements(a, b, depth)
	case reflect.Map:
		return sameMap(a, b, depth)
	case reflect.Struct:
		return sameFields(a, b, depth)
	}
	return a.Comparable() && b.Comparable() && a.Equal(b)
}

func sameElements(a, b reflect.Value, depth int) bool {
	if a.Len() != b.Len() || a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() {
		return false
	}
	for i := range a.Len() {
		if !same(a.Index(i), b.Index(i), depth+1) {
			return false
		}
	}
	return true
}

func sameMap(a, b reflect.Value, depth int) bool {
	if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
		return false
	}
	for _, key := range a.MapKeys() {
		other := b.MapIndex(key)
		if !other.IsValid() || !same(a.MapIndex(key), other, depth+1) {
			return false
		}
	}
	return true
}

func sameFields(a, b reflect.Value, depth int) bool {
	for i := range a.NumField() {
		if !same(a.Field(i), b.Field(i), depth+1) {
			return false
		}
	}
	return true
}
