package soajs_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongostore/mongostore/connectmongo"
	"github.com/mongostore/mongostore/soajs"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

const minimal = `{"servers": [{"host": "127.0.0.1", "port": 27017}]`

func TestTheREADMEsExampleIsMapped(t *testing.T) {
	t.Parallel()
	c := parse(t, string(file(t, "readme.json")))
	if got := c.URI(); got != "mongodb://127.0.0.1:27017/core_session?maxPoolSize=5" {
		t.Errorf("URI %s", got)
	}
	cfg := c.Config()
	if cfg.Database != "core_session" || cfg.Collection != "sessions" || cfg.TTL != 14*24*time.Hour || !cfg.PlainIDs {
		t.Errorf("%+v", cfg)
	}
	if cfg.ReadPreference != nil || cfg.ClientOptions != nil || cfg.PayloadCodec != (connectmongo.Codec{Document: true}) {
		t.Errorf("%+v", cfg)
	}
	ignored := []string{"extraParam.db.bufferMaxEntries: there is no buffer to wait in: without a server a request waits for up to Config.Timeout"}
	if got := c.Ignored(); !slices.Equal(got, ignored) {
		t.Errorf("ignored %q", got)
	}
}

func TestWhatIsNotSetHasTheDefaultsOfSoajs(t *testing.T) {
	t.Parallel()
	c := parse(t, minimal+`, "credentials": null, "URLParam": null, "extraParam": null, "store": null}`)
	cfg := c.Config()
	if c.URI() != "mongodb://127.0.0.1:27017/sessionDB" || cfg.Database != "sessionDB" || cfg.Collection != "sessions" || cfg.TTL != 14*24*time.Hour {
		t.Errorf("URI %s, %+v", c.URI(), cfg)
	}
	if got := c.Ignored(); len(got) > 0 {
		t.Errorf("ignored %q", got)
	}
}

func TestTheREADMEsReferenceIsMappedOrNamed(t *testing.T) {
	t.Parallel()
	reference := file(t, "reference.json")
	if _, err := soajs.Parse(reference); err == nil || !strings.Contains(err.Error(), `URLParam.readPreferenceTags is "TAG", not of the form name:value`) {
		t.Errorf("error %v", err) // a placeholder there
	}
	c := parse(t, strings.Replace(string(reference), `"TAG"`, `"dc:east,use:web"`, 1))
	want := "mongodb://127.0.0.1:27017/dev_core_session?heartbeatFrequencyMS=10000&journal=false&localThresholdMS=15" +
		"&maxIdleTimeMS=0&maxPoolSize=5&minPoolSize=0&replicaSet=rs&w=majority"
	if got := c.URI(); got != want {
		t.Errorf("URI\n%s, want\n%s", got, want)
	}
	p := c.Config().ReadPreference
	if p.Mode() != readpref.SecondaryPreferredMode || len(p.TagSets()) != 1 || !p.TagSets()[0].Contains("dc", "east") || !p.TagSets()[0].Contains("use", "web") {
		t.Errorf("read preference %v", p)
	}
	var doc struct {
		URLParam   map[string]any
		ExtraParam map[string]map[string]any
	}
	if err := json.Unmarshal(reference, &doc); err != nil {
		t.Fatal(err)
	}
	ignored := strings.Join(c.Ignored(), "\n")
	for _, name := range []string{
		"URLParam.socketTimeoutMS", "URLParam.waitQueueMultiple", "URLParam.readConcernLevel", "URLParam.connectTimeoutMS",
		"extraParam.db.promoteLongs", "extraParam.server.reconnectTries", "extraParam.server.socketOptions.keepAlive",
		"extraParam.replSet.connectWithNoPrimary", "extraParam.mongos.socketOptions.socketTimeoutMS",
	} {
		if !strings.Contains(ignored, name+": ") {
			t.Errorf("%s is not named in\n%s", name, ignored)
		}
	}
	for _, name := range []string{"poolSize", "authSource", "sslCA", "haInterval"} {
		if strings.Contains(ignored, name) {
			t.Errorf("%s is named in\n%s", name, ignored)
		}
	}
}

func TestOptionsAreThoseOfTheDriver(t *testing.T) {
	t.Parallel()
	for param, want := range map[string]string{
		`"URLParam": {"replicaSet": "rs"}`:                                                          "replicaSet=rs",
		`"URLParam": {"rs_name": "rs"}`:                                                             "replicaSet=rs",
		`"URLParam": {"poolSize": "7"}`:                                                             "maxPoolSize=7",
		`"URLParam": {"ssl": true}`:                                                                 "tls=true",
		`"URLParam": {"ssl": "true", "tlsCAFile": "/etc/ca.pem"}`:                                   "tls=true&tlsCAFile=%2Fetc%2Fca.pem",
		`"URLParam": {"ssl": false, "sslValidate": true}`:                                           "",
		`"URLParam": {"connectTimeoutMS": 500, "maxIdleTimeMS": 60000}`:                             "connectTimeoutMS=500&maxIdleTimeMS=60000",
		`"URLParam": {"w": 2, "journal": true}`:                                                     "journal=true&w=2",
		`"URLParam": {"w": "2"}`:                                                                    "w=2",
		`"URLParam": {"authSource": "admin", "authMechanism": "DEFAULT"}`:                           "authSource=admin",
		`"URLParam": {"authMechanism": "GSSAPI", "gssapiServiceName": "db"}`:                        "authMechanism=GSSAPI&authMechanismProperties=SERVICE_NAME%3Adb",
		`"URLParam": {"authMechanism": null, "appName": "shop & co", "retryWrites": false}`:         "appName=shop%20%26%20co&retryWrites=false",
		`"URLParam": {"tlsCertificateKeyFilePassword": "p+w"}`:                                      "tlsCertificateKeyFilePassword=p%2Bw",
		`"extraParam": {"db": {"w": "majority", "j": true, "authSource": "a"}}`:                     "authSource=a&journal=true&w=majority",
		`"extraParam": {"server": {"poolSize": 9, "socketOptions": {"connectTimeoutMS": 100}}}`:     "connectTimeoutMS=100&maxPoolSize=9",
		`"extraParam": {"replSet": {"rs_name": "rs", "secondaryAcceptableLatencyMS": 20}}`:          "localThresholdMS=20&replicaSet=rs",
		`"extraParam": {"mongos": {"acceptableLatencyMS": 30, "haInterval": 5000, "ssl": true}}`:    "heartbeatFrequencyMS=5000&localThresholdMS=30&tls=true",
		`"URLParam": {"maxPoolSize": 5}, "extraParam": {"server": {"poolSize": 6}}`:                 "maxPoolSize=6",
		`"extraParam": {"mongos": {"poolSize": 8}, "server": {"poolSize": 6}, "db": {}}`:            "maxPoolSize=8",
		`"URLParam": {"connectTimeoutMS": 0, "slaveOk": true}, "extraParam": {"db": {"raw": true}}`: "",
	} {
		c := parse(t, minimal+", "+param+"}")
		_, got, _ := strings.Cut(c.URI(), "?")
		if got != want {
			t.Errorf("%s: %q, want %q", param, got, want)
		}
		if err := options.Client().ApplyURI(c.URI()).Validate(); err != nil && !strings.Contains(param, "tlsC") && !strings.Contains(param, "GSSAPI") {
			t.Errorf("%s: %v", param, err)
		}
	}
}

func TestReadPreferenceIsOfTheLoads(t *testing.T) {
	t.Parallel()
	c := parse(t, minimal+`, "URLParam": {"readPreference": "nearest"}, "extraParam": {"db": {"readPreference": "secondary"}}}`)
	if got := c.Config().ReadPreference; got.Mode() != readpref.SecondaryMode {
		t.Errorf("%v", got)
	}
	if strings.Contains(c.URI(), "readPreference") {
		t.Errorf("URI %s", c.URI())
	}
}

func TestCredentialsAreEscaped(t *testing.T) {
	t.Parallel()
	const user, password = "a/d@a: +%", "p:a?s&s=w#ö/r d@%41+" //nolint:gosec // nobody's
	data, err := json.Marshal(map[string]string{"username": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, minimal+`, "prefix": "dev ", "name": "a+b", "credentials": `+string(data)+"}")
	o := options.Client().ApplyURI(c.URI())
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if o.Auth.Username != user || o.Auth.Password != password || o.Auth.AuthSource != "dev a+b" || c.Config().Database != "dev a+b" {
		t.Errorf("%+v", o.Auth)
	}
	for credentials, want := range map[string]string{
		`{"username": "", "password": ""}`: "", "{}": "", `{"username": "CN=web"}`: "CN%3Dweb@",
	} {
		c := parse(t, minimal+`, "credentials": `+credentials+"}")
		if got := c.URI(); got != "mongodb://"+want+"127.0.0.1:27017/sessionDB" {
			t.Errorf("%s: %s", credentials, got)
		}
	}
}

func TestServersAreSeeds(t *testing.T) {
	t.Parallel()
	c := parse(t, `{"servers": [{"host": "a.example", "port": "27018"}, {"host": "::1", "port": 1}, {"host": "[::2]"}, {"host": "b", "port": ""}]}`)
	u, err := url.Parse(strings.ReplaceAll(c.URI(), ",", "_"))
	if want := "mongodb://a.example:27018,[::1]:1,[::2]:27017,b:27017/sessionDB"; c.URI() != want {
		t.Errorf("%s, want %s (%v, %v)", c.URI(), want, u, err)
	}
}

func TestStringifyChoosesTheCodec(t *testing.T) {
	t.Parallel()
	if got := parse(t, minimal+`, "stringify": true}`).Config().PayloadCodec; got != (connectmongo.Codec{}) {
		t.Errorf("%T", got)
	}
}

func TestADbConfigWithinAnotherConfigurationIsParsedAsStrictly(t *testing.T) {
	t.Parallel()
	var app struct{ Session soajs.Config }
	if err := json.Unmarshal([]byte(`{"Session": `+minimal+`, "name": "app"}}`), &app); err != nil || app.Session.Name != "app" || app.Session.Collection != "sessions" {
		t.Errorf("%+v, error %v", app, err)
	}
	before := app.Session.URI()
	if err := json.Unmarshal([]byte(`{"Session": {"nam": 1}}`), &app); err == nil || app.Session.URI() != before {
		t.Errorf("%+v, error %v", app, err)
	}
}
