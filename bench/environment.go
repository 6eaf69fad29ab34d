package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// environment is where numbers come from.
type environment struct {
	Date     string
	System   string
	Cores    int
	Load     string // of the machine in the minute before: what others did
	Servers  []string
	Versions []string // of what is compared
}

// compared are the modules and packages whose versions decide the numbers.
var (
	compared = []string{
		"go.mongodb.org/mongo-driver/v2", "go.mongodb.org/mongo-driver", "github.com/gorilla/sessions", "github.com/gorilla/securecookie",
		"github.com/gin-contrib/sessions", "github.com/laziness-coders/mongostore", "github.com/alexedwards/scs/v2", "github.com/boj/redistore",
	}
	comparedOnNode = []string{"express", "express-session", "connect-mongo", "connect-mongodb-session", "mongodb"}
)

func newEnvironment(ctx context.Context, loadBefore string, servers []string) environment {
	env := environment{
		Date:   time.Now().UTC().Format(time.DateOnly),
		System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Load: loadBefore, Servers: servers,
		Versions: []string{"Go " + strings.TrimPrefix(runtime.Version(), "go")},
	}
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if slices.Contains(compared, m.Path) {
			env.Versions = append(env.Versions, m.Path+" "+m.Version)
		}
	}
	if version, ok := output(ctx, "redis-server", "--version"); ok { // Redis server v=7.0.15 sha=…
		env.Versions = append(env.Versions, "Redis "+strings.TrimPrefix(strings.Fields(version)[2], "v="))
	}
	if version, ok := output(ctx, "node", "--version"); ok {
		env.Versions = append(env.Versions, "Node "+strings.TrimPrefix(version, "v"))
		env.Versions = append(env.Versions, nodeVersions()...)
	}
	return env
}

// loadAverage is to be asked before the work begins.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}

// output returns what a program prints, if there is one.
func output(ctx context.Context, name string, args ...string) (string, bool) {
	out, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // one of ours
	return strings.TrimSpace(string(out)), err == nil
}

// nodeVersions returns the versions of the packages that are installed.
func nodeVersions() (versions []string) {
	for _, name := range comparedOnNode {
		raw, err := os.ReadFile(filepath.Join(nodeFolder(), "node_modules", name, "package.json")) //nolint:gosec // of this repository
		var info struct{ Version string }
		if err == nil && json.Unmarshal(raw, &info) == nil {
			versions = append(versions, name+" "+info.Version)
		}
	}
	return versions
}

// withoutPeers leaves out what has no part in a run of the store alone.
func (env environment) withoutPeers() environment {
	env.Versions = slices.DeleteFunc(slices.Clone(env.Versions), func(v string) bool {
		return !strings.HasPrefix(v, "Go ") && !strings.HasPrefix(v, "go.mongodb.org/mongo-driver/v2 ") && !strings.HasPrefix(v, "github.com/gorilla/")
	})
	return env
}

func (env environment) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s; %d cores for all, %s, load average before %s; %s.\n", env.Date, env.Cores, env.System, env.Load, strings.Join(env.Servers, "; "))
	fmt.Fprintf(b, "%s.\n", strings.Join(env.Versions, ", "))
}
