package mongotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
)

var errNoEngine = errors.New("no Docker engine answers")

// engine runs containers of an image that has mongod as its entrypoint, or an
// entrypoint that hands arguments to mongod, as the official one has.
type engine struct {
	pool      *dockertest.Pool
	repo, tag string
}

func (e engine) String() string { return "docker image " + e.repo + ":" + e.tag }

// findDocker returns the engine with the image on it; no image: the default.
func findDocker(ctx context.Context, image string) (runner, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEngine, err)
	}
	ping, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := pool.Client.PingWithContext(ping); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEngine, err)
	}
	if image == "" {
		image = defaultImage
	}
	repo, tag := docker.ParseRepositoryTag(image)
	if tag == "" {
		tag = "latest"
	}
	e := engine{pool, repo, tag}
	if _, err := pool.Client.InspectImage(repo + ":" + tag); err == nil {
		return e, nil
	}
	err = pool.Client.PullImage(docker.PullImageOptions{Repository: repo, Tag: tag, Context: ctx}, docker.AuthConfiguration{})
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", image, err)
	}
	return e, nil
}

var containers atomic.Int64

func (e engine) run(_ context.Context, spec spec) (instance, error) {
	c := &container{pool: e.pool, name: fmt.Sprintf("mongotest-%d-%d", os.Getpid(), containers.Add(1))}
	leftovers.watch("container", c.name)
	_, err := e.pool.RunWithOptions(e.options(c.name, spec), func(host *docker.HostConfig) {
		host.PublishAllPorts = false
		if spec.host {
			host.NetworkMode = "host"
		}
		if peer, ok := spec.peer.(*container); ok {
			// In the network of the first member, and published by it, all
			// members have the same address inside and outside.
			host.NetworkMode = "container:" + peer.name
		}
	})
	if err != nil {
		c.remove()
		return nil, fmt.Errorf("run %s: %w", e, err)
	}
	return c, nil
}

func (e engine) options(name string, spec spec) *dockertest.RunOptions {
	o := &dockertest.RunOptions{
		Name: name, Repository: e.repo, Tag: e.tag,
		Cmd:          spec.command("0.0.0.0", "/data/db"),
		PortBindings: map[docker.Port][]docker.PortBinding{},
	}
	if spec.peer == nil && !spec.host {
		for _, port := range append(spec.ports, spec.port) {
			p := strconv.Itoa(port)
			o.ExposedPorts = append(o.ExposedPorts, p+"/tcp")
			o.PortBindings[docker.Port(p+"/tcp")] = []docker.PortBinding{{HostIP: "127.0.0.1", HostPort: p}}
		}
	}
	if spec.files != "" {
		o.Mounts = []string{spec.files + ":" + spec.files}
	}
	return o
}

// container is a mongod in a container.
type container struct {
	pool *dockertest.Pool
	name string
}

func (c *container) stop(ctx context.Context) error { return c.end(ctx, docker.SIGTERM) }
func (c *container) kill(ctx context.Context) error { return c.end(ctx, docker.SIGKILL) }

// end sends the signal itself, since dockertest gives containers another stop
// signal than the one mongod knows.
func (c *container) end(ctx context.Context, signal docker.Signal) error {
	err := c.pool.Client.KillContainer(docker.KillContainerOptions{ID: c.name, Signal: signal, Context: ctx})
	if err != nil {
		return err
	}
	_, err = c.pool.Client.WaitContainerWithContext(c.name, ctx)
	return err
}

func (c *container) start(ctx context.Context) error {
	return c.pool.Client.StartContainerWithContext(c.name, nil, ctx)
}

// A pause of the container would freeze it too, but the engine fails to on a machine that is busy.
func (c *container) freeze() error { return c.signal(docker.SIGSTOP) }
func (c *container) thaw() error   { return c.signal(docker.SIGCONT) }

func (c *container) signal(signal docker.Signal) error {
	return c.pool.Client.KillContainer(docker.KillContainerOptions{ID: c.name, Signal: signal})
}

func (c *container) alive() bool {
	info, err := c.pool.Client.InspectContainer(c.name)
	return err == nil && info.State.Running
}

func (c *container) log() string {
	var text bytes.Buffer
	_ = c.pool.Client.Logs(docker.LogsOptions{
		Container: c.name, Tail: "20", Stdout: true, Stderr: true, OutputStream: &text, ErrorStream: &text,
	})
	return tail(text.Bytes())
}

func (c *container) remove() {
	_ = c.thaw()
	_ = c.pool.Client.RemoveContainer(docker.RemoveContainerOptions{ID: c.name, Force: true, RemoveVolumes: true})
	leftovers.forget("container", c.name)
}

// removeContainer is remove for the watchdog, which has only the name.
func removeContainer(name string) {
	if pool, err := dockertest.NewPool(""); err == nil {
		c := container{pool: pool, name: name}
		_ = c.thaw()
		_ = pool.Client.RemoveContainer(docker.RemoveContainerOptions{ID: name, Force: true, RemoveVolumes: true})
	}
}
