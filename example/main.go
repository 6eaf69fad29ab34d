// Command example is a small web app whose sessions mongostore keeps in
// MongoDB: notes, a cart, your devices, and a page for the operator. It runs
// with nothing installed but Go; see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/joho/godotenv"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/example/internal/database"
)

const usage = `A small web app that keeps its sessions in MongoDB through mongostore.

usage: go run . [flags]

Flags:
  -addr address      where to listen (default %s)
  -data folder       where keys and data are kept between runs
                     (default %s)
  -server kind       auto, uri, mongod, docker or embedded (default auto:
                     the first of these that there is)
                       uri       the server that MONGODB_URI names
                       mongod    the program that MONGOD names, or the one on
                                 the PATH, started on a free port
                       docker    a container of MONGO_IMAGE (mongo:8.0), if
                                 Docker runs and has the image
                       embedded  FerretDB inside this process, on SQLite files
  -ttl duration      how long a session lives without a visit, unless the
                     visitor asked to be remembered (default %v)
  -env file          variables to take from a file, if there is one; those of
                     the environment come first (default .env)
  -insecure-cookies  leave Secure off the cookies, so that they travel over
                     plain http to hosts other than localhost (and in Safari,
                     to localhost too). Whoever can listen on the network can
                     then take over a session: for trying things out only
  -h                 this text

Environment:
  MONGODB_URI        a server to use, as mongodb://host/database
                     (default database %s)
  SESSION_KEY        key that signs the cookies, 32 bytes or more as hex or
                     base64 (default: a file in the data folder)
  OPERATOR_PASSWORD  opens /operator, 12 characters or more (default: a new
                     one at each start, which is printed)
`

// settings is what the command line says.
type settings struct {
	addr, data, server, env string
	ttl                     time.Duration
	insecureCookies         bool
}

// errUsage: the command line is wrong, and the user has been told so.
var errUsage = errors.New("usage")

func parseFlags(arguments []string, stderr io.Writer) (settings, error) {
	var s settings
	const addr = "127.0.0.1:8080"
	data := defaultData()
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = fmt.Fprintf(stderr, usage, addr, data, defaultTTL, database.DefaultName) }
	flags.StringVar(&s.addr, "addr", addr, "")
	flags.StringVar(&s.data, "data", data, "")
	flags.StringVar(&s.server, "server", database.Auto, "")
	flags.StringVar(&s.env, "env", ".env", "")
	flags.DurationVar(&s.ttl, "ttl", defaultTTL, "")
	flags.BoolVar(&s.insecureCookies, "insecure-cookies", false, "")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}
		return s, errUsage
	}
	if flags.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "unexpected argument %q\n", flags.Arg(0))
		flags.Usage()
		return s, errUsage
	}
	abs, err := filepath.Abs(s.data)
	s.data = abs
	return s, err
}

// defaultData is a folder that outlives a restart of the app.
func defaultData() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "."
	}
	return filepath.Join(cache, "mongostore-demo")
}

// Lifetimes of sessions.
const (
	defaultTTL  = 24 * time.Hour
	maxLifetime = 90 * 24 * time.Hour // also of a remembered one that is in use each day
	touchAfter  = time.Minute         // how exact "last seen" is; more means fewer writes
)

// Bounds on starting and on stopping.
const (
	connectTimeout    = 15 * time.Second
	shutdownTimeout   = 10 * time.Second
	disconnectTimeout = 2 * time.Second // a client says goodbye even to a server that is gone
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// run serves the app until ctx ends or a signal comes. What it takes up, it
// puts down in the reverse order: port, database, client, store.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) (err error) {
	s, err := parseFlags(arguments, stderr)
	if err != nil {
		return err
	}
	if err := godotenv.Load(s.env); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", s.env, err)
	}
	operator, password, err := loadPassword()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once

	listener, err := listen(ctx, s.addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // Shutdown may have closed it
	db, err := database.Start(ctx, s.server, s.data, func(text string) { _, _ = fmt.Fprintln(stdout, text) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, within(ctx, shutdownTimeout, db.Stop)) }()
	client, version, err := connect(ctx, db.URI)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, within(ctx, disconnectTimeout, client.Disconnect)) }()
	seen := newActivity()
	store, err := s.openStore(ctx, client, db, seen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	defer alongside(ctx, func(ctx context.Context) { seen.run(ctx, store.Count) })()

	announce(stdout, listener.Addr(), db, version, password)
	a := &app{store: store, log: slog.New(slog.NewTextHandler(stderr, nil)), activity: seen, operator: operator}
	return serve(ctx, listener, a.handler())
}

// alongside runs task until the function that it returns is called, which waits
// for its end.
func alongside(ctx context.Context, task func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { task(ctx) })
	return func() { cancel(); running.Wait() }
}

// openStore makes the store that the command line asks for.
func (s settings) openStore(ctx context.Context, client *mongo.Client, db *database.Server, seen *activity) (*mongostore.Store, error) {
	key, err := loadKey(filepath.Join(s.data, "session.key"))
	if err != nil {
		return nil, err
	}
	config := storeConfig(seen)
	config.TTL = s.ttl
	if db.NoTTL {
		// It could be left out: the store notices a server without TTL indexes, and logs it.
		config.AutoRemove = mongostore.AutoRemoveInterval
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	store, err := mongostore.New(ctx, client.Database(db.Name).Collection("sessions"), config, key)
	if err != nil {
		return nil, err
	}
	store.Options.Secure = !s.insecureCookies
	store.MaxAge(0) // the cookie goes when the browser is closed; signIn sets another age for "remember me"
	return store, nil
}

// storeConfig is all there is to set up.
func storeConfig(seen *activity) *mongostore.Config {
	return &mongostore.Config{
		TTL:         defaultTTL,
		MaxLifetime: maxLifetime,
		TouchAfter:  touchAfter,
		SkipEmpty:   true,         // who only looks leaves no session behind
		UserID:      userName,     // whose session it is: for ByUser and DestroyByUser
		Labels:      labels,       // which browser
		Observe:     seen.observe, // for the operator's page
	}
}

// connect returns a client that has reached the server, and the server's version.
func connect(ctx context.Context, uri string) (*mongo.Client, string, error) {
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetAppName("mongostore-demo"))
	if err != nil {
		return nil, "", fmt.Errorf("connect to MongoDB: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var info struct {
		Version string `bson:"version"`
	}
	err = client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info)
	if err != nil {
		_ = client.Disconnect(context.WithoutCancel(ctx))
		return nil, "", fmt.Errorf("reach MongoDB: %w", err)
	}
	return client, info.Version, nil
}

// listen comes first at the start, so that a port in use is said at once.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program (or another run of this one); choose another with -addr, such as -addr 127.0.0.1:8081", addr)
	}
	return listener, err
}

func announce(w io.Writer, addr net.Addr, db *database.Server, version, password string) {
	_, _ = fmt.Fprintf(w, "Open      %s\n", pageURL(addr))
	secret := "that of OPERATOR_PASSWORD"
	if password != "" {
		secret = password
	}
	_, _ = fmt.Fprintf(w, "Operator  %s/operator, name %s, password %s\n", pageURL(addr), operatorName, secret)
	_, _ = fmt.Fprintf(w, "Sessions  %s (MongoDB %s), database %s\n", db.Kind, version, db.Name)
	_, _ = fmt.Fprintf(w, "Data      %s\n", db.Data)
	_, _ = fmt.Fprintln(w, "Stop      Ctrl-C")
}

// pageURL says localhost for a loopback address: browsers take Secure cookies
// from there without https.
func pageURL(addr net.Addr) string {
	tcp := addr.(*net.TCPAddr)
	host := tcp.IP.String()
	if tcp.IP.IsLoopback() || tcp.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}

// serve answers requests until ctx ends, then lets those that run finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopped <- within(ctx, shutdownTimeout, server.Shutdown)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// within runs a step of the shutdown with a time limit of its own: the context
// that asked for the shutdown is over.
func within(ctx context.Context, limit time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	return stop(ctx)
}
