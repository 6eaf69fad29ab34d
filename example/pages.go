package main

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/sessions"
)

// files are the pages, and what they link to.
//
//go:embed web
var files embed.FS

// pages holds each page under its file's name, with the layout around it.
var pages = parsePages("notes.html", "shop.html", "devices.html", "signin.html", "operator.html", "problem.html")

// problemFlash is the key of flashes that tell of a problem.
const problemFlash = "_problem"

// frame is what every page is given: what the layout needs, and the page's own.
type frame struct {
	User              string
	Theme             string
	Path              string // of this page, "" where the theme cannot be chosen
	Cart              int
	Operator          bool
	Flashes, Problems []any
	Page              any
}

type problemView struct {
	Title, Text string
}

func parsePages(names ...string) map[string]*template.Template {
	functions := template.FuncMap{"moment": moment, "stamp": stamp, "until": until, "money": money}
	parsed := make(map[string]*template.Template)
	for _, name := range names {
		page := template.New("layout.html").Funcs(functions)
		parsed[name] = template.Must(page.ParseFS(files, "web/layout.html", "web/"+name))
	}
	return parsed
}

// show answers with a page for the visitor, and the session's flashes in it.
func (a *app) show(w http.ResponseWriter, r *http.Request, session *sessions.Session, name string, view any) error {
	theme, _ := session.Values[themeKey].(string)
	f := frame{
		User:     userName(session),
		Theme:    theme,
		Path:     r.URL.Path,
		Cart:     len(list(session, cartKey)),
		Flashes:  session.Flashes(),
		Problems: session.Flashes(problemFlash),
		Page:     view,
	}
	if len(f.Flashes)+len(f.Problems) > 0 {
		if err := session.Save(r, w); err != nil { // now they are shown once
			return err
		}
	}
	return a.render(w, http.StatusOK, name, f)
}

// render fills in the page before it answers, so that half a page is never sent.
func (a *app) render(w http.ResponseWriter, status int, name string, f frame) error {
	var body bytes.Buffer
	if err := pages[name].Execute(&body, f); err != nil {
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
		if err := a.render(w, status, "problem.html", frame{Page: problemView{Title: title, Text: text}}); err != nil {
			a.log.Error("problem page", "error", err)
			http.Error(w, title, status)
		}
	}
}

// static serves the style sheet, the script and the pictures.
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

// headers forbids what the pages do not need: scripts inside pages, frames,
// other origins.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
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

// stamp is a moment for machines; moment, for people, stands in the page until
// app.js writes it in the visitor's time zone.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

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
