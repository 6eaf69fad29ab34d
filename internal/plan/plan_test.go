package plan_test

import (
	"testing"

	"github.com/mongostore/mongostore/internal/plan"
	"github.com/mongostore/mongostore/internal/token"
)

var sources = []plan.Source{plan.Absent, plan.Loaded, plan.Cached, plan.Reread, plan.Recovered}

// eachFacts calls test with every input of Decide.
func eachFacts(test func(plan.Facts)) (n int) {
	for _, source := range sources {
		for bits := range 1 << 5 {
			n++
			test(plan.Facts{
				Source: source,
				Failed: bits&1 > 0, Changed: bits&2 > 0, Renew: bits&4 > 0, Outlived: bits&8 > 0, Due: bits&16 > 0,
			})
		}
	}
	return n
}

// TestDecideOnEveryInput holds each action to the conditions under which it is the right one, which exclude each
// other and leave out nothing.
func TestDecideOnEveryInput(t *testing.T) {
	t.Parallel()
	n := eachFacts(func(f plan.Facts) {
		stored := f.Source != plan.Absent
		more := f.Changed || f.Renew || !stored
		unsure := f.Source == plan.Cached && (f.Failed || !more)
		sound := !unsure && !f.Failed
		over := stored && f.Outlived
		right := map[plan.Action]bool{
			plan.ReadAgain: unsure,
			plan.Fail:      f.Failed && !unsure,
			plan.Refuse:    sound && over && more,
			plan.Write:     sound && !over && more,
			plan.Touch:     sound && !over && !more && f.Due && f.Source != plan.Recovered,
			plan.Accept:    sound && !over && !more && (f.Source == plan.Recovered || f.Source == plan.Reread && !f.Due),
			plan.Nothing:   sound && !more && (over || f.Source == plan.Loaded && !f.Due),
		}
		got := plan.Decide(f)
		for action, is := range right {
			if is != (action == got) {
				t.Errorf("%+v: action %d; %d would be right: %v", f, got, action, is)
			}
		}
	})
	t.Logf("%d inputs", n)
}

func TestR12NothingIsWrittenToASessionThatHasOutlivedItsLimit(t *testing.T) {
	t.Parallel()
	eachFacts(func(f plan.Facts) {
		if action := plan.Decide(f); f.Outlived && f.Source != plan.Absent && (action == plan.Write || action == plan.Touch) {
			t.Errorf("%+v: action %d", f, action)
		}
	})
}

func TestR09ACachedRecordDecidesNothingButAWrite(t *testing.T) {
	t.Parallel()
	eachFacts(func(f plan.Facts) {
		action := plan.Decide(f)
		if f.Source == plan.Cached && action != plan.Write && action != plan.ReadAgain && action != plan.Refuse && action != plan.Nothing {
			t.Errorf("%+v: action %d", f, action)
		}
		if f.Source == plan.Cached && action == plan.Nothing {
			t.Errorf("%+v: a cached record says that nothing is to be done", f)
		}
	})
}

// eachSeen calls test with every input of Judge.
func eachSeen(test func(plan.Source, plan.Seen)) (n int) {
	for _, source := range sources {
		for _, own := range []plan.Own{plan.NotOwn, plan.Topmost, plan.Beneath} {
			for bits := range 1 << 6 {
				n++
				test(source, plan.Seen{
					Exists: bits&1 > 0, Live: bits&2 > 0, Fits: bits&4 > 0, Named: bits&8 > 0, Shared: bits&16 > 0,
					Retired: bits&32 > 0, Own: own,
				})
			}
		}
	}
	return n
}

// possible reports whether a record can be seen so.
func possible(s plan.Seen) bool {
	switch {
	case !s.Exists:
		return s == plan.Seen{}
	case s.Named:
		return s.Own == plan.Topmost && s.Retired && !s.Live && !s.Fits && !s.Shared
	}
	return !s.Retired || !s.Live && !s.Fits && !s.Shared
}

// TestJudgeOnEveryInput holds each verdict to what it means.
func TestJudgeOnEveryInput(t *testing.T) {
	t.Parallel()
	n := eachSeen(func(basis plan.Source, s plan.Seen) {
		if !possible(s) {
			return
		}
		fresh, own, known := basis == plan.Absent, s.Own != plan.NotOwn, s.Exists && !s.Named
		imported := s.Shared && s.Live
		right := map[plan.Verdict]bool{
			plan.Free:      !s.Exists && fresh,
			plan.Foreign:   known && fresh && !own && !imported,
			plan.Ended:     !s.Exists && !fresh || known && !s.Live && (own || !fresh) && (!own || !s.Retired),
			plan.Mine:      s.Named || known && s.Live && own && s.Fits,
			plan.Overtaken: known && own && (s.Retired || s.Live && !s.Fits),
			plan.Current:   known && s.Live && !own && (s.Shared || !fresh && s.Fits),
			plan.Renewed:   known && s.Live && !own && !fresh && !s.Fits && !s.Shared,
		}
		got := plan.Judge(basis, s)
		for verdict, is := range right {
			if is != (verdict == got) {
				t.Errorf("basis %d, %+v: verdict %d; %d would be right: %v", basis, s, got, verdict, is)
			}
		}
	})
	t.Logf("%d inputs, of which some cannot be", n)
}

func TestR10ARecordThatIsNotLiveIsNeverGoneOnFrom(t *testing.T) {
	t.Parallel()
	eachSeen(func(basis plan.Source, s plan.Seen) {
		verdict := plan.Judge(basis, s)
		if (verdict == plan.Mine || verdict == plan.Current) && !s.Live && !s.Named {
			t.Errorf("basis %d, %+v: verdict %d", basis, s, verdict)
		}
	})
}

func TestR13AWriteIsRecognisedByWhatItLeft(t *testing.T) {
	t.Parallel()
	split := token.Credentials{Handle: "h", Secret: "s", ID: "h"}
	plain := token.Credentials{Handle: "p", ID: "p"}
	attempts := []plan.Attempt{
		{ID: "h", Version: 1, Credentials: split},
		{ID: "h", Version: 2, Credentials: split, Renews: true},
		{ID: "h", Version: 3, Credentials: split, Renews: true},
		{ID: "old", Version: 4, Credentials: plain, Renews: true},
	}
	for what, test := range map[string]struct {
		stamp plan.Stamp
		at    int
		own   plan.Own
	}{
		"its version":                           {plan.Stamp{ID: "h", Version: 1}, 0, plan.Topmost},
		"the later of two in the history":       {plan.Stamp{ID: "h", Version: 9, Before: [4]int64{8, 2, 1}}, 1, plan.Beneath},
		"its tombstone":                         {plan.Stamp{ID: "old", By: 4}, 3, plan.Topmost},
		"its token, the first of those with it": {plan.Stamp{ID: "h", Version: 9, Token: split.Token()}, 1, plan.Beneath},
		"a plain id is no proof":                {plan.Stamp{ID: "p", Version: 9}, -1, plan.NotOwn},
		"nothing":                               {plan.Stamp{ID: "h", Version: 9, Before: [4]int64{8, 7, 6, 5}, Token: []byte("x")}, -1, plan.NotOwn},
		"an empty record":                       {plan.Stamp{}, -1, plan.NotOwn},
	} {
		if at, own := plan.Recognise(attempts, test.stamp); at != test.at || own != test.own {
			t.Errorf("%s: attempt %d, %d; want %d, %d", what, at, own, test.at, test.own)
		}
	}
	if at, own := plan.Recognise(nil, plan.Stamp{ID: "h", Version: 1}); at != -1 || own != plan.NotOwn {
		t.Errorf("without attempts: %d, %d", at, own)
	}
}
