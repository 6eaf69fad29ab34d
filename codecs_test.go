package mongostore_test

import (
	"encoding/json"

	"github.com/mongostore/mongostore"
)

// codecs are those of the package, and one as an application makes it.
func codecs() map[string]mongostore.Codec {
	return map[string]mongostore.Codec{
		"gob":   mongostore.GobCodec{},
		"json":  mongostore.JSONCodec{},
		"bson":  mongostore.BSONCodec{},
		"bytes": mongostore.BytesCodec(json.Marshal, json.Unmarshal),
	}
}
