// Package dpop checks the proofs with which a client shows that it holds the key
// that its tokens are bound to (RFC 9449), as an authorization server and a
// resource server must, and makes the nonces that such a server may ask for.
package dpop
