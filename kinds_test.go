package mongostore_test

import (
	"testing"

	"github.com/mongostore/mongostore"
)

// kinds are configurations that store a session in other ways. What the rules promise holds for each.
var kinds = map[string]func() *mongostore.Config{
	"sealed": func() *mongostore.Config { return sealing() },
	"bson": func() *mongostore.Config {
		return &mongostore.Config{UserID: userID, PayloadCodec: mongostore.BSONCodec{}}
	},
	"json": func() *mongostore.Config {
		return &mongostore.Config{UserID: userID, PayloadCodec: mongostore.JSONCodec{}}
	},
	"plain": connectMongoLike,
	"hashed, bson, sealed": func() *mongostore.Config {
		cfg := hashed()
		cfg.PayloadCodec, cfg.Sealer = mongostore.BSONCodec{}, mongostore.AESGCM(oldSeal)
		return cfg
	},
}

// eachKind runs a test with every kind of configuration. Its values should be strings, bool, float64 and []any,
// which each codec gives back.
func eachKind(t *testing.T, test func(t *testing.T, p *place, cfg *mongostore.Config)) {
	t.Helper()
	for what, cfg := range kinds {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, p *place) { test(t, p, cfg()) })
		})
	}
}
