package legacy

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Parse reads a cookie, and Open a document, without a server.
func (s *Store) Parse(name, cookie string) (id string, err error) {
	p, err := s.parse(name, cookie)
	return p.id, err
}

func (s *Store) Open(doc bson.Raw, name string, now time.Time) (map[any]any, error) {
	return s.open(doc, name, now, now)
}
