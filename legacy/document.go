package legacy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The documents of these stores differ in the type of _id and in the field that tells when they were written:
//
//	kidstuff and forks, 2-72   {_id: ObjectId, data: string, modified: Date}
//	laziness-coders            {_id: string, data: string, modified: Date}
//	mcquackers                 {_id: ObjectId, data: string, last_modified: Date}
//	go-playground              {_id: ObjectId, data: string, lastAccessed: Date}
//	go-stuff                   {_id: ObjectId, data: document, modified_at, expires_at, ttl: Date}
//
// A string is made by securecookie of gob; a document has the values as they are.
const (
	fieldData    = "data"
	fieldExpires = "expires_at"
)

// writtenFields tell when a document was written; a session ends that long plus MaxAge.
var writtenFields = [...]string{"modified", "last_modified", "lastAccessed"}

// byID returns the filter for the id in a cookie. One that reads like an ObjectID is stored as one, or as the
// text of it.
func byID(id string) bson.D {
	oid, err := bson.ObjectIDFromHex(id)
	if err != nil {
		return bson.D{{Key: "_id", Value: id}}
	}
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{oid, id}}}}}
}

// loadOne fills session from the document of one cookie, or leaves it as it was.
func (s *Store) loadOne(ctx context.Context, p presented, session *sessions.Session) error {
	doc, err := s.coll.FindOne(ctx, byID(p.id)).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return fmt.Errorf("legacy: %w: it has ended, or its document was removed", mongostore.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("legacy: %w: %w", mongostore.ErrUnavailable, err)
	}
	values, err := s.open(doc, session.Name(), p.signed, time.Now())
	if err != nil {
		return err
	}
	session.ID, session.IsNew, session.Values = p.id, false, values
	return nil
}

// open returns the values of a document, if it is a live session of this name.
func (s *Store) open(doc bson.Raw, name string, signed, now time.Time) (map[any]any, error) {
	if err := doc.Validate(); err != nil {
		return nil, fmt.Errorf("legacy: %w: %w", mongostore.ErrDecode, err)
	}
	values := make(map[any]any)
	switch data := doc.Lookup(fieldData); data.Type {
	case bson.TypeString:
		text, _ := data.StringValueOK()
		if err := securecookie.DecodeMulti(name, text, &values, s.data...); err != nil {
			return nil, fmt.Errorf("legacy: %w: its values do not come out with these keys and this session name: %w", mongostore.ErrDecode, err)
		}
		signed = older(signed, signedAt(text))
	case bson.TypeEmbeddedDocument:
		session := new(sessions.Session)
		if err := (mongostore.BSONCodec{}).Decode(data, session); err != nil {
			return nil, fmt.Errorf("legacy: %w: %w", mongostore.ErrDecode, err)
		}
		values = session.Values
	case 0:
		return nil, fmt.Errorf("legacy: %w: its document has no field %q, so it is of no store that is known here", mongostore.ErrDecode, fieldData)
	default:
		return nil, fmt.Errorf("legacy: %w: the field %q is a BSON %v, not a string or a document", mongostore.ErrDecode, fieldData, data.Type)
	}
	return values, s.live(doc, signed, now)
}

// live returns an error if the session of a document has expired. Some of the stores gave their maxAge to
// securecookie and some did not, so what that signed is good for the longer of the two.
func (s *Store) live(doc bson.Raw, signed, now time.Time) error {
	written, err := date(doc, writtenFields[:]...)
	if err != nil {
		return err
	}
	deadline, err := date(doc, fieldExpires)
	if err != nil {
		return err
	}
	if written.IsZero() {
		written = signed
	}
	if deadline.IsZero() {
		if s.maxAge == 0 {
			return nil
		}
		deadline = older(written.Add(s.maxAge), signed.Add(max(s.maxAge, codecAge)))
	}
	if !now.Before(deadline) {
		return fmt.Errorf("legacy: %w: it expired at %v", mongostore.ErrNotFound, deadline.UTC().Format(time.RFC3339))
	}
	return nil
}

// date returns the first of these fields that a document has; the zero time: none.
func date(doc bson.Raw, fields ...string) (time.Time, error) {
	for _, field := range fields {
		value := doc.Lookup(field)
		if value.Type == 0 {
			continue
		}
		t, ok := value.TimeOK()
		if !ok {
			return time.Time{}, fmt.Errorf("legacy: %w: the field %q is a BSON %v, not a date", mongostore.ErrDecode, field, value.Type)
		}
		return t, nil
	}
	return time.Time{}, nil
}

func older(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
