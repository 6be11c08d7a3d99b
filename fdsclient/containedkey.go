package fdsclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"io"
)

// withContainedKey returns a certificate whose key is contained too: one of the
// application's own, such as a device's, signs in goroutines that are not the
// application's.
func withContainedKey(certificate *tls.Certificate) *tls.Certificate {
	switch certificate.PrivateKey.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey, containedKey:
		return certificate
	}
	key, ok := certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return certificate
	}
	with := *certificate
	with.PrivateKey = containedKey{key}
	return &with
}

type containedKey struct{ crypto.Signer }

// Sign implements crypto.Signer.
func (k containedKey) Sign(random io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	return contained("the certificate's private key", func() ([]byte, error) { return k.Signer.Sign(random, digest, options) })
}

// SignMessage implements crypto.MessageSigner, for a key that signs whole messages.
func (k containedKey) SignMessage(random io.Reader, message []byte, options crypto.SignerOpts) ([]byte, error) {
	return contained("the certificate's private key", func() ([]byte, error) { return crypto.SignMessage(k.Signer, random, message, options) })
}
