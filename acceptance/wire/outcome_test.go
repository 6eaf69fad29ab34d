package wire

import (
	"fmt"
	"maps"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// outcome is what became of an operation.
type outcome struct {
	answer string // "success", a sentinel, or "an error" without one
	record string // "old": as before; "new": as after a success; "pending": renewed, but for the last command
	cookie string // "none", "set", "expired"
}

func (o outcome) String() string { return o.answer + ", " + o.record + ", " + o.cookie }

// examination is an operation on a new session that meets a fault.
type examination struct {
	*visit
	operation
	expected outcome // without a fault
	written  bool    // the fault is beside a write that is done, as a write concern error
	unknown  bool    // the fault may have come after the write
	noTTL    bool    // the server says that it cannot do that, so an index without TTL is fine
	problems []string
}

func (x *examination) problem(format string, args ...any) {
	x.problems = append(x.problems, fmt.Sprintf(format, args...))
}

// examine runs an operation while a fault is on, and looks at all that it left
// behind; then without the fault, when it must work.
func (x *examination) examine(fault func() (off func())) outcome {
	x.begin()
	off := fault()
	err := x.run(x.visit)
	if mongo.IsTimeout(err) { // the last command may still be on its way
		x.unknown = true
		time.Sleep(lateness) //nolint:forbidigo // it shall meet the fault too
	}
	off()
	o := outcome{nameOf(err), x.state(), x.answered()}
	if err := x.told(err); err != nil {
		x.problem("%v", err)
	}
	x.check(o)
	x.repeat(o)
	return o
}

// lateness is how long a command takes to reach the server, for a slow machine.
const lateness = 200 * time.Millisecond

// begin makes the session and brings it to where the operation starts.
func (x *examination) begin() {
	v := x.visit
	_, err := v.calm.DeleteMany(v.t.Context(), bson.D{})
	v.must(err)
	_, err = v.calm.InsertOne(v.t.Context(), bystander(bystanderID))
	v.must(err)
	v.plain = x.operation.plain
	v.store = v.stores[v.kind]
	v.start()
	v.id = v.session.ID
	if x.prepare != nil {
		x.prepare(v)
	}
	v.before = x.stored()
}

const bystanderID = "BYSTANDER"

// stored is what the operation is about, as the server has it. A pending record that no tombstone names is nobody's
// session: it is left by a renewal that failed, and goes by itself.
func (x *examination) stored() map[string]bson.Raw {
	if x.indexes {
		return x.visit.indexesByName()
	}
	docs := x.documents()
	named := make(map[string]bool)
	for _, raw := range docs {
		if isTombstone(raw) {
			named[raw.Lookup("next").StringValue()] = true
		}
	}
	maps.DeleteFunc(docs, func(id string, raw bson.Raw) bool { return isPending(raw) && !named[id] })
	return docs
}

// isPending reports whether a plain id was renewed but for the activation of its successor, which a load will do.
func (x *examination) isPending(docs map[string]bson.Raw) bool {
	next, ok := docs[x.visit.id].Lookup("next").StringValueOK()
	return ok && len(docs) == 2 && isPending(docs[next])
}

// state compares what is stored with what was before.
func (x *examination) state() string {
	docs := x.stored()
	same := func(a, b bson.Raw) bool { return string(a) == string(b) }
	if maps.EqualFunc(docs, x.before, same) {
		return "old"
	}
	if !x.indexes && x.name != "Clear" {
		if !same(docs[bystanderID], x.before[bystanderID]) {
			x.problem("another visitor's session was changed")
		}
	}
	delete(docs, bystanderID)
	switch {
	case x.done != nil && x.done(x.visit, docs):
		return "new"
	case x.plain && x.isPending(docs):
		return "pending"
	case x.indexes && docs["expires_1"] != nil && !isTTL(docs):
		return "without TTL"
	case x.indexes && docs["expires_1"] != nil:
		return "in part"
	}
	return "neither"
}

// check holds an outcome against the rules.
func (x *examination) check(o outcome) {
	cookie := "none"
	if x.logout {
		cookie = "expired"
	}
	switch {
	case o.record == "neither":
		x.problem("the record is neither the old nor the new one")
	case o.answer == "success" || o.answer == x.final:
		if o.record != x.expected.record && !x.noTTL {
			x.problem("%s, but the record is %s", o.answer, o.record)
		}
		if o.cookie != x.expected.cookie {
			x.problem("%s, but the cookie is %s", o.answer, o.cookie)
		}
		return
	case x.unknown:
		if o.cookie == x.expected.cookie { // of a write concern error
			cookie = o.cookie
		}
	case x.written && o.record == "new", o.record == "pending":
		cookie = x.expected.cookie
	case o.record != "old" && (!x.indexes || !x.written):
		x.problem("%s, but the record is %s", o.answer, o.record)
	}
	if o.cookie != cookie {
		x.problem("%s, but the cookie is %s", o.answer, o.cookie)
	}
	if _, known := sentinels[o.answer]; !known && !x.indexes {
		x.problem("%s instead of one sentinel", o.answer)
	}
}

// repeat does the same once the fault is gone, and then sends a new request
// with the cookie that the browser has.
func (x *examination) repeat(o outcome) {
	v := x.visit
	again := x.again
	if again == nil {
		again = x.run
	}
	if x.blind && o.answer != "success" {
		x.standIn()
	}
	want := x.final
	if want == "" {
		want = "success"
	}
	err := patiently(func() error {
		err := again(v)
		x.answered()
		return err
	})
	if nameOf(err) != want {
		x.problem("afterwards: %v", err)
	}
	if record := x.state(); record != x.expected.record && record != "pending" {
		x.problem("afterwards the record is %s", record)
	}
	if x.indexes || x.name == "All, a further batch" {
		return
	}
	if v.first != "" && (x.ends || x.renews) {
		if !v.finds(v.first, "") {
			x.problem("afterwards the first cookie still lets in")
		}
	}
	if n := "1"; !x.ends {
		if x.expected.record == "new" && v.session.Values["n"] != nil {
			n, _ = v.session.Values["n"].(string)
		}
		if x.name == "Update" {
			n = "2"
		}
		if !v.finds(v.cookie, n) {
			x.problem("afterwards the browser's session is lost")
		}
		if record := x.state(); record == "pending" {
			x.problem("its load does not activate the record")
		}
	}
}

// standIn saves the session of a load that failed, which must do nothing.
func (x *examination) standIn() {
	x.session.Values["n"] = "3"
	if err := x.save(); nameOf(err) != "ErrUnavailable" {
		x.problem("Save after a failed load: %v", err)
	}
	if cookie, record := x.answered(), x.state(); cookie != "none" || record != "old" {
		x.problem("Save after a failed load: the cookie is %s, the record %s", cookie, record)
	}
}

// finds sends a request with a cookie, and tells whether its session has this
// value; "": there is none.
func (v *visit) finds(cookie, n string) bool {
	v.request(cookie)
	var session *sessions.Session
	err := patiently(func() (err error) {
		session, err = v.store.New(v.r, cookieName)
		return err
	})
	if n == "" {
		return err == nil && session.IsNew && len(session.Values) == 0
	}
	return err == nil && !session.IsNew && session.Values["n"] == n
}
