package mongotest_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore/internal/mongotest"
)

// named returns a collection of a client whose commands can be failed; the
// driver does not try again.
func named(t *testing.T, s *mongotest.Server) (coll *mongo.Collection, app string) {
	t.Helper()
	opts := options.Client().SetAppName(t.Name()).SetRetryReads(false).SetRetryWrites(false)
	return s.Database(t, opts).Collection("c"), t.Name()
}

func TestFailCommand(t *testing.T) {
	t.Parallel()
	const code = 96 // OperationFailed
	hasCode := func(err error) bool {
		var se mongo.ServerError
		return errors.As(err, &se) && se.HasErrorCode(code)
	}
	tests := map[string]struct {
		fail mongotest.Fail
		want func(error) bool
	}{
		"error code":       {mongotest.Fail{ErrorCode: code}, hasCode},
		"closed":           {mongotest.Fail{CloseConnection: true}, mongo.IsNetworkError},
		"write concern":    {mongotest.Fail{WriteConcernError: bson.D{{Key: "code", Value: code}, {Key: "errmsg", Value: "x"}}}, hasCode},
		"label":            {mongotest.Fail{ErrorCode: code, ErrorLabels: []string{"Odd"}}, func(err error) bool { return hasLabel(err, "Odd") }},
		"only another app": {mongotest.Fail{ErrorCode: code, AppName: "another"}, func(err error) bool { return err == nil }},
		"late":             {mongotest.Fail{Block: time.Millisecond}, func(err error) bool { return err == nil }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mongotest.Failing(t)
			coll, app := named(t, s)
			test.fail.Commands = []string{"insert"}
			if test.fail.AppName == "" {
				test.fail.AppName = app
			}
			off := s.FailCommand(t, test.fail)
			if err := insert(t.Context(), coll); !test.want(err) {
				t.Errorf("failed with %v", err)
			}
			off()
			if err := insert(t.Context(), coll); err != nil {
				t.Errorf("after off: %v", err)
			}
		})
	}
}

func hasLabel(err error, label string) bool {
	var le mongo.LabeledError
	return errors.As(err, &le) && le.HasErrorLabel(label)
}

func TestFailCommandCountsTimesAndSkips(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"standalone", "replica set", "secured"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := kinds[kind](t)
			coll, app := named(t, s)
			failed := func(f mongotest.Fail) (failed [3]bool) {
				f.Commands, f.AppName, f.ErrorCode = []string{"insert"}, app, 96
				s.FailCommand(t, f) // replaces the one before
				for i := range failed {
					failed[i] = insert(t.Context(), coll) != nil
				}
				return failed
			}
			if got := failed(mongotest.Fail{Times: 1}); got != [3]bool{true, false, false} {
				t.Errorf("Times 1: %v", got)
			}
			if got := failed(mongotest.Fail{Skip: 1}); got != [3]bool{false, true, true} {
				t.Errorf("Skip 1: %v", got)
			}
		})
	}
}

func TestFailCommandWantsTheNameOfAClientUnlessTheServerIsTheTestsOwn(t *testing.T) {
	t.Parallel()
	s := mongotest.Standalone(t)
	if !fails(t, func(tb testing.TB) {
		tb.Helper()
		s.FailCommand(tb, mongotest.Fail{Commands: []string{"insert"}, ErrorCode: 1})
	}) {
		t.Error("FailCommand would fail the commands of other tests")
	}
	for _, own := range []*mongotest.Server{mongotest.Private(t), mongotest.Failing(t)} {
		own.FailCommand(t, mongotest.Fail{Commands: []string{"insert"}, ErrorCode: 96})
		if err := insert(t.Context(), own.Database(t).Collection("c")); err == nil {
			t.Error("the command did not fail")
		}
	}
}

func TestFailingServerIsOneTestsAtATime(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	lent := map[*mongotest.Server]bool{}
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			s := mongotest.Failing(t)
			if s != mongotest.Failing(t) {
				t.Error("two servers for one test")
			}
			mu.Lock()
			defer mu.Unlock()
			if lent[s] {
				t.Error("a server that another test has")
			}
			lent[s] = true
			t.Cleanup(func() {
				mu.Lock()
				defer mu.Unlock()
				delete(lent, s)
			})
		})
	}
}
