package mongostore

import (
	"context"
	"errors"
	"fmt"

	"github.com/mongostore/mongostore/internal/record"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// server is the backend as requests use it. It says exactly what became of a write, and gives errors their sentinels.
type server struct{ backend record.Backend }

// outcome is what became of a write.
type outcome int

const (
	missed  outcome = iota // nothing was written: no record matched, or the id is taken
	written                // perhaps with an error: the write concern was not met
	refused                // nothing was written, and the error says why
	unknown                // it may have been written. Without an error: look
)

// tooLong tells ids that are not looked up. No record has one so long, and a server's error would quote it.
func tooLong(id string) bool { return len(id) > 1<<20 }

// find returns the record with this id as the primary has it, nil if there is none.
func (s server) find(ctx context.Context, id string) (*record.Record, error) {
	if tooLong(id) {
		return nil, nil
	}
	rec, err := s.backend.Find(ctx, id)
	return rec, unavailable(err)
}

// insert is sent once: a second one, arriving late, would bring back a session that has ended since.
func (s server) insert(ctx context.Context, rec *record.Record) (outcome, error) {
	if tooLong(rec.ID) {
		return refused, fmt.Errorf("mongostore: an id of %d bytes is too long", len(rec.ID))
	}
	done, err := s.backend.Insert(ctx, rec)
	return outcomeOf(done, err, fromServer)
}

func (s server) update(ctx context.Context, m record.Match, rec *record.Record, c record.Change) (outcome, error) {
	wrap := unavailable
	switch c {
	case record.Payload, record.Edit, record.Renewal: // the others make nothing larger
		wrap = fromServer
	}
	return write(wrap, func() (bool, error) { return s.backend.Update(ctx, m, rec, c) })
}

// delete removes a record, as [record.Sessions] says. Deleted counts also beside the error of a write concern.
func (s server) delete(ctx context.Context, id string, token []byte) (deleted int64, err error) {
	if tooLong(id) {
		return 0, nil
	}
	return deleteTwice(func() (int64, error) { return s.backend.Delete(ctx, id, token) })
}

// write sends a write, and again if the connection broke, as drivers do on replica sets only. Its version shows a double.
func write(wrap func(error) error, send func() (bool, error)) (outcome, error) {
	done, err := send()
	if done || !connectionBroke(err) {
		return outcomeOf(done, err, wrap)
	}
	done, err = send()
	out, err := outcomeOf(done, err, wrap)
	if !done {
		out = unknown // the first one may have been done
	}
	return out, err
}

// outcomeOf says what became of a write.
func outcomeOf(done bool, err error, wrap func(error) error) (outcome, error) {
	switch {
	case done:
		return written, wrap(err)
	case wasDone(err): // a write that missed has nothing to be replicated
		return missed, nil
	case rejected(err):
		return refused, wrap(err)
	}
	return unknown, wrap(err)
}

// deleteTwice repeats a deletion once if the connection broke, which is always safe.
func deleteTwice(remove func() (int64, error)) (n int64, err error) {
	n, err = remove()
	if connectionBroke(err) {
		var more int64
		more, err = remove()
		n += more
	}
	return n, unavailable(err)
}

func connectionBroke(err error) bool { return mongo.IsNetworkError(err) && !mongo.IsTimeout(err) }

// wasDone reports whether a command that ended with err was carried out.
func wasDone(err error) bool { return err == nil || record.OnlyConcern(err) }

// rejected reports whether a server's error means that it did not do what it was told, for certain.
func rejected(err error) bool {
	var we mongo.WriteException
	if errors.As(err, &we) {
		return len(we.WriteErrors) > 0
	}
	var ce mongo.CommandError
	return errors.As(err, &ce) && !mongo.IsNetworkError(err) && !mongo.IsTimeout(err) && !hasCode(err, passing...)
}

// fromServer gives the error of a write its sentinel; nil stays nil.
func fromServer(err error) error {
	if hasCode(err, codeObjectTooLarge) {
		return fmt.Errorf("mongostore: %w: %w", ErrTooLarge, withoutQuotes(err))
	}
	return unavailable(err)
}

// unavailable gives any other error of the backend its sentinel; nil stays nil.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mongostore: %w: %w", ErrUnavailable, withoutQuotes(err))
}

// undecodable gives the damage of a record its sentinel; nil stays nil.
func undecodable(damage error) error {
	if damage == nil {
		return nil
	}
	return fmt.Errorf("mongostore: %w: %w", ErrDecode, damage)
}
