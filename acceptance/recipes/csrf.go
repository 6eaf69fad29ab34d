package recipes

import (
	"html/template"
	"net/http"

	"github.com/gorilla/csrf"
)

// form has its token in a hidden field.
var form = template.Must(template.New("form").Parse(`<form method="post" action="/login">{{.}}<input name="user"></form>`))

// CSRF lets a form of the site do what it does only with a token of gorilla/csrf. The key has 32 bytes and is not
// the store's.
func CSRF(site http.Handler, key []byte) http.Handler {
	pages := http.NewServeMux()
	pages.Handle("/", site) // with KeepAlive in it: what is refused reaches no session
	pages.HandleFunc("GET /account/form", func(w http.ResponseWriter, r *http.Request) {
		_ = form.Execute(w, csrf.TemplateField(r))
	})
	return csrf.Protect(key, csrf.Path("/"))(pages)
}
