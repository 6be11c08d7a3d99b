package push

import (
	"crypto/x509"
	"encoding/asn1"
	"testing"
)

func TestWhatACertificateIsForFollowsRFC5280(t *testing.T) {
	for name, c := range map[string]struct {
		leaf x509.Certificate
		want bool
	}{
		"anything":                             {x509.Certificate{}, true},
		"clients":                              {x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true},
		"servers and clients":                  {x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, true},
		"any purpose":                          {x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}, true},
		"servers":                              {x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, false},
		"a purpose that crypto/x509 knows not": {x509.Certificate{UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 2, 3}}}, false},
		"signing":                              {x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature}, true},
		"encryption alone":                     {x509.Certificate{KeyUsage: x509.KeyUsageKeyEncipherment}, false},
		"clients, encryption alone":            {x509.Certificate{KeyUsage: x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, false},
	} {
		if got := forClients(&c.leaf); got != c.want {
			t.Errorf("a certificate for %s: %v, want %v", name, got, c.want)
		}
	}
}
