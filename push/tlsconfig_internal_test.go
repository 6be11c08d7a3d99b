package push

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// signs is what makes certificates: an authority, or one that only says so.
type signs struct {
	leaf *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (by *signs) issue(t *testing.T, template x509.Certificate) *signs {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.BasicConstraintsValid = template.BasicConstraintsValid || template.IsCA
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := by.leaf, by.key
	if parent == nil {
		parent, signer = &template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signs{leaf, key}
}

func authority(t *testing.T, by *signs) *signs {
	return by.issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign})
}

func broker(t *testing.T, by *signs, host string) *signs {
	return by.issue(t, brokerTemplate(host, true))
}

// brokerTemplate: with constraints it says that it is no authority, as most do.
func brokerTemplate(host string, constraints bool) x509.Certificate {
	return x509.Certificate{BasicConstraintsValid: constraints, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

// shake shakes hands with a server that shows the certificates of chain, and returns by which
// configuration.
func shake(t *testing.T, p *policy, chain ...*signs) (by *tls.Config, err error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	for _, end := range []net.Conn{ours, theirs} {
		_ = end.SetDeadline(time.Now().Add(time.Second)) // each may have an alert to write
	}
	shown := tls.Certificate{PrivateKey: chain[0].key}
	for _, one := range chain {
		shown.Certificate = append(shown.Certificate, one.leaf.Raw)
	}
	go func() {
		defer theirs.Close()
		_ = tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{shown}, SessionTicketsDisabled: true}).Handshake()
	}()
	by = p.config()
	conn := tls.Client(ours, by)
	if err = conn.HandshakeContext(context.WithValue(t.Context(), shownKey{}, &tls.Certificate{})); err == nil {
		p.verified(by, conn.ConnectionState())
	}
	return by, err
}

func TestABrokersCertificateIsVerifiedUpToTheRootsOnceAMinute(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the system verifies in its own way")
	}
	synctest.Test(t, func(t *testing.T) {
		root := authority(t, new(signs))
		roots := x509.NewCertPool()
		roots.AddCert(root.leaf)
		p := sharedPolicy(roots, false, "broker.example", nil)
		server := broker(t, root, "broker.example")
		for n, whole := range []bool{true, false, false} {
			by, err := shake(t, p, server)
			if err != nil || (by == p.whole) != whole {
				t.Fatalf("handshake %d: %v, up to the roots %v", n, err, by == p.whole)
			}
		}
		time.Sleep(knownFor + time.Second)
		if by, err := shake(t, p, server); err != nil || by != p.whole {
			t.Errorf("after a minute: %v, up to the roots %v", err, by == p.whole)
		}
		if by, err := shake(t, p, broker(t, root, "broker.example")); err != nil || by == p.whole {
			t.Errorf("another one by the same authority: %v", err)
		}
	})
}

func TestAttackWhoeverSignedAKnownCertificateExpiresWhileTheMachineSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := authority(t, new(signs))
		time.Sleep(time.Hour)
		p := sharedPolicy(policyRoots(root), false, "broker.example", nil)
		if _, err := shake(t, p, broker(t, root, "broker.example")); err != nil || p.config() == p.whole {
			t.Fatalf("at first: %v", err)
		}
		time.Sleep(23*time.Hour + time.Second) // its own hour is left
		p.until = time.Now().Add(time.Second)
		if p.config() != p.whole {
			t.Error("its authority has expired")
		}
	})
}

func TestAttackAKnownBrokersCertificateVouchesForNoOther(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("none is known: the system verifies in its own way")
	}
	root, stranger := authority(t, new(signs)), authority(t, new(signs))
	roots := x509.NewCertPool()
	roots.AddCert(root.leaf)
	for _, known := range []*signs{broker(t, root, "broker.example"), root.issue(t, brokerTemplate("broker.example", false))} {
		for name, chain := range map[string][]*signs{
			"signed by the known certificate's key":      {broker(t, known, "broker.example"), known},
			"signed by nobody that is trusted":           {broker(t, stranger, "broker.example"), stranger},
			"another name by the authority":              {broker(t, root, "other.example")},
			"the known certificate with another's key":   {{known.leaf, stranger.key}},
			"an authority below the known one":           {broker(t, authority(t, known), "broker.example"), known},
			"signed by itself, and looks like the known": {broker(t, new(signs), "broker.example")},
		} {
			t.Run(name, func(t *testing.T) {
				p := sharedPolicy(roots.Clone(), false, "broker.example", nil)
				if _, err := shake(t, p, known); err != nil || p.known == nil {
					t.Fatalf("the known one: %v", err)
				}
				if by, err := shake(t, p, chain...); err == nil || by != p.known {
					t.Errorf("it was taken: %v", err)
				}
				if _, err := shake(t, p, known); err != nil {
					t.Errorf("the known one again: %v", err)
				}
			})
		}
	}
}

func TestAttackOnlyACertificateThatCannotSignIsKnown(t *testing.T) {
	root := authority(t, new(signs))
	roots := x509.NewCertPool()
	roots.AddCert(root.leaf)
	p := sharedPolicy(roots, false, "broker.example", nil)
	both := root.issue(t, x509.Certificate{DNSNames: []string{"broker.example"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	for range 2 {
		if by, err := shake(t, p, both); err != nil || by != p.whole {
			t.Fatalf("%v, up to the roots %v", err, by == p.whole)
		}
	}
}

func policyRoots(root *signs) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(root.leaf)
	return roots
}
