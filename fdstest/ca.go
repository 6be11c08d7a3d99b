package fdstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	rootLifetime        = 5 * 365 * 24 * time.Hour
	serverLifetime      = 397 * 24 * time.Hour
	certificateLifetime = 90 * 24 * time.Hour
	clockSlack          = time.Hour // certificates begin that much before now
)

// CertificateRequest says what a certificate shall be. Its zero value, with a
// CommonName, is a client certificate as a broker's administrator issues it
// (M2), valid for 90 days.
type CertificateRequest struct {
	CommonName string // for MQTT the subscription ID as Owner.Spelling spells it (M4)

	NotBefore time.Time // default: an hour ago
	NotAfter  time.Time // default: 90 days from now

	// Usages default to client authentication. A certificate for server
	// authentication only is one that no client should offer.
	Usages []x509.ExtKeyUsage

	// Hosts are DNS names and IP addresses for a server's certificate.
	Hosts []string

	// ForeignCA has the certificate issued by an authority that no server of
	// the provider trusts.
	ForeignCA bool

	// SelfSigned has the certificate sign itself, for
	// self_signed_tls_client_auth.
	SelfSigned bool

	publisher bool // see PublisherCertificate
}

// Certificate is a certificate with its private key. It prints without the key.
type Certificate struct {
	ChainPEM []byte // the certificate; the root is not part of it
	KeyPEM   []byte // PKCS #8
	TLS      tls.Certificate
}

// Format keeps the key out of every verb of package fmt.
func (c Certificate) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Certificate(%s)", c.subject()) }

// LogValue keeps the key out of logs.
func (c Certificate) LogValue() slog.Value { return slog.StringValue(c.subject()) }

func (c Certificate) subject() string {
	if c.TLS.Leaf == nil {
		return "none"
	}
	return c.TLS.Leaf.Subject.String()
}

// IssueCertificate issues a certificate, also one that a correct peer refuses.
func (p *Provider) IssueCertificate(req CertificateRequest) (Certificate, error) {
	ca := p.ca
	if req.ForeignCA {
		foreign, err := p.foreignCA()
		if err != nil {
			return Certificate{}, fmt.Errorf("fdstest: issue certificate: %w", err)
		}
		ca = foreign
	}
	cert, err := ca.issue(req)
	if err != nil {
		return Certificate{}, fmt.Errorf("fdstest: issue certificate for %.100q: %w", req.CommonName, err)
	}
	p.keys.add(cert)
	return cert, nil
}

// OwnerCertificate issues the certificate for one owner's MQTT connection, with
// the defaults of CertificateRequest.
func (p *Provider) OwnerCertificate(o Owner) (Certificate, error) {
	return p.IssueCertificate(CertificateRequest{CommonName: o.Spelling})
}

// publisherUnit marks the certificates of those who publish.
const publisherUnit = "information provider"

// PublisherCertificate issues a certificate with which an MQTT client may publish below every
// owner's root and not subscribe (M6). Its client ID is anything but a subscription ID; each
// certificate has a common name of its own, which serves.
func (p *Provider) PublisherCertificate() (Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return Certificate{}, fmt.Errorf("fdstest: issue certificate: %w", err)
	}
	return p.IssueCertificate(CertificateRequest{CommonName: fmt.Sprintf("publisher-%x", serial), publisher: true})
}

func (r CertificateRequest) subject() pkix.Name {
	name := pkix.Name{CommonName: r.CommonName}
	if r.publisher {
		name.OrganizationalUnit = []string{publisherUnit}
	}
	return name
}

func isPublisher(c *x509.Certificate) bool {
	return slices.Contains(c.Subject.OrganizationalUnit, publisherUnit)
}

// root is a certificate authority that lives as long as its provider.
type root struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newRoot(name string) (*root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-clockSlack),
		NotAfter:              now.Add(rootLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &root{certificate: certificate, key: key, pem: encodePEM("CERTIFICATE", der)}, nil
}

func (r *root) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.certificate)
	return pool
}

func (r *root) issue(req CertificateRequest) (Certificate, error) {
	now := time.Now()
	if req.NotBefore.IsZero() {
		req.NotBefore = now.Add(-clockSlack)
	}
	if req.NotAfter.IsZero() {
		req.NotAfter = now.Add(certificateLifetime)
	}
	if !req.NotAfter.After(req.NotBefore) {
		return Certificate{}, errors.New("it would end before it begins")
	}
	if req.SelfSigned && req.ForeignCA {
		return Certificate{}, errors.New("it cannot be both self-signed and of another authority")
	}
	if len(req.Usages) == 0 {
		req.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, err
	}
	serial, err := newSerial()
	if err != nil {
		return Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               req.subject(),
		NotBefore:             req.NotBefore,
		NotAfter:              req.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           req.Usages,
		BasicConstraintsValid: true,
	}
	for _, host := range req.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	parent, signer := r.certificate, r.key
	if req.SelfSigned {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return Certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{
		ChainPEM: encodePEM("CERTIFICATE", der),
		KeyPEM:   encodePEM("PRIVATE KEY", keyDER),
		TLS:      tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
	}, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// firstKeyLine returns the first line of a key's body, which occurs wherever the
// key was copied to as PEM.
func firstKeyLine(keyPEM []byte) string {
	_, body, _ := strings.Cut(string(keyPEM), "\n")
	line, _, _ := strings.Cut(body, "\n")
	return line
}
