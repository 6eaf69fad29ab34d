package mongostore_test

import (
	"math"
	"testing"
	"time"

	"github.com/mongostore/mongostore"
)

type values = map[any]any

// list is a value of several parts to which requests append, as AddFlash does.
type list = []any

func TestR09MergeKeepsWhatEitherSideChanged(t *testing.T) {
	t.Parallel()
	base := values{"n": 1, "m": 1}
	tests := map[string]struct{ base, mine, theirs, want values }{
		"nobody changed anything":     {base, base, base, base},
		"I did":                       {base, values{"n": 2, "m": 1}, base, values{"n": 2, "m": 1}},
		"they did":                    {base, base, values{"n": 1, "m": 2}, values{"n": 1, "m": 2}},
		"each another key":            {base, values{"n": 2, "m": 1}, values{"n": 1, "m": 2}, values{"n": 2, "m": 2}},
		"each the same":               {base, values{"n": 2, "m": 1}, values{"n": 2, "m": 1}, values{"n": 2, "m": 1}},
		"both added":                  {base, values{"n": 1, "m": 1, "a": 1}, values{"n": 1, "m": 1, "b": 2}, values{"n": 1, "m": 1, "a": 1, "b": 2}},
		"I deleted":                   {base, values{"m": 1}, base, values{"m": 1}},
		"they deleted":                {base, base, values{"m": 1}, values{"m": 1}},
		"both deleted":                {base, values{"m": 1}, values{"m": 1}, values{"m": 1}},
		"I deleted one, they another": {base, values{"m": 1}, values{"n": 1}, values{}},
		"I emptied":                   {base, values{}, base, values{}},
		"they emptied":                {base, base, values{}, values{}},
		"I emptied, they added":       {base, values{}, values{"n": 1, "m": 1, "a": 1}, values{"a": 1}},
		"from nothing":                {nil, values{"a": 1}, values{"b": 2}, values{"a": 1, "b": 2}},
		"nothing at all":              {nil, nil, nil, values{}},
		"keys of other types": {
			values{1: "int", int64(1): "int64"},
			values{1: "mine", int64(1): "int64"},
			values{1: "int", int64(1): "theirs"},
			values{1: "mine", int64(1): "theirs"},
		},
		"nil is a value":     {values{"n": 1}, values{"n": nil}, values{"n": 1}, values{"n": nil}},
		"nil is not absence": {values{"n": nil}, values{}, values{"n": nil}, values{}},
		"NaN is no change":   {values{"n": math.NaN()}, values{"n": math.NaN(), "a": 1}, values{"n": 2}, values{"n": 2, "a": 1}},
		"another type of the same number": {
			values{"n": 1}, values{"n": int64(1)}, values{"n": 1, "a": 2}, values{"n": int64(1), "a": 2},
		},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantMerge(t, test.base, test.mine, test.theirs, test.want)
		})
	}
}

// wantMerge fails unless the merge is want, with conflicts at these keys, and alters none of what it is given.
func wantMerge(t *testing.T, base, mine, theirs, want values, conflicts ...any) {
	t.Helper()
	before := []values{clone(base), clone(mine), clone(theirs)}
	got, keys := mongostore.Merge(base, mine, theirs)
	if !mongostore.SameValue(got, want) {
		t.Errorf("merged: %v, want %v", got, want)
	}
	if !mongostore.SameValue(keys, conflicts) {
		t.Errorf("conflicts: %v, want %v", keys, conflicts)
	}
	for i, v := range []values{base, mine, theirs} {
		if !mongostore.SameValue(v, before[i]) {
			t.Errorf("an argument became %v, it was %v", v, before[i])
		}
	}
	again, keys := mongostore.Merge(theirs, got, theirs)
	if !mongostore.SameValue(again, got) || len(keys) > 0 {
		t.Errorf("merged once more: %v, conflicts %v; want %v", again, keys, got)
	}
}

// clone copies values and the lists in them.
func clone(v values) values {
	if v == nil {
		return nil
	}
	c := make(values, len(v))
	for key, value := range v {
		if l, ok := value.(list); ok {
			value = append(list{}, l...)
		}
		c[key] = value
	}
	return c
}

func TestR09MergeReportsKeysThatBothChangedAndMineWin(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ base, mine, theirs, want values }{
		"changed":                    {values{"n": 1}, values{"n": 2}, values{"n": 3}, values{"n": 2}},
		"added":                      {nil, values{"n": 2}, values{"n": 3}, values{"n": 2}},
		"I deleted, they changed":    {values{"n": 1, "o": 1}, values{"o": 1}, values{"n": 3, "o": 1}, values{"o": 1}},
		"I changed, they deleted":    {values{"n": 1}, values{"n": 2}, values{}, values{"n": 2}},
		"typed slices":               {values{"n": []string{"a"}}, values{"n": []string{"a", "b"}}, values{"n": []string{"a", "c"}}, values{"n": []string{"a", "b"}}},
		"bytes":                      {nil, values{"n": []byte("a")}, values{"n": []byte("b")}, values{"n": []byte("a")}},
		"maps are single values":     {values{"n": map[string]any{}}, values{"n": map[string]any{"a": 1}}, values{"n": map[string]any{"b": 1}}, values{"n": map[string]any{"a": 1}}},
		"a list and another value":   {nil, values{"n": list{1}}, values{"n": 1}, values{"n": list{1}}},
		"a list that was no list":    {values{"n": 1}, values{"n": list{1}}, values{"n": list{2}}, values{"n": list{1}}},
		"lists with other beginning": {values{"n": list{1, 2}}, values{"n": list{2}}, values{"n": list{1}}, values{"n": list{2}}},
		"I deleted a list, they set": {values{"n": list{1}}, values{}, values{"n": 5}, values{}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantMerge(t, test.base, test.mine, test.theirs, test.want, "n")
		})
	}
}

func TestR09MergeLosesNothingThatWasAppendedToAList(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ base, mine, theirs, want list }{
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
		"both showed it":                  {list{1}, nil, nil, nil},
		"an empty one is like none":       {nil, list{}, list{1}, list{1}},
		"lists in it are compared whole":  {list{list{1}}, list{list{1}, 2}, list{list{1}, 3}, list{list{1}, 3, 2}},
		"I appended, they left it alone":  {list{1}, list{1, 2}, list{1}, list{1, 2}},
		"I left it alone, they added two": {list{1}, list{1}, list{1, 2, 3}, list{1, 2, 3}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			of := func(l list) values {
				if l == nil {
					return values{"other": 0}
				}
				return values{"other": 0, "_flash": l}
			}
			wantMerge(t, of(test.base), of(test.mine), of(test.theirs), of(test.want))
		})
	}
}

func TestR09MergedListsShareNoMemory(t *testing.T) {
	t.Parallel()
	mine, theirs := make(list, 1, 9), make(list, 1, 9)
	mine[0], theirs[0] = "mine", "theirs"
	merged, _ := mongostore.Merge(nil, values{"f": mine}, values{"f": theirs})
	got := merged["f"].(list)
	got[0] = "altered"
	_ = append(got, "more")
	mine, theirs = mine[:9], theirs[:9] //nolint:gosec // up to their capacity
	if mine[0] != "mine" || theirs[0] != "theirs" || mine[1] != nil || theirs[1] != nil {
		t.Errorf("the lists that were merged became %v and %v", mine, theirs)
	}
}

// fields is a struct as an application keeps it, with fields that reflection may not touch.
type fields struct {
	Public  float64
	private map[string]float64
	next    *fields
	any     any
}

func TestR09SameValueIsEqualityByValueWhereNaNEqualsNaN(t *testing.T) {
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
			if got := mongostore.SameValue(a[i], b[j]); got != (i == j) && (a[i] != nil || b[j] != nil) {
				t.Errorf("%#v and %#v: same is %v", a[i], b[j], got)
			}
		}
	}
	if mongostore.SameValue(map[string]any{"a": nan, "b": 1}, map[string]any{"a": nan, "c": 1}) {
		t.Error("maps with other keys are the same")
	}
	if mongostore.SameValue(fields{Public: nan, next: &fields{}}, fields{Public: nan}) {
		t.Error("structs with another pointer are the same")
	}
}

func TestR09SameValueEndsOnValuesThatHoldThemselves(t *testing.T) {
	t.Parallel()
	ring := func() *fields {
		f := &fields{Public: math.NaN()}
		f.next = f
		return f
	}
	if mongostore.SameValue(ring(), ring()) {
		t.Error("two rings with NaN: the same") // it may say either, but must return
	}
}
