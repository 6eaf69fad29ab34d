package mongostore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/mongotest"
)

// The checker runs two or three requests in every order of their commands, and lets some of the commands fail. It
// needs no model of the store: each schedule is a run of the real code from the beginning, in which a gate before
// the backend parks every command, testing/synctest tells when all requests are parked, and the search picks the
// command that goes next and what becomes of it.

// The environment says how far TestChecker goes and what it does:
//
//	MONGOSTORE_CHECK=acceptance  more settings with more faults, a few minutes
//	MONGOSTORE_LONG=1            still more, about an hour
//	MONGOSTORE_ONLY=text         only where "/scenario/setting/" has the text in it
//	MONGOSTORE_FAULTS=n          with so many faults each
//	MONGOSTORE_SCHEDULES=n       with at most so many schedules of a play, and as many at random if there are more
//	MONGOSTORE_RED=1             what is known to be wrong fails too, and its schedules are shown
//	MONGOSTORE_SCHEDULE=line     one schedule, as a failure prints it

// TestChecker tries every order of the commands of requests at the same time.
func TestChecker(t *testing.T) {
	t.Parallel()
	if line := os.Getenv("MONGOSTORE_SCHEDULE"); line != "" {
		runAgain(t, line)
		return
	}
	began, total := time.Now(), new(atomic.Int64)
	t.Cleanup(func() {
		mongotest.Report(fmt.Sprintf("tried %d schedules of requests at the same time, in %v",
			total.Load(), time.Since(began).Round(time.Second)))
	})
	for i := range scenarios {
		for j := range settings {
			sc, st := &scenarios[i], &settings[j]
			faults, wanted := howFar(sc, st)
			most := howMany()
			if name := sc.name + "/" + st.name; wanted {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					total.Add(int64(checkAll(t, sc, st, faults, most)))
				})
			}
		}
	}
}

// checkAll tries all schedules of a scenario under a setting, and reports each way in which they go wrong by the
// shortest one.
func checkAll(t *testing.T, sc *scenario, st *setting, faults, most int) (n int) {
	t.Helper()
	var found map[string]*finding
	synctest.Test(t, func(t *testing.T) {
		p, err := newPlay(sc, st, faults)
		if err != nil {
			t.Fatal(err)
		}
		n, found = p.search(most)
		for _, f := range found {
			f.text, _ = p.tell(f.choices)
		}
	})
	for _, violation := range slices.Sorted(maps.Keys(found)) {
		if f := found[violation]; f.known {
			t.Logf("%d of %d schedules are wrong until it is mended: %s", f.times, n, violation)
		} else {
			t.Errorf("%d of %d schedules: %s\n%s", f.times, n, violation, f.text)
		}
	}
	return n
}

// runAgain runs one schedule, and shows it.
func runAgain(t *testing.T, line string) {
	t.Helper()
	where, list, _ := strings.Cut(line, ":")
	name, rest, _ := strings.Cut(where, "/")
	kind, number, _ := strings.Cut(rest, "/")
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	j := slices.IndexFunc(settings, func(s setting) bool { return s.name == kind })
	faults, err := strconv.Atoi(number)
	if i < 0 || j < 0 || err != nil {
		t.Fatalf("MONGOSTORE_SCHEDULE names no scenario, setting and number of faults: %q", where)
	}
	var choices []int
	for n := range strings.SplitSeq(list, ",") {
		choice, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		choices = append(choices, choice)
	}
	synctest.Test(t, func(t *testing.T) {
		p, err := newPlay(&scenarios[i], &settings[j], faults)
		if err != nil {
			t.Fatal(err)
		}
		text, wrong := p.tell(choices)
		if t.Log("\n" + text); wrong {
			t.Fail()
		}
	})
}

// howFar says how many faults a scenario is tried with under a setting, and whether it is tried at all. Schedules grow
// by a factor of about 30 with each fault, and of 20 with a third request.
func howFar(sc *scenario, st *setting) (faults int, wanted bool) {
	if only := os.Getenv("MONGOSTORE_ONLY"); only != "" && !strings.Contains("/"+sc.name+"/"+st.name+"/", only) {
		return 0, false
	}
	if sc.express && (!st.plain() || st.name == "plain-sealed") {
		return 0, false
	}
	if n, err := strconv.Atoi(os.Getenv("MONGOSTORE_FAULTS")); err == nil {
		return n, true
	}
	plainest := st.name == "split" || st.name == "plain"
	wanted = true
	large := len(sc.parts) > 2 || sc.old != "" || sc.large
	switch {
	case os.Getenv("MONGOSTORE_LONG") != "":
		faults = 2
		if len(sc.parts) == 1 {
			faults = 3
		} else if large && !plainest {
			faults = 1
		}
	case os.Getenv("MONGOSTORE_CHECK") == "acceptance":
		faults = 1
		if len(sc.parts) == 1 {
			faults = 2
		} else if large && !plainest {
			faults = 0
		}
	default:
		wanted = plainest || !large
		if plainest && len(sc.parts) == 1 || st.name == "split" && sc.short {
			faults = 1
		}
	}
	return max(faults, sc.faults), wanted
}

// howMany bounds the schedules of one play: of those that have more, as many again are tried at random.
func howMany() int {
	if n, err := strconv.Atoi(os.Getenv("MONGOSTORE_SCHEDULES")); err == nil {
		return n
	}
	if os.Getenv("MONGOSTORE_LONG") != "" {
		return 2000
	}
	return 1000
}

// fate is what becomes of a command.
type fate int

const (
	done           fate = iota // it was done, and the answer says so
	notReplicated              // it was done, and the answer is a write-concern error
	unanswered                 // it was done, and the connection broke
	unansweredLate             // it was done, and the answer did not come in time
	lost                       // it never arrived, and no answer came in time
	delayed                    // no answer came in time, and it arrives later
	delayedBroken              // the connection broke, and it arrives later
	crash                      // it was done, and the process of the actor ends
)

func (f fate) String() string {
	return [...]string{
		"done", "done, with a write-concern error", "done, but the connection breaks", "done, but the answer times out",
		"lost, times out", "times out, to arrive later", "the connection breaks, to arrive later",
		"done, and the process ends",
	}[f]
}

// applied reports whether a command with this fate is done at once.
func (f fate) applied() bool { return f <= unansweredLate || f == crash }

// command is one thing that an actor is about to do: a command to the backend, or a step of the world.
type command struct {
	verb    string
	id      string // of the record
	load    bool   // a read of a load: loads commute
	step    bool   // no command: a response arrives, a request begins, time passes
	write   bool
	writes  bool   // values
	ends    bool   // a session, if it has an effect
	renews  bool   // likewise
	creates string // the id of the record that it makes
	blind   bool   // it goes by the id alone
	next    string // that of the record that takes the place of this one
}

// fates are what may become of a command if there may be one more fault.
func (c *command) fates(faulty bool) []fate {
	switch {
	case c.step, c.blind, !faulty:
		return []fate{done}
	case c.write:
		return []fate{done, notReplicated, unanswered, unansweredLate, lost, delayed, delayedBroken}
	}
	return []fate{done, lost}
}

// actor is one who does something: a request, an administrator, time.
type actor struct {
	part
	name    string
	run     *schedule
	index   int
	pending *command // what it waits to be allowed to do
	resume  chan fate
	done    bool
	visit   visit
	saving  int // the number of the Save it is in, from 1; 0: none

	observedTouchMiss bool
}

type actorKey struct{}

// context returns one by which the gate knows the actor.
func (a *actor) context() context.Context {
	return context.WithValue(context.Background(), actorKey{}, a)
}

// await parks the actor until the search lets it do a command.
func (a *actor) await(c *command) fate {
	a.run.mu.Lock()
	a.pending = c
	a.run.mu.Unlock()
	return <-a.resume
}

// step parks the actor before something that is no command.
func (a *actor) step(verb string) { a.await(&command{verb: verb, step: true}) }

// event is a command that was done or not.
type event struct {
	*command
	actor  *actor
	saving int
	fate   fate
	at     int  // the step
	late   bool // it has just arrived
	effect bool // it found what it was for
}

// letter is a command that has not arrived yet.
type letter struct {
	event
	arrive func() bool
}

// pass parks a command until the search has chosen its fate.
func pass[T any](ctx context.Context, c command, apply func() (result T, effect bool)) (T, error) {
	a, ok := ctx.Value(actorKey{}).(*actor)
	if !ok {
		result, _ := apply()
		return result, nil
	}
	c.load = !c.write && !a.visit.loaded
	chosen := a.await(&c)
	e := event{command: &c, actor: a, saving: a.saving, fate: chosen, at: a.run.steps}
	var result, none T
	if e.fate.applied() {
		result, e.effect = apply()
	}
	a.run.happened(e)
	switch e.fate {
	case done:
		return result, nil
	case notReplicated:
		if c.creates != "" && !e.effect {
			return result, nil // a duplicate key is told first
		}
		return result, errNotReplicated(e.effect)
	case unanswered:
		return none, errBroken
	case crash:
		a.crash()
	case delayed, delayedBroken:
		a.run.late = append(a.run.late, &letter{e, func() bool { _, effect := apply(); return effect }})
		if e.fate == delayedBroken {
			return none, errBroken
		}
	}
	return none, errTimedOut
}

// crash ends the actor as if its process had ended: what it was told last is that nobody knows.
func (a *actor) crash() {
	a.visit.saves = append(a.visit.saves, told{err: ErrUnavailable, crashed: true, began: a.run.steps, end: a.run.steps})
	a.run.sayf("%s: its process ends", a.name)
	runtime.Goexit()
}

// option is one way to go on.
type option struct {
	actor  *actor // who goes on; nil: a letter arrives
	fate   fate
	letter int
}

// schedule is one run of a scenario.
type schedule struct {
	*play
	mu      sync.Mutex // time wakes actors too, and the race detector does not know that they run one after the other
	choices []int      // what to choose; after these, the first option
	random  *rand.Rand // if set, one at random
	taken   []int      // what was chosen
	widths  []int      // out of so many
	actors  []*actor
	late    []*letter
	faults  int // that may still happen
	steps   int
	last    *actor   // who did a load in the last step
	events  []event  // what happened
	trace   []string // the same in words, and what was told; only if words
	words   bool
	looked  map[string]*sessions.Session // what the judge has found by a cookie

	names, cookies map[string]int // of records and cookies, in words
}

func (r *schedule) happened(e event) {
	r.events = append(r.events, e)
	if !r.words || e.step {
		return
	}
	effect := ""
	switch {
	case e.write && e.fate.applied() && !e.effect:
		effect = ", matched nothing"
	case e.verb == "find" && e.fate == done && !e.effect:
		effect = ", found nothing"
	}
	r.sayf("%s: %s%s: %v%s", e.actor.name, e.verb, r.nameOf(e.id), e.fate, effect)
}

// sayf adds a line to the words of the schedule.
func (r *schedule) sayf(format string, args ...any) {
	if r.words {
		r.trace = append(r.trace, fmt.Sprintf("%3d. ", r.steps)+fmt.Sprintf(format, args...))
	}
}

// do runs the schedule to its end, and returns what is wrong with it.
func (r *schedule) do() (violations []string) {
	r.begin()
	for {
		if !r.settle() {
			return []string{"a request waits without end"}
		}
		options := r.options()
		if len(options) == 0 {
			break
		}
		r.take(r.choose(options))
	}
	return r.judge()
}

// settle waits until each actor is parked, done, or waits for another one. A pause lets the store's back-off pass.
func (r *schedule) settle() bool {
	for tries := range 40 {
		synctest.Wait()
		running, parked := r.count()
		if running == 0 || parked > 0 && tries == 1 {
			return true
		}
		pause := 20 * time.Millisecond
		if tries > 2 {
			pause = time.Minute
		}
		time.Sleep(pause) //nolint:forbidigo // fake time
	}
	return false
}

// count returns how many actors are on their way and how many are parked.
func (r *schedule) count() (running, parked int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.actors {
		if a.pending != nil {
			parked++
		} else if !a.done {
			running++
		}
	}
	return running, parked
}

// options are the ways to go on, in an order that depends on nothing but the choices so far.
func (r *schedule) options() []option {
	options := r.optionsBut(r.commutes)
	if len(options) == 0 { // what is left to do commutes with the last step
		options = r.optionsBut(func(*actor) bool { return false })
	}
	return options
}

func (r *schedule) optionsBut(skip func(*actor) bool) []option {
	var options []option
	for _, a := range r.actors {
		if a.pending == nil || skip(a) {
			continue
		}
		fates := a.pending.fates(r.faults > 0)
		if len(fates) > 2 && r.scenario.crashes {
			fates = append(fates, crash)
		}
		for _, f := range fates {
			if only := r.scenario.only; only == nil || slices.Contains(only, f) {
				options = append(options, option{actor: a, fate: f})
			}
		}
	}
	for i, l := range r.late {
		if l != nil {
			options = append(options, option{letter: i})
		}
	}
	return options
}

// commutes reports whether the step before this one could as well come after it: of two loads, which change nothing,
// only one order is tried. Whoever is parked on a load now was so before: the load of another wakes nobody.
func (r *schedule) commutes(a *actor) bool {
	return r.last != nil && a.index < r.last.index && a.pending.load
}

// choose takes the option that the choices say.
func (r *schedule) choose(options []option) option {
	choice := 0
	if n := len(r.taken); n < len(r.choices) {
		choice = min(r.choices[n], len(options)-1)
	} else if r.random != nil {
		choice = r.atRandom(options)
	}
	r.taken, r.widths = append(r.taken, choice), append(r.widths, len(options))
	return options[choice]
}

// atRandom picks one, three times out of four one that is no fault.
func (r *schedule) atRandom(options []option) int {
	choice := r.random.IntN(len(options))
	if options[choice].fate != done && r.random.IntN(4) > 0 {
		for options[choice].fate != done {
			choice--
		}
	}
	return choice
}

func (r *schedule) take(o option) {
	r.steps++
	if o.actor == nil {
		l := r.late[o.letter]
		r.late[o.letter], r.last = nil, nil
		e := l.event
		e.effect, e.late, e.at, e.fate = l.arrive(), true, r.steps, done
		r.events = append(r.events, e)
		r.sayf("%s: %s%s ARRIVES LATE, effect: %v", e.actor.name, e.verb, r.nameOf(e.id), e.effect)
		return
	}
	c := o.actor.pending
	o.actor.pending, r.last = nil, nil
	if o.fate != done {
		r.faults--
	} else if c.load {
		r.last = o.actor
	}
	if c.step {
		r.sayf("%s: %s", o.actor.name, c.verb)
	}
	o.actor.resume <- o.fate
}

// next returns the choices of the next schedule, depth first; false after the last one.
func (r *schedule) next() ([]int, bool) {
	for i, choice := range slices.Backward(r.taken) {
		if choice+1 < r.widths[i] {
			return append(r.taken[:i:i], choice+1), true
		}
	}
	return nil, false
}

// begin puts the world back to where the setup left it and starts the actors.
func (r *schedule) begin() {
	r.restore()
	for i, p := range r.scenario.parts {
		a := &actor{part: p, run: r, index: i, name: p.title(), resume: make(chan fate)}
		r.actors = append(r.actors, a)
	}
	for _, a := range r.actors {
		go func() {
			defer func() { a.done = true }()
			a.act(a)
		}()
	}
}

// finding is a schedule that is wrong: the shortest of those that are wrong in the same way.
type finding struct {
	choices []int
	text    string
	times   int
	known   bool
}

// count adds a schedule.
func (f *finding) count(choices []int) {
	if f.times++; f.times == 1 || len(choices) < len(f.choices) {
		f.choices = choices
	}
}

// search runs the schedules of a play one after the other until there are no more; after so many, it runs as many at
// random. What is found is by what is wrong or, of a schedule in which something is wrong that is known, by the reason.
func (p *play) search(most int) (n int, found map[string]*finding) {
	found = map[string]*finding{}
	next, more := []int(nil), true
	for ; more && n < most; n++ {
		next, more = p.try(p.schedule(next, false), found).next()
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same ones each time
	for ; more && n < 2*most; n++ {
		r := p.schedule(nil, false)
		r.random = random
		p.try(r, found)
	}
	return n, found
}

// try runs one schedule, and adds what is wrong to what was found.
func (p *play) try(r *schedule, found map[string]*finding) *schedule {
	add := func(what string, known bool) {
		if found[what] == nil {
			found[what] = &finding{known: known}
		}
		found[what].count(r.taken)
	}
	violations := r.do()
	if reason := p.knownReason(violations); reason != "" {
		add(reason, true)
		return r
	}
	for _, violation := range violations {
		add(violation, false)
	}
	return r
}

func (p *play) schedule(choices []int, words bool) *schedule {
	return &schedule{play: p, choices: choices, faults: p.faults, words: words}
}

// tell runs a schedule again and returns it in words.
func (p *play) tell(choices []int) (string, bool) {
	r := p.schedule(choices, true)
	violations := r.do()
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, at most %d faults\n", p.scenario.name, p.setting.name, p.faults)
	for _, line := range r.trace {
		fmt.Fprintln(&b, line)
	}
	r.end(&b)
	for _, violation := range violations {
		fmt.Fprintf(&b, "VIOLATION: %s\n", violation)
	}
	line := strings.Trim(strings.ReplaceAll(fmt.Sprint(r.taken), " ", ","), "[]")
	fmt.Fprintf(&b, "MONGOSTORE_SCHEDULE='%s/%s/%d:%s' go test -run TestChecker .\n", p.scenario.name, p.setting.name, p.faults, line)
	return b.String(), len(violations) > 0
}
