package mongostore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Bounds that keep the code readable.
const (
	// largestCircle is how many files may call each other in a circle: whoever reads one of them has to read all.
	largestCircle   = 8
	largestPackages = 6300 // lines of the root package and of internal/, without tests and mongotest
	longestFunction = 50   // lines from its first brace to its last
)

const module = "github.com/mongostore/mongostore"

// listed is what go list tells of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, Imports, Deps  []string
}

// goList runs go list.
func goList(t *testing.T, args ...string) (packages []listed) {
	t.Helper()
	args = append([]string{"list", "-json=ImportPath,Dir,Export,GoFiles,Imports,Deps"}, args...)
	out, err := exec.CommandContext(t.Context(), "go", args...).Output() //nolint:gosec // the arguments stand below
	if err != nil {
		t.Fatalf("go %v: %v", args, err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// paths returns the package's files.
func (p listed) paths() (paths []string) {
	for _, file := range p.GoFiles {
		paths = append(paths, filepath.Join(p.Dir, file))
	}
	return paths
}

func TestHouseInternalPackagesDoNotImportTheRoot(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, "./internal/...") {
		if slices.Contains(p.Deps, module) {
			t.Errorf("%s imports %s: imports go one way", p.ImportPath, module)
		}
	}
}

func TestHouseThePlanHasNoDriverNoRequestsAndNoClock(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t, "./internal/plan") {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "go.mongodb.org/") || dep == "net/http" || dep == "context" || slices.Contains(p.Imports, "time") {
				t.Errorf("%s depends on %s, or on the time", p.ImportPath, dep)
			}
		}
	}
}

func TestHouseFilesDoNotCallEachOtherInWideCircles(t *testing.T) {
	t.Parallel()
	circle := largestOf(circles(calls(t)))
	t.Logf("the largest circle of calls has %d files: %v", len(circle), circle)
	if len(circle) > largestCircle {
		t.Errorf("%d files call each other in a circle, at most %d may: %v", len(circle), largestCircle, circle)
	}
}

// isFunction tells functions and methods. Those of an interface are none: who calls one need not know what is
// behind it.
func isFunction(object types.Object) bool {
	function, ok := object.(*types.Func)
	if !ok {
		return false
	}
	receiver := function.Signature().Recv()
	return receiver == nil || !types.IsInterface(receiver.Type())
}

// calls returns which files of the root package call functions and methods of which others.
func calls(t *testing.T) map[string]map[string]bool {
	t.Helper()
	fset := token.NewFileSet()
	exports, files := make(map[string]string), []*ast.File(nil)
	graph := make(map[string]map[string]bool)
	for _, p := range goList(t, "-export", "-deps", ".") {
		exports[p.ImportPath] = p.Export
		if p.ImportPath != module {
			continue
		}
		for _, path := range p.paths() {
			files = append(files, parsed(t, fset, path))
			graph[filepath.Base(path)] = make(map[string]bool)
		}
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", open)}
	info := types.Info{Uses: make(map[*ast.Ident]types.Object)}
	root, err := config.Check(module, fset, files, &info)
	if err != nil {
		t.Fatal(err)
	}
	for use, object := range info.Uses {
		if object.Pkg() == root && isFunction(object) {
			graph[fileOf(fset, use)][fileOf(fset, object)] = true
		}
	}
	return graph
}

// fileOf returns the name of the file that something stands in.
func fileOf(fset *token.FileSet, what interface{ Pos() token.Pos }) string {
	return filepath.Base(fset.Position(what.Pos()).Filename)
}

func parsed(t *testing.T, fset *token.FileSet, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// circles returns, for each node of a graph, the nodes that lead to it and that it leads to, itself included.
func circles(graph map[string]map[string]bool) (found [][]string) {
	reached := make(map[string]map[string]bool)
	for node := range graph {
		reached[node] = make(map[string]bool)
		reach(graph, node, reached[node])
	}
	for node := range graph {
		circle := []string{node}
		for other := range reached[node] {
			if other != node && reached[other][node] {
				circle = append(circle, other)
			}
		}
		slices.Sort(circle)
		found = append(found, circle)
	}
	return found
}

// reach adds all nodes that a node leads to.
func reach(graph map[string]map[string]bool, from string, seen map[string]bool) {
	for next := range graph[from] {
		if !seen[next] {
			seen[next] = true
			reach(graph, next, seen)
		}
	}
}

func largestOf(circles [][]string) []string {
	return slices.MaxFunc(circles, func(a, b []string) int { return len(a) - len(b) })
}

func TestHouseFindsTheCirclesOfAGraph(t *testing.T) {
	t.Parallel()
	graph := map[string]map[string]bool{
		"a": {"b": true, "d": true}, "b": {"c": true}, "c": {"a": true}, "d": {"e": true}, "e": {"d": true, "e": true}, "f": {"a": true},
	}
	if got := fmt.Sprint(largestOf(circles(graph))); got != "[a b c]" {
		t.Errorf("the largest circle is %v, want [a b c]", got)
	}
}

func TestHouseRootAndInternalPackagesStaySmall(t *testing.T) {
	t.Parallel()
	lines := 0
	for _, p := range goList(t, ".", "./internal/...") {
		if strings.HasSuffix(p.ImportPath, "/mongotest") {
			continue
		}
		for _, path := range p.paths() {
			lines += strings.Count(readFile(t, path), "\n")
		}
	}
	t.Logf("the root package and internal/ have %d lines", lines)
	if lines > largestPackages {
		t.Errorf("the root package and internal/ have %d lines, want at most %d", lines, largestPackages)
	}
}

func TestHouseFunctionsAreShort(t *testing.T) {
	t.Parallel()
	longest, name := 0, ""
	fset := token.NewFileSet()
	for _, p := range goList(t, "./...") {
		for _, path := range p.paths() {
			for _, declared := range parsed(t, fset, path).Decls {
				function, ok := declared.(*ast.FuncDecl)
				if !ok || function.Body == nil {
					continue
				}
				lines := fset.Position(function.Body.End()).Line - fset.Position(function.Body.Pos()).Line + 1
				if lines > longest {
					longest, name = lines, filepath.Base(path)+": "+function.Name.Name
				}
			}
		}
	}
	t.Logf("the longest function has %d lines: %s", longest, name)
	if longest > longestFunction {
		t.Errorf("%s has %d lines, want at most %d", name, longest, longestFunction)
	}
}
