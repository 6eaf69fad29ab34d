package acceptance

import (
	ginsessions "github.com/gin-contrib/sessions"
	"github.com/mongostore/mongostore"
)

// ginStore makes a Store one of gin-contrib/sessions.
type ginStore struct{ *mongostore.Store }

// Options implements ginsessions.Store.
func (s ginStore) Options(options ginsessions.Options) {
	s.Store.Options = options.ToGorillaOptions()
}
