package contain

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"io"
)

// Certificate returns a certificate whose key is contained too: one of the application's
// own, such as a device's, signs in goroutines that are not the application's.
func Certificate(certificate *tls.Certificate) *tls.Certificate {
	switch certificate.PrivateKey.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey, signer:
		return certificate
	}
	key, ok := certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return certificate
	}
	with := *certificate
	with.PrivateKey = signer{key}
	return &with
}

type signer struct{ crypto.Signer }

// Sign implements crypto.Signer.
func (k signer) Sign(random io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	return Call("the certificate's private key", func() ([]byte, error) { return k.Signer.Sign(random, digest, options) })
}

// SignMessage implements crypto.MessageSigner, for a key that signs whole messages.
func (k signer) SignMessage(random io.Reader, message []byte, options crypto.SignerOpts) ([]byte, error) {
	return Call("the certificate's private key", func() ([]byte, error) { return crypto.SignMessage(k.Signer, random, message, options) })
}
