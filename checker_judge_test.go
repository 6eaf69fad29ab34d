package mongostore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/sessions"
)

// A rule returns what is wrong with a schedule that has ended, "" if nothing is.
type rule func(r *schedule) string

var rules = []rule{
	(*schedule).bystander, (*schedule).endsAreFinal, (*schedule).cookiesAreHonest, (*schedule).errorsAreHonest,
	(*schedule).secondSavesAreQuiet, (*schedule).unchangedSavesAreQuiet, (*schedule).nobodyIsLeftWithoutCookie,
	(*schedule).loginsRenew, (*schedule).concernsAreTold, (*schedule).pendingLeadsNowhere, (*schedule).renewalsBecomeOne, (*schedule).optionsConflict, (*schedule).nothingPendingIsLeft,
	(*schedule).lateRequestsAreQuiet, (*schedule).conflictsAreTold, (*schedule).expiryIsFinal,
	(*schedule).insertsAreConfirmed, (*schedule).changesAreKept, (*schedule).flashesAreKept, (*schedule).savesProlong, (*schedule).recordsAreReachable, (*schedule).browserIsLoggedIn,
	(*schedule).attributesAreKept, (*schedule).cookiesHaveTheirAttributes, (*schedule).valuesAreBroughtHome, (*schedule).nothingIsWrittenAfterAnEnd,
}

// judge returns all that is wrong.
func (r *schedule) judge() (violations []string) {
	for _, rule := range rules {
		if wrong := rule(r); wrong != "" {
			violations = append(violations, wrong)
		}
	}
	return violations
}

// find returns what a request with this cookie finds when all is over.
func (r *schedule) find(cookie *http.Cookie) (*sessions.Session, bool) {
	value := ""
	if cookie != nil {
		value = cookie.Value
	}
	if s, ok := r.looked[value]; ok {
		return s, s != nil
	}
	s, found := r.look(cookie)
	if !found {
		s = nil
	}
	if r.looked == nil {
		r.looked = map[string]*sessions.Session{}
	}
	r.looked[value] = s
	return s, found
}

// look returns what a request with this cookie would find now.
func (p *play) look(cookie *http.Cookie) (*sessions.Session, bool) {
	b := browser{cookie: cookie}
	session, err := p.frozen().New(b.request(context.Background()), "sid")
	return session, err == nil && !session.IsNew
}

// stored is a live record.
type stored struct {
	id     string
	values map[any]any
}

// records are the live ones but the bystander's.
func (p *play) records() []stored {
	var all []stored
	for rec, err := range p.stores[0].All(context.Background()) {
		if err != nil {
			continue
		}
		values, _ := rec.Values(context.Background())
		if rec.ID != p.other.id {
			all = append(all, stored{rec.ID, values})
		}
	}
	slices.SortFunc(all, func(a, b stored) int { return strings.Compare(a.id, b.id) })
	return all
}

// visits are those of requests.
func (r *schedule) visits() []*actor {
	return slices.DeleteFunc(slices.Clone(r.actors), func(a *actor) bool { _, ok := a.part.(request); return !ok })
}

// any reports whether there is an event with an effect that is so.
func (r *schedule) any(is func(e event) bool) bool {
	return slices.ContainsFunc(r.events, func(e event) bool { return e.effect && is(e) })
}

// ended reports whether something has ended the session.
func (r *schedule) ended() bool {
	return len(r.expired) > 0 || r.any(func(e event) bool { return e.ends })
}

// endedBy reports whether something but this actor has ended or renewed the session by a step.
func (r *schedule) endedBy(a *actor, step int) bool {
	return slices.ContainsFunc(r.expired, func(at int) bool { return at <= step }) ||
		r.any(func(e event) bool { return (e.ends || e.renews) && e.actor != a && e.at <= step })
}

// justRenewed reports whether another request has renewed the session, and nothing ended it.
func (r *schedule) justRenewed(a *actor) bool {
	return !r.ended() && r.any(func(e event) bool { return e.renews && e.actor != a })
}

// committed returns the step at which the values of an actor were last written; 0: never.
func (r *schedule) committed(a *actor) (at int) {
	for _, e := range r.events {
		if e.effect && e.writes && e.actor == a {
			at = e.at
		}
	}
	return at
}

// stored returns the step at which the values of an actor were stored, if need be by another.
func (r *schedule) stored(a *actor) int {
	if at := r.committed(a); at > 0 {
		return at
	}
	return a.final().end
}

// final returns what the last Save of an actor said.
func (a *actor) final() told { return a.visit.final() }

func (v *visit) final() told {
	if len(v.saves) == 0 {
		return told{err: errors.New("no Save")}
	}
	return v.saves[len(v.saves)-1]
}

func (a *actor) isCall() bool { _, ok := a.part.(call); return ok }

// bystander: nobody sees another's session, and it stays as it is.
func (r *schedule) bystander() string {
	for _, a := range r.actors {
		if a.visit.values["k"] == "bystander" {
			return a.name + " sees the bystander's values"
		}
	}
	if s, ok := r.find(r.other.cookie); len(r.expired) == 0 && (!ok || s.Values["k"] != "bystander") {
		return "the bystander's session is not as it was"
	}
	return ""
}

// endsAreFinal: after an acknowledged end no cookie of the session leads to one.
func (r *schedule) endsAreFinal() string {
	for _, a := range r.actors {
		c, isCall := a.part.(call)
		switch t := a.final(); {
		case !t.acknowledged(), isCall && !c.ends, !isCall && !a.visit.logout:
			continue
		case !isCall && !a.visit.found:
			if _, found := r.find(&http.Cookie{Name: "sid", Value: a.visit.sent}); found && a.visit.sent != "" {
				return a.name + " was acknowledged, and the cookie that it sent leads to a session"
			}
			continue
		}
		if cookie := r.alive(); cookie != "" {
			return a.name + " was acknowledged, and a cookie of the session leads to it: " + cookie
		}
	}
	if len(r.expired) > 0 {
		if cookie := r.alive(); cookie != "" {
			return "the session's deadline is over, and a cookie of it leads to it: " + cookie
		}
	}
	return ""
}

// alive returns a cookie of the session that was there at the beginning which leads to a session; "" if none does.
func (r *schedule) alive() string {
	cookies := []*http.Cookie{r.first}
	for _, a := range r.visits() {
		for _, t := range a.visit.saves {
			if (a.visit.found || r.scenario.fresh) && t.cookie != nil && t.cookie.MaxAge >= 0 {
				cookies = append(cookies, t.cookie)
			}
		}
	}
	for _, c := range cookies {
		s, found := r.find(c)
		if found && (r.id == "" || s.ID == r.id || r.stores[0].cfg.PlainIDs) {
			return r.cookieName(c.Value)
		}
	}
	return ""
}

// cookiesAreHonest: a cookie is set if and only if the write of the Save is stored.
func (r *schedule) cookiesAreHonest() string {
	for _, a := range r.visits() {
		for i, t := range a.visit.saves {
			set := t.cookie != nil && t.cookie.MaxAge >= 0
			switch {
			case t.crashed:
			case t.logout:
				if t.cookie == nil || t.cookie.MaxAge >= 0 {
					return a.name + ": the logout deletes no cookie"
				}
			case set && !t.acknowledged() && !r.activating(a, i+1):
				return fmt.Sprintf("%s: a cookie beside the error %v", a.name, t.err)
			case set && !r.any(func(e event) bool { return e.actor == a && e.write && e.at <= t.end }):
				return a.name + ": a cookie, and it has written nothing"
			case set && !t.live && !r.disturbed(a, t):
				return a.name + ": a cookie that leads to no session"
			case !set && t.acknowledged() && r.owed(a, i+1) && !r.renewedByOther(a):
				return a.name + ": no cookie, and its write is stored"
			}
		}
	}
	return ""
}

// disturbed reports whether another has ended or renewed the session since the write of a Save.
func (r *schedule) disturbed(a *actor, t told) bool {
	from := 0
	for _, e := range r.events {
		if e.actor == a && e.effect && e.write && e.at <= t.end {
			from = e.at
		}
	}
	return slices.ContainsFunc(r.expired, func(at int) bool { return at > t.began && at <= t.end }) ||
		r.any(func(e event) bool { return (e.ends || e.renews) && e.actor != a && e.at >= from && e.at <= t.end })
}

// activating reports whether a Save has retired a plain id, so that only the answer to the activation of its successor
// is missing: that is done by the load that brings the cookie.
func (r *schedule) activating(a *actor, saving int) bool {
	return r.any(func(e event) bool { return e.actor == a && e.saving == saving && e.next != "" })
}

func (r *schedule) renewedByOther(a *actor) bool {
	return r.any(func(e event) bool { return e.renews && e.actor != a })
}

// owed reports whether a Save that was acknowledged has to set a cookie.
func (r *schedule) owed(a *actor, saving int) bool {
	if slices.ContainsFunc(a.visit.saves[:saving-1], func(t told) bool { return t.cookie != nil }) {
		return false // it is in the same response
	}
	if a.visit.tooLate && !a.visit.regenerate {
		return false
	}
	return r.any(func(e event) bool {
		known := e.saving == saving && e.write && !e.late && (e.fate == done || e.fate == notReplicated)
		return e.actor == a && e.saving <= saving && (known || e.writes)
	})
}

// errorsAreHonest: an error says what happened.
func (r *schedule) errorsAreHonest() string {
	faulty := r.faults < r.play.faults
	for _, a := range r.actors {
		for i, t := range a.visit.saves {
			stored := r.any(func(e event) bool { return e.actor == a && e.writes && e.saving == i+1 })
			switch {
			case errors.Is(t.err, ErrNotFound) && !r.endedBy(a, t.end) && !a.visit.tooLate:
				return a.name + " is told ErrNotFound, and nobody has ended or renewed the session"
			case errors.Is(t.err, ErrConflict) && stored:
				return a.name + " is told ErrConflict, and its write is stored"
			case errors.Is(t.err, ErrNotFound) && stored && !r.ended() && (!a.isCall() || !r.stores[0].cfg.PlainIDs):
				return a.name + " is told ErrNotFound, and its write is stored"
			case errors.Is(t.err, ErrConflict) && r.stores[0].cfg.OnConflict != OnConflictFail && !faulty:
				return a.name + " is told ErrConflict"
			case errors.Is(t.err, ErrUnavailable) && !faulty && !errors.Is(t.err, context.Canceled):
				return fmt.Sprintf("%s is told %v, and nothing has failed", a.name, t.err)
			}
		}
		if a.observedTouchMiss && !r.endedBy(a, a.final().end) && !a.visit.tooLate {
			return a.name + ": a touch that lost a race is reported to Observe as not found"
		}
	}
	return ""
}

// secondSavesAreQuiet: after a Save that was acknowledged, one that changes nothing is no mistake, whatever others did.
func (r *schedule) secondSavesAreQuiet() string {
	for _, a := range r.visits() {
		for i, t := range a.visit.saves {
			if a.visit.twice && i > 0 && a.visit.saves[i-1].err == nil && t.err != nil && !errors.Is(t.err, ErrUnavailable) {
				return fmt.Sprintf("%s: a second Save, of nothing, is told %v", a.name, t.err)
			}
		}
	}
	return ""
}

// unchangedSavesAreQuiet: a Save that has nothing to lose does not tell that the session has ended.
func (r *schedule) unchangedSavesAreQuiet() string {
	for _, a := range r.visits() {
		v := &a.visit
		if v.found && !v.changed && !v.regenerate && !v.logout && v.age == 0 && len(v.attributes()) == 0 && errors.Is(v.final().err, ErrNotFound) {
			return a.name + " changed nothing, and is told ErrNotFound"
		}
	}
	return ""
}

// nobodyIsLeftWithoutCookie: a renewal whose cookie would reach nobody is not written; any other Save is.
func (r *schedule) nobodyIsLeftWithoutCookie() string {
	for _, a := range r.visits() {
		switch renews := r.any(func(e event) bool { return e.actor == a && e.renews }); {
		case !a.visit.leaves:
		case renews:
			return a.name + ": its client is gone, and the session is renewed"
		case a.visit.regenerate && a.final().err == nil:
			return a.name + ": its client is gone, and it is told nil"
		case !a.visit.regenerate && errors.Is(a.final().err, context.Canceled):
			return a.name + ": its client is gone, and the change is not stored"
		}
	}
	return ""
}

// loginsRenew: after a login that was acknowledged, the cookie that it sent is dead.
func (r *schedule) loginsRenew() string {
	for _, a := range r.visits() {
		v := &a.visit
		if !v.regenerate || !v.found || v.logout || v.final().err != nil || v.sent == "" || len(v.saves) < v.renewsFrom {
			continue
		}
		if _, found := r.find(&http.Cookie{Name: "sid", Value: v.sent}); found && !r.startedOver(a) {
			return a.name + " was acknowledged, and the cookie that it sent is alive"
		}
	}
	return ""
}

// startedOver reports whether a login made a record of its own.
func (r *schedule) startedOver(a *actor) bool {
	return r.any(func(e event) bool { return e.actor == a && e.creates != "" })
}

// concernsAreTold: a Save that returns nil has met no error of a write concern for a write that was done.
func (r *schedule) concernsAreTold() string {
	for _, a := range r.visits() {
		for i, t := range a.visit.saves {
			if t.err == nil && r.any(func(e event) bool {
				return e.actor == a && e.saving == i+1 && e.fate == notReplicated && e.verb == "confirm"
			}) {
				return a.name + " is told nil, and a write of its Save is not replicated"
			}
		}
	}
	return ""
}

// pendingLeadsNowhere: a successor counts only once the record that it replaces is a tombstone that names it.
func (r *schedule) pendingLeadsNowhere() string {
	for _, cookie := range r.uncommitted() {
		if _, found := r.find(cookie); found {
			return "a successor that replaces nothing yet is a session"
		}
	}
	return ""
}

// renewalsBecomeOne: of two renewals of a session that somebody is logged in to, one is told that it lost.
func (r *schedule) renewalsBecomeOne() string {
	told := 0
	for _, a := range r.visits() {
		if a.visit.regenerate && a.visit.found && a.final().err == nil && a.visit.values["user"] != nil {
			told++
		}
	}
	if records := r.records(); told > 1 && len(records) > 1 {
		return fmt.Sprintf("%d renewals of one session made %d", told, len(records))
	}
	return ""
}

// optionsConflict: under OnConflictFail, of two requests at the same time that set MaxAge, or both the Path, one is told.
func (r *schedule) optionsConflict() string {
	visits := r.visits()
	moves := func(a *actor) bool { return a.visit.path != "" && a.visit.path != "/" } // not to what it is
	for i, a := range visits {
		for _, b := range visits[i+1:] {
			both := a.visit.age > 0 && b.visit.age > 0 || moves(a) && moves(b)
			if r.stores[0].cfg.OnConflict == OnConflictFail && both && a.visit.at < r.stored(b) && b.visit.at < r.stored(a) &&
				a.final().err == nil && b.final().err == nil {
				return a.name + " and " + b.name + " set one option at the same time, and neither is told"
			}
		}
	}
	return ""
}

// nothingPendingIsLeft: without a fault, no successor is left of a renewal that was not committed.
func (r *schedule) nothingPendingIsLeft() string {
	if r.faults < r.play.faults || len(r.expired) > 0 {
		return ""
	}
	if id := r.pendingLeft(); id != "" {
		return "a pending successor is left: " + r.nameOf(id)
	}
	return ""
}

// lateRequestsAreQuiet: a request whose cookie was replaced just before stores nothing, unless it navigates.
func (r *schedule) lateRequestsAreQuiet() string {
	for _, a := range r.visits() {
		v := &a.visit
		if !v.tooLate || v.regenerate || v.logout {
			continue
		}
		t, values := a.final(), v.sets != "" || v.adds != "" || v.user != ""
		wrote := r.any(func(e event) bool { return e.actor == a && e.write })
		switch {
		case v.navigates && values:
			if t.err == nil && t.cookie == nil || errors.Is(t.err, ErrNotFound) {
				return a.name + " navigates with the cookie before, and is not stored"
			}
		case v.navigates, errors.Is(t.err, ErrUnavailable):
		case t.cookie != nil:
			return a.name + " was late, and sets a cookie"
		case wrote:
			return a.name + " was late, and stores something"
		case values && !errors.Is(t.err, ErrNotFound), !values && t.err != nil:
			return fmt.Sprintf("%s was late, and is told %v", a.name, t.err)
		}
	}
	return ""
}

// conflictsAreTold: under OnConflictFail, of two requests at the same time that change one key, one is told.
func (r *schedule) conflictsAreTold() string {
	if r.stores[0].cfg.OnConflict != OnConflictFail {
		return ""
	}
	visits := r.visits()
	for i, a := range visits {
		for _, b := range visits[i+1:] {
			both := a.visit.sets != "" && a.visit.sets == b.visit.sets && a.visit.changed && b.visit.changed &&
				a.final().err == nil && b.final().err == nil
			if both && a.visit.at < r.stored(b) && b.visit.at < r.stored(a) && a.visit.found && b.visit.found {
				return a.name + " and " + b.name + " changed one key at the same time, and neither is told"
			}
		}
	}
	return ""
}

// expiryIsFinal: a Save that begins after the deadline says so.
func (r *schedule) expiryIsFinal() string {
	for _, a := range r.visits() {
		v := &a.visit
		for _, t := range v.saves {
			after := slices.ContainsFunc(r.expired, func(at int) bool { return at <= t.began })
			if !after || !v.found || v.logout {
				continue
			}
			wrote := v.changed || v.regenerate
			if wrote && !errors.Is(t.err, ErrNotFound) && !errors.Is(t.err, ErrUnavailable) || t.cookie != nil {
				return fmt.Sprintf("%s: a Save after the deadline is told %v, cookie: %v", a.name, t.err, t.cookie != nil)
			}
		}
	}
	return ""
}

// single reports whether there is one session, which all requests share.
func (r *schedule) single() bool {
	logins := 0
	for _, a := range r.visits() {
		wrote := r.any(func(e event) bool { return e.actor == a && e.write })
		if a.visit.regenerate {
			logins++
		}
		if !a.visit.found && wrote && !a.visit.logout {
			return false
		}
	}
	return logins < 2
}

// current are the values of the session that the browser has, or of all.
func (r *schedule) current() []map[any]any {
	if s, found := r.find(r.browser.cookie); found && r.single() {
		return []map[any]any{s.Values}
	}
	var all []map[any]any
	for _, rec := range r.records() {
		all = append(all, rec.values)
	}
	return all
}

// failedClosed reports whether a renewal of unknown outcome has left nobody a cookie.
func (r *schedule) failedClosed() bool {
	return r.any(func(e event) bool { return e.renews && !e.actor.final().acknowledged() })
}

// changesAreKept: an acknowledged change is stored, or a later one took its place.
func (r *schedule) changesAreKept() string {
	if r.ended() || r.failedClosed() {
		return ""
	}
	current := r.current()
	for _, a := range r.actors {
		v := &a.visit
		if !a.final().acknowledged() || v.logout || r.blind(a) && r.any(func(e event) bool { return e.renews }) {
			continue // a program that knows nothing of renewals writes to what is left of the old record
		}
		for _, key := range v.keys() {
			if !r.kept(a, key, current) {
				return fmt.Sprintf("%s was acknowledged, and its change of %q is lost", a.name, key)
			}
		}
	}
	return ""
}

// kept reports whether what an actor gave a key is stored, or was overwritten later.
func (r *schedule) kept(a *actor, key string, current []map[any]any) bool {
	at, allowed := r.committed(a), []string{a.visit.value()}
	for _, b := range r.actors {
		switch {
		case b == a || r.committed(b) <= at:
		case r.blind(b), // it stores all that it has loaded
			r.stores[0].cfg.OnConflict == OnConflictOverwrite && (b.visit.changed || b.visit.regenerate) && !b.isCall():
			return true
		case slices.Contains(b.visit.keys(), key):
			allowed = append(allowed, b.visit.value())
		}
	}
	return slices.ContainsFunc(current, func(values map[any]any) bool {
		s, _ := values[key].(string)
		return slices.Contains(allowed, s)
	})
}

// attributesAreKept: an attribute of the cookie that was set by an acknowledged Save is stored, or a later Save set the
// same one.
func (r *schedule) attributesAreKept() string {
	if r.ended() || r.failedClosed() || !r.single() {
		return ""
	}
	for _, a := range r.visits() {
		for name, value := range a.visit.attributes() {
			s, found := r.find(r.browser.cookie)
			if !found || !a.visit.found || !a.final().acknowledged() {
				continue
			}
			allowed := []string{value}
			for _, b := range r.visits() {
				if later := b.visit.attributes()[name]; later != "" && r.committed(b) > r.committed(a) {
					allowed = append(allowed, later)
				}
			}
			if now := attributesInWords(s.Options.Path, s.Options.SameSite)[name]; !slices.Contains(allowed, now) {
				return fmt.Sprintf("%s was acknowledged, and its %s=%s is lost: it is %s", a.name, name, value, now)
			}
		}
	}
	return ""
}

// cookiesHaveTheirAttributes: a cookie is set with the attributes that are stored, whoever set them.
func (r *schedule) cookiesHaveTheirAttributes() string {
	for _, a := range r.visits() {
		for _, t := range a.visit.saves {
			if t.seen == nil {
				continue
			}
			c, stored := t.cookie, *t.seen.Options
			stored.MaxAge = 0
			if shown := (sessions.Options{
				Path: c.Path, Domain: c.Domain, Secure: c.Secure, HttpOnly: c.HttpOnly, SameSite: c.SameSite, Partitioned: c.Partitioned,
			}); shown != stored {
				return fmt.Sprintf("%s sets a cookie with %v, and stored is %v", a.name,
					attributesInWords(shown.Path, shown.SameSite), attributesInWords(stored.Path, stored.SameSite))
			}
		}
	}
	return ""
}

// valuesAreBroughtHome: after a Save that sets a cookie, the session has the values that are stored.
func (r *schedule) valuesAreBroughtHome() string {
	for _, a := range r.visits() {
		for _, t := range a.visit.saves {
			if t.seen != nil && !reflect.DeepEqual(t.values, t.seen.Values) {
				return fmt.Sprintf("%s: after Save the session has %s, and stored is %s", a.name, inWords(t.values), inWords(t.seen.Values))
			}
		}
	}
	return ""
}

// nothingIsWrittenAfterAnEnd: a record that has ended stays as it is.
func (r *schedule) nothingIsWrittenAfterAnEnd() string {
	for i, end := range r.events {
		if !end.effect || !end.ends || end.id == "" {
			continue
		}
		for _, e := range r.events[i+1:] {
			if e.effect && e.creates == end.id {
				break // another session under a derived id
			}
			if e.effect && e.write && !e.ends && !e.blind && e.id == end.id {
				return fmt.Sprintf("%s: %s of a session that had ended", e.actor.name, e.verb)
			}
		}
	}
	return ""
}

// blind reports whether an actor writes by the id alone.
func (r *schedule) blind(a *actor) bool {
	return r.any(func(e event) bool { return e.actor == a && e.blind })
}

// flashesAreKept: a flash whose adding was acknowledged is stored until a request has seen it, and once.
func (r *schedule) flashesAreKept() string {
	for _, a := range r.actors {
		flash, stored, seen := a.visit.adds, 0, 0
		if flash == "" {
			continue
		}
		for _, values := range r.current() {
			list, _ := values["flashes"].([]any)
			for _, f := range list {
				if f == flash {
					stored++
				}
			}
		}
		overwritten := false
		for _, b := range r.actors {
			if slices.Contains(b.visit.saw, any(flash)) && r.committed(b) > 0 {
				seen++
			}
			overwritten = overwritten || b != a && b.visit.changed && r.committed(b) > r.committed(a) &&
				r.stores[0].cfg.OnConflict == OnConflictOverwrite
		}
		switch {
		case stored > 1 && r.single():
			return fmt.Sprintf("the flash of %s is stored %d times", a.name, stored)
		case a.final().acknowledged() && stored+seen == 0 && !overwritten && !r.ended() && !r.failedClosed():
			return fmt.Sprintf("%s was acknowledged, and its flash is lost unseen", a.name)
		}
	}
	return ""
}

// savesProlong: an acknowledged Save moves the deadline, to where the session's own MaxAge says if it has one.
func (r *schedule) savesProlong() string {
	rec, err := r.stores[0].Find(context.Background(), r.id)
	if err != nil || r.ended() || r.failedClosed() {
		return ""
	}
	for _, a := range r.visits() {
		v := &a.visit
		switch shorter := r.clock.Add(time.Duration(v.age) * time.Second); {
		case !v.found || v.logout || !a.final().acknowledged():
		case v.age > 0 && r.committed(a) == r.lastAge() && rec.ExpiresAt.After(shorter):
			return a.name + " has shortened MaxAge, and the session lives longer"
		case v.age == 0 && !r.shortened() && !rec.ExpiresAt.After(r.deadline):
			return a.name + " was acknowledged, and the deadline has not moved"
		}
	}
	return ""
}

// lastAge returns the step at which a request last gave the session another life.
func (r *schedule) lastAge() (at int) {
	for _, a := range r.visits() {
		if a.visit.age > 0 {
			at = max(at, r.committed(a))
		}
	}
	return at
}

// shortened reports whether a request has given the session another life.
func (r *schedule) shortened() bool {
	return slices.ContainsFunc(r.actors, func(a *actor) bool { return a.visit.age > 0 })
}

// recordsAreReachable: there is no live record that no cookie leads to, and one for each session.
func (r *schedule) recordsAreReachable() string {
	revoked := func(s stored) bool {
		return r.any(func(e event) bool { return e.ends && e.blind && e.id == s.id })
	}
	records := slices.DeleteFunc(r.records(), revoked)
	reachable := map[string]bool{}
	cookies := []*http.Cookie{r.first}
	for _, a := range r.visits() {
		for _, t := range a.visit.saves {
			if t.cookie != nil && t.cookie.MaxAge >= 0 {
				cookies = append(cookies, t.cookie)
			}
		}
	}
	for _, c := range cookies {
		if s, found := r.find(c); found {
			rec, _ := r.looker.Record(s)
			reachable[rec.ID] = true
		}
	}
	for _, rec := range records {
		if !reachable[rec.id] && !r.unknownMaker(rec.id) && !r.gaveUp(rec.id) {
			return "a live record that no cookie leads to: " + r.nameOf(rec.id)
		}
	}
	records = slices.DeleteFunc(records, func(rec stored) bool { return r.gaveUp(rec.id) })
	if len(records) > 1 && r.single() && !slices.ContainsFunc(records, func(s stored) bool { return r.unknownMaker(s.id) }) {
		return fmt.Sprintf("one session has %d live records", len(records))
	}
	return ""
}

// gaveUp reports whether a record is an insert that arrived after its request had logged out, or had inserted another one:
// nobody holds its secret, and it goes at its deadline.
func (r *schedule) gaveUp(id string) bool {
	return r.any(func(e event) bool {
		again := func(o event) bool {
			return o.creates != "" && o.actor == e.actor && (o.at < e.at || o.creates != id) // of a plain id, there are two
		}
		return e.late && e.creates == id && (e.actor.visit.gives || r.any(again))
	})
}

// unknownMaker reports whether a request whose outcome is unknown made a record, or renewed it.
func (r *schedule) unknownMaker(id string) bool {
	return r.any(func(e event) bool {
		return (e.creates == id || e.next == id || e.renews && e.id == id) && errors.Is(e.actor.final().err, ErrUnavailable) && !e.actor.final().concern
	})
}

// browserIsLoggedIn: the cookie that the browser keeps leads to a session.
func (r *schedule) browserIsLoggedIn() string {
	if r.ended() {
		return ""
	}
	acknowledged := false
	for _, a := range r.visits() {
		t := a.final()
		if a.visit.logout {
			return ""
		}
		renewal := r.any(func(e event) bool { return e.actor == a && (e.renews || e.creates != "") })
		if renewal && !t.acknowledged() {
			return "" // a renewal of unknown outcome fails closed
		}
		if renewal && r.browser.sent < t.end && r.browser.sent > 0 {
			return "" // its cookie came before that response, which was sent before it
		}
		acknowledged = acknowledged || t.acknowledged()
	}
	if _, found := r.find(r.browser.cookie); acknowledged && !found {
		return "the browser's cookie leads to no session"
	}
	return ""
}

// The rest tells a schedule in words.

// nameOf returns a short name of a record.
func (r *schedule) nameOf(id string) string {
	switch id {
	case "":
		return ""
	case r.id:
		return " of record 0"
	}
	if r.names == nil {
		r.names = map[string]int{}
	}
	if r.names[id] == 0 {
		r.names[id] = len(r.names) + 1
	}
	return fmt.Sprintf(" of record %d", r.names[id])
}

func (r *schedule) cookieName(value string) string {
	if r.first != nil && value == r.first.Value {
		return "cookie 0"
	}
	if r.cookies == nil {
		r.cookies = map[string]int{}
	}
	if r.cookies[value] == 0 {
		r.cookies[value] = len(r.cookies) + 1
	}
	return fmt.Sprintf("cookie %d", r.cookies[value])
}

func (v *visit) loadInWords() string {
	switch {
	case v.err != nil:
		return v.err.Error()
	case v.tooLate:
		return "nothing, its cookie was replaced just now"
	case !v.found:
		return "nothing"
	}
	return inWords(v.values)
}

func (r *schedule) toldInWords(t told) string {
	text := "nil"
	if t.err != nil {
		text = "error: " + strings.ReplaceAll(t.err.Error(), "mongostore: ", "")
	}
	switch {
	case t.cookie == nil:
	case t.cookie.MaxAge < 0:
		text += ", deletes the cookie"
	default:
		text += ", sets " + r.cookieName(t.cookie.Value)
	}
	return text
}

func inWords(values map[any]any) string {
	var words []string
	for _, key := range slices.SortedFunc(maps.Keys(values), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		words = append(words, fmt.Sprintf("%v=%v", key, values[key]))
	}
	return "{" + strings.Join(words, " ") + "}"
}

// end writes what is there at the end.
func (r *schedule) end(w io.Writer) {
	for _, rec := range r.records() {
		_, _ = fmt.Fprintf(w, "end: live: %s %s\n", strings.TrimPrefix(r.nameOf(rec.id), " of "), inWords(rec.values))
	}
	if c := r.browser.cookie; c == nil {
		_, _ = fmt.Fprintln(w, "end: the browser has no cookie")
	} else if s, found := r.find(c); found {
		_, _ = fmt.Fprintf(w, "end: the browser has %s, which leads to %s\n", r.cookieName(c.Value), inWords(s.Values))
	} else {
		_, _ = fmt.Fprintf(w, "end: the browser has %s, which leads to nothing\n", r.cookieName(c.Value))
	}
}

// insertsAreConfirmed: a first insert whose answer was lost is not told as stored before another write has waited for a
// majority.
func (r *schedule) insertsAreConfirmed() string {
	for _, a := range r.visits() {
		for _, e := range r.events {
			lost := e.actor == a && e.creates != "" && e.effect && !e.late && e.fate == unanswered
			written := func(o event) bool { return o.actor == a && o.write && o.at > e.at }
			if lost && a.final().acknowledged() && !a.visit.logout && !r.any(written) {
				return a.name + " was acknowledged, and nothing says that a majority has its insert"
			}
		}
	}
	return ""
}
