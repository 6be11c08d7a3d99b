package certfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"
)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key crypto.Signer
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate of a key, a new one by default, signed by another or by
// itself, which makes it an authority's.
func issue(t *testing.T, name string, by *issued, key crypto.Signer, from, to time.Duration) *issued {
	t.Helper()
	if key == nil {
		key = newKey(t)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), BasicConstraintsValid: true,
		IsCA: name != "owner", KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if template.IsCA {
		template.KeyUsage = x509.KeyUsageCertSign
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

// world is an owner's certificate with the chain above it, and a stranger's.
type world struct{ root, upper, lower, owner, stranger *issued }

func newWorld(t *testing.T) world {
	t.Helper()
	var w world
	const hour = time.Hour
	w.root = issue(t, "root", nil, nil, -hour, 24*hour)
	w.upper = issue(t, "upper", w.root, nil, -hour, 24*hour)
	w.lower = issue(t, "lower", w.upper, nil, -hour, 24*hour)
	w.owner = issue(t, "owner", w.lower, nil, -hour, hour)
	w.stranger = issue(t, "stranger", nil, nil, -hour, hour)
	return w
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func (i *issued) pem() []byte { return encode("CERTIFICATE", i.Raw) }

func keyDER(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func keyPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	return encode("PRIVATE KEY", keyDER(t, key))
}

func (i *issued) keyPEM(t *testing.T) []byte {
	t.Helper()
	return keyPEM(t, i.key)
}

// join puts parts of a file together.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// isChain checks that the pair is of those certificates, in that order, with the key of
// the first.
func isChain(t *testing.T, got *tls.Certificate, err error, want ...*issued) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	var names, wanted []string
	for _, der := range got.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, c.Subject.CommonName)
	}
	for _, c := range want {
		wanted = append(wanted, c.Subject.CommonName)
	}
	if !slices.Equal(names, wanted) || !got.Leaf.Equal(want[0].Certificate) || !bytes.Equal(got.Certificate[0], want[0].Raw) {
		t.Errorf("the chain is %v, want %v", names, wanted)
	}
	if signer, ok := got.PrivateKey.(crypto.Signer); !ok || !isKeyOf(signer, got.Leaf) {
		t.Error("the key is another one's")
	}
}
