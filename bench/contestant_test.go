package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestContestantsDoTheSameWork(t *testing.T) {
	t.Parallel()
	s := testScene(t, 1024)
	for _, c := range contestants() {
		t.Run(c.key, func(t *testing.T) {
			t.Parallel()
			a := enteredOn(t, s, c)
			for _, o := range measured {
				if !c.does(o, s.size) {
					continue
				}
				if err := prove(t.Context(), a, o, s.values); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestLimitsOfContestantsAreReal(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1024, 64 << 10} {
		s := testScene(t, size)
		for _, c := range peers() {
			for _, o := range []op{create, regenerate} {
				if c.cannot(size, o) == "" {
					continue
				}
				if err := c.provesLimit(t.Context(), s, o); err != nil {
					t.Errorf("%s, %d bytes: %v", c.key, size, err)
				}
			}
		}
	}
}

// broken is the floor with one operation that does not do its work.
type broken struct {
	app
	op  op
	act func(ctx context.Context, a app, count int, cookie string) (answer, error)
}

func (b broken) send(ctx context.Context, o op, count int, cookie string) (answer, error) {
	if o == b.op {
		return b.act(ctx, b.app, count, cookie)
	}
	return b.app.send(ctx, o, count, cookie)
}

// instead answers an operation by another one.
func instead(o op) func(context.Context, app, int, string) (answer, error) {
	return func(ctx context.Context, a app, count int, cookie string) (answer, error) {
		return a.send(ctx, o, count, cookie)
	}
}

func TestContestantThatDoesNotDoItsWorkIsRefused(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]broken{
		"drops the change": {op: change, act: instead(unchanged)},
		"drops the new session": {op: create, act: func(context.Context, app, int, string) (answer, error) {
			return answer{status: 200, cookie: "sid=a.b"}, nil
		}},
		"sets no cookie": {op: create, act: func(context.Context, app, int, string) (answer, error) { return answer{status: 200}, nil }},
		"keeps the id":   {op: regenerate, act: instead(unchanged)},
		"finds an older session": {op: load, act: func(context.Context, app, int, string) (answer, error) {
			return answer{status: 200, body: []byte("0")}, nil
		}},
		"leaves the old session": {op: regenerate, act: func(ctx context.Context, a app, count int, _ string) (answer, error) {
			got, err := a.send(ctx, create, count, "")
			got.body = []byte("1")
			return got, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testScene(t, 1024)
			cheat := &contestant{key: "cheat", name: "a cheat", open: func(ctx context.Context, s *stage) (app, error) {
				var err error
				b.app, err = openUpserts(ctx, s)
				return b, err
			}}
			set := settings{visitors: 5, ops: measured, contestants: []*contestant{contestants()[0], cheat}}
			entrants, _, err := set.enter(t.Context(), s)
			for _, e := range entrants {
				e.app.close()
			}
			if err == nil || !strings.HasPrefix(err.Error(), "a cheat: ") {
				t.Errorf("error %v, want one that names it", err)
			}
		})
	}
}

// It may also begin to cheat when it is being measured.
func TestContestantIsReadBackAfterEachTurn(t *testing.T) {
	t.Parallel()
	s := testScene(t, 1024)
	a, err := openUpserts(t.Context(), &s.stage)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	set := settings{rounds: 1, visitors: 5, duration: time.Minute, ops: []op{change}}
	e := &entrant{contestant: &contestant{name: "a cheat"}, app: a, commands: s.commandsOf(&contestant{})}
	if err := e.prepare(t.Context(), set, s); err != nil {
		t.Fatal(err)
	}
	e.app = broken{app: a, op: change, act: instead(unchanged)}
	if err := set.fight(t.Context(), s, []*entrant{e}, 2); err == nil || !strings.Contains(err.Error(), "a cheat: change: count reads back") {
		t.Errorf("error %v", err)
	}
}

func TestContestantMustMoveTheDeadlineOfAnUnchangedSession(t *testing.T) {
	t.Parallel()
	s := testScene(t, 1024)
	a, err := openFloor(t.Context(), &s.stage)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	set := settings{visitors: 5, duration: time.Minute, ops: []op{unchanged}}
	e := &entrant{contestant: contestants()[0], app: a, commands: s.commandsOf(&contestant{}), slices: make(map[op][]slice)}
	if err := e.prepare(t.Context(), set, s); err != nil {
		t.Fatal(err)
	}
	if err := set.fight(t.Context(), s, []*entrant{e}, 2); err != nil {
		t.Error(err)
	}
	e.app = broken{app: a, op: unchanged, act: instead(load)}
	if err := set.fight(t.Context(), s, []*entrant{e}, 2); err == nil || !strings.Contains(err.Error(), "did not move the deadline") {
		t.Errorf("error %v", err)
	}
}

func TestCommandComparesAndWritesTables(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a server of its own")
	}
	var out strings.Builder
	args := strings.Fields("-rounds 1 -n 8 -payloads 1 -concurrency 2 -topologies standalone -contestants gob,cookie -npm=false")
	if err := command(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## 1 KB, 2 requests at once, standalone", "| floor: bare driver v2, the same commands | 1.00 / 1.00 | 1.00 / 1.00 |", "| mongostore, gob (default) |",
		"–: CookieStore, load, regenerate: " + noEnd,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestCommandRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"-ops=fly", "-contestants=nobody", "-payloads=x", "-concurrency=0", "-topologies=ring", "-rounds=0", "-n=0", "-readme=none"} {
		if err := command(t.Context(), []string{arg}, io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", arg)
		}
	}
	if err := command(t.Context(), []string{"-h"}, io.Discard, io.Discard); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("-h: %v", err)
	}
}
