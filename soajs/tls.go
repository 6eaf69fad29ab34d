package soajs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// security is what the options say about TLS.
type security struct {
	on         bool
	unverified bool // sslValidate: false
	unnamed    bool // checkServerIdentity: false
	ca         []byte
	cert, key  []byte
	given      []string // the paths of what only TLS needs
	files      []string // the paths of options of the connection string about TLS
	pair       []tls.Certificate
	roots      *x509.CertPool
}

func ssl(r *reading, _ string, value any) error {
	on, ok := boolOf(value)
	if !ok {
		return notBool(value)
	}
	r.security.on = on
	return nil
}

func sslValidate(r *reading, path string, value any) error {
	validate, ok := boolOf(value)
	if !ok {
		return notBool(value)
	}
	r.security.unverified = !validate
	if !validate {
		r.security.given = append(r.security.given, path)
	}
	return nil
}

func checkServerIdentity(r *reading, path string, value any) error {
	named, ok := boolOf(value)
	if !ok {
		return notBool(value)
	}
	r.security.unnamed = !named
	if !named {
		r.security.given = append(r.security.given, path)
	}
	return nil
}

// file is an option of the connection string about TLS, which the options of the driver 2.1 would overrule.
func file(take option) option {
	return func(r *reading, path string, value any) error {
		r.security.files = append(r.security.files, path)
		return take(r, path, value)
	}
}

// pem returns an option that is PEM: text, a list of texts, or a Buffer of Node.js in JSON.
func pem(target func(*security) *[]byte) option {
	return func(r *reading, path string, value any) error {
		data, ok := bytesOf(value)
		if !ok {
			return fmt.Errorf("%s, not PEM as text, as a list of texts or as a Buffer", show(value))
		}
		*target(&r.security) = data
		r.security.given = append(r.security.given, path)
		return nil
	}
}

var (
	sslCA   = pem(func(s *security) *[]byte { return &s.ca })
	sslCert = pem(func(s *security) *[]byte { return &s.cert })
	sslKey  = pem(func(s *security) *[]byte { return &s.key })
)

func sslPass(*reading, string, any) error {
	return errors.New("for a key that is encrypted: decrypt it (openssl pkey -in key.pem), or put URLParam.tlsCertificateKeyFile and tlsCertificateKeyFilePassword in the place of sslCert, sslKey and sslPass, and tlsCAFile in that of sslCA")
}

// bytesOf returns the bytes of a text, a Buffer or a list of them.
func bytesOf(value any) ([]byte, bool) {
	switch v := value.(type) {
	case string:
		return []byte(v), v != ""
	case []any:
		var parts [][]byte
		for _, element := range v {
			part, ok := bytesOf(element)
			if !ok {
				return nil, false
			}
			parts = append(parts, part)
		}
		return bytes.Join(parts, []byte("\n")), len(parts) > 0
	case map[string]any:
		return bytesOfBuffer(v)
	}
	return nil, false
}

// bytesOfBuffer returns the bytes of a Buffer as JSON.stringify writes one.
func bytesOfBuffer(buffer map[string]any) ([]byte, bool) {
	list, ok := buffer["data"].([]any)
	if !ok || buffer["type"] != "Buffer" {
		return nil, false
	}
	data := make([]byte, len(list))
	for i, element := range list {
		n, ok := wholeOf(element)
		if !ok || n < 0 || n > 255 {
			return nil, false
		}
		data[i] = byte(n)
	}
	return data, true
}

// finishTLS settles what the options say together. The driver 2.1 went by ssl alone.
func (r *reading) finishTLS() {
	s := &r.security
	if !s.on {
		for _, path := range s.given {
			r.ignore(path, "without ssl there is no TLS")
		}
		return
	}
	r.uri["tls"] = "true"
	if s.ca != nil {
		s.roots = x509.NewCertPool() // an empty one trusts nobody
		if !s.roots.AppendCertsFromPEM(s.ca) {
			r.errs = append(r.errs, errors.New("soajs: sslCA holds no certificate in PEM"))
		}
	}
	if len(s.files) > 0 && len(s.given) > 0 {
		r.errs = append(r.errs, fmt.Errorf("soajs: %s would be overruled by %s: say all about TLS in the one way or the other",
			strings.Join(s.files, ", "), strings.Join(s.given, ", ")))
	}
	if s.cert == nil && s.key == nil {
		return
	}
	pair, err := tls.X509KeyPair(s.cert, s.key)
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("soajs: sslCert and sslKey are no pair in PEM: %w", err))
		return
	}
	s.pair = []tls.Certificate{pair}
}

// tlsConfig returns what a connection string cannot say; nil: nothing.
func (r *reading) tlsConfig() *tls.Config {
	s := r.security
	if !s.on || s.ca == nil && s.cert == nil && s.key == nil && !s.unverified && !s.unnamed {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots, Certificates: s.pair}
	switch {
	case s.unverified:
		config.InsecureSkipVerify = true // the operator said so
	case s.unnamed:
		config.InsecureSkipVerify = true // replaced by the next line, which leaves out the name alone
		config.VerifyConnection = s.verifyUnnamed
	}
	return config
}

// verifyUnnamed verifies a server's certificate, but not that it is of this server.
func (s security) verifyUnnamed(state tls.ConnectionState) error {
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: s.roots, Intermediates: intermediates})
	return err
}
