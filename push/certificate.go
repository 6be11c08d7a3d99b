package push

import (
	"crypto"
	"crypto/x509"
	"slices"
)

// forClients reports whether RFC 5280 section 4.2.1.12 lets the certificate
// identify a TLS client, and section 4.2.1.3 lets its key sign.
func forClients(leaf *x509.Certificate) bool {
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return false
	}
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// keyMatches reports whether key, which may live in a hardware module, is the
// certificate's.
func keyMatches(leaf *x509.Certificate, key crypto.PrivateKey) bool {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(signer.Public())
}
