package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/joho/godotenv"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"
)

// loadCompose reads the files as docker compose does, with every profile on.
func loadCompose(t *testing.T, files ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeFileHasHealthyServersForThisMachineAlone(t *testing.T) {
	t.Parallel()
	project := loadCompose(t, "../compose.yaml")
	for _, name := range []string{"mongodb", "rs1", "mongodb-tls"} {
		if service := project.Services[name]; service.HealthCheck == nil || len(service.HealthCheck.Test) == 0 {
			t.Errorf("%s has no health check", name)
		}
	}
	for name, service := range project.Services {
		if service.Image != "mongo:8.0" {
			t.Errorf("%s has image %q", name, service.Image)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to %q", name, port.Published, port.HostIP)
			}
		}
	}
}

func TestDevContainerStandsBesideTheServer(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../.devcontainer/devcontainer.json")
	if err != nil {
		t.Fatal(err)
	}
	var container struct {
		DockerComposeFile []string
		Service           string
		RunServices       []string
		WorkspaceFolder   string
	}
	if err := json.Unmarshal(text, &container); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, file := range container.DockerComposeFile {
		files = append(files, filepath.Join("../.devcontainer", file))
	}
	project := loadCompose(t, files...)
	service, ok := project.Services[container.Service]
	if !ok || service.NetworkMode != "service:mongodb" {
		t.Errorf("service %q: %+v", container.Service, service)
	}
	repository, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if len(service.Volumes) != 1 || service.Volumes[0].Source != repository || service.Volumes[0].Target != container.WorkspaceFolder {
		t.Errorf("%s is %+v", container.WorkspaceFolder, service.Volumes)
	}
	for _, name := range container.RunServices {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("there is no service %s to run", name)
		}
	}
}

// Each suggestion of .env.example can be uncommented, and those for this
// machine meet a port of compose.yaml.
func TestEnvExampleSuggestsWhatWorks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	var ports []string
	for _, service := range loadCompose(t, "../compose.yaml").Services {
		for _, port := range service.Ports {
			ports = append(ports, port.Published)
		}
	}
	kinds := map[string]bool{"tls=true": false, "replicaSet=": false, "mongodb+srv://": false, "@localhost": false}
	for line := range strings.Lines(string(text)) {
		suggestion, ok := strings.CutPrefix(line, "#MONGODB_URI")
		if !ok {
			continue
		}
		values, err := godotenv.Unmarshal("MONGODB_URI" + suggestion)
		if err != nil {
			t.Fatal(err)
		}
		uri := values["MONGODB_URI"]
		for kind := range kinds {
			kinds[kind] = kinds[kind] || strings.Contains(uri, kind)
		}
		if strings.HasPrefix(uri, "mongodb+srv://") {
			continue // its hosts are asked of DNS
		}
		parsed, err := connstring.Parse(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		for _, host := range parsed.Hosts {
			if port := strings.TrimPrefix(host, "localhost:"); !slices.Contains(ports, port) {
				t.Errorf("%s: compose.yaml has no port %s, only %v", uri, port, ports)
			}
		}
	}
	for kind, suggested := range kinds {
		if !suggested {
			t.Errorf(".env.example has no URI with %s", kind)
		}
	}
	if _, err := godotenv.Read("../.env.example"); err != nil {
		t.Error(err)
	}
}

func TestCertificatesAreOfTheirAuthority(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl")
	}
	dir := t.TempDir()
	for range 2 { // the second run leaves them alone
		if output, err := exec.CommandContext(t.Context(), "../scripts/certificates", dir).CombinedOutput(); err != nil { //nolint:gosec // G204: arguments are this test's
			t.Fatalf("%v: %s", err, output)
		}
	}
	verify := exec.CommandContext(t.Context(), "openssl", "verify", "-verify_hostname", "localhost", "-purpose", "sslserver", //nolint:gosec // G204: arguments are this test's
		"-CAfile", filepath.Join(dir, "ca.pem"), filepath.Join(dir, "server.pem"))
	if output, err := verify.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

func TestEnvFileIsReadAndTheEnvironmentComesFirst(t *testing.T) {
	t.Setenv("OPERATOR_PASSWORD", "")
	t.Setenv("MONGODB_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200")
	env := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(env, []byte("MONGODB_URI=mongodb://127.0.0.1:2/\nOPERATOR_PASSWORD=short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Unsetenv("OPERATOR_PASSWORD"); err != nil { // t.Setenv puts it back
		t.Fatal(err)
	}
	err := run(t.Context(), []string{"-env", env}, os.Stdout, os.Stderr)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("OPERATOR_PASSWORD has 5 characters, needs at least %d", minPassword)) {
		t.Errorf("got %v", err)
	}
	if got := os.Getenv("MONGODB_URI"); !strings.Contains(got, ":1/") {
		t.Errorf("MONGODB_URI became %s", got)
	}
}

func TestBrokenEnvFileIsSaid(t *testing.T) {
	t.Parallel()
	env := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(env, []byte("what is this?\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), []string{"-env", env}, os.Stdout, os.Stderr)
	if err == nil || !strings.Contains(err.Error(), env) {
		t.Errorf("got %v", err)
	}
}
