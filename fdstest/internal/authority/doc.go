// Package authority is the authorization server of the provider in a box: it
// lets a person choose for which resource owners an application may act, and
// issues that application the tokens that say so.
//
// It speaks OAuth 2.0 (RFC 6749) with the authorization code grant and PKCE
// (RFC 7636, S256 only), and OpenID Connect Core 1.0 as far as ID tokens go.
// Metadata is RFC 8414 and OpenID Connect Discovery, the response names its
// issuer (RFC 9207), access tokens are JWTs (RFC 9068) and carry the
// subscription IDs (W6, W7), refresh tokens rotate and the use of an old one
// ends its grant (RFC 9700 section 4.14.2), and both kinds are revoked by RFC
// 7009.
//
// What else such a server may offer is off unless Config says otherwise: client
// certificates and tokens bound to them (RFC 8705), signed assertions (RFC 7523),
// DPoP (RFC 9449), pushed authorization requests (RFC 9126), resource indicators
// (RFC 8707), devices (RFC 8628), introspection (RFC 7662). One file holds what
// one of these says.
//
// Everything is kept in memory and bounded. Signing keys are made at start, so
// tokens do not outlive the server.
package authority
