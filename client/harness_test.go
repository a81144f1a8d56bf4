package client_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/client/clienttest"
	"github.com/stix-run/stix/internal/memnet"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// rig is a client and a server in one bubble of virtual time.
type rig struct {
	t      *testing.T
	net    *memnet.Network
	server *clienttest.Server
	client *client.Client
	stop   func()
}

// bubble runs a test with a rig in virtual time.
func bubble(t *testing.T, run func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: memnet.New(1), server: clienttest.New()}
		r.start()
		r.client = r.dial(client.Config{})
		defer func() {
			r.client.Close()
			r.stop()
			synctest.Wait()
		}()
		run(t, r)
	})
}

// start lets the server listen.
func (r *rig) start() {
	r.t.Helper()
	l, err := r.net.Host("server").Listen("api")
	if err != nil {
		r.t.Fatal(err)
	}
	r.stop = r.server.Serve(l)
}

// dial makes a client with the options of cfg.
func (r *rig) dial(cfg client.Config) *client.Client {
	r.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	cfg.Endpoint = "http://server"
	cfg.Transport = &http.Transport{Protocols: protocols, DialContext: r.net.Host("laptop").Dialer("server/api")}
	c, err := client.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// restart takes the server away for a time.
//
//stix:bubble
func (r *rig) restart(away time.Duration) {
	r.stop()
	time.Sleep(away)
	r.start()
}

func cluster(name string) *stixv1.ClusterView {
	return &stixv1.ClusterView{Cluster: &stixv1.Cluster{
		Meta: &stixv1.Meta{Uid: "uid-" + name, Name: name}, State: stixv1.ClusterState_CLUSTER_STATE_UP, NumNodes: 1,
	}}
}
