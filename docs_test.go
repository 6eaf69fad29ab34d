package mongostore_test

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
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
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// docFiles are the texts that these tests hold to the code.
var docFiles = []string{
	"README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md",
	"bench/README.md", "example/README.md",
	"docs/architecture.md", "docs/connect-mongo.md", "docs/from-express.md", "docs/from-other-go-stores.md", "docs/from-soajs.md", "docs/moving.md", "docs/observe.md", "docs/operations.md", "docs/payloads.md", "docs/recipes.md", "docs/sessions.md",
}

// exampleFiles have the code of the documents. Those in acceptance are compiled there, with the stores of others.
var exampleFiles = []string{
	"example_test.go", "example_program_test.go", "connectmongo/example_test.go", "legacy/example_test.go", "soajs/example_test.go", "acceptance/example_test.go",
	"acceptance/recipes/nethttp.go", "acceptance/recipes/mux.go", "acceptance/recipes/chi.go", "acceptance/recipes/echo.go", "acceptance/recipes/gin.go",
	"acceptance/recipes/goth.go", "acceptance/recipes/csrf.go", "acceptance/recipes/websocket.go", "acceptance/recipes/websocket_test.go",
	"acceptance/recipes/testing_test.go",
}

func TestDocsAreAllHeldToTheCode(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if !slices.Contains(docFiles, filepath.ToSlash(path)) {
				t.Errorf("%s is not in docFiles", path)
			}
		}
	}
}

func TestDocsCodeIsInTheExamples(t *testing.T) {
	t.Parallel()
	var examples string
	for _, file := range exampleFiles {
		examples += squeeze(readFile(t, file))
	}
	for _, document := range docFiles {
		for _, block := range blocks(readFile(t, document), "go") {
			for _, part := range functions(block) {
				if !strings.Contains(examples, squeeze(part)) {
					t.Errorf("%s: this is in no example:\n%s", document, part)
				}
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

func TestDocsProgramsCompile(t *testing.T) {
	t.Parallel()
	for _, document := range docFiles {
		for i, program := range blocks(readFile(t, document), "go") {
			if !strings.HasPrefix(program, "package main") {
				continue
			}
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil { //nolint:gosec // the file is ours
				t.Errorf("%s, block %d: go vet: %v\n%s", document, i+1, err, out)
			}
		}
	}
}

// The commands for operators are run as they stand, but for the one that wants a sharded cluster.
func TestDocsCommandsRun(t *testing.T) {
	t.Parallel()
	db := mongotest.Standalone(t).Database(t)
	t.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		if err := db.RunCommand(ctx, bson.D{{Key: "dropAllRolesFromDatabase", Value: 1}}).Err(); err != nil {
			t.Error(err)
		}
	})
	for _, block := range blocks(readFile(t, "docs/operations.md"), "js") {
		text, admin := strings.CutPrefix(block, "db.adminCommand(")
		text, run := strings.CutPrefix(text, "db.runCommand(")
		text = strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(text), ")"), `"db": "app"`, fmt.Sprintf(`"db": %q`, db.Name()))
		var command bson.D
		if err := bson.UnmarshalExtJSON([]byte(text), false, &command); err != nil || admin == run {
			t.Errorf("this is no command: %v\n%s", err, block)
			continue
		}
		if admin && command[0].Key == "shardCollection" {
			continue
		}
		if err := db.RunCommand(t.Context(), command).Err(); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
	}
}

func TestREADMEProgramIsTheExampleOfThePackage(t *testing.T) {
	t.Parallel()
	asProgram := strings.NewReplacer("package mongostore_test\n", "package main\n", "func Example() {\n", "func main() {\n")
	if blocks(readFile(t, "README.md"), "go")[0] != asProgram.Replace(readFile(t, "example_program_test.go")) {
		t.Error("the first program of the README is not example_program_test.go")
	}
}

func TestREADMEConfigTableHasEveryField(t *testing.T) {
	t.Parallel()
	table := section(t, "README.md", "Configuration")
	var rows []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(table, -1) {
		rows = append(rows, row[1])
	}
	if fields := configFields(t); !slices.Equal(rows, fields) {
		t.Errorf("the rows are\n%v\nand the fields of Config\n%v", rows, fields)
	}
}

// The table of calls has every exported function and method, and nothing else.
func TestREADMETableOfCallsHasEveryFunctionAndMethod(t *testing.T) {
	t.Parallel()
	var rows []string
	for _, row := range rowsOf(section(t, "README.md", "Every call")) {
		for _, name := range regexp.MustCompile("`([\\w.]+)`").FindAllStringSubmatch(row[0], -1) {
			rows = append(rows, name[1])
		}
	}
	functions := exportedFunctions(t)
	for _, name := range functions {
		if !slices.Contains(rows, name) {
			t.Errorf("no row has %s", name)
		}
	}
	for _, name := range rows {
		if !slices.Contains(functions, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// What connect-mongo 6.0.0 and connect-mongo-soajs 0.2.2 document, and their methods and events.
var (
	ofConnectMongo = []string{
		"mongoUrl", "clientPromise", "client", "mongoOptions", "dbName", "collectionName", "ttl", "autoRemove",
		"autoRemoveInterval", "touchAfter", "timestamps", "stringify", "serialize", "unserialize", "writeOperationOptions",
		"transformId", "cryptoAdapter", "createWebCryptoAdapter", "createKrupteinAdapter", "crypto.secret", "crypto.algorithm",
		"crypto.hashing", "crypto.encodeas", "crypto.key_size", "crypto.iv_size", "crypto.at_size",
		"create", "touch", "update", "set", "destroy", "MongoStore.create(options)", "get(sid)", "set(sid, session)",
		"touch(sid, session)", "destroy(sid)", "all()", "length()", "clear()", "close()",
	}
	ofSoajs = []string{
		"name", "prefix", "servers", "credentials", "URLParam", "extraParam", "store", "collection", "stringify", "expireAfter",
		"get", "set", "destroy", "length", "clear",
	}
	ofURLParam = []string{
		"replicaSet", "ssl", "connectTimeoutMS", "socketTimeoutMS", "maxPoolSize", "minPoolSize", "maxIdleTimeMS",
		"waitQueueMultiple", "waitQueueTimeoutMS", "w", "wtimeoutMS", "journal", "readConcernLevel", "readPreference",
		"readPreferenceTags", "authSource", "authMechanism", "gssapiServiceName",
	}
)

func TestREADMEComparisonHasARowForEachOptionEventAndMethod(t *testing.T) {
	t.Parallel()
	comparison := section(t, "README.md", "From connect-mongo and connect-mongo-soajs")
	ofMongo, soajs, _ := strings.Cut(comparison, "\n| connect-mongo-soajs |")
	for _, c := range []struct {
		table string
		names []string
	}{{ofMongo, ofConnectMongo}, {soajs, ofSoajs}, {section(t, "docs/connect-mongo.md", "URLParam of connect-mongo-soajs"), ofURLParam}} {
		var first strings.Builder
		for _, row := range rowsOf(c.table) {
			first.WriteString(row[0])
			if len(row) < 2 || row[1]+row[min(2, len(row)-1)] == "" {
				t.Errorf("the row of %s says nothing", row[0])
			}
		}
		for _, name := range c.names {
			if !strings.Contains(first.String(), "`"+name+"`") {
				t.Errorf("no row has %s", name)
			}
		}
	}
}

// cart is a struct in the table of what codecs give back.
type cart struct{ Total int }

func TestDocsOfWhatCodecsGiveBack(t *testing.T) {
	t.Parallel()
	gob.Register(cart{})
	examples := map[string]any{}
	for _, value := range []any{
		true, "a", 1, uint8(1), int64(1), 1.5, time.Now(), []byte("a"), []string{"a"}, []any{"a"}, map[string]any{"a": "b"}, cart{1}, &cart{1},
	} {
		examples[fmt.Sprintf("`%T`", value)] = value
	}
	codecs := []mongostore.Codec{
		mongostore.GobCodec{}, mongostore.JSONCodec{}, mongostore.BSONCodec{}, mongostore.BytesCodec(json.Marshal, json.Unmarshal),
	}
	for _, row := range rowsOf(section(t, "docs/payloads.md", "Codecs")) {
		name, _, _ := strings.Cut(row[0], ",")
		value, ok := examples[name]
		if !ok || len(row) != 1+len(codecs) {
			continue
		}
		delete(examples, name)
		for i, codec := range codecs {
			was := sessions.Session{Values: map[any]any{"key": value}}
			stored, err := codec.Encode(&was)
			if err != nil {
				t.Fatal(err)
			}
			is := sessions.Session{Values: make(map[any]any)}
			if err := codec.Decode(stored, &is); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("`%T`", is.Values["key"]); !strings.HasPrefix(row[1+i], got) {
				t.Errorf("%T gives a %s as %s, and the table says %s", codec, name, got, row[1+i])
			}
		}
	}
	for name := range examples {
		t.Errorf("no row has %s", name)
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
			path = filepath.Join(filepath.Dir(document), path)
			if link[1][0] == '#' {
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
		for _, command := range regexp.MustCompile(`(?m)^make((?: +[a-z0-9-]+)+)`).FindAllStringSubmatch(code, -1) {
			for target := range strings.FieldsSeq(command[1]) {
				if !regexp.MustCompile(`(?m)^` + target + `:`).MatchString(makefile) {
					t.Errorf("%s: the Makefile has no target %s", document, target)
				}
			}
		}
	}
}

// What reads like a name of this package in the documents is one.
func TestDocsNamesExist(t *testing.T) {
	t.Parallel()
	names := exportedNames(t)
	name := regexp.MustCompile(`\b(?:Config|Store|store|Record|Event|Codec|Sealer|mongostore)\.([A-Z]\w*)|\b((?:Err|AutoRemove|OnConflict|Op)[A-Z]\w*)`)
	for _, document := range docFiles {
		for _, found := range name.FindAllStringSubmatch(readFile(t, document), -1) {
			if n := found[1] + found[2]; !slices.Contains(names, n) {
				t.Errorf("%s: %s is no exported name", document, n)
			}
		}
	}
}

// What README says of the swap from a CookieStore is so.
func TestDocsThreatModelNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	var tests []string
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "*/*/*_test.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(readFile(t, path), -1) {
				tests = append(tests, found[1])
			}
		}
	}
	for _, row := range rowsOf(readFile(t, "SECURITY.md")) {
		named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(row[len(row)-1], -1)
		if len(named) == 0 && row[0] != "with" && row[0] != "all keys and write access" {
			t.Errorf("the row %q names no test", row[0])
		}
	}
	for _, named := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(readFile(t, "SECURITY.md"), -1) {
		if !slices.Contains(tests, named) {
			t.Errorf("SECURITY.md: there is no %s", named)
		}
	}
}

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

// section returns what stands under a heading of the second level.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, path), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", path, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// rowsOf returns the rows of the tables in a text, heads included, cell by cell.
func rowsOf(markdown string) (rows [][]string) {
	for line := range strings.Lines(markdown) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
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

// exportedFunctions returns the functions, and the methods of types and interfaces as Type.Method. Those of the
// codecs are Codec's.
func exportedFunctions(t *testing.T) (names []string) {
	t.Helper()
	add := func(receiver, name string) {
		if !ast.IsExported(name) || receiver != "" && !ast.IsExported(receiver) {
			return
		}
		if strings.HasSuffix(receiver, "Codec") {
			receiver = "Codec"
		}
		names = append(names, strings.TrimPrefix(receiver+"."+name, "."))
	}
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				receiver := ""
				if n.Recv != nil {
					receiver = strings.TrimPrefix(types.ExprString(n.Recv.List[0].Type), "*")
				}
				add(receiver, n.Name.Name)
				return false
			case *ast.TypeSpec:
				if methods, ok := n.Type.(*ast.InterfaceType); ok {
					for _, method := range methods.Methods.List {
						for _, name := range identifiers(method.Names) {
							add(n.Name.Name, name)
						}
					}
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
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
