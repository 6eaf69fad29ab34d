package mongostore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gorilla/securecookie"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The errors of this package, always wrapped: test for them with errors.Is. The driver's own error, where
// there is one, is in the same chain, so mongo.IsTimeout, mongo.IsNetworkError and errors.As find it.
//
// session.Save passes them on; gorilla's sessions.Save flattens every error to text.
var (
	// ErrNotFound means that the session is no longer there: logged out, revoked, expired, or given a
	// new secret by another request. From Save: nothing was stored; send the user to log in.
	ErrNotFound = errors.New("session not found")
	// ErrInvalidCookie means that the cookie did not verify: forged, damaged, or signed with a key that
	// is no longer known. The error is also a securecookie.Error whose IsDecode is true. The session
	// beside it is new and safe to save; go on with it and never answer 500.
	ErrInvalidCookie = errors.New("invalid session cookie")
	// ErrUnavailable means that MongoDB or the Sealer did not answer, or refused. Session and cookie are
	// untouched; answer 503. A refusal may last until somebody acts: missing rights, or a validator on the
	// collection. The error says which.
	ErrUnavailable = errors.New("session storage unavailable")
	// ErrDecode means that the stored session cannot be read: a type that is not registered with gob, a
	// document edited by hand. The session beside it is new and, until it gets values, Save leaves record
	// and cookie alone.
	ErrDecode = errors.New("session record cannot be decoded")
	// ErrConflict means that another request changed the same key (with OnConflictFail), or that others
	// kept changing the session for the whole of Config.Timeout. Nothing was stored. Get the session in a new
	// request, or by Store.New, and make the change again.
	ErrConflict = errors.New("session changed by another request")
	// ErrTooLarge means that the session's values exceed Config.MaxBytes, or the record what the server takes.
	// Nothing was stored.
	ErrTooLarge = errors.New("session too large")
)

// invalidCookie is what New returns for a cookie that does not verify. It is a securecookie.Error because
// that is what handlers written for CookieStore look for.
type invalidCookie struct{ cause error }

var _ securecookie.Error = invalidCookie{}

func (e invalidCookie) Error() string {
	return fmt.Sprintf("mongostore: %v: %v", ErrInvalidCookie, e.cause)
}
func (e invalidCookie) Unwrap() []error  { return []error{ErrInvalidCookie, e.cause} }
func (e invalidCookie) Cause() error     { return e.cause }
func (e invalidCookie) IsDecode() bool   { return true }
func (e invalidCookie) IsUsage() bool    { return false }
func (e invalidCookie) IsInternal() bool { return false }

// refused wraps the error of a write: ErrTooLarge if the server refused a document beyond 16 MiB, else as
// unavailable.
func refused(err error) error {
	if hasCode(err, codeObjectTooLarge) {
		return fmt.Errorf("mongostore: %w: %w", ErrTooLarge, withoutQuotes(err))
	}
	return unavailable(err)
}

// unavailable wraps an error of the backend; nil stays nil.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mongostore: %w: %w", ErrUnavailable, withoutQuotes(err))
}

// withoutQuotes takes out of a server's error what it quotes from the record: the details of a validator's
// refusal, and the values of a duplicate key.
func withoutQuotes(err error) error {
	we, ok := err.(mongo.WriteException) //nolint:errorlint // what wraps it would be lost
	if !ok {
		return err
	}
	we.WriteErrors = slices.Clone(we.WriteErrors)
	for i := range we.WriteErrors {
		we.WriteErrors[i].Details = nil
		we.WriteErrors[i].Message, _, _ = strings.Cut(we.WriteErrors[i].Message, " dup key:")
	}
	return we
}
