package main

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/mongostore/mongostore"
)

// files are the pages, and what they link to.
//
//go:embed web
var files embed.FS

// pages holds each page under its file's name, with the layout around it.
var pages = parsePages("home.html", "signin.html", "problem.html")

type homeView struct {
	User       string
	Flashes    []any
	Count      int
	Notes      []any // newest first
	Full       bool  // no room for another note
	MaxNote    int
	Record     mongostore.Record
	Remembered bool // the cookie outlives the browser
}

type signInView struct {
	Notice  notice
	MaxName int
}

type problemView struct {
	Title, Text string
}

// notice tells visitors why they see the sign-in page. They have no session, so
// no flash: the redirect names the notice.
type notice struct {
	Text string
	Bad  bool
	Flag string // of the command line, that helps
}

var notices = map[string]notice{
	"signedout": {Text: "You are signed out."},
	"ended":     {Text: "Your session has ended. Please sign in again.", Bad: true},
	"name":      {Text: "Please enter a name of 1 to 40 characters.", Bad: true},
	"cookie": {
		Text: "Your browser did not keep the session cookie. It must allow cookies here, and take Secure ones over plain http: most do for localhost, Safari does not.",
		Bad:  true,
		Flag: "-insecure-cookies",
	},
}

func parsePages(names ...string) map[string]*template.Template {
	functions := template.FuncMap{"moment": moment, "until": until}
	parsed := make(map[string]*template.Template)
	for _, name := range names {
		page := template.New("layout.html").Funcs(functions)
		parsed[name] = template.Must(page.ParseFS(files, "web/layout.html", "web/"+name))
	}
	return parsed
}

// render fills in the page before it answers, so that half a page is never sent.
func (a *app) render(w http.ResponseWriter, status int, name string, view any) error {
	var body bytes.Buffer
	if err := pages[name].Execute(&body, view); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := body.WriteTo(w)
	if err != nil {
		a.log.Debug("visitor left", "error", err)
	}
	return nil
}

// problem answers with a page that says what is wrong and what to do.
func (a *app) problem(status int, title, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := a.render(w, status, "problem.html", problemView{Title: title, Text: text}); err != nil {
			a.log.Error("problem page", "error", err)
			http.Error(w, title, status)
		}
	}
}

// static serves the style sheet and the icon.
func static() http.Handler {
	inside, err := fs.Sub(files, "web")
	if err != nil {
		panic(err) // the name is a constant
	}
	serve := http.FileServerFS(inside)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		serve.ServeHTTP(w, r)
	})
}

// headers forbids what the pages do not need: scripts, frames, other origins.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// noStore keeps pages with a user's data out of every cache, and so from being
// shown with the back button after signing out.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func moment(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

// until says how far off a moment is, roughly.
func until(t time.Time) string {
	left := time.Until(t).Round(time.Minute)
	const day = 24 * time.Hour
	switch {
	case left >= 2*day:
		return plural(int(left.Round(day)/day), "day")
	case left >= 2*time.Hour:
		return plural(int(left.Round(time.Hour)/time.Hour), "hour")
	default:
		return plural(max(int(left/time.Minute), 1), "minute")
	}
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}
