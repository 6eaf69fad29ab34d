package mongotest

import (
	"context"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Commands is what a client sent, in order, without what the driver sends of
// its own accord. It may be used while the client is at work.
type Commands struct {
	mu   sync.Mutex
	sent []Command
}

// Command is one command that a client sent.
type Command struct {
	Name string // as "find"
	Body bson.Raw
}

// Watch returns a recorder and the options of a client that it records.
func Watch() (*Commands, *options.ClientOptions) {
	c := &Commands{}
	return c, options.Client().SetMonitor(&event.CommandMonitor{Started: c.add})
}

func (c *Commands) add(_ context.Context, e *event.CommandStartedEvent) {
	if ofDriver(e.CommandName) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, Command{e.CommandName, slices.Clone(e.Command)})
}

// ofDriver tells whether a driver sends this command of its own accord.
func ofDriver(command string) bool {
	switch command {
	case "hello", "isMaster", "ismaster", "saslStart", "saslContinue", "authenticate", "endSessions":
		return true
	}
	return false
}

// Names returns the names of the commands sent since the last Take.
func (c *Commands) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.sent))
	for _, s := range c.sent {
		names = append(names, s.Name)
	}
	return names
}

// Take returns the commands sent since the last Take.
func (c *Commands) Take() []Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}
