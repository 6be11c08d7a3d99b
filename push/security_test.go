package push_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func client(c realtest.Certificate) *tls.Certificate { return &c.TLS }

func TestAnUnusableCertificateIsNamedBeforeTheDialAndReplacedWithoutARestart(t *testing.T) {
	past, future := -240*time.Hour, 20*time.Hour
	for name, c := range map[string]struct {
		certificate func(b *scripted) (*tls.Certificate, error)
		says        string
		dated       bool
	}{
		"expired": {func(b *scripted) (*tls.Certificate, error) {
			return client(b.ca.IssueCertificate("x", realtest.CertificateOptions{NotBefore: time.Now().Add(past), NotAfter: time.Now().Add(-time.Hour)})), nil
		}, "it expired on 1999-12-31T23:00:00Z", true},
		"not yet valid": {func(b *scripted) (*tls.Certificate, error) {
			return client(b.ca.IssueCertificate("x", realtest.CertificateOptions{NotBefore: time.Now().Add(future)})), nil
		}, "valid only from 2000-01-01T20:00:00Z", true},
		"of a server": {func(b *scripted) (*tls.Certificate, error) {
			return client(b.ca.IssueCertificate("x", realtest.CertificateOptions{Hosts: []string{"x.test"}})), nil
		}, "not for use by a client", true},
		"with another key": {func(b *scripted) (*tls.Certificate, error) {
			c := b.ca.IssueCertificate("x", realtest.CertificateOptions{}).TLS
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			c.PrivateKey = key
			return &c, err
		}, "private key is missing or belongs to another", true},
		"without a key": {func(b *scripted) (*tls.Certificate, error) {
			c := b.ca.IssueCertificate("x", realtest.CertificateOptions{}).TLS
			c.PrivateKey = nil
			return &c, nil
		}, "private key is missing", true},
		"unreadable": {func(*scripted) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{{1, 2, 3}}}, nil
		}, "cannot be read", false},
		"none":             {func(*scripted) (*tls.Certificate, error) { return nil, nil }, "its source gave none", false},
		"an empty one":     {func(*scripted) (*tls.Certificate, error) { return &tls.Certificate{}, nil }, "its source gave none", false},
		"a source without": {func(*scripted) (*tls.Certificate, error) { return nil, fmt.Errorf("vault: %w", fds.ErrCertificate) }, "its source failed: vault: no usable", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
				cfg := b.config()
				cfg.CertificateCheck = 24 * time.Hour
				good, asked := cfg.Certificate, 0
				began := time.Now()
				cfg.Certificate = func(ctx context.Context) (*tls.Certificate, error) {
					if asked++; time.Since(began) > 20*time.Minute {
						return good(ctx)
					}
					return c.certificate(b)
				}
				r := start(t, cfg, discard(t))
				s := r.waitPhase(push.NeedsCertificate)
				var unusable *push.CertificateError
				if !errors.Is(s.Err, fds.ErrCertificate) || !errors.As(s.Err, &unusable) || unusable.Owner != b.owner || !strings.Contains(s.Err.Error(), c.says) {
					t.Fatalf("error %v", s.Err)
				}
				if unusable.NotAfter.IsZero() == c.dated || unusable.NotBefore.IsZero() == c.dated {
					t.Errorf("dates %v, %v", unusable.NotBefore, unusable.NotAfter)
				}
				shortest, longest := 2*time.Minute, 5*time.Minute
				if name == "not yet valid" { // which the clock helps
					shortest, longest = future, future+time.Second
				}
				if delay := s.RetryAt.Sub(s.Since); delay < shortest || delay > longest {
					t.Errorf("retried after %v", delay)
				}
				time.Sleep(time.Hour)
				if s := r.State(); s.Phase != push.Connected || asked > 30 || len(b.dialled()) != 1 {
					t.Errorf("asked %d times, dialled %d times: %+v", asked, len(b.dialled()), s)
				}
			})
		})
	}
}

func TestACertificateOfTheCallersIsNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
		shared := b.ca.IssueCertificate(b.root.ClientID(), realtest.CertificateOptions{}).TLS
		shared.Leaf = nil // as tls.X509KeyPair left it once; other owners may use it at this moment
		cfg := b.config()
		cfg.Certificate = source(&shared)
		start(t, cfg, discard(t)).waitPhase(push.Connected)
		if shared.Leaf != nil {
			t.Error("its Leaf was set")
		}
	})
}

func TestTheCertificateIsAskedForBeforeEveryDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		b := newScripted(t, func(p *peer) {
			names = append(names, p.conn.ConnectionState().PeerCertificates[0].Subject.CommonName)
			p.accept(false)
			if p.n == 1 {
				time.Sleep(2 * time.Second)
				return
			}
			p.stay()
		})
		cfg := b.config()
		asked := 0
		cfg.Certificate = func(context.Context) (*tls.Certificate, error) {
			asked++
			return client(b.ca.IssueCertificate([]string{"", "old", "new"}[asked], realtest.CertificateOptions{})), nil
		}
		r := start(t, cfg, discard(t))
		r.waitState(func(s push.State) bool { return s.Connects == 2 })
		if got := strings.Join(names, " "); got != "old new" {
			t.Errorf("the broker saw %s", got)
		}
	})
}

// tlsTrouble runs a connection to a real listener and returns the state after the
// first attempt.
func tlsTrouble(t *testing.T, b *scripted, change func(cfg *push.Config)) push.State {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	b.peers.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.peers.Go(func() {
				defer conn.Close()
				if b.server.Certificates == nil { // no TLS at all
					_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
					return
				}
				server := tls.Server(conn, &b.server)
				if server.Handshake() == nil {
					b.script(&peer{t: t, conn: server, raw: conn, n: 1, root: b.root})
					_ = server.Close()
				}
			})
		}
	})
	cfg := b.config()
	cfg.BrokerURL, cfg.Dial = "mqtts://"+listener.Addr().String(), nil
	if change != nil {
		change(&cfg)
	}
	r := start(t, cfg, discard(t))
	t.Cleanup(func() { _ = listener.Close() })
	return r.waitState(func(s push.State) bool { return !s.RetryAt.IsZero() || s.Phase == push.Connected })
}

func TestAttackABrokerThatCannotBeTrustedIsLeftAndOneSentenceSaysWhy(t *testing.T) {
	local := func(b *scripted) {
		b.server.Certificates = []tls.Certificate{b.ca.IssueCertificate("broker", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}}).TLS}
	}
	for name, c := range map[string]struct {
		server func(b *scripted)
		client func(cfg *push.Config)
		phase  push.Phase
		says   string
	}{
		"an unknown authority": {server: local, client: func(cfg *push.Config) { cfg.Roots = realtest.Trusting(realtest.NewCA(t).Pool()) }, phase: push.BackingOff, says: "signed by an authority that is not trusted here"},
		"the system's roots":   {server: local, client: func(cfg *push.Config) { cfg.Roots = nil }, phase: push.BackingOff, says: "signed by an authority that is not trusted here"},
		"another host's name":  {server: func(*scripted) {}, phase: push.BackingOff, says: `not for "127.0.0.1"`},
		"an expired broker": {server: func(b *scripted) {
			b.server.Certificates = []tls.Certificate{b.ca.IssueCertificate("broker", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}).TLS}
		}, phase: push.BackingOff, says: "expired on"},
		"TLS 1.1 only": {server: func(b *scripted) {
			local(b)
			b.server.MinVersion, b.server.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}, phase: push.BackingOff, says: "1.2 or newer"},
		"TLS 1.3 only, for a client pinned to 1.2": {server: func(b *scripted) {
			local(b)
			b.server.MinVersion = tls.VersionTLS13
		}, client: func(cfg *push.Config) { cfg.ExactlyTLS12 = true }, phase: push.BackingOff, says: "TLS"},
		"no TLS": {server: func(b *scripted) { b.server.Certificates = nil }, phase: push.BackingOff, says: "does not speak TLS"},
		"nothing there": {server: local, client: func(cfg *push.Config) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			cfg.BrokerURL = "mqtts://" + listener.Addr().String()
			_ = listener.Close()
		}, phase: push.BackingOff, says: "nothing listens there"},
		"a certificate of another authority, TLS 1.2": {server: func(b *scripted) {
			local(b)
			b.server.MaxVersion, b.server.ClientCAs = tls.VersionTLS12, realtest.NewCA(t).Pool()
		}, phase: push.NeedsCertificate, says: "refuses it"},
		"a certificate of another authority, TLS 1.3": {server: func(b *scripted) {
			local(b)
			b.server.MinVersion, b.server.ClientCAs = tls.VersionTLS13, realtest.NewCA(t).Pool()
		}, phase: push.NeedsCertificate, says: "refuses it"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
			c.server(b)
			s := tlsTrouble(t, b, c.client)
			t.Log(s.Err)
			if s.Phase != c.phase || s.Err == nil || !strings.Contains(s.Err.Error(), c.says) || strings.Contains(s.Err.Error(), "\n") {
				t.Errorf("%s: %v", s.Phase, s.Err)
			}
			if c.phase == push.NeedsCertificate != errors.Is(s.Err, fds.ErrCertificate) {
				t.Errorf("class of %v", s.Err)
			}
			if !strings.HasPrefix(s.Err.Error(), "push: ") || strings.Count(s.Err.Error(), "push: ") != 1 {
				t.Errorf("prefix of %q", s.Err)
			}
		})
	}
}

func TestTheTLSVersionCanBePinned(t *testing.T) {
	for pinned, want := range map[bool]uint16{true: tls.VersionTLS12, false: tls.VersionTLS13} {
		versions := make(chan uint16, 1)
		b := newScripted(t, func(p *peer) {
			versions <- p.conn.ConnectionState().Version
			p.accept(false)
			p.stay()
		})
		b.server.Certificates = []tls.Certificate{b.ca.IssueCertificate("broker", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}}).TLS}
		s := tlsTrouble(t, b, func(cfg *push.Config) { cfg.ExactlyTLS12 = pinned })
		if got := <-versions; s.Phase != push.Connected || got != want {
			t.Errorf("pinned %v: version %x, %+v", pinned, got, s)
		}
	}
}

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	for _, name := range []string{"ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "socks5://127.0.0.1:1")
	}
	b := newScripted(t, func(p *peer) { p.accept(false); p.stay() })
	b.server.Certificates = []tls.Certificate{b.ca.IssueCertificate("broker", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}}).TLS}
	if s := tlsTrouble(t, b, nil); s.Phase != push.Connected {
		t.Errorf("state %+v", s)
	}
}

func TestMosquittosRefusalsAreUnderstood(t *testing.T) {
	for name, tls12 := range map[string]bool{"TLS 1.2": true, "TLS 1.3": false} {
		t.Run(name, func(t *testing.T) {
			m := realtest.Mosquitto(t, realtest.MosquittoOptions{TLS12: tls12})
			owner, root := newOwner()
			stranger := realtest.NewCA(t).IssueCertificate(root.ClientID(), realtest.CertificateOptions{}).TLS
			r := start(t, push.Config{
				Issuer: owner.Issuer, Root: root, BrokerURL: m.URL, Roots: realtest.Trusting(m.RootCAs),
				Certificate: func(context.Context) (*tls.Certificate, error) { return &stranger, nil },
			}, discard(t))
			if s := r.waitState(func(s push.State) bool { return !s.RetryAt.IsZero() }); s.Phase != push.NeedsCertificate || !errors.Is(s.Err, fds.ErrCertificate) {
				t.Errorf("%s: %v", s.Phase, s.Err)
			}
		})
	}
}
