package mongostore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gorilla/securecookie"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The errors of this package are always wrapped: test for them with errors.Is. The driver's error, if there is one, is in
// the same chain, so mongo.IsTimeout, mongo.IsNetworkError and errors.As find it. session.Save passes errors on; gorilla's
// sessions.Save flattens them to text.
var (
	// ErrNotFound means that the session has ended: it was logged out, revoked, expired, or given a new secret by another
	// request. If Save returns it, nothing was stored; send the user to log in.
	ErrNotFound = errors.New("session not found")
	// ErrInvalidCookie means that the cookie did not verify: it is forged, damaged, or signed with an unknown key. The
	// error is also a securecookie.Error whose IsDecode is true. The session beside it is new and safe to save; go on with
	// it and never answer 500.
	ErrInvalidCookie = errors.New("invalid session cookie")
	// ErrUnavailable means that MongoDB or the Sealer did not answer, or refused; answer 503. The cookie is untouched, and
	// nothing was stored unless a write's answer was lost or its write concern not met, which the next Save finds out; with
	// a write-concern error the cookie is set. The error says why: a missing permission or a validator on the collection lasts until somebody acts.
	ErrUnavailable = errors.New("session storage unavailable")
	// ErrDecode means that the stored session cannot be read: a type is not registered with gob, or somebody edited the
	// document. The session beside it is new; until it gets values, Save leaves record and cookie alone.
	ErrDecode = errors.New("session record cannot be decoded")
	// ErrConflict means that another request changed the same key (with OnConflictFail), or that others kept changing the
	// session for all of Config.Timeout. Nothing was stored. Get the session in a new request, or by Store.New, and make
	// the change again.
	ErrConflict = errors.New("session changed by another request")
	// ErrTooLarge means that the values exceed Config.MaxBytes, or the record what the server takes. Nothing was stored.
	ErrTooLarge = errors.New("session too large")
)

// invalidCookie is a securecookie.Error, since handlers written for CookieStore look for one.
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

// withoutQuotes removes what a server's error quotes of the record: a validator's details, the values of a duplicate key.
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

// Error codes of MongoDB and of servers that speak its protocol.
const (
	codeBadValue                   = 2
	codeUnauthorized               = 13
	codeIndexOptionsConflict       = 85
	codeIndexKeySpecsConflict      = 86
	codeCommandNotSupported        = 115
	codeConflictingOperation       = 117
	codeNotImplemented             = 238
	codeNotSupported               = 303
	codeObjectTooLarge             = 10334
	codeBackgroundOperationRunning = 12587
)

// passing are the codes of errors that may be gone at a retry: those that drivers retry, and WriteConcernTimeout.
var passing = []int{6, 7, 64, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}

// hasCode reports whether an error of the server has one of these codes.
func hasCode(err error, codes ...int) bool {
	return slices.ContainsFunc(mongo.ErrorCodes(err), func(code int) bool { return slices.Contains(codes, code) })
}
