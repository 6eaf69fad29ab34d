// Package values merges and compares the values of sessions in stored form: as they come out of a payload.
package values

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// Merge combines two sets of changes to one session: base is what this request loaded, ours is what it made of it,
// theirs is what another request stored meanwhile. If only one side changed a key, its change stands. If both did,
// the key is a conflict and ours stands, even if both made the same change: a request that counts up a number must
// know that another one did too. Lists do not conflict if one side appended, or if one side emptied the list and the
// other put something else into it. Merge alters nothing that it is given.
//
// single reports the keys whose value is not a list to the application, even if its stored form is one.
func Merge(base, ours, theirs map[any]any, single func(key any) bool) (merged map[any]any, conflicts []any) {
	merged = make(map[any]any, len(theirs)+len(ours))
	keys := make(map[any]any)
	for _, side := range []map[any]any{base, ours, theirs} {
		maps.Copy(keys, side)
	}
	for key := range keys {
		value, present, conflict := mergeKey(at(base, key), at(ours, key), at(theirs, key), single(key))
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
	return e.present == other.present && Equal(e.value, other.value)
}

// list returns the entry as a list; an absent one is the empty list.
func (e entry) list() ([]any, bool) {
	list, ok := e.value.([]any)
	return list, ok || !e.present
}

// mergeKey merges the changes of one key.
func mergeKey(base, ours, theirs entry, single bool) (value any, present, conflict bool) {
	switch {
	case ours.equal(base):
		return theirs.value, theirs.present, false
	case theirs.equal(base):
		return ours.value, ours.present, false
	}
	b, ok1 := base.list()
	o, ok2 := ours.list()
	t, ok3 := theirs.list()
	lists := ok1 && ok2 && ok3 && !single
	if ours.equal(theirs) {
		return theirs.value, theirs.present, !lists || !beginsWith(t, b)
	}
	if lists {
		if list, conflict, ok := mergeLists(b, o, t); ok {
			return list, len(list) > 0, conflict
		}
	}
	return ours.value, ours.present, true
}

// mergeLists joins two lists that were changed, so that a flash added while other requests show the earlier ones is
// neither lost nor shown twice. Not ok: they cannot be joined.
func mergeLists(base, ours, theirs []any) (merged []any, conflict, ok bool) {
	switch {
	case beginsWith(ours, base):
		return slices.Concat(theirs, ours[len(base):]), false, true
	case beginsWith(theirs, base):
		return slices.Concat(ours, theirs[len(base):]), false, true
	case len(ours) > 0 && len(theirs) > 0:
		return nil, false, false
	}
	merged = without(base, slices.Concat(ours, theirs)) // one of them is empty
	return merged, len(merged) == 0, true
}

func beginsWith(list, base []any) bool {
	return len(list) >= len(base) && slices.EqualFunc(list[:len(base)], base, Equal)
}

// without takes the elements of base out of list, each as often as base has it.
func without(base, list []any) []any {
	base = slices.Clone(base)
	return slices.DeleteFunc(list, func(element any) bool {
		i := slices.IndexFunc(base, func(other any) bool { return Equal(element, other) })
		if i >= 0 {
			base = slices.Delete(base, i, i+1)
		}
		return i >= 0
	})
}

// EqualMaps reports whether two sets of values in stored form are equal.
func EqualMaps(a, b map[any]any) bool { return maps.EqualFunc(a, b, Equal) }

// Equal is reflect.DeepEqual, except that NaN equals NaN: two decodings of the same payload are equal.
func Equal(a, b any) bool {
	return reflect.DeepEqual(a, b) || same(reflect.ValueOf(a), reflect.ValueOf(b), 0)
}

// MaxDepth bounds how deep into values one goes: payloads may be nested deeply, and an application's map may hold itself.
const MaxDepth = 1000

func same(a, b reflect.Value, depth int) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() || depth > MaxDepth {
		return false
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return cmp.Compare(a.Float(), b.Float()) == 0 // for which NaN equals NaN
	case reflect.Complex64, reflect.Complex128:
		x, y := a.Complex(), b.Complex()
		return Equal(real(x), real(y)) && Equal(imag(x), imag(y))
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		return sameLength(a, b) && all(a.Len(), func(i int) bool { return same(a.Index(i), b.Index(i), depth+1) })
	case reflect.Map:
		keys := a.MapKeys()
		return sameLength(a, b) && all(len(keys), func(i int) bool {
			other := b.MapIndex(keys[i])
			return other.IsValid() && same(a.MapIndex(keys[i]), other, depth+1)
		})
	case reflect.Struct:
		return all(a.NumField(), func(i int) bool { return same(a.Field(i), b.Field(i), depth+1) })
	}
	return a.Comparable() && b.Comparable() && a.Equal(b)
}

// sameLength tells nil from empty.
func sameLength(a, b reflect.Value) bool {
	return a.Len() == b.Len() && (a.Kind() == reflect.Array || a.IsNil() == b.IsNil())
}

func all(n int, holds func(i int) bool) bool {
	for i := range n {
		if !holds(i) {
			return false
		}
	}
	return true
}
