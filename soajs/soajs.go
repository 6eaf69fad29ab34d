// Package soajs takes the dbConfig of connect-mongo-soajs 0.2.2 as it is, and opens a mongostore.Store with it:
//
//	cfg, err := soajs.Parse(data)
//	if err != nil {
//		log.Fatal(err)
//	}
//	for _, ignored := range cfg.Ignored() {
//		log.Print(ignored)
//	}
//	c := cfg.Config()
//	c.CookieCodecs = []securecookie.Codec{connectmongo.Cookie(secret)} // of express-session
//	store, err := mongostore.Open(ctx, cfg.URI(), c)
//
// What has a counterpart in the driver or in mongostore.Config is mapped. What had a meaning for the driver of
// then alone is named by [Config.Ignored], and a key that connect-mongo-soajs did not know either is an error.
package soajs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/connectmongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Config is a dbConfig, with its names in JSON. [Parse] makes one of JSON, with the defaults of
// connect-mongo-soajs but for Servers; one that is written in Go is to be checked by [Config.Validate].
// Its methods only read it.
type Config struct {
	// Name is the database's, after Prefix. Default of Parse: sessionDB.
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
	// Servers are the seeds of the connection: at least one. There is no default, since a production that
	// silently goes to 127.0.0.1 is no good one.
	Servers []Server `json:"servers"`
	// Credentials may be nil, or empty. They are escaped, so any character is fine in them.
	Credentials *Credentials `json:"credentials"`
	// URLParam are options of the connection string: those of then, and those that the driver of today knows.
	URLParam map[string]any `json:"URLParam"`
	// ExtraParam are options of the Node.js driver 2.1. They go over URLParam, as there.
	ExtraParam ExtraParam `json:"extraParam"`
	// Store are options of express-session's base class, which has none.
	Store map[string]any `json:"store"`
	// Collection has the sessions. Default of Parse: sessions.
	Collection string `json:"collection"`
	// Stringify says that values are stored as JSON text, not as a document. What is there is read in either
	// form. Default: false.
	Stringify bool `json:"stringify"`
	// ExpireAfter is how long a session lives whose cookie does not say, in milliseconds. Default of Parse: 14
	// days. At least 1000.
	ExpireAfter int64 `json:"expireAfter"`
}

// Server is where a member listens.
type Server struct {
	Host string `json:"host"` // a name, an IPv4 or an IPv6 address
	Port int    `json:"port"` // 0: 27017; in JSON it may be text
}

// Credentials are of a user in the database, unless an authSource says otherwise.
type Credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// ExtraParam are the groups of options, which the driver 2.1 merged into one: where several set an option, the
// later group wins.
type ExtraParam struct {
	DB      map[string]any `json:"db"`
	Server  map[string]any `json:"server"`
	ReplSet map[string]any `json:"replSet"`
	Mongos  map[string]any `json:"mongos"`
}

// Parse reads a dbConfig from JSON, with its defaults, and validates it. Each key that is unknown, of a wrong type
// or without a usable value is in the error, by name.
//
// A dbConfig in a JavaScript file becomes JSON by node -p 'JSON.stringify(require("./config").dbConfig)'.
func Parse(data []byte) (Config, error) {
	var c Config
	if !json.Valid(data) {
		err := json.Unmarshal(data, &c)
		return c, fmt.Errorf("soajs: the dbConfig is not JSON: %w; node -p 'JSON.stringify(…)' makes JSON of JavaScript", err)
	}
	err := c.UnmarshalJSON(data)
	return c, err
}

// UnmarshalJSON is as [Parse], for a dbConfig within a larger configuration.
func (c *Config) UnmarshalJSON(data []byte) error {
	parsed := Config{Name: "sessionDB", Collection: "sessions", ExpireAfter: (14 * 24 * time.Hour).Milliseconds()}
	if err := errors.Join(decode(data, &parsed), parsed.Validate()); err != nil {
		return err
	}
	*c = parsed
	return nil
}

// Validate reports all that is wrong. Without it, URI and Config leave out what they cannot use.
func (c Config) Validate() error {
	errs := []error{
		check(c.Name != "", "name is empty"),
		check(c.Collection != "", "collection is empty"),
		check(c.ExpireAfter >= 1000 && c.ExpireAfter <= longest, "expireAfter is %d milliseconds, not between 1000 and %d, ten years", c.ExpireAfter, longest),
		check(len(c.Servers) > 0, "servers is missing or empty; name one, as in {\"host\": \"127.0.0.1\", \"port\": 27017}"),
	}
	for i, s := range c.Servers {
		errs = append(errs,
			check(isHost(s.Host), "servers[%d].host is %q, not the name or address of a host", i, s.Host),
			check(s.Port >= 0 && s.Port <= 65535, "servers[%d].port is %d, not between 1 and 65535", i, s.Port))
	}
	if c.Credentials != nil {
		errs = append(errs, check(c.Credentials.Username != "" || c.Credentials.Password == "", "credentials has a password but no username"))
	}
	return errors.Join(append(errs, c.read().errs...)...)
}

// longest is as much as a Store lets a session live, in milliseconds.
const longest int64 = 10 * 365 * 24 * 60 * 60 * 1000

// isHost reports whether a text is a name or an address, without a port.
func isHost(host string) bool {
	address, bracketed := strings.CutPrefix(host, "[")
	if bracketed || strings.Contains(host, ":") {
		return net.ParseIP(strings.TrimSuffix(address, "]")) != nil
	}
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || strings.ContainsRune("/\\?@,#%]", r) })
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("soajs: "+format, args...)
}

// Ignored names each key that is set and has no meaning here, with the reason, as in
// "extraParam.server.reconnectTries: the driver reconnects for as long as it is asked".
func (c Config) Ignored() []string { return c.read().ignored }

// Config returns the configuration for [mongostore.Open], beside URI: database, collection, lifetime, read
// preference and TLS, PlainIDs, since connect-mongo-soajs keeps each session under the id in its cookie, and
// [connectmongo.Codec] for its values. It is a new one at each call, to which you may add: for the cookies of
// express-session, CookieCodecs with [connectmongo.Cookie], since a dbConfig does not hold the secret.
func (c Config) Config() *mongostore.Config {
	r := c.read()
	cfg := &mongostore.Config{
		TTL:            time.Duration(c.ExpireAfter) * time.Millisecond,
		PlainIDs:       true,
		PayloadCodec:   connectmongo.Codec{Document: !c.Stringify},
		ReadPreference: r.readPreference(),
		Database:       c.Prefix + c.Name,
		Collection:     c.Collection,
	}
	if tls := r.tlsConfig(); tls != nil {
		cfg.ClientOptions = options.Client().SetTLSConfig(tls)
	}
	return cfg
}
