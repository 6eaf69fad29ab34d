package mongostore

import (
	"context"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/record"
	"github.com/mongostore/mongostore/internal/token"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// SetClock makes a Store of New or NewMemory take the time from now, cut to milliseconds.
func SetClock(s *Store, now func() time.Time) {
	if len(s.closing) > 0 { // the removal reads the clock too
		_ = s.Close()
		defer StartRemoval(s)
	}
	s.now = func() time.Time { return now().UTC().Truncate(time.Millisecond) }
}

// SetTimeout changes the Config.Timeout of a Store that nobody uses just now: a test has all the time that a busy
// machine takes, but for the requests that shall run into it.
func SetTimeout(s *Store, d time.Duration) { s.cfg.Timeout = d }

// StartRemoval starts the removal that New starts for AutoRemoveInterval, after SetClock.
func StartRemoval(s *Store) { s.closing = []func(){s.startRemoval()} }

// ShareMemory makes a Store of NewMemory keep its sessions where another one does, like a second process.
func ShareMemory(s, with *Store) { s.server = with.server }

// StatesInUse counts the session objects that a Store knows.
func StatesInUse(s *Store) (n int) {
	s.states.table.Range(func(any, any) bool { n++; return true })
	return n
}

// Document returns the record with this id as MongoDB would show it, wherever it is.
func Document(s *Store, id string) (bson.Raw, bool) {
	if m, ok := s.server.backend.(*record.Memory); ok {
		rec, err := m.Find(context.Background(), id)
		if rec == nil || err != nil {
			return nil, false
		}
		return rec.Document(false), true
	}
	raw, err := s.Collection().FindOne(context.Background(), bson.D{{Key: "_id", Value: id}}).Raw()
	return raw, err == nil
}

// RemovalBatch is how many records one deletion removes at most.
const RemovalBatch = record.RemovalBatch

// OpenDocument reads a document as a load does, with a secret that nobody has.
func OpenDocument(s *Store, document []byte, name string) (session *sessions.Session, fits bool, err error) {
	session = sessions.NewSession(s, name)
	options := s.defaultOptions()
	session.Options = &options
	rec := record.Parse(document)
	s.live(&rec, s.now())
	_, err = s.open(context.Background(), &rec, session)
	return session, token.Credentials{Handle: rec.ID, Secret: "nobody's", ID: rec.ID}.Matches(rec.ID, rec.Token), err
}

// Differ reports what a codec makes of two payloads without decoding them.
func Differ(codec Codec, mine, stored bson.RawValue) (different, known bool) {
	return payloads{&Config{PayloadCodec: codec}}.differ(mine, stored)
}

// UnknownWrites counts the writes of a session that Save keeps because it does not know what became of them.
func UnknownWrites(s *Store, session *sessions.Session) int {
	return len(s.states.get(session).unknown)
}
