package values_test

import (
	"math"
	"testing"
	"time"

	"github.com/mongostore/mongostore/internal/values"
)

type entries = map[any]any

// list is a value of several parts to which requests append, as AddFlash does.
type list = []any

func TestR09MergeKeepsWhatEitherSideChanged(t *testing.T) {
	t.Parallel()
	base := entries{"n": 1, "m": 1}
	tests := map[string]struct{ base, ours, theirs, want entries }{
		"nobody changed anything":     {base, base, base, base},
		"I did":                       {base, entries{"n": 2, "m": 1}, base, entries{"n": 2, "m": 1}},
		"they did":                    {base, base, entries{"n": 1, "m": 2}, entries{"n": 1, "m": 2}},
		"each another key":            {base, entries{"n": 2, "m": 1}, entries{"n": 1, "m": 2}, entries{"n": 2, "m": 2}},
		"both added":                  {base, entries{"n": 1, "m": 1, "a": 1}, entries{"n": 1, "m": 1, "b": 2}, entries{"n": 1, "m": 1, "a": 1, "b": 2}},
		"I deleted":                   {base, entries{"m": 1}, base, entries{"m": 1}},
		"they deleted":                {base, base, entries{"m": 1}, entries{"m": 1}},
		"I deleted one, they another": {base, entries{"m": 1}, entries{"n": 1}, entries{}},
		"I emptied":                   {base, entries{}, base, entries{}},
		"they emptied":                {base, base, entries{}, entries{}},
		"I emptied, they added":       {base, entries{}, entries{"n": 1, "m": 1, "a": 1}, entries{"a": 1}},
		"from nothing":                {nil, entries{"a": 1}, entries{"b": 2}, entries{"a": 1, "b": 2}},
		"nothing at all":              {nil, nil, nil, entries{}},
		"keys of other types": {
			entries{1: "int", int64(1): "int64"},
			entries{1: "ours", int64(1): "int64"},
			entries{1: "int", int64(1): "theirs"},
			entries{1: "ours", int64(1): "theirs"},
		},
		"nil is a value":     {entries{"n": 1}, entries{"n": nil}, entries{"n": 1}, entries{"n": nil}},
		"nil is not absence": {entries{"n": nil}, entries{}, entries{"n": nil}, entries{}},
		"NaN is no change":   {entries{"n": math.NaN()}, entries{"n": math.NaN(), "a": 1}, entries{"n": 2}, entries{"n": 2, "a": 1}},
		"another type of the same number": {
			entries{"n": 1}, entries{"n": int64(1)}, entries{"n": 1, "a": 2}, entries{"n": int64(1), "a": 2},
		},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantMerge(t, test.base, test.ours, test.theirs, test.want)
		})
	}
}

// merge takes all keys for lists that hold one.
func merge(base, ours, theirs entries) (merged entries, conflicts []any) {
	return values.Merge(base, ours, theirs, func(any) bool { return false })
}

// wantMerge fails unless the merge is want, with conflicts at these keys, and alters none of what it is given.
func wantMerge(t *testing.T, base, ours, theirs, want entries, conflicts ...any) {
	t.Helper()
	before := []entries{clone(base), clone(ours), clone(theirs)}
	got, keys := merge(base, ours, theirs)
	if !values.Equal(got, want) {
		t.Errorf("merged: %v, want %v", got, want)
	}
	if !values.Equal(keys, conflicts) {
		t.Errorf("conflicts: %v, want %v", keys, conflicts)
	}
	for i, v := range []entries{base, ours, theirs} {
		if !values.Equal(v, before[i]) {
			t.Errorf("an argument became %v, it was %v", v, before[i])
		}
	}
	again, keys := merge(theirs, got, theirs)
	if !values.Equal(again, got) || len(keys) > 0 {
		t.Errorf("merged once more: %v, conflicts %v; want %v", again, keys, got)
	}
}

// clone copies values and the lists in them.
func clone(v entries) entries {
	if v == nil {
		return nil
	}
	c := make(entries, len(v))
	for key, value := range v {
		if l, ok := value.(list); ok {
			value = append(list{}, l...)
		}
		c[key] = value
	}
	return c
}

func TestR09MergeReportsKeysThatBothChangedAndOursWin(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ base, ours, theirs, want entries }{
		"changed":                    {entries{"n": 1}, entries{"n": 2}, entries{"n": 3}, entries{"n": 2}},
		"added":                      {nil, entries{"n": 2}, entries{"n": 3}, entries{"n": 2}},
		"I deleted, they changed":    {entries{"n": 1, "o": 1}, entries{"o": 1}, entries{"n": 3, "o": 1}, entries{"o": 1}},
		"I changed, they deleted":    {entries{"n": 1}, entries{"n": 2}, entries{}, entries{"n": 2}},
		"typed slices":               {entries{"n": []string{"a"}}, entries{"n": []string{"a", "b"}}, entries{"n": []string{"a", "c"}}, entries{"n": []string{"a", "b"}}},
		"bytes":                      {nil, entries{"n": []byte("a")}, entries{"n": []byte("b")}, entries{"n": []byte("a")}},
		"maps are single values":     {entries{"n": map[string]any{}}, entries{"n": map[string]any{"a": 1}}, entries{"n": map[string]any{"b": 1}}, entries{"n": map[string]any{"a": 1}}},
		"a list and another value":   {nil, entries{"n": list{1}}, entries{"n": 1}, entries{"n": list{1}}},
		"a list that was no list":    {entries{"n": 1}, entries{"n": list{1}}, entries{"n": list{2}}, entries{"n": list{1}}},
		"lists with other beginning": {entries{"n": list{1, 2}}, entries{"n": list{2}}, entries{"n": list{1}}, entries{"n": list{2}}},
		"I deleted a list, they set": {entries{"n": list{1}}, entries{}, entries{"n": 5}, entries{}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantMerge(t, test.base, test.ours, test.theirs, test.want, "n")
		})
	}
}

func TestR09MergeLosesNothingThatWasAppendedToAList(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ base, ours, theirs, want list }{
		"both appended":                   {list{1}, list{1, 2}, list{1, 3}, list{1, 3, 2}},
		"both appended the same":          {list{1}, list{1, 2}, list{1, 2}, list{1, 2}},
		"both began one":                  {nil, list{1}, list{2}, list{2, 1}},
		"both began with several":         {nil, list{1, 2}, list{3, 4}, list{3, 4, 1, 2}},
		"they showed it, I appended":      {list{1}, list{1, 2}, nil, list{2}},
		"I showed it, they appended":      {list{1}, nil, list{1, 2}, list{2}},
		"they replaced it, I appended":    {list{1}, list{1, 2}, list{9}, list{9, 2}},
		"I replaced it, they appended":    {list{1}, list{9}, list{1, 2}, list{9, 2}},
		"they cut it, I appended":         {list{1, 2}, list{1, 2, 3}, list{2}, list{2, 3}},
		"I showed it and appended":        {list{1}, list{5}, list{1, 2}, list{5, 2}},
		"NaN and nil in it":               {list{math.NaN(), nil}, list{math.NaN(), nil, 1}, list{math.NaN(), nil, 2}, list{math.NaN(), nil, 2, 1}},
		"an empty one is like none":       {nil, list{}, list{1}, list{1}},
		"lists in it are compared whole":  {list{list{1}}, list{list{1}, 2}, list{list{1}, 3}, list{list{1}, 3, 2}},
		"I appended, they left it alone":  {list{1}, list{1, 2}, list{1}, list{1, 2}},
		"I left it alone, they added two": {list{1}, list{1}, list{1, 2, 3}, list{1, 2, 3}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantMerge(t, flashes(test.base), flashes(test.ours), flashes(test.theirs), flashes(test.want))
		})
	}
}

// flashes are values with this list, or without one if it is nil.
func flashes(l list) entries {
	if l == nil {
		return entries{"other": 0}
	}
	return entries{"other": 0, "_flash": l}
}

func TestR09MergeReportsKeysThatBothChangedAlsoAlike(t *testing.T) {
	t.Parallel()
	one := entries{"n": 1, "o": 1}
	tests := map[string]struct{ base, both entries }{
		"changed":          {one, entries{"n": 2, "o": 1}},
		"added":            {entries{"o": 1}, one},
		"deleted":          {one, entries{"o": 1}},
		"to nil":           {one, entries{"n": nil, "o": 1}},
		"to NaN":           {one, entries{"n": math.NaN(), "o": 1}},
		"to a list":        {one, entries{"n": list{1}, "o": 1}},
		"emptied a list":   {entries{"n": list{1}}, entries{"n": list{}}},
		"deleted a list":   {entries{"n": list{1}}, entries{}},
		"cut a list":       {entries{"n": list{1, 2}}, entries{"n": list{2}}},
		"replaced a list":  {entries{"n": list{1}}, entries{"n": list{2}}},
		"typed slices":     {entries{"n": []string{"a"}}, entries{"n": []string{"a", "b"}}},
		"from no list":     {entries{"n": 1}, entries{"n": list{1}}},
		"a list to number": {entries{"n": list{1}}, entries{"n": 1}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantMerge(t, test.base, test.both, clone(test.both), test.both, "n")
		})
	}
}

func TestR09MergeShowsAFlashOnceAndLosesNone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ base, ours, theirs, want list }{
		"I showed it, they too and added":        {list{1}, list{}, list{2}, list{2}},
		"they showed it, I too and added":        {list{1}, list{2}, list{}, list{2}},
		"I deleted it, they showed it and added": {list{1}, nil, list{2}, list{2}},
		"they deleted it, I showed it and added": {list{1}, list{2}, nil, list{2}},
		"several":                                {list{1, 2}, nil, list{3, 4}, list{3, 4}},
		"one of two is left over":                {list{1, 2}, nil, list{2, 3}, list{3}},
		"it was added again":                     {list{1}, nil, list{2, 1}, list{2}},
		"it was added twice":                     {list{1}, nil, list{2, 1, 1}, list{2, 1}},
		"there were two of it":                   {list{1, 1, 2}, nil, list{3, 1, 1, 1}, list{3, 1}},
		"NaN and lists in it":                    {list{math.NaN(), list{1}}, nil, list{list{1}, math.NaN(), 2}, list{2}},
		"they only added":                        {list{1}, list{}, list{1, 2}, list{2}},
		"I only added":                           {list{1}, list{1, 2}, list{}, list{2}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantMerge(t, flashes(test.base), flashes(test.ours), flashes(test.theirs), flashes(test.want))
		})
	}
}

func TestR09MergeReportsListsOfWhichNothingIsLeft(t *testing.T) {
	t.Parallel()
	wantMerge(t, flashes(list{1, 2}), flashes(nil), flashes(list{2}), flashes(nil), "_flash")
	wantMerge(t, flashes(list{1, 2}), flashes(list{2}), flashes(nil), flashes(nil), "_flash")
	wantMerge(t, flashes(list{1}), flashes(list{}), flashes(nil), flashes(nil), "_flash")
}

func TestR09MergeLeavesListsThatAreSingleValuesWhole(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ base, ours, theirs list }{
		"both appended":                   {list{1}, list{1, 2}, list{1, 3}},
		"both appended the same":          {list{1}, list{1, 2}, list{1, 2}},
		"I emptied it, they replaced it":  {list{1}, list{}, list{2}},
		"they emptied it, I replaced it":  {list{1}, list{2}, list{}},
		"they emptied it, I appended":     {list{1}, list{1, 2}, list{}},
		"both began one":                  {nil, list{1}, list{2}},
		"both emptied it, one deleted it": {list{1}, list{}, nil},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			single := func(key any) bool { return key == "_flash" }
			got, conflicts := values.Merge(flashes(test.base), flashes(test.ours), flashes(test.theirs), single)
			if want := flashes(test.ours); !values.Equal(got, want) || !values.Equal(conflicts, []any{"_flash"}) {
				t.Errorf("merged: %v, conflicts %v; want %v and one", got, conflicts, want)
			}
		})
	}
}

func TestR09MergedListsShareNoMemory(t *testing.T) {
	t.Parallel()
	ours, theirs := make(list, 1, 9), make(list, 1, 9)
	ours[0], theirs[0] = "ours", "theirs"
	merged, _ := merge(nil, entries{"f": ours}, entries{"f": theirs})
	got := merged["f"].(list)
	got[0] = "altered"
	_ = append(got, "more")
	ours, theirs = ours[:9], theirs[:9] //nolint:gosec // up to their capacity
	if ours[0] != "ours" || theirs[0] != "theirs" || ours[1] != nil || theirs[1] != nil {
		t.Errorf("the lists that were merged became %v and %v", ours, theirs)
	}
}

// fields is a struct as an application keeps it, with fields that reflection may not touch.
type fields struct {
	Public  float64
	private map[string]float64
	next    *fields
	any     any
}

func TestR09EqualIsByValueWhereNaNEqualsNaN(t *testing.T) {
	t.Parallel()
	nan, now := math.NaN(), time.Now()
	same := func() []any {
		return []any{
			nil, 1, "a", true, nan, float32(nan), complex(nan, 1), complex64(complex(1, nan)),
			list{nan, list{nan}},
			[]float64{nan},
			[2]float64{nan, 1},
			map[string]any{"a": nan},
			map[any]any{1: map[float64]float64{1: nan}},
			&fields{Public: nan},
			fields{Public: nan, private: map[string]float64{"x": nan}, next: &fields{Public: nan}, any: nan},
			&nan, now,
			list{},
			list(nil),
			[]byte(nil),
			[]byte{},
			struct{}{},
			(*int)(nil), time.Second, error(nil),
		}
	}
	a, b := same(), same()
	for i := range a {
		for j := range b {
			if got := values.Equal(a[i], b[j]); got != (i == j) && (a[i] != nil || b[j] != nil) {
				t.Errorf("%#v and %#v: same is %v", a[i], b[j], got)
			}
		}
	}
	if values.Equal(map[string]any{"a": nan, "b": 1}, map[string]any{"a": nan, "c": 1}) {
		t.Error("maps with other keys are the same")
	}
	if values.Equal(fields{Public: nan, next: &fields{}}, fields{Public: nan}) {
		t.Error("structs with another pointer are the same")
	}
}

func TestR09EqualEndsOnValuesThatHoldThemselves(t *testing.T) {
	t.Parallel()
	ring := func() *fields {
		f := &fields{Public: math.NaN()}
		f.next = f
		return f
	}
	if values.Equal(ring(), ring()) {
		t.Error("two rings with NaN: the same") // it may say either, but must return
	}
}
