// Package plan decides what a Save does next. Its functions are pure, so that tests can try every input. A Save goes from
// a basis, which is what it knows of the stored record, to an action. If another request was there first, it reads the
// record again, judges what it sees, and goes on from a new basis.
package plan

import (
	"slices"

	"github.com/mongostore/mongostore/internal/token"
)

// Source says where a basis comes from, and so how far it can be trusted.
type Source int

// The sources of a basis.
const (
	Absent    Source = iota // there is no record: it is to be inserted
	Loaded                  // the record as this request loaded it, or as its last Save left it
	Cached                  // as another Save of this process left it: only a write can tell whether it still is
	Reread                  // as it was read after another request was there first
	Recovered               // as an earlier Save of this session wrote it, though its answer was lost
)

// Facts are all that the next action depends on.
type Facts struct {
	Source   Source
	Failed   bool // the session cannot be stored as it is
	Changed  bool // more than the deadline differs from the basis
	Renew    bool // Regenerate was called
	Outlived bool // the record is past Config.MaxLifetime
	Due      bool // the browser's cookie, or the deadline, is old enough to be worth a write
}

// Action is what a Save does next.
type Action int

// The actions of a Save.
const (
	Fail      Action = iota // return the error, as nothing can be written
	Nothing                 // return nil: what is stored is good
	Refuse                  // return ErrNotFound: the session has ended
	Accept                  // take what is stored as saved
	Touch                   // move the deadline
	Write                   // insert, update or renew the record
	ReadAgain               // find out first what is stored
)

// Decide returns what a Save does next. A cached basis is good enough for a write, whose filter checks it.
func Decide(f Facts) Action {
	writes := f.Changed || f.Renew || f.Source == Absent
	switch {
	case f.Source == Cached && (f.Failed || !writes):
		return ReadAgain
	case f.Failed:
		return Fail
	case f.Outlived && f.Source != Absent && writes:
		return Refuse
	case f.Outlived && f.Source != Absent:
		return Nothing
	case writes:
		return Write
	case f.Source == Recovered:
		return Accept
	case f.Due:
		return Touch
	case f.Source == Reread:
		return Accept
	}
	return Nothing
}

// Attempt is a write whose outcome is unknown: the server may have it, or may get it still.
type Attempt struct {
	ID          string            // the record to look at
	Version     int64             // the version that it gives the record
	Credentials token.Credentials // those that the record has after it
	Renews      bool              // and had not before: it is an insert or a renewal
}

// Stamp is that of a record by which its writers are known.
type Stamp struct {
	ID      string
	Token   []byte
	Version int64
	Before  [4]int64 // the versions before this one
	By      int64    // the version of the renewal that retired it
}

// Own says whether a record is an attempt's work.
type Own int

// The answers of Recognise.
const (
	NotOwn  Own = iota
	Topmost     // the attempt wrote it last
	Beneath     // others have written to it since
)

// Recognise finds the attempt that wrote to a record, -1 if none did. New credentials do not tell which of several it was:
// then it is the first, and what came after it counts as a change. Of plain ids, which others can know, only versions count.
func Recognise(attempts []Attempt, s Stamp) (int, Own) {
	for _, version := range []int64{s.By, s.Version} {
		for i, a := range attempts {
			if a.Version == version {
				return i, Topmost
			}
		}
	}
	for i, a := range slices.Backward(attempts) {
		if slices.Contains(s.Before[:], a.Version) {
			return i, Beneath
		}
	}
	for i, a := range attempts {
		if a.Renews && a.Credentials.Secret != "" && a.Credentials.Matches(s.ID, s.Token) {
			return i, Beneath
		}
	}
	return -1, NotOwn
}

// Seen is what a Save finds when it reads the record again.
type Seen struct {
	Exists  bool
	Live    bool // its deadline and Config.MaxLifetime are ahead; a tombstone is not live
	Fits    bool // the credentials of this request, or those of the attempt that wrote it, are the record's
	Own     Own
	Named   bool // it is a tombstone that names the successor which an attempt wrote
	Retired bool // it is a tombstone
	Shared  bool // it is the session that this request imported, stored by another request
}

// Verdict is what that means.
type Verdict int

// The verdicts on a record.
const (
	Free      Verdict = iota // the id is not taken: insert
	Foreign                  // the id is another session's: insert under a new one
	Ended                    // logged out, destroyed or expired
	Renewed                  // another request gave it a new secret
	Overtaken                // what an attempt wrote was stored, and renewed by another request since
	Mine                     // an attempt is stored: go on from it
	Current                  // another request has written to it: merge
)

// Judge says what it means that the record is as it was seen, for a Save with this basis.
func Judge(basis Source, s Seen) Verdict {
	switch {
	case s.Named:
		return Mine
	case !s.Exists && basis == Absent:
		return Free
	case !s.Exists:
		return Ended
	case basis == Absent && s.Own == NotOwn && (!s.Shared || !s.Live):
		return Foreign
	case s.Retired && s.Own != NotOwn:
		return Overtaken
	case !s.Live:
		return Ended
	case s.Own != NotOwn && s.Fits:
		return Mine
	case s.Own != NotOwn:
		return Overtaken
	case s.Fits || s.Shared:
		return Current
	}
	return Renewed
}
