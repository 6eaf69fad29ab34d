package soajs

import "fmt"

// Why an option has no meaning any more.
const (
	bounded     = "Config.Timeout bounds each load and Save"
	noBuffer    = "there is no buffer to wait in: without a server a request waits for up to Config.Timeout"
	reconnects  = "the driver reconnects for as long as it is asked"
	ofCodec     = "a Config.PayloadCodec decides how values are stored"
	ownIDs      = "the store makes its ids"
	localReads  = "the store reads with read concern local"
	always      = "the driver always does so"
	noLimit     = "the driver has no such limit"
	javaScript  = "it is about JavaScript"
	preferences = "readPreference says where loads go"
	concerns    = "w and journal say what a write waits for"
)

// urlParam are the options of the connection string: those that the driver 2.1 read from it, and those that the
// driver of today adds.
var urlParam = map[string]option{
	"replicaSet":              text("replicaSet"),
	"rs_name":                 text("replicaSet"),
	"ssl":                     ssl,
	"tls":                     ssl,
	"sslValidate":             sslValidate,
	"connectTimeoutMS":        connectTimeout,
	"maxPoolSize":             number("maxPoolSize"),
	"poolSize":                number("maxPoolSize"),
	"minPoolSize":             number("minPoolSize"),
	"maxIdleTimeMS":           number("maxIdleTimeMS"),
	"w":                       writeConcern,
	"journal":                 flag("journal"),
	"readPreference":          readPreference,
	"readPreferenceTags":      readPreferenceTags,
	"authSource":              text("authSource"),
	"authMechanism":           authMechanism,
	"authMechanismProperties": text("authMechanismProperties"),
	"gssapiServiceName":       gssapiServiceName,

	"appName":                       text("appName"),
	"compressors":                   text("compressors"),
	"directConnection":              flag("directConnection"),
	"heartbeatFrequencyMS":          number("heartbeatFrequencyMS"),
	"localThresholdMS":              number("localThresholdMS"),
	"maxConnecting":                 number("maxConnecting"),
	"retryReads":                    flag("retryReads"),
	"retryWrites":                   flag("retryWrites"),
	"serverSelectionTimeoutMS":      number("serverSelectionTimeoutMS"),
	"tlsCAFile":                     file(text("tlsCAFile")),
	"tlsCertificateKeyFile":         file(text("tlsCertificateKeyFile")),
	"tlsCertificateKeyFilePassword": file(secret("tlsCertificateKeyFilePassword")),
	"tlsInsecure":                   file(flag("tlsInsecure")),
	"zlibCompressionLevel":          number("zlibCompressionLevel"),
	"zstdCompressionLevel":          number("zstdCompressionLevel"),

	"socketTimeoutMS":    without(bounded),
	"waitQueueMultiple":  without(noLimit),
	"waitQueueTimeoutMS": without("waiting for a connection counts for Config.Timeout"),
	"wtimeout":           without(bounded),
	"wtimeoutMS":         without(bounded),
	"readConcernLevel":   without(localReads),
	"bufferMaxEntries":   without(noBuffer),
	"autoReconnect":      without(reconnects),
	"auto_reconnect":     without(reconnects),
	"reconnectWait":      without(reconnects),
	"retries":            without(reconnects),
	"slaveOk":            without(preferences),
	"slave_ok":           without(preferences),
	"readSecondary":      without(preferences),
	"read_secondary":     without(preferences),
	"fsync":              without(concerns),
	"safe":               without(concerns),
	"nativeParser":       without(javaScript),
	"native_parser":      without(javaScript),
	"uuidRepresentation": without(ofCodec),
}

// dbParam are the options of Db.
var dbParam = map[string]option{
	"authSource":        text("authSource"),
	"authMechanism":     authMechanism,
	"gssapiServiceName": gssapiServiceName,
	"w":                 writeConcern,
	"j":                 flag("journal"),
	"journal":           flag("journal"),
	"readPreference":    readPreference,

	"wtimeout":            without(bounded),
	"wtimeoutMS":          without(bounded),
	"fsync":               without(concerns),
	"readConcern":         without(localReads),
	"slaveOk":             without(preferences),
	"bufferMaxEntries":    without(noBuffer),
	"retryMiliSeconds":    without(reconnects),
	"numberOfRetries":     without(reconnects),
	"forceServerObjectId": without(ownIDs),
	"pkFactory":           without(ownIDs),
	"serializeFunctions":  without(ofCodec),
	"ignoreUndefined":     without(ofCodec),
	"raw":                 without(ofCodec),
	"promoteLongs":        without(ofCodec),
	"promiseLibrary":      without(javaScript),
	"native_parser":       without(javaScript),
	"logger":              without(javaScript),
	"loggerLevel":         without(javaScript),
}

// topologyParam are the options of Server, ReplSet and Mongos.
var topologyParam = map[string]option{
	"poolSize":                     number("maxPoolSize"),
	"maxPoolSize":                  number("maxPoolSize"),
	"ssl":                          ssl,
	"sslValidate":                  sslValidate,
	"checkServerIdentity":          checkServerIdentity,
	"sslCA":                        sslCA,
	"sslCert":                      sslCert,
	"sslKey":                       sslKey,
	"sslPass":                      sslPass,
	"socketOptions":                socketOptions,
	"connectTimeoutMS":             connectTimeout,
	"replicaSet":                   text("replicaSet"),
	"rs_name":                      text("replicaSet"),
	"haInterval":                   number("heartbeatFrequencyMS"),
	"secondaryAcceptableLatencyMS": number("localThresholdMS"),
	"acceptableLatencyMS":          number("localThresholdMS"),

	"socketTimeoutMS":      without(bounded),
	"ha":                   without(always),
	"monitoring":           without(always),
	"noDelay":              without(always),
	"keepAlive":            without(always),
	"emitError":            without(javaScript),
	"autoReconnect":        without(reconnects),
	"auto_reconnect":       without(reconnects),
	"reconnectTries":       without(reconnects),
	"reconnectInterval":    without(reconnects),
	"bufferMaxEntries":     without(noBuffer),
	"connectWithNoPrimary": without("Open needs a primary for the indexes, unless Config.NoIndexes is set"),
	"strategy":             without(preferences),
	"debug":                without(javaScript),
	"logger":               without(javaScript),
	"loggerLevel":          without(javaScript),
}

// socketParam are the options of a connection.
var socketParam = map[string]option{
	"connectTimeoutMS": connectTimeout,

	"socketTimeoutMS": without(bounded),
	"autoReconnect":   without(reconnects),
	"auto_reconnect":  without(reconnects),
	"noDelay":         without(always),
	"keepAlive":       without(always),
}

func socketOptions(r *reading, path string, value any) error {
	values, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%s, not an object", show(value))
	}
	r.group(path, values, socketParam)
	return nil
}
