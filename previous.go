package mongostore

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore/internal/plan"
	"github.com/mongostore/mongostore/internal/token"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// imported is a session of Config.Previous that is to be stored here.
type imported struct {
	session *sessions.Session
	base    bson.RawValue // its values as they were imported
	request *http.Request // which brought its cookie; Save may be given another
}

// importSession fills the session from Config.Previous, or from the record that another request made of it a moment ago.
// ErrNotFound: there is none. Another request may have imported and renewed it, so the session is a placeholder.
func (l *loader) importSession(ctx context.Context) error {
	s, session, st := l.store, l.session, l.state
	previous, err := s.fromPrevious(l.r, session.Name())
	if previous == nil && err == nil {
		err = l.loadImported(ctx)
	}
	if previous == nil {
		if err != nil && !errors.Is(err, ErrUnavailable) {
			st.placeholder = max(st.placeholder, untilValues)
		}
		return err
	}
	maps.Copy(session.Values, previous.Values)
	base, err := s.payloads.encode(session)
	if err != nil {
		base = bson.RawValue{} // Save says what is wrong with the values
	}
	session.IsNew = false
	st.imported = &imported{previous, base, l.r}
	st.next = s.derivedCredentials(l.r, session.Name())
	return nil
}

// loadImported fills the session from the record of the old cookie, which all requests of a page bring.
func (l *loader) loadImported(ctx context.Context) error {
	next := l.store.derivedCredentials(l.r, l.session.Name())
	rec, err := l.store.server.find(ctx, next.ID)
	if err != nil {
		return err
	}
	if rec == nil || l.store.now().Sub(rec.CreatedAt) >= importedFor {
		return ErrNotFound
	}
	return l.fill(ctx, verifiedCookie{Credentials: next}, rec)
}

// importedFor is how long the old cookie leads to the record that was made of its session.
const importedFor = time.Minute

// fromPrevious asks Config.Previous for a session, nil if it has none. Some stores panic or fail for one that has ended.
func (s *Store) fromPrevious(r *http.Request, name string) (*sessions.Session, error) {
	session, err := recovering(func() (*sessions.Session, error) { return s.cfg.Previous.New(r, name) })
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrDecode) {
		return nil, fmt.Errorf("mongostore: Config.Previous: %w", err)
	}
	if err != nil || session != nil && session.IsNew {
		session = nil
	}
	return session, nil
}

// derivedCredentials are made from the old cookie, so that requests which import a session at once make one record.
func (s *Store) derivedCredentials(r *http.Request, name string) token.Credentials {
	old := r.CookiesNamed(name)[0].Value
	text := func(label string) string {
		sum := sha256.Sum256([]byte("mongostore taken over " + label + old))
		return base32.StdEncoding.EncodeToString(sum[:])[:token.Length]
	}
	if s.cfg.PlainIDs {
		c, _ := s.plainCredentials(text("id ")) // none: a new id says what is wrong
		return c
	}
	handle := text("handle ")
	return token.Credentials{Handle: handle, Secret: text("secret "), ID: handle}
}

// resolveImport finds out whether another request has stored the imported session, or ended it.
func (sv *saver) resolveImport(ctx context.Context, b basis) (basis, error) {
	st := sv.state
	if st.imported == nil || b.target != nil {
		return b, nil
	}
	b.base = st.imported.base
	if sv.renew {
		st.next = token.Credentials{}
	}
	session, err := sv.store.fromPrevious(st.imported.request, sv.session.Name())
	if session != nil || err != nil || len(st.unknown) > 0 {
		return b, err
	}
	rec, err := sv.store.server.find(ctx, st.next.ID)
	if err != nil {
		return b, err
	}
	if seen, _ := sv.see(rec); !seen.Shared || !seen.Live || b.base.IsZero() {
		return b, errEnded
	}
	st.shared()
	return sv.merge(ctx, b, rec, plan.Reread)
}

// quiet returns an error that ends a Save, nil if nothing is lost by it: of an unchanged import that has ended since.
func (sv *saver) quiet(b basis, err error) error {
	st := sv.state
	switch {
	case errors.Is(err, errNothing):
		return nil
	case st.imported == nil, sv.renew, !errors.Is(err, errEnded), sv.options.MaxAge != st.handed.MaxAge:
		return err
	}
	b.base, b.ours = st.imported.base, nil
	if sv.changedValues(b) {
		return err
	}
	sv.event.Err = err
	return nil
}

// logoutImported ends in Config.Previous the session that was imported, or else that of the request's cookies.
func (s *Store) logoutImported(r *http.Request, name string, from *imported) error {
	if from == nil && s.cfg.Previous != nil && len(r.CookiesNamed(name)) > 0 {
		session, err := s.fromPrevious(r, name)
		if session == nil {
			return err
		}
		from = &imported{session: session, request: r}
	}
	return s.endImported(from)
}

// endImported ends in Config.Previous a session that is stored here or logged out.
func (s *Store) endImported(from *imported) error {
	if from == nil {
		return nil
	}
	options := sessions.Options{Path: "/"}
	if from.session.Options != nil {
		options = *from.session.Options
	}
	options.MaxAge = -1
	from.session.Options = &options
	_, err := recovering(func() (struct{}, error) {
		return struct{}{}, s.cfg.Previous.Save(from.request, &discarded{header: make(http.Header)}, from.session)
	})
	if err != nil {
		return fmt.Errorf("mongostore: ending the session in Config.Previous: %w", err)
	}
	return nil
}

// discarded is a response that nobody sees: the cookie of Config.Previous is this store's to replace.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}
