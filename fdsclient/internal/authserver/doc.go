// Package authserver is all that is said to a provider's authorization server:
// its metadata (RFC 8414), the authorization request and its redirect (RFC 6749,
// RFC 7636, RFC 9126, RFC 9207), the token endpoint, device codes (RFC 8628), ID
// tokens, introspection (RFC 7662), revocation (RFC 7009), how the application
// proves who it is (RFC 7523, RFC 8705) and what tokens are bound to (RFC 9449).
//
// It knows no owner and no store: whose tokens they are, where they are kept and
// when they are renewed is said in packages fdsclient and grants. Of what the server writes
// nothing gets into an error but what Describe returns.
package authserver
