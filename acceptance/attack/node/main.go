// Node is the site of package attack as a process, on a port that it prints. It
// ends with the pipe it reads from.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"time"

	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/attack"
)

var (
	uri      = flag.String("uri", "", "MongoDB, with a database")
	key      = flag.String("key", "", "signs the cookies")
	ttl      = flag.Duration("ttl", 0, "Config.TTL")
	interval = flag.Duration("interval", time.Hour, "Config.RemoveInterval")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	cfg := &mongostore.Config{
		TTL: *ttl, UserID: attack.UserOf,
		AutoRemove: mongostore.AutoRemoveInterval, RemoveInterval: *interval,
	}
	store, err := mongostore.Open(context.Background(), *uri, cfg, []byte(*key))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	server := httptest.NewTLSServer(attack.Site(store))
	defer server.Close()
	fmt.Println(server.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
