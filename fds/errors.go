package fds

import "errors"

// Classes of errors that several packages of this module tell apart. Package
// fdsclient has each under the same name, and says more.
var (
	// ErrConfig: a configuration is wrong; the text names every fault.
	ErrConfig = errors.New("wrong configuration")
	// ErrForeignRedirect: a redirect that does not belong to the pending sign-in.
	ErrForeignRedirect = errors.New("redirect of another sign-in")
	// ErrIssuer: an authorization server spoke under another name than the one
	// configured (RFC 8414 section 3.3, RFC 9207 section 2.4).
	ErrIssuer = errors.New("issuer does not match")
	// ErrNoSubscription: what the provider issued names no subscription ID (W7).
	ErrNoSubscription = errors.New("no subscription ID in the token")
	// ErrUnavailable: the provider could not be reached or did not answer as it
	// should. Trying again later helps.
	ErrUnavailable = errors.New("provider not available")
)
