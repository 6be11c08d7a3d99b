package realtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// CA is a certificate authority for one test: ECDSA P-256, its key in memory only.
type CA struct {
	t           testing.TB
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewCA makes a certificate authority, valid from an hour ago for 90 days.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber:          newSerial(t),
		Subject:               pkix.Name{CommonName: "realtest CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(90 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	return &CA{t: t, certificate: sign(t, template, template, key.Public(), key), key: key}
}

// CAFromKeyPair uses a certificate authority that something else made.
func CAFromKeyPair(t testing.TB, pair tls.Certificate) *CA {
	t.Helper()
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || len(pair.Certificate) == 0 {
		t.Fatal("realtest: CAFromKeyPair needs a certificate and a private key that signs")
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatalf("realtest: CAFromKeyPair: %v", err)
	}
	if !certificate.IsCA {
		t.Fatal("realtest: CAFromKeyPair: the certificate is not a certificate authority's")
	}
	return &CA{t: t, certificate: certificate, key: key}
}

// PEM is the authority's certificate.
func (ca *CA) PEM() []byte { return certificatePEM(ca.certificate.Raw) }

// KeyPEM is its private key, PKCS #8.
func (ca *CA) KeyPEM() []byte {
	ca.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		ca.t.Fatalf("realtest: encode a key: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Pool has the authority as its only root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return pool
}

// CertificateOptions says what differs from a plain client certificate. The zero value is one
// that is valid from an hour ago to the authority's end.
type CertificateOptions struct {
	NotBefore, NotAfter time.Time
	// Hosts are names and addresses a server's certificate is good for. With any, the
	// certificate is a server's and not a client's.
	Hosts []string
	// UTF8 writes the common name as a UTF8String, as OpenSSL does, where Go would write a
	// PrintableString: some servers read no other.
	UTF8 bool
}

// Certificate is an issued certificate with its key.
type Certificate struct {
	TLS     tls.Certificate
	PEM     []byte // the certificate
	KeyPEM  []byte // the private key, PKCS #8
	Subject string // the common name
}

// Bundle is the certificate and then the private key in one PEM text, as a provider hands it
// to an application.
func (c Certificate) Bundle() []byte { return append(append([]byte(nil), c.PEM...), c.KeyPEM...) }

// IssueCertificate issues a certificate with the common name cn.
func (ca *CA) IssueCertificate(cn string, options CertificateOptions) Certificate {
	ca.t.Helper()
	key := newKey(ca.t)
	template := &x509.Certificate{
		SerialNumber: newSerial(ca.t),
		Subject:      pkix.Name{CommonName: cn},
		NotBefore:    options.NotBefore,
		NotAfter:     options.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if options.UTF8 {
		name := asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(cn)}
		template.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: name}}}
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = ca.certificate.NotAfter
	}
	for _, host := range options.Hosts {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certificate := sign(ca.t, template, ca.certificate, key.Public(), ca.key)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatalf("realtest: encode a key: %v", err)
	}
	return Certificate{
		TLS:     tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key, Leaf: certificate},
		PEM:     certificatePEM(certificate.Raw),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		Subject: cn,
	}
}

// RevocationList is the authority's list of revoked certificates, in PEM.
func (ca *CA) RevocationList(revoked ...Certificate) []byte {
	ca.t.Helper()
	template := &x509.RevocationList{Number: newSerial(ca.t), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: ca.certificate.NotAfter}
	for _, certificate := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: certificate.TLS.Leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Minute),
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.certificate, ca.key)
	if err != nil {
		ca.t.Fatalf("realtest: sign a revocation list: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// serverCertificate is for a part that listens on 127.0.0.1.
func (ca *CA) serverCertificate() Certificate {
	ca.t.Helper()
	return ca.IssueCertificate("localhost", CertificateOptions{Hosts: []string{"127.0.0.1", "::1", "localhost"}})
}

func sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatalf("realtest: sign a certificate: %v", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("realtest: read back a certificate: %v", err)
	}
	return certificate
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("realtest: make a key: %v", err)
	}
	return key
}

func newSerial(t testing.TB) *big.Int {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatalf("realtest: make a serial number: %v", err)
	}
	return serial
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Trusting returns what has a client trust those authorities alone.
func Trusting(pool *x509.CertPool) func(context.Context) (*x509.CertPool, error) {
	return func(context.Context) (*x509.CertPool, error) { return pool, nil }
}
