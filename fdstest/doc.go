// Package fdstest is an FDS information provider in a box: an authorization
// server, the Web API, an MQTT broker and a certificate authority of its own,
// on loopback ports of this process, with owners whose made-up sites live.
// Start one in a test or a demonstration, point a client at it, and switch on
// what shall go wrong.
//
//	p := fdstest.New(t, fdstest.Options{Quiet: true})
//	owner := p.Owners()[0]
//	// ... begin a sign-in with p.Issuer(), p.RootCAs() and the client "fdsdemo"
//	err := p.Approve(ctx, authorizationURL, owner)
//	off := p.Inject(fdstest.DropAfterWork(fdstest.TokenEndpoint).Times(1))
//
// # What it is like
//
// All servers speak TLS 1.2 or newer (W1, W2, M1) on 127.0.0.1, with
// certificates for 127.0.0.1, ::1 and localhost; those of HTTP speak HTTP/2 to
// clients that want it, and HTTP/1.1. The authorization server wants
// PKCE with S256, rotates refresh tokens and ends a grant when an old one comes
// again; it gives a refresh token for the scope offline_access with
// prompt=consent. Its consent page asks for no password: whoever opens it is the
// person. The broker wants a client certificate whose common name is the client
// ID (M2, M4) and keeps clients to their own topics (M5). What FDS leaves open,
// such as sub-topics and query parameters, is this box's own choice and not a
// rule that a client may rely on.
//
// # Ways in
//
// Options switches on what else an authorization server may offer or demand, and
// the metadata says so: client certificates and signed assertions in place of
// secrets (W4; RFC 8705, RFC 7523), access tokens bound to a certificate or a key
// (RFC 8705, DPoP of RFC 9449), pushed authorization requests (RFC 9126), resource
// indicators (RFC 8707), devices without a browser (RFC 8628), introspection (RFC
// 7662), opaque access tokens. Application says what one application uses or is
// held to, the client credentials grant included. The box is strict: a proof or
// an assertion that is only nearly right is refused, and error_description says
// why. There are no implicit and password grants.
//
//	p := fdstest.New(t, fdstest.Options{AuthMethods: []fdstest.AuthMethod{fdstest.TLSClientAuth}})
//	err := p.AddClient(fdstest.Application{ID: "fleet", AuthMethod: fdstest.TLSClientAuth, RedirectURIs: uris})
//	certificate, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "fleet"})
//
// # Lists
//
// Options.WebAPI has the Web API speak other dialects: pages by number, by cursor
// or by Link header, lists in objects, other separators, a language, gzip.
//
//	p := fdstest.New(t, fdstest.Options{WebAPI: fdstest.WebAPI{
//		ListMember: "items",
//		Paging:     fdstest.Paging{CursorParameter: "cursor", CursorMember: "next_cursor", Size: 50},
//	}})
//
// # What goes wrong
//
// Provider.Inject switches on a Fault, until its off function is called or as
// often as Fault.Times says. Faults at an Endpoint fit every HTTP server
// (Slow, Answer, Unauthorized, Forbidden, TooManyRequests, Unavailable,
// OAuthError, AnotherNonce, WebPage, Redirect, Oversized, GzipBomb, Endless,
// Drip, Truncated, DropBeforeWork, DropAfterWork); others fit the Web API
// (NextPageIsItself, LoseTagAnswer), change what
// the authorization server says (MetadataMember, ResponseIssuer,
// TokenAnswerMember, NoNewRefreshToken, TokenSubscription, ...) or how the
// broker behaves (DropConnections, LoseSessions, AnswerConnect, Disconnect,
// SilentBroker, ...).
//
// Nothing is kept: keys, tokens and data end with the Provider. It shares no
// code with the client packages of this module, so that the two cannot agree on
// a mistake.
package fdstest
