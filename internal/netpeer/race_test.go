package netpeer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

// network has a server behind some of its addresses; the others do what is said.
type network struct {
	server *tls.Config
	does   map[string]string

	mu     sync.Mutex
	dialed []string
	served sync.WaitGroup
	open   []net.Conn
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, address)
	n.mu.Unlock()
	switch n.does[address] {
	case "refuses":
		return nil, errors.New("refused " + address)
	case "drops":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	client, server := net.Pipe()
	n.mu.Lock()
	n.open = append(n.open, client, server)
	n.mu.Unlock()
	if n.does[address] != "is silent" {
		n.served.Go(func() { _ = tls.Server(server, n.server).Handshake() })
	}
	return client, nil
}

func TestAnAddressThatDoesNotTakePartIsLeftForTheNext(t *testing.T) {
	const one, two, six = "192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"
	for name, c := range map[string]struct {
		does   map[string]string
		within time.Duration // 0: it fails
		dialed []string
	}{
		"the first answers":                      {nil, 100 * time.Millisecond, []string{one}},
		"the first refuses":                      {map[string]string{one: "refuses"}, 100 * time.Millisecond, []string{one, six}},
		"the first drops":                        {map[string]string{one: "drops"}, 400 * time.Millisecond, []string{one, six}},
		"the first accepts and is silent":        {map[string]string{one: "is silent"}, 6 * time.Second, []string{one, six}},
		"two accept and are silent":              {map[string]string{one: "is silent", six: "is silent"}, 11 * time.Second, []string{one, six, two}},
		"one is silent, another drops":           {map[string]string{one: "is silent", six: "drops"}, 6 * time.Second, []string{one, six, two}},
		"all refuse":                             {map[string]string{one: "refuses", two: "refuses", six: "refuses"}, 0, []string{one, six, two}},
		"all are silent until the context's end": {map[string]string{one: "is silent", two: "is silent", six: "is silent"}, 0, []string{one, six, two}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := realtest.NewCA(t)
				server := &tls.Config{Certificates: []tls.Certificate{ca.IssueCertificate("broker.test", realtest.CertificateOptions{Hosts: []string{"broker.test"}}).TLS}}
				n := &network{server: server, does: c.does}
				r := Race{Dial: n.dial, Lookup: func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}, nil
				}}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				began := time.Now()
				secured, raw, err := r.DialTLS(ctx, "broker.test:1", &tls.Config{ServerName: "broker.test", RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12})
				took := time.Since(began)
				if (err == nil) != (c.within > 0) || err == nil && took > c.within {
					t.Errorf("after %v: %v", took, err)
				}
				if err == nil && (secured == nil || raw == nil) {
					t.Error("there is no connection")
				}
				if !slices.Equal(n.dialed, c.dialed) {
					t.Errorf("dialled %v, want %v", n.dialed, c.dialed)
				}
				cancel()
				for _, conn := range n.open {
					_ = conn.Close()
				}
				n.served.Wait()
			})
		})
	}
}
