package brokerconfig

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"testing"

	"filippo.io/age/armor"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/textfile"
)

// Cheap makes the passphrase cheap to try: by default it takes a second.
func Cheap(c Config) Config {
	c.scryptWork = 10
	return c
}

// Unseal and KeyPEM are for who has got the authority's key.
func Unseal(sealed []byte, passphrase fds.Secret) (crypto.Signer, error) {
	return unsealKey(sealed, passphrase)
}
func KeyPEM(key crypto.Signer) ([]byte, error) { return keyPEM(key) }

// Planted returns a key file that says that it takes that work to open.
func Planted(t testing.TB, passphrase fds.Secret, work int) []byte {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealKey(key, passphrase, 10)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(armor.NewReader(bytes.NewReader(sealed)))
	if err != nil {
		t.Fatal(err)
	}
	planted := bytes.Replace(plain, []byte(" 10\n"), fmt.Appendf(nil, " %d\n", work), 1)
	if bytes.Equal(planted, plain) {
		t.Fatal("the work factor was not found")
	}
	var text bytes.Buffer
	w := armor.NewWriter(&text)
	if _, err := w.Write(planted); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// Listed returns the serial numbers of a revocation list.
func Listed(t testing.TB, text string) map[string]bool {
	t.Helper()
	blocks, err := textfile.PEM([]byte(text))
	if err != nil || len(blocks) != 1 {
		t.Fatal(len(blocks), err)
	}
	list, err := x509.ParseRevocationList(blocks[0].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, entry := range list.RevokedCertificateEntries {
		all[entry.SerialNumber.Text(16)] = true
	}
	return all
}
