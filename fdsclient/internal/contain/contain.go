// Package contain calls code that is the application's. That it panics harms no more than
// that it fails.
package contain

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
)

// Call returns what call does, or an error that names what panicked.
func Call[T any](what string, call func() (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(what, p)
		}
	}()
	return call()
}

// Source returns source, each call of it contained; nil for nil.
func Source[T any](what string, source func(context.Context) (T, error)) func(context.Context) (T, error) {
	if source == nil {
		return nil
	}
	return func(ctx context.Context) (T, error) {
		return Call(what, func() (T, error) { return source(ctx) })
	}
}

// Do calls what the application gave us by that name, and logs a panic with its place,
// besides that it becomes an error.
func Do(log *slog.Logger, what string, call func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(what, p)
			log.Error("a function of the application panicked", "error", err, "stack", string(debug.Stack()))
		}
	}()
	call()
	return nil
}

func panicked(what string, value any) error {
	return fmt.Errorf("fdsclient: %s panicked: %q", what, authserver.Describe(fmt.Sprint(value)))
}

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
