// Package certfile reads the certificates and private keys of clients from PEM and
// PKCS#12 files, as their tools and administrators make them: with other certificates
// beside the client's own, in any order, or with work to do that is not worth it.
package certfile

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fds-sdk/fds-go/internal/textfile"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// MaxBytes bounds a file.
const MaxBytes = 1 << 20

// maxKeyBytes is beyond RSA of 16,384 bits: to check a key takes the more work the
// longer it is, at 1 MiB a minute.
const maxKeyBytes = 16 << 10

// The faults of private keys.
var (
	ErrNoKey        = errors.New("it holds no private key in PEM form")
	ErrEncryptedKey = errors.New("its private key is encrypted")
	errPassword     = errors.New("the password for .p12 files is wrong")
	errKey          = errors.New("its private key cannot be read; it is to be in PKCS#8, PKCS#1 or SEC 1") // the cause could hold parts of it
)

// PEM returns the certificate that is the private key's, with those that lead from it
// to an authority behind it. Certificates and keys may be one file.
func PEM(certificates, keys []byte) (*tls.Certificate, error) {
	blocks, err := textfile.PEM(certificates)
	if err != nil {
		return nil, err
	}
	var parsed []*x509.Certificate
	for n, b := range blocks {
		if b.Type != "CERTIFICATE" && b.Type != "X509 CERTIFICATE" {
			continue
		}
		if b.Err != nil {
			return nil, b.Err
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("its PEM block %d is no usable certificate: %w", n+1, tlspolicy.Shown(err))
		}
		parsed = append(parsed, c)
	}
	private, err := pemKeys(keys)
	switch {
	case err != nil && len(private) == 0 && !errors.Is(err, ErrNoKey):
		return nil, err
	case len(parsed) == 0:
		return nil, fmt.Errorf("it holds no certificate in PEM form%s", instead(blocks))
	case len(private) == 0:
		return nil, fmt.Errorf("%w%s; put certificate chain and key into one file", ErrNoKey, insteadOfKey(keys))
	}
	return pair(parsed, private)
}

// mistaken are the types of what is taken for a certificate, with what helps.
var mistaken = map[string]string{
	"CERTIFICATE REQUEST":     "a certificate request; use the certificate that the broker's administrator issues for it",
	"NEW CERTIFICATE REQUEST": "a certificate request; use the certificate that the broker's administrator issues for it",
	"PUBLIC KEY":              "a public key; the certificate is needed, which the broker's administrator issues",
	"RSA PUBLIC KEY":          "a public key; the certificate is needed, which the broker's administrator issues",
	"TRUSTED CERTIFICATE":     "one in a form of OpenSSL's own; convert it with: openssl x509 -in FILE",
	"PKCS7":                   "a PKCS#7 file; convert it with: openssl pkcs7 -in FILE -print_certs",
	"CMS":                     "a PKCS#7 file; convert it with: openssl pkcs7 -in FILE -print_certs",
	"PKCS #7 SIGNED DATA":     "a PKCS#7 file; convert it with: openssl pkcs7 -in FILE -print_certs",
	"X509 CRL":                "a revocation list; use the certificate that the broker's administrator issued",
}

// instead returns what stands in a certificate's place, to go on with; "": nothing that
// is known.
func instead(blocks []textfile.Block) string {
	for _, b := range blocks {
		if what, ok := mistaken[b.Type]; ok {
			return ", but " + what
		}
	}
	return ""
}

// insteadOfKey is instead for a private key.
func insteadOfKey(keys []byte) string {
	blocks, _ := textfile.PEM(keys)
	if slices.ContainsFunc(blocks, func(b textfile.Block) bool { return strings.HasSuffix(b.Type, "PUBLIC KEY") }) {
		return ", but a public one; the private key of the same pair is needed"
	}
	return ""
}

// Load returns the certificate of a file with its private key, in the form that the file
// has, PEM or PKCS#12: names do not always tell. Archive says that its name is that of
// PKCS#12.
func Load(data []byte, password string, archive bool) (*tls.Certificate, error) {
	binary := data
	if !textfile.IsDER(data) {
		if binary = textfile.Base64(data); !textfile.IsPKCS12(binary) { // as it is put into variables
			binary = nil
		}
	}
	switch {
	case textfile.IsPKCS12(binary):
		return PKCS12(binary, password)
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return nil, errors.New("it is a key store of Java's own; convert it with: keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype PKCS12")
	case archive && bytes.HasPrefix(data, []byte{0x30, 0x80}):
		return nil, errors.New("it is a PKCS#12 file in BER form; convert it with: openssl pkcs12 -in FILE -nodes | openssl pkcs12 -export -out NEW")
	}
	blocks, err := textfile.PEM(data)
	if archive && err == nil && len(blocks) == 0 {
		return nil, errNotPKCS12
	}
	return PEM(data, data)
}

// Key returns the first private key of a PEM file that can be read.
func Key(data []byte) (crypto.Signer, error) {
	keys, err := pemKeys(data)
	if len(keys) == 0 {
		return nil, err
	}
	return keys[0], nil
}

// pemKeys returns the keys that can be read and, if there are others or none, why.
func pemKeys(data []byte) (keys []crypto.Signer, err error) {
	blocks, err := textfile.PEM(data)
	if err != nil {
		return nil, err
	}
	err = ErrNoKey
	for _, b := range blocks {
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue
		}
		key, fault := parseKey(b)
		if fault == nil {
			keys = append(keys, key)
		} else if errors.Is(err, ErrNoKey) {
			err = fault
		}
	}
	return keys, err
}

func parseKey(b textfile.Block) (crypto.Signer, error) {
	switch {
	case b.Encrypted || b.Type == "ENCRYPTED PRIVATE KEY":
		return nil, ErrEncryptedKey
	case b.Err != nil:
		return nil, b.Err
	case len(b.Bytes) > maxKeyBytes:
		return nil, fmt.Errorf("its private key has more than %d bytes", maxKeyBytes)
	}
	var key any
	var err error
	switch b.Type {
	case "OPENSSH PRIVATE KEY":
		return nil, errors.New("its private key cannot be read: it is in OpenSSH's own form; convert it with: ssh-keygen -p -m PKCS8 -f FILE")
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if signer, ok := key.(crypto.Signer); ok && err == nil {
		return signer, nil
	}
	return nil, errKey
}

// PKCS12 is PEM for a .p12 file. A file that would take long to decrypt is refused.
func PKCS12(data []byte, password string) (*tls.Certificate, error) {
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(data, &whole); err == nil && len(bytes.TrimSpace(rest)) == 0 {
		data = whole.FullBytes // without the line end that a shell has added
	}
	several, err := checkWork(data)
	if err != nil {
		return nil, err
	}
	if several {
		return severalKeys(data, password)
	}
	key, first, others, err := pkcs12.DecodeChain(data, password)
	signer, ok := key.(crypto.Signer)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, errPassword
	case err != nil || !ok:
		return nil, errNotPKCS12
	}
	return pair(append([]*x509.Certificate{first}, others...), []crypto.Signer{signer})
}

// severalKeys is PKCS12 for a store with several entries, such as Java's.
func severalKeys(data []byte, password string) (*tls.Certificate, error) {
	//lint:ignore SA1019 nothing else reads several entries, and its forms of keys are known here
	blocks, err := pkcs12.ToPEM(data, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, errPassword
	case err != nil:
		return nil, errors.New("it holds several private keys; export the owner's alone")
	}
	var certificates []*x509.Certificate
	var keys []crypto.Signer
	for _, b := range blocks {
		if b.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, fmt.Errorf("one of its certificates is not usable: %w", tlspolicy.Shown(err))
			}
			certificates = append(certificates, c)
			continue
		}
		if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
			keys = append(keys, key)
		} else if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
			keys = append(keys, key)
		} else {
			return nil, errKey
		}
	}
	return pair(certificates, keys)
}

// pair finds the certificate of a key. Of several, such as one that was renewed for the
// same key, it is one that is no authority's, then one that is valid now, and of those
// the one that is so longest.
func pair(certificates []*x509.Certificate, keys []crypto.Signer) (*tls.Certificate, error) {
	var (
		leaf *x509.Certificate
		own  crypto.Signer
	)
	now := time.Now()
	for _, c := range certificates {
		n := slices.IndexFunc(keys, func(key crypto.Signer) bool { return isKeyOf(key, c) })
		if n >= 0 && (leaf == nil || better(c, leaf, now)) {
			leaf, own = c, keys[n]
		}
	}
	if leaf == nil {
		return nil, errors.New("certificate and private key do not belong together: none of its certificates is that of the key")
	}
	pair := &tls.Certificate{PrivateKey: own, Leaf: leaf}
	for _, c := range chain(leaf, certificates) {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}

func isKeyOf(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public())
}

func better(a, b *x509.Certificate, now time.Time) bool {
	valid := func(c *x509.Certificate) bool { return !now.Before(c.NotBefore) && !now.After(c.NotAfter) }
	if a.IsCA != b.IsCA {
		return b.IsCA
	}
	if valid(a) != valid(b) {
		return valid(a)
	}
	return a.NotAfter.After(b.NotAfter)
}

// chain puts the certificates in the order of RFC 5246 section 7.4.2: each is signed by
// the next, as far as their names tell. The other authorities follow as they stood, for
// a link may be missing; what else is there concerns no broker.
func chain(leaf *x509.Certificate, all []*x509.Certificate) []*x509.Certificate {
	ordered := []*x509.Certificate{leaf}
	rest := slices.DeleteFunc(slices.Clone(all), leaf.Equal)
	for last := leaf; !bytes.Equal(last.RawIssuer, last.RawSubject); {
		next := -1
		for n, c := range rest {
			if !bytes.Equal(c.RawSubject, last.RawIssuer) {
				continue
			}
			if next < 0 || !keyIDFits(rest[next], last) && keyIDFits(c, last) {
				next = n
			}
		}
		if next < 0 {
			break
		}
		last = rest[next]
		ordered = append(ordered, last)
		rest = slices.DeleteFunc(rest, last.Equal)
	}
	return append(ordered, slices.DeleteFunc(rest, func(c *x509.Certificate) bool { return !c.IsCA })...)
}

// keyIDFits tells apart authorities of one name (RFC 5280 section 4.2.1.1).
func keyIDFits(authority, c *x509.Certificate) bool {
	return len(c.AuthorityKeyId) > 0 && bytes.Equal(authority.SubjectKeyId, c.AuthorityKeyId)
}
