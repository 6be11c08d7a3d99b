package brokerconfig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/certfile"
	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// mostScryptWork bounds what a planted key file can cost: 1 GB, some seconds.
const mostScryptWork = 20

// authority issues certificates. Its key is read when it is first needed.
type authority struct {
	certificate *x509.Certificate
	open        func() (crypto.Signer, error)
	key         crypto.Signer
	now         time.Time
}

// signer returns the key, which must be the certificate's.
func (a *authority) signer() (crypto.Signer, error) {
	if a.key != nil {
		return a.key, nil
	}
	if a.now.After(a.certificate.NotAfter) {
		return nil, fmt.Errorf("%w: the authority has expired on %s; make a new folder and hand out its certificates", fds.ErrCertificate, a.certificate.NotAfter.Format(time.DateOnly))
	}
	key, err := a.open()
	if err != nil {
		return nil, err
	}
	if !samePublicKey(key, a.certificate) {
		return nil, fmt.Errorf("%w: the authority's key is not that of %s", fds.ErrWrongKey, caName)
	}
	a.key = key
	return key, nil
}

func samePublicKey(key crypto.Signer, certificate *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(certificate.PublicKey)
}

// newAuthority makes the certificate of an authority for the broker's hosts: it may issue for them,
// for who is below their names, and for clients, whose certificates name no host.
func newAuthority(key crypto.Signer, hosts []string, now time.Time) (*x509.Certificate, error) {
	suffix := make([]byte, 4) // authorities are told apart by their names
	_, _ = rand.Read(suffix)  // never fails
	template := &x509.Certificate{
		SerialNumber:                newSerial(),
		Subject:                     pkix.Name{CommonName: "FDS broker authority " + hex.EncodeToString(suffix)},
		NotBefore:                   now.Add(-backdated),
		NotAfter:                    now.Add(authorityLife),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
	}
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil {
			template.PermittedIPRanges = append(template.PermittedIPRanges, prefix(netip.PrefixFrom(addr, addr.BitLen())))
		} else {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, host)
		}
	}
	// What is not restricted is allowed (RFC 5280 section 4.2.1.10).
	if len(template.PermittedIPRanges) == 0 {
		template.ExcludedIPRanges = []*net.IPNet{prefix(netip.MustParsePrefix("0.0.0.0/0")), prefix(netip.MustParsePrefix("::/0"))}
	}
	if len(template.PermittedDNSDomains) == 0 {
		template.PermittedDNSDomains = []string{"invalid"} // RFC 2606: nobody's
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func prefix(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// checkAuthority returns why a certificate cannot be the broker's authority.
func checkAuthority(c *x509.Certificate, now time.Time) error {
	rsaKey, isRSA := c.PublicKey.(*rsa.PublicKey)
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("it is no authority's")
	case c.CheckSignatureFrom(c) != nil:
		return errors.New("it is not a root: Mosquitto would let in what others below its root have issued; use a root for this broker alone")
	case c.KeyUsage&x509.KeyUsageCertSign == 0 || c.KeyUsage&x509.KeyUsageCRLSign == 0:
		return errors.New("its key may not sign certificates and revocation lists (keyCertSign, cRLSign)")
	case len(c.SubjectKeyId) == 0:
		return errors.New("it has no subject key identifier")
	case isRSA && rsaKey.N.BitLen() < 2048:
		return fmt.Errorf("its key has %d bits; 2048 are the least", rsaKey.N.BitLen())
	case now.Before(c.NotBefore), now.After(c.NotAfter):
		return fmt.Errorf("it is valid from %s to %s", c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// newSerial returns a serial number of 128 random bits.
func newSerial() *big.Int {
	var b [16]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if serial := new(big.Int).SetBytes(b[:]); serial.Sign() > 0 {
			return serial
		}
	}
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// sealKey encrypts the authority's key under a passphrase.
func sealKey(key crypto.Signer, passphrase fds.Secret, work int) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(passphrase.Reveal())
	if err != nil {
		return nil, err
	}
	if work > 0 {
		recipient.SetWorkFactor(work)
	}
	plain, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	text := armor.NewWriter(&sealed)
	w, err := age.Encrypt(text, recipient)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

// unsealKey is the reverse.
func unsealKey(sealed []byte, passphrase fds.Secret) (crypto.Signer, error) {
	damaged := func(err error) error {
		return fmt.Errorf("%w: %s: %w; restore it from a backup", fds.ErrCorrupt, caKeyName, err)
	}
	if passphrase.IsZero() {
		return nil, errNoPassphrase
	}
	identity, err := age.NewScryptIdentity(passphrase.Reveal())
	if err != nil {
		return nil, err
	}
	identity.SetMaxWorkFactor(mostScryptWork)
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(sealed)), identity)
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		return nil, fmt.Errorf("%w: the passphrase does not open %s; give the one that the folder was made with", fds.ErrWrongKey, caKeyName)
	}
	if err != nil {
		return nil, damaged(err)
	}
	text, err := io.ReadAll(io.LimitReader(plain, mostPEMBytes))
	if err != nil {
		return nil, damaged(err)
	}
	key, err := certfile.Key(text)
	if err != nil {
		return nil, damaged(err)
	}
	return key, nil
}

var errNoPassphrase = &fds.ConfigError{Faults: []fds.Fault{{
	Field: "Passphrase", Problem: "is missing", Remedy: "the authority's key is encrypted under it; keep it in a secret manager",
}}}

// issue signs a certificate. The template says what it is for.
func (a *authority) issue(template *x509.Certificate, public crypto.PublicKey, lifetime time.Duration) (*x509.Certificate, error) {
	key, err := a.signer()
	if err != nil {
		return nil, err
	}
	template.SerialNumber = newSerial()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	template.NotBefore, template.NotAfter = a.now.Add(-backdated), a.now.Add(lifetime)
	if template.NotBefore.Before(a.certificate.NotBefore) {
		template.NotBefore = a.certificate.NotBefore
	}
	if template.NotAfter.After(a.certificate.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// due reports whether what is valid for that time is to be renewed: in its last third.
func due(notBefore, notAfter, now time.Time) bool {
	return !now.Before(notAfter.Add(-notAfter.Sub(notBefore) / 3))
}

// late reports whether that should have happened: half of the last third has gone.
func late(notBefore, notAfter, now time.Time) bool {
	return !now.Before(notAfter.Add(-notAfter.Sub(notBefore) / 6))
}

// certificateIn returns the first certificate of a PEM file.
func certificateIn(data []byte) (*x509.Certificate, error) {
	blocks, err := textfile.PEM(data)
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if block.Err != nil {
			return nil, block.Err
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("it holds no usable certificate: %w", tlspolicy.Shown(err))
		}
		return certificate, nil
	}
	return nil, errors.New("it holds no certificate in PEM form")
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// bundle is a certificate and its key in one file.
func bundle(c *x509.Certificate, key crypto.Signer) ([]byte, error) {
	text, err := keyPEM(key)
	return append(certificatePEM(c), text...), err
}
