package recipes

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/mongostore/mongostore"
)

// Sockets serves websockets to those who are logged in. Each ends with the login that it was opened by.
type Sockets struct {
	Store *mongostore.Store
	Every time.Duration // so long may a socket outlive a login that has expired, or was ended by another process

	open sync.Map // from a channel that wakes the socket's watch to its Record.ID
}

// Observe belongs in Config.Observe: what this process ends, ends its sockets at once.
func (s *Sockets) Observe(_ context.Context, e mongostore.Event) {
	if e.Op != mongostore.OpRegenerate && (e.Op != mongostore.OpDestroy || e.Removed == 0) {
		return
	}
	s.open.Range(func(wake, id any) bool {
		if e.ID == "" || e.ID == id { // "" where it was many
			select {
			case wake.(chan struct{}) <- struct{}{}:
			default: // it is to wake already
			}
		}
		return true
	})
}

// ServeHTTP is the websocket; this one sends back what it is sent.
func (s *Sockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	session, err := s.Store.Get(r, "sid")
	if errors.Is(err, mongostore.ErrUnavailable) {
		http.Error(w, "please try again", http.StatusServiceUnavailable)
		return
	}
	login, stored := s.Store.Record(session)
	if !stored || session.Values["user"] == nil {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	conn, err := websocket.Accept(w, r, nil) // refuses pages of other sites
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	ctx, end := context.WithCancel(r.Context())
	defer end()
	go func() {
		if s.ended(ctx, login) {
			end() // before the peer has agreed to the closing, which it may put off
			_ = conn.Close(websocket.StatusPolicyViolation, "logged out")
		}
	}()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil || ctx.Err() != nil {
			return
		}
		if err := conn.Write(ctx, kind, message); err != nil {
			return
		}
	}
}

// ended waits for the end of the login or of ctx, and tells whether it was the login's.
func (s *Sockets) ended(ctx context.Context, login mongostore.Record) bool {
	wake := make(chan struct{}, 1)
	s.open.Store(wake, login.ID)
	defer s.open.Delete(wake)
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		now, err := s.Store.Find(ctx, login.ID)
		if errors.Is(err, mongostore.ErrNotFound) || err == nil && !now.CreatedAt.Equal(login.CreatedAt) {
			return true // logged out, expired, or logged in anew: Regenerate sets CreatedAt
		}
		select {
		case <-wake:
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
