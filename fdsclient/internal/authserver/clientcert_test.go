package authserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"
)

// selfSigned makes a client certificate.
func selfSigned(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAHookThatIsToldOfABadCertificateMayAskForAToken(t *testing.T) {
	certificate := selfSigned(t)
	bad := false
	told := 0
	var i *ClientCerts
	i = newClientCerts(&Settings{
		Certificate: func(context.Context) (*tls.Certificate, error) {
			if bad {
				return nil, errors.New("half a file")
			}
			return certificate, nil
		},
		OnError: func(error) {
			told++
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := i.refresh(ctx); err != nil {
				t.Errorf("from the hook: %v", err)
			}
		},
	})
	i.Watch(t.Context())
	bad = true
	i.Watch(t.Context())
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

func TestTheSameCertificateWithAnotherKeyObjectIsUsed(t *testing.T) {
	now := selfSigned(t)
	i := newClientCerts(&Settings{
		Certificate: func(context.Context) (*tls.Certificate, error) { return now, nil },
		OnReplaced:  func() { t.Error("replaced") },
	})
	before, err := i.refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again := *now // as a device has it in a new session
	now = &again
	after, err := i.refresh(t.Context())
	if err != nil || after != before {
		t.Fatalf("another certificate, %v", err)
	}
	connecting, err := before.transport.now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if offered, err := connecting.TLSClientConfig.GetClientCertificate(nil); err != nil || offered != now {
		t.Error("connections are made with the key object of before")
	}
}
