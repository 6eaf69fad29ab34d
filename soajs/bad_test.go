package soajs_test

import (
	"strings"
	"testing"

	"github.com/mongostore/mongostore/soajs"
)

// What is wrong with a dbConfig, and how the error names it.
var wrong = map[string]string{
	``:                           "not JSON",
	`{'name': "a"}`:              "node -p 'JSON.stringify(…)'",
	minimal + `} trailing`:       "not JSON",
	`[]`:                         "the dbConfig is an array, not an object",
	`7`:                          "the dbConfig is a number",
	`{}`:                         "servers is missing or empty",
	`{"servers": []}`:            "servers is missing or empty",
	`{"servers": null}`:          "servers is null, not an array",
	`{"servers": {"host": "a"}}`: "servers is an object, not an array",
	`{"servers": ["a"]}`:         "servers[0] is a string, not an object",
	`{"servers": [{"host": 7}]}`: "servers[0].host is a number, not a string",
	`{"servers": [{}]}`:          `servers[0].host is ""`,
	`{"servers": [{"host": "a/b", "port": 1}]}`:                                               `servers[0].host is "a/b"`,
	`{"servers": [{"host": "a", "port": "x"}]}`:                                               `servers[0].port is "x", not a number`,
	`{"servers": [{"host": "a", "port": 1.5}]}`:                                               "servers[0].port is 1.5, not a whole number",
	`{"servers": [{"host": "a", "port": true}]}`:                                              "servers[0].port is a boolean, not a number",
	`{"servers": [{"host": "a", "port": 70000}]}`:                                             "servers[0].port is 70000",
	`{"servers": [{"host": "a", "prot": 27017}]}`:                                             "servers[0].prot is no key",
	minimal + `, "name": 7}`:                                                                  "name is a number, not a string",
	minimal + `, "name": ""}`:                                                                 "name is empty",
	minimal + `, "prefix": null}`:                                                             "prefix is null, not a string",
	minimal + `, "collection": []}`:                                                           "collection is an array, not a string",
	minimal + `, "collection": ""}`:                                                           "collection is empty",
	minimal + `, "stringify": "false"}`:                                                       "stringify is a string, not a boolean",
	minimal + `, "expireAfter": "14d"}`:                                                       "expireAfter is a string, not a number",
	minimal + `, "expireAfter": 1.5}`:                                                         "expireAfter is 1.5, not a whole number",
	minimal + `, "expireAfter": 0}`:                                                           "expireAfter is 0 milliseconds",
	minimal + `, "expireAfter": -1000}`:                                                       "expireAfter is -1000 milliseconds",
	minimal + `, "credentials": "ada:secret"}`:                                                "credentials is a string, not an object",
	minimal + `, "credentials": {"user": "ada"}}`:                                             "credentials.user is no key",
	minimal + `, "credentials": {"password": "s"}}`:                                           "credentials has a password but no username",
	minimal + `, "URLParam": []}`:                                                             "URLParam is an array, not an object",
	minimal + `, "extraParam": 1}`:                                                            "extraParam is a number, not an object",
	minimal + `, "extraParam": {"db": 1}}`:                                                    "extraParam.db is a number, not an object",
	minimal + `, "extraParam": {"replset": {}}}`:                                              "extraParam.replset is no key of a dbConfig; replSet is",
	minimal + `, "store": "x"}`:                                                               "store is a string, not an object",
	minimal + `, "urlParam": {}}`:                                                             "urlParam is no key of a dbConfig; URLParam is",
	minimal + `, "expireafter": 5000}`:                                                        "expireafter is no key of a dbConfig; expireAfter is",
	minimal + `, "ttl": 5000}`:                                                                "ttl is no key of a dbConfig",
	minimal + `, "URLParam": {"maxpoolsize": 5}}`:                                             "URLParam.maxpoolsize is no key of a dbConfig; maxPoolSize is",
	minimal + `, "URLParam": {"poolsice": null}}`:                                             "URLParam.poolsice is no key",
	minimal + `, "URLParam": {"maxPoolSize": "x"}}`:                                           `URLParam.maxPoolSize is "x", not a whole number`,
	minimal + `, "URLParam": {"maxPoolSize": -1}}`:                                            "URLParam.maxPoolSize is -1, not a whole number",
	minimal + `, "URLParam": {"maxPoolSize": 1.5}}`:                                           "URLParam.maxPoolSize is 1.5, not a whole number",
	minimal + `, "URLParam": {"maxPoolSize": []}}`:                                            "URLParam.maxPoolSize is an array, not a whole number",
	minimal + `, "URLParam": {"replicaSet": {}}}`:                                             "URLParam.replicaSet is an object, not text",
	minimal + `, "URLParam": {"replicaSet": ""}}`:                                             `URLParam.replicaSet is "", not text`,
	minimal + `, "URLParam": {"journal": 1}}`:                                                 "URLParam.journal is 1, not true or false",
	minimal + `, "URLParam": {"ssl": "prefer"}}`:                                              `URLParam.ssl is "prefer", not true or false`,
	minimal + `, "URLParam": {"sslValidate": "no"}}`:                                          `URLParam.sslValidate is "no", not true or false`,
	minimal + `, "URLParam": {"w": 0}}`:                                                       "URLParam.w is 0, which is unacknowledged",
	minimal + `, "URLParam": {"w": "0"}}`:                                                     `URLParam.w is "0", which is unacknowledged`,
	minimal + `, "URLParam": {"w": ""}}`:                                                      "URLParam.w is",
	minimal + `, "URLParam": {"w": {}}}`:                                                      "URLParam.w is an object",
	minimal + `, "URLParam": {"connectTimeoutMS": "soon"}}`:                                   `URLParam.connectTimeoutMS is "soon"`,
	minimal + `, "URLParam": {"readPreference": "fastest"}}`:                                  `URLParam.readPreference is "fastest", not one of primary`,
	minimal + `, "URLParam": {"readPreference": "primary", "readPreferenceTags": "dc:east"}}`: "readPreference and readPreferenceTags",
	minimal + `, "URLParam": {"readPreferenceTags": 7}}`:                                      "URLParam.readPreferenceTags is 7",
	minimal + `, "URLParam": {"authMechanism": "MONGODB-CR"}}`:                                "URLParam.authMechanism is MONGODB-CR",
	minimal + `, "URLParam": {"gssapiServiceName": 7}}`:                                       "URLParam.gssapiServiceName is 7, not text",
	minimal + `, "URLParam": {"tlsCertificateKeyFilePassword": 4711}}`:                        "URLParam.tlsCertificateKeyFilePassword is no text",
	minimal + `, "extraParam": {"db": {"bufferMaxEntires": 0}}}`:                              "extraParam.db.bufferMaxEntires is no key",
	minimal + `, "extraParam": {"server": {"socketOptions": 1}}}`:                             "extraParam.server.socketOptions is 1, not an object",
	minimal + `, "extraParam": {"server": {"socketOptions": {"x": 1}}}}`:                      "extraParam.server.socketOptions.x is no key",
	minimal + `, "extraParam": {"server": {"checkServerIdentity": 1}}}`:                       "extraParam.server.checkServerIdentity is 1",
	minimal + `, "extraParam": {"server": {"sslCA": 1}}}`:                                     "extraParam.server.sslCA is 1, not PEM",
	minimal + `, "extraParam": {"server": {"sslCA": []}}}`:                                    "extraParam.server.sslCA is an array, not PEM",
	minimal + `, "extraParam": {"server": {"sslCA": [1]}}}`:                                   "extraParam.server.sslCA is an array, not PEM",
	minimal + `, "extraParam": {"server": {"sslCA": {"data": [1]}}}}`:                         "extraParam.server.sslCA is an object, not PEM",
	minimal + `, "extraParam": {"server": {"sslCA": {"type": "Buffer", "data": [256]}}}}`:     "extraParam.server.sslCA is an object, not PEM",
	minimal + `, "extraParam": {"server": {"ssl": true, "sslCA": "x"}}}`:                      "sslCA holds no certificate in PEM",
	minimal + `, "extraParam": {"server": {"ssl": true, "sslCert": "x"}}}`:                    "sslCert and sslKey are no pair in PEM",
	minimal + `, "extraParam": {"server": {"sslPass": "hunter2"}}}`:                           "extraParam.server.sslPass is for a key that is encrypted",
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	for data, want := range wrong {
		_, err := soajs.Parse([]byte(data))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror %v, want %q", data, err, want)
			continue
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, "soajs: ") {
				t.Errorf("%s: the error says %q", data, line)
			}
		}
		for _, secret := range []string{"4711", "hunter2", "ada:secret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error quotes a secret: %v", data, err)
			}
		}
	}
}

func TestAllThatIsWrongIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := soajs.Parse([]byte(`{"nam": 1, "collection": 2, "URLParam": {"poolsize": 1, "w": 0}}`))
	for _, want := range []string{"nam", "collection", "servers", "URLParam.poolsize", "URLParam.w"} {
		if err == nil || !strings.Contains(err.Error(), "soajs: "+want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestAConfigInGoIsValidatedToo(t *testing.T) {
	t.Parallel()
	c := soajs.Config{
		Name: "app", Collection: "sessions", ExpireAfter: 5000, Servers: []soajs.Server{{Host: "a"}},
		URLParam: map[string]any{"maxPoolSize": 7},
	}
	if err := c.Validate(); err != nil || c.URI() != "mongodb://a:27017/app?maxPoolSize=7" {
		t.Errorf("%s: %v", c.URI(), err)
	}
	c.URLParam = map[string]any{"readPreference": "primary", "readPreferenceTags": "a:b", "maxPoolSize": []int{}}
	if err := c.Validate(); err == nil || c.Config().ReadPreference != nil || c.URI() != "mongodb://a:27017/app" {
		t.Errorf("%s: %v", c.URI(), err)
	}
}
