package wire

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/mongostore/mongostore/internal/mongotest"
	"github.com/rs/zerolog"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// toxic is a fault of toxiproxy: https://github.com/Shopify/toxiproxy#toxics.
type toxic struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"` // upstream: what the store sends; downstream: what it gets
	Toxicity   float64        `json:"toxicity"`
	Attributes map[string]any `json:"attributes"`
}

func upstream(kind string, attributes map[string]any) toxic {
	return toxic{"up-" + kind, kind, "upstream", 1, attributes}
}

func downstream(kind string, attributes map[string]any) toxic {
	return toxic{"down-" + kind, kind, "downstream", 1, attributes}
}

// network is a toxiproxy between a store and its server.
type network struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newNetwork(t *testing.T, server *mongotest.Server) *network {
	t.Helper()
	n := &network{t: t}
	n.open("127.0.0.1:0", options.Client().ApplyURI(server.URI()).Hosts[0])
	t.Cleanup(func() { n.proxy.Stop() })
	return n
}

func (n *network) open(listen, target string) {
	n.t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n.proxy = toxiproxy.NewProxy(api, "mongod", listen, target)
	if err := n.proxy.Start(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) uri() string { return "mongodb://" + n.proxy.Listen + "/?directConnection=true" }

func (n *network) add(toxics ...toxic) {
	n.t.Helper()
	for _, toxic := range toxics {
		text, err := json.Marshal(toxic)
		if err == nil {
			_, err = n.proxy.Toxics.AddToxicJson(strings.NewReader(string(text)))
		}
		if err != nil {
			n.t.Errorf("toxiproxy: %v", err)
		}
	}
}

// clear removes the toxics. toxiproxy waits for ever for a link whose reader has
// gone; then another proxy takes the place of this one.
func (n *network) clear() {
	n.t.Helper()
	cleared := make(chan struct{})
	proxy := n.proxy
	go func() {
		defer close(cleared)
		proxy.Toxics.ResetToxics(context.WithoutCancel(n.t.Context()))
	}()
	select {
	case <-cleared:
	case <-time.After(5 * time.Second):
		n.t.Log("toxiproxy hangs: replaced")
		n.proxy.Stop()
		n.open(proxy.Listen, proxy.Upstream)
	}
}
