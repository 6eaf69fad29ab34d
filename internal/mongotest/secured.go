package mongotest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Privilege lets a user do the actions (as "find", "insert") on a collection;
// an empty Collection means all of the database.
type Privilege struct {
	Database, Collection string
	Actions              []string
}

// UserURI creates a user of a [Secured] server who may do no more than the
// privileges say, and returns the URI that logs in as that user.
func (s *Server) UserURI(tb testing.TB, privileges ...Privilege) string {
	tb.Helper()
	if s.CAFile == "" {
		tb.Fatal("mongotest: only a Secured server has users")
	}
	name := fmt.Sprintf("user%d", databases.Add(1))
	grants := bson.A{}
	for _, p := range privileges {
		grants = append(grants, bson.D{
			{Key: "resource", Value: bson.D{{Key: "db", Value: p.Database}, {Key: "collection", Value: p.Collection}}},
			{Key: "actions", Value: p.Actions},
		})
	}
	admin := s.client.Database("admin")
	err := admin.RunCommand(tb.Context(), bson.D{
		{Key: "createRole", Value: name}, {Key: "privileges", Value: grants}, {Key: "roles", Value: bson.A{}},
	}).Err()
	if err == nil {
		err = createUser(tb.Context(), admin, name, name)
	}
	if err != nil {
		tb.Fatalf("mongotest: %v", err)
	}
	return login(s.uri, name)
}

// TLSConfig returns a client's configuration that trusts a [Secured] server.
func (s *Server) TLSConfig() *tls.Config { return s.tls.Clone() }

const password = "mongotest"

func createUser(ctx context.Context, admin *mongo.Database, name, role string) error {
	return admin.RunCommand(ctx, bson.D{
		{Key: "createUser", Value: name}, {Key: "pwd", Value: password}, {Key: "roles", Value: bson.A{role}},
	}).Err()
}

// login returns uri with another user.
func login(uri, user string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// startSecured starts a mongod that knows one user: a client with a certificate
// like its own is a member of the cluster, who may do everything. That member
// makes the administrator.
func startSecured(ctx context.Context) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	r, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mongotest-tls-")
	if err != nil {
		return nil, err
	}
	leftovers.watch("dir", dir)
	s, err := startWithTLS(ctx, r, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func startWithTLS(ctx context.Context, r runner, dir string) (*Server, error) {
	pool, err := writeCertificates(dir)
	if err != nil {
		return nil, err
	}
	ca, client := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.pem")
	i, uri, err := startOne(ctx, r, spec{files: dir, args: []string{
		"--auth", "--clusterAuthMode", "x509",
		"--tlsMode", "requireTLS", "--tlsAllowConnectionsWithoutCertificates",
		"--tlsCAFile", ca, "--tlsCertificateKeyFile", filepath.Join(dir, "server.pem"),
	}}, url.Values{"tls": {"true"}, "tlsCAFile": {ca}})
	if err != nil {
		return nil, err
	}
	if err := createAdministrator(ctx, uri+"&authMechanism=MONGODB-X509&tlsCertificateKeyFile="+
		url.QueryEscape(filepath.Join(dir, "server.pem"))); err != nil {
		i.remove()
		return nil, fmt.Errorf("create the administrator: %w", err)
	}
	s, err := finish(ctx, login(uri, "administrator")+"&authSource=admin", r, i)
	if err != nil {
		return nil, err
	}
	s.CAFile, s.CertFile, s.files = ca, client, dir
	s.tls = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return s, nil
}

func createAdministrator(ctx context.Context, uri string) error {
	member, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	defer func() { _ = member.Disconnect(context.WithoutCancel(ctx)) }()
	return createUser(ctx, member.Database("admin"), "administrator", "root")
}

// writeCertificates writes ca.pem, server.pem and client.pem to dir.
func writeCertificates(dir string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := certificate(1, "authority", "mongotest authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	issue := func(file string, c *x509.Certificate) error {
		text, err := sign(c, ca, key)
		if err != nil {
			return err
		}
		// In a container mongod is another user, who must be able to read it.
		return os.WriteFile(filepath.Join(dir, file), text, 0o644) //nolint:gosec // keys for one test run
	}
	err = errors.Join(
		os.Chmod(dir, 0o755), //nolint:gosec // as above
		issue("ca.pem", ca),
		issue("server.pem", certificate(2, "members", "127.0.0.1")),
		issue("client.pem", certificate(3, "clients", "client")))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.pem")) //nolint:gosec // written above
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, err
}

func certificate(serial int64, unit, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{Organization: []string{"mongotest"}, OrganizationalUnit: []string{unit}, CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"localhost"},
	}
}

// sign returns a certificate with its key, as PEM; an authority signs itself
// and keeps its key to itself.
func sign(c, ca *x509.Certificate, caKey *ecdsa.PrivateKey) ([]byte, error) {
	key := caKey
	if c != ca {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if c == ca {
		return text, nil
	}
	der, err = x509.MarshalPKCS8PrivateKey(key)
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), err
}
