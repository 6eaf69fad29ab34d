package mongostore_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// docFiles are the texts that these tests hold to the code.
var docFiles = []string{"README.md", "CHANGELOG.md", "SECURITY.md"}

func TestREADMECodeIsInTheExamples(t *testing.T) {
	t.Parallel()
	examples := squeeze(readFile(t, "example_test.go"))
	for _, block := range blocks(readFile(t, "README.md"), "go") {
		for _, part := range functions(block) {
			if !strings.Contains(examples, squeeze(part)) {
				t.Errorf("this is in no example:\n%s", part)
			}
		}
	}
	this := squeeze(readFile(t, "docs_test.go"))
	for _, block := range blocks(readFile(t, "README.md"), "diff") {
		for _, side := range []string{"-", "+"} {
			if code := sideOf(block, side); !strings.Contains(this, squeeze(code)) {
				t.Errorf("this side of the diff is not in docs_test.go:\n%s", code)
			}
		}
	}
}

func TestREADMEProgramIsThatOfThePackageCommentAndCompiles(t *testing.T) {
	t.Parallel()
	program := blocks(readFile(t, "README.md"), "go")[0]
	comment := strings.ReplaceAll(readFile(t, "doc.go"), "\n//\t", "\n")
	comment = strings.ReplaceAll(comment, "\n//\n", "\n\n")
	if !strings.Contains(comment, program) {
		t.Error("the first program of the README is not that of doc.go")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil { //nolint:gosec // the file is ours
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

func TestREADMEConfigTableHasEveryField(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(readFile(t, "README.md"), "\n## Configuration\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var rows []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(table, -1) {
		rows = append(rows, row[1])
	}
	if fields := configFields(t); !slices.Equal(rows, fields) {
		t.Errorf("the rows are\n%v\nand the fields of Config\n%v", rows, fields)
	}
}

func TestDocsLinksResolve(t *testing.T) {
	t.Parallel()
	for _, document := range docFiles {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(readFile(t, document), -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			if path == "" {
				path = document
			}
			text, err := os.ReadFile(path) //nolint:gosec // from our own documents
			if err != nil {
				t.Errorf("%s: link to %s: %v", document, link[1], err)
			} else if anchor != "" && !slices.Contains(anchors(string(text)), anchor) {
				t.Errorf("%s: link to %s: no such heading", document, link[1])
			}
		}
	}
}

func TestDocsMakeTargetsExist(t *testing.T) {
	t.Parallel()
	makefile := readFile(t, "Makefile")
	for _, document := range docFiles {
		text := readFile(t, document)
		code := strings.Join(blocks(text, "sh"), "\n")
		for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(text, -1) {
			code += "\n" + strings.Trim(span, "`")
		}
		for _, target := range regexp.MustCompile(`(?m)^make ([a-z-]+)`).FindAllStringSubmatch(code, -1) {
			if !regexp.MustCompile(`(?m)^` + target[1] + `:`).MatchString(makefile) {
				t.Errorf("%s: the Makefile has no target %s", document, target[1])
			}
		}
	}
}

// What reads like a name of this package in the documents is one.
func TestDocsNamesExist(t *testing.T) {
	t.Parallel()
	names := exportedNames(t)
	name := regexp.MustCompile(`\b(?:Config|Store|Record|mongostore)\.([A-Z]\w*)|\b((?:Err|AutoRemove|OnConflict)[A-Z]\w*)`)
	for _, document := range docFiles {
		for _, found := range name.FindAllStringSubmatch(readFile(t, document), -1) {
			if n := found[1] + found[2]; !slices.Contains(names, n) {
				t.Errorf("%s: %s is no exported name", document, n)
			}
		}
	}
}

// What README says of the swap from a CookieStore is so.
func TestREADMEOfTheSwapFromCookieStore(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef0123456789abcdef")
	oldStore, oldLogin := withCookieStore(key)
	newStore, newLogin := withMongoStore(t.Context(), mongotest.Shared(t).Database(t).Collection("sessions"), key)

	ada := new(visitor)
	ada.send(oldLogin, "user", "ada")
	if c := ada.cookie; c.MaxAge != 30*86400 || c.SameSite != http.SameSiteNoneMode || c.HttpOnly || !c.Secure {
		t.Errorf("the CookieStore's cookie: %v", c)
	}
	if session, err := newStore.Get(ada.request(), "sid"); err != nil || !session.IsNew {
		t.Errorf("with a cookie of the CookieStore: new %v, error %v", session.IsNew, err)
	}
	stolen := *ada
	session := ada.session(oldStore)
	session.Options.MaxAge = -1
	ada.send(saving(session))
	if stolen.session(oldStore).Values["user"] != "ada" {
		t.Error("a logout from the CookieStore reached a copy of the cookie")
	}

	stolen.send(newLogin, "user", "ada")
	if c := stolen.cookie; c.MaxAge != 14*86400 || c.SameSite != http.SameSiteLaxMode || !c.HttpOnly || !c.Secure {
		t.Errorf("our cookie: %v", c)
	}
	ada = &visitor{stolen.cookie}
	session = ada.session(newStore)
	session.Options.MaxAge = 3600
	ada.send(saving(session))
	session = ada.session(newStore)
	if session.ID == "" || session.Options.MaxAge != 3600 {
		t.Errorf("a later request: ID %q, MaxAge %d", session.ID, session.Options.MaxAge)
	}
	session.Options.MaxAge = -1
	ada.send(saving(session))
	if !stolen.session(newStore).IsNew {
		t.Error("after a logout a copy of the cookie still works")
	}
}

// saving returns a handler that saves a session.
func saving(session *sessions.Session) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := session.Save(r, w); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// withCookieStore is what the README's diff begins with.
func withCookieStore(key []byte) (sessions.Store, http.Handler) {
	store := sessions.NewCookieStore(key)
	login := func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, "sid")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		session.Values["user"] = r.FormValue("user")
		if err := session.Save(r, w); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	return store, http.HandlerFunc(login)
}

// withMongoStore is what the README's diff ends with.
//
//nolint:contextcheck // the store takes the context of the request
func withMongoStore(ctx context.Context, coll *mongo.Collection, key []byte) (sessions.Store, http.Handler) {
	store, err := mongostore.New(ctx, coll, nil, key)
	if err != nil {
		log.Fatal(err)
	}
	login := func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, "sid")
		if errors.Is(err, mongostore.ErrUnavailable) {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		session.Values["user"] = r.FormValue("user")
		store.Regenerate(session)
		if err := session.Save(r, w); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	return store, http.HandlerFunc(login)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // named by the tests
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the fenced code blocks of a language.
func blocks(markdown, language string) (found []string) {
	_, rest, more := strings.Cut(markdown, "\n```"+language+"\n")
	for more {
		var block string
		block, rest, _ = strings.Cut(rest, "```\n")
		found = append(found, block)
		_, rest, more = strings.Cut(rest, "\n```"+language+"\n")
	}
	return found
}

// functions returns the bodies of the functions of a program; what is no program is one part.
func functions(block string) []string {
	program, err := parser.ParseFile(token.NewFileSet(), "", block, 0)
	if err != nil {
		return []string{block}
	}
	var bodies []string
	for _, decl := range program.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			bodies = append(bodies, block[f.Body.Lbrace:f.Body.Rbrace-1])
		}
	}
	return bodies
}

// sideOf returns what a diff begins with ("-") or ends with ("+").
func sideOf(diff, side string) string {
	var lines []string
	for line := range strings.Lines(diff) {
		if line[:1] == side || line[:1] == " " {
			lines = append(lines, line[1:])
		}
	}
	return strings.Join(lines, "")
}

// squeeze makes code comparable whatever its indentation and alignment.
func squeeze(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}

// anchors returns what GitHub makes of the headings.
func anchors(markdown string) (found []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(markdown, -1) {
		anchor := strings.ToLower(regexp.MustCompile(`[^\w -]`).ReplaceAllString(heading[1], ""))
		found = append(found, strings.ReplaceAll(anchor, " ", "-"))
	}
	return found
}

// sources returns the package's own files.
func sources(t *testing.T) (files []*ast.File) {
	t.Helper()
	paths, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// exportedNames returns all names of the package that begin with a capital letter.
func exportedNames(t *testing.T) (names []string) {
	t.Helper()
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names = append(names, n.Name.Name)
				return false
			case *ast.TypeSpec:
				names = append(names, n.Name.Name)
			case *ast.ValueSpec:
				names = append(names, identifiers(n.Names)...)
			case *ast.Field:
				names = append(names, identifiers(n.Names)...)
			}
			return true
		})
	}
	return slices.DeleteFunc(names, func(name string) bool { return !ast.IsExported(name) })
}

func configFields(t *testing.T) (fields []string) {
	t.Helper()
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == "Config" {
				for _, field := range spec.Type.(*ast.StructType).Fields.List {
					fields = append(fields, identifiers(field.Names)...)
				}
			}
			return true
		})
	}
	return fields
}

func identifiers(list []*ast.Ident) (names []string) {
	for _, ident := range list {
		names = append(names, ident.Name)
	}
	return names
}
