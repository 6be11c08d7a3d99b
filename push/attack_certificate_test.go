package push_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func TestAttackNamesInTheBrokersCertificateForgeNoLogLine(t *testing.T) {
	port, roots := realtest.HostileServer(t)
	id := fds.NewSubscriptionID()
	certificate := realtest.NewCA(t).IssueCertificate("owner", realtest.CertificateOptions{}).TLS
	for _, scheme := range []string{"mqtts", "wss"} {
		r := start(t, push.Config{
			Issuer:      fds.OwnerKey{Issuer: "https://auth.example", SubscriptionID: id}.Issuer,
			Root:        id.Root(),
			BrokerURL:   scheme + "://localhost:" + port,
			Roots:       realtest.Trusting(roots),
			Certificate: func(context.Context) (*tls.Certificate, error) { return &certificate, nil },
		}, discard(t))
		realtest.CheckHostileNames(t, r.waitPhase(push.BackingOff).Err)
		r.stop()
	}
}

// Owners of one broker share what TLS is configured with, and each shows its own certificate.
func TestAttackNoOwnerOfABrokerEverShowsAnothersCertificate(t *testing.T) {
	ca := realtest.NewCA(t)
	server := tls.Config{
		Certificates: []tls.Certificate{ca.IssueCertificate("broker.test", realtest.CertificateOptions{Hosts: []string{"broker.test"}}).TLS},
		ClientAuth:   tls.RequireAnyClientCert,
		// The client's first offer has another curve: it says hello twice.
		CurvePreferences: []tls.CurveID{tls.CurveP521},
	}
	const owners, rounds = 8, 4
	roots := ca.Pool()
	shown := make(chan string, 2*owners*rounds)
	for _, exactly := range []bool{false, true} {
		for range owners {
			owner, root := newOwner()
			certificate := ca.IssueCertificate(root.ClientID(), realtest.CertificateOptions{}).TLS
			r := start(t, push.Config{
				Issuer: owner.Issuer, Root: root, BrokerURL: "mqtts://broker.test", Roots: realtest.Trusting(roots), ExactlyTLS12: exactly,
				Certificate: source(&certificate),
				Settings:    push.Settings{Backoff: push.Backoff{Initial: time.Millisecond, Max: 10 * time.Millisecond}},
				Dial: func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go func() {
						defer theirs.Close()
						conn := tls.Server(theirs, &server)
						if err := conn.Handshake(); err != nil {
							return
						}
						name := conn.ConnectionState().PeerCertificates[0].Subject.CommonName
						if _, err := packets.ReadPacket(conn); err != nil {
							return
						}
						if name != root.ClientID() {
							t.Errorf("owner %s shows the certificate of %s", root.ClientID(), name)
						}
						select {
						case shown <- name:
						default:
						}
					}()
					return ours, nil
				},
			}, discard(t))
			defer r.stop()
		}
	}
	for range cap(shown) {
		<-shown
	}
}

func TestAttackRootsThatAreMadeAnewForEachDialAreNotAllKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner, root := newOwner()
		certificate := realtest.NewCA(t).IssueCertificate(root.ClientID(), realtest.CertificateOptions{}).TLS
		dials := 0
		_, most := push.Policies()
		enough := make(chan struct{})
		r := start(t, push.Config{
			Issuer: owner.Issuer, Root: root, BrokerURL: "mqtts://broker.test", Certificate: source(&certificate),
			Roots:    func(context.Context) (*x509.CertPool, error) { return x509.NewCertPool(), nil },
			Settings: push.Settings{Backoff: push.Backoff{Initial: time.Second, Max: time.Second}},
			Dial: func(context.Context, string, string) (net.Conn, error) {
				if dials++; dials == 2*most {
					close(enough)
				}
				return nil, errors.New("no network")
			},
		}, discard(t))
		<-enough
		r.stop()
		if kept, most := push.Policies(); kept > most {
			t.Errorf("%d are kept, of which %d are allowed", kept, most)
		}
	})
}
