package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/mongostore/mongostore"
)

const (
	operatorName  = "operator"
	minPassword   = 12
	shownSessions = 20
	shownEvents   = 12
)

// credentials let the operator in.
type credentials struct{ password [sha256.Size]byte }

// loadPassword takes OPERATOR_PASSWORD, or makes a password up that holds until
// the app stops. There is none that is known beforehand. made is the one to
// tell, "" if it was given.
func loadPassword() (login credentials, made string, err error) {
	password := os.Getenv("OPERATOR_PASSWORD")
	if password == "" {
		made = rand.Text()
		password = made
	}
	if len(password) < minPassword {
		return login, "", fmt.Errorf("OPERATOR_PASSWORD has %d characters, needs at least %d", len(password), minPassword)
	}
	return credentials{sha256.Sum256([]byte(password))}, made, nil
}

// match takes as long for a wrong password as for the right one.
func (c credentials) match(name, password string) bool {
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], c.password[:]) == 1 && name == operatorName
}

// operatorsOnly asks for the password as browsers know it (HTTP basic
// authentication): the operator is no user of the app and has no session. What
// the operator's browser sends by itself, another site could use: sameOrigin
// stands before this.
func (a *app) operatorsOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := r.BasicAuth(); !ok || !a.operator.match(name, password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="mongostore demo, operator", charset="UTF-8"`)
			a.problem(http.StatusUnauthorized, "For the operator only",
				"The name is operator. The password is OPERATOR_PASSWORD, or the one that was printed when the app started.")(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

type operatorView struct {
	Live     int
	Sessions []device
	Plots    []plot
	Events   []observed
	Totals   []opTotal
	Done     int
	Failed   int
	Ended    bool // a session, a moment ago
}

type opTotal struct {
	Op mongostore.Op
	total
}

var ops = []mongostore.Op{
	mongostore.OpLoad, mongostore.OpCreate, mongostore.OpUpdate, mongostore.OpTouch,
	mongostore.OpRegenerate, mongostore.OpDestroy, mongostore.OpRemoveExpired,
}

func (a *app) operatorPage(w http.ResponseWriter, r *http.Request) {
	live, err := a.store.Count(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	sessions, err := a.someSessions(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	events, totals, samples := a.activity.snapshot()
	view := operatorView{
		Live:     int(live),
		Sessions: sessions,
		Plots:    []plot{plotSessions(samples), plotOperations(samples)},
		Events:   events[:min(len(events), shownEvents)],
		Ended:    r.URL.Query().Has("ended"),
	}
	for _, op := range ops {
		view.Totals = append(view.Totals, opTotal{op, totals[op]})
		view.Done += totals[op].Done
		view.Failed += totals[op].Failed
	}
	if err := a.render(w, http.StatusOK, "operator.html", frame{Page: view, Operator: true}); err != nil {
		a.fail(w, r, err)
	}
}

// someSessions are the first of all. Ending the loop early is fine: the rest is
// not fetched.
func (a *app) someSessions(r *http.Request) ([]device, error) {
	var sessions []device
	for record, err := range a.store.All(r.Context()) {
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, newDevice(record))
		if len(sessions) == shownSessions {
			break
		}
	}
	return sessions, nil
}

func (a *app) operatorEnd(w http.ResponseWriter, r *http.Request) {
	if err := a.store.Destroy(r.Context(), r.FormValue("id")); err != nil && !errors.Is(err, mongostore.ErrNotFound) {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/operator?ended", http.StatusSeeOther)
}
