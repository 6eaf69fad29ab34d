package mongostore

import (
	"context"
	"time"

	"github.com/gorilla/sessions"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// SetClock makes a Store take the time from now, cut to milliseconds.
func SetClock(s *Store, now func() time.Time) {
	if s.removal.cancel != nil { // it reads the clock too
		s.removal.stop()
		defer s.removal.start(s)
	}
	s.now = func() time.Time { return now().UTC().Truncate(time.Millisecond) }
}

// StartRemoval starts the removal that New starts for AutoRemoveInterval, after SetClock.
func StartRemoval(s *Store) { s.removal.start(s) }

// ShareMemory makes a Store of NewMemory keep its sessions where another one does, like a second process.
func ShareMemory(s, with *Store) { s.backend = with.backend }

// StatesInUse counts the session objects that a Store knows.
func StatesInUse(s *Store) (n int) {
	s.states.table.Range(func(any, any) bool { n++; return true })
	return n
}

// Document returns the record with this id as MongoDB would show it, wherever it is.
func Document(s *Store, id string) (bson.Raw, bool) {
	if m, ok := s.backend.(*memory); ok {
		rec, err := m.find(context.Background(), id)
		if err != nil {
			return nil, false
		}
		raw, err := bson.Marshal(rec.document(false))
		return raw, err == nil
	}
	raw, err := s.Collection().FindOne(context.Background(), bson.D{{Key: "_id", Value: id}}).Raw()
	return raw, err == nil
}

// SameValue reports whether two values in stored form are equal.
var SameValue = sameValue

// Merge is the three-way merge of values that are lists wherever they look like it.
func Merge(base, mine, theirs map[any]any) (merged map[any]any, conflicts []any) {
	return merge(base, mine, theirs, func(any) bool { return false })
}

// RemovalBatch is how many records one deletion removes at most.
const RemovalBatch = removalBatch

// OpenDocument reads a document as a load does, with a secret that nobody has.
func OpenDocument(s *Store, document []byte, name string) (session *sessions.Session, fits bool, err error) {
	session = sessions.NewSession(s, name)
	options := s.defaultOptions()
	session.Options = &options
	rec := parseRecord(document)
	s.lifetimes.live(rec, s.now())
	_, err = s.open(context.Background(), rec, session)
	return session, credentials{handle: rec.id, secret: "nobody's", id: rec.id}.fit(rec), err
}

// Differ reports what a codec makes of two payloads without decoding them.
func Differ(codec Codec, mine, stored bson.RawValue) (different, known bool) {
	return payloads{codec: codec}.differ(mine, stored)
}
