package database

import (
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"
)

// fromURI takes a server that runs already. The database is the URI's, as in
// mongodb://host/name.
func fromURI(uri string) (*Server, error) {
	if uri == "" {
		return nil, errors.New("MONGODB_URI is not set")
	}
	parsed, err := connstring.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("MONGODB_URI: %w", err)
	}
	name := parsed.Database
	if name == "" {
		name = DefaultName
	}
	return &Server{
		URI:  uri,
		Name: name,
		Kind: "MONGODB_URI",
		Data: "on " + strings.Join(parsed.Hosts, ", "),
	}, nil
}
