package main

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/gorilla/sessions"
	"github.com/mileusna/useragent"

	"github.com/mongostore/mongostore"
)

const agentLabel = "agent"

// labels are what the store keeps beside a session for the page of devices:
// Config.Labels.
func labels(r *http.Request, _ *sessions.Session) map[string]string {
	return map[string]string{agentLabel: r.UserAgent()}
}

// device is a session of the user, as the page shows it.
type device struct {
	mongostore.Record
	Browser string
	Phone   bool
	This    bool // the one that asks
}

func newDevice(record mongostore.Record) device {
	agent := useragent.Parse(record.Labels[agentLabel])
	return device{Record: record, Browser: browserName(agent), Phone: agent.Mobile || agent.Tablet}
}

// browserName is such as "Firefox 128 on Windows".
func browserName(agent useragent.UserAgent) string {
	name := agent.Name
	if name == "" {
		return "Unknown browser"
	}
	if agent.VersionNo.Major > 0 {
		name += " " + strconv.Itoa(agent.VersionNo.Major)
	}
	if agent.OS != "" {
		name += " on " + agent.OS
	}
	return name
}

type devicesView struct {
	Devices []device
	Others  int
}

func (a *app) devicesPage(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	var view devicesView
	for record, err := range a.store.ByUser(r.Context(), userName(session)) {
		if err != nil {
			return err
		}
		d := newDevice(record)
		d.This = record.ID == session.ID
		view.Devices = append(view.Devices, d)
		if !d.This {
			view.Others++
		}
	}
	return a.show(w, r, session, "devices.html", view)
}

// endDevice ends one session. Its id comes from a form, and a form may hold
// anything: so whose session it is, is looked up first.
func (a *app) endDevice(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	record, err := a.store.Find(r.Context(), r.FormValue("id"))
	switch {
	case err != nil && !errors.Is(err, mongostore.ErrNotFound):
		return err
	case err != nil || record.UserID != userName(session):
		session.AddFlash("That device was signed out already.")
	default:
		if err := a.store.Destroy(r.Context(), record.ID); err != nil {
			return err
		}
		session.AddFlash(newDevice(record).Browser + " is signed out.")
	}
	return saveAndGo(w, r, session, "/devices")
}

// endOtherDevices is "log out everywhere else". After a change of the password
// it would be called too.
func (a *app) endOtherDevices(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	ended, err := a.store.DestroyByUser(r.Context(), userName(session), session)
	if err != nil {
		return err
	}
	session.AddFlash(plural(int(ended), "other device") + " signed out.")
	return saveAndGo(w, r, session, "/devices")
}
