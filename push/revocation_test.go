package push_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// cable is a network whose connections can be cut.
type cable struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// The broker looks at the certificate of each connection: none goes in on what an
// earlier one has shown. So a revoked certificate is refused at the next connect,
// and the one that replaces it is shown.
func TestAttackARevokedCertificateIsRefusedAtTheNextConnectAndANewOneIsShown(t *testing.T) {
	for name, exactly := range map[string]bool{"TLS 1.2": true, "TLS 1.3": false} {
		t.Run(name, func(t *testing.T) {
			b := realtest.Mosquitto(t, realtest.MosquittoOptions{Revocations: true})
			owner, root := newOwner()
			first := b.IssueCertificate(root.ClientID(), realtest.CertificateOptions{})
			second := b.IssueCertificate(root.ClientID(), realtest.CertificateOptions{})
			var current atomic.Pointer[tls.Certificate]
			current.Store(&first.TLS)
			var network cable
			r := start(t, push.Config{
				Issuer: owner.Issuer, Root: root, BrokerURL: b.URL, Roots: realtest.Trusting(b.RootCAs), ExactlyTLS12: exactly, Dial: network.dial,
				Certificate: func(context.Context) (*tls.Certificate, error) { return current.Load(), nil },
				Settings:    push.Settings{Backoff: push.Backoff{Initial: 50 * time.Millisecond, Max: time.Second}},
			}, newCollector().handle)
			r.waitPhase(push.Connected)
			network.cut()
			r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == 2 }) // and its sessions could be resumed by now

			b.Revoke(first)
			network.cut()
			s := r.waitPhase(push.NeedsCertificate)
			if !errors.Is(s.Err, fds.ErrCertificate) || s.Connects != 2 {
				t.Fatalf("after the revocation: %+v", s)
			}
			current.Store(&second.TLS)
			r.Wake()
			r.waitState(func(s push.State) bool { return s.Phase == push.Connected && s.Connects == 3 })
		})
	}
}
