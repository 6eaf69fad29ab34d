package database

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// startDocker runs MONGO_IMAGE, or mongo:8.0, in a container if a Docker engine
// answers and has the image. It does not pull one: that can take minutes. The
// data is in a volume of its own for each data folder.
func startDocker(ctx context.Context, dir string, note func(string)) (*Server, error) {
	image := os.Getenv("MONGO_IMAGE")
	if image == "" {
		image = "mongo:8.0"
	}
	if err := checkImage(ctx, image); err != nil {
		if errors.Is(err, errNoImage) {
			note(fmt.Sprintf("Docker is here, but not the image; to use it: docker pull %s", image))
		}
		return nil, err
	}
	name := fmt.Sprintf("mongostore-demo-%.4x", sha256.Sum256([]byte(dir)))
	// A container that an earlier run could not stop would hold the name.
	_, _ = docker(ctx, "rm", "--force", name)
	if _, err := docker(ctx, "run", "--detach", "--pull", "never", "--name", name,
		"--publish", "127.0.0.1::27017", "--volume", name+":/data/db", image, "--bind_ip_all", "--nounixsocket"); err != nil {
		return nil, err
	}
	stop := func(ctx context.Context) error { return removeContainer(ctx, name) }
	uri, err := containerURI(ctx, name)
	if err != nil {
		log, _ := docker(ctx, "logs", "--tail", "5", name)
		return nil, errors.Join(fmt.Errorf("%s: %w; its log ends:\n%s", image, err, log), stop(context.WithoutCancel(ctx)))
	}
	return &Server{URI: uri, Name: DefaultName, Kind: "Docker container " + name + " of " + image, Data: "Docker volume " + name, stop: stop}, nil
}

// removeContainer lets the server shut down first. The volume with the data stays.
func removeContainer(ctx context.Context, name string) error {
	_, err := docker(ctx, "stop", name)
	_, removed := docker(ctx, "rm", "--force", name)
	return errors.Join(err, removed)
}

// errNoImage: the engine answers, the image is not there.
var errNoImage = fmt.Errorf("image %w", errAbsent)

func checkImage(ctx context.Context, image string) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return fmt.Errorf("docker: %w on the PATH", errAbsent)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := docker(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("a Docker engine that answers: %w", errAbsent)
	}
	if _, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", image); err != nil {
		return fmt.Errorf("%s: %w", image, errNoImage)
	}
	return nil
}

// containerURI waits until the container's server answers on the port that
// Docker gave it.
func containerURI(ctx context.Context, name string) (string, error) {
	address, err := docker(ctx, "port", name, "27017/tcp")
	if err != nil {
		return "", err
	}
	address, _, _ = strings.Cut(address, "\n")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = docker(ctx, "wait", name) // returns when the container ends
	}()
	uri := "mongodb://" + address + "/?directConnection=true"
	return uri, awaitPing(ctx, uri, gone)
}

// docker runs one command of the client and returns what it printed.
func docker(ctx context.Context, arguments ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, "docker", arguments...) //nolint:gosec // G204: arguments are this file's
	cmd.SysProcAttr = ownProcessGroup()
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", arguments[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(output)), nil
}
