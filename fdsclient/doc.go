// Package fdsclient lets an application read what belongs to resource owners at
// an FDS information provider. A Client is the application's registration with
// one provider. An owner's user signs in once, through the browser
// (Client.SignIn, or BeginSignIn and FinishSignIn when the browser is
// elsewhere), and from then on the Client has an Owner: its grant is stored,
// renewed ahead of its expiry and found again after a restart (Client.Owners).
//
// An Owner gives its access token (Owner.Token), reads the provider's Web API
// (Owner.Pull) and receives what the provider publishes (Client.Run, for all
// owners at once, each on its own MQTT connection with its own certificate).
//
// What an outage of the broker's connection may have lost is fetched from the Web
// API and goes to the same handler (Gaps); where a provider has no broker, Run polls
// in its place (Poll).
//
// # Ways in
//
// Client.SignIn uses the browser of this machine, and its option ReadRedirect one
// elsewhere whose last address the user pastes. Client.BeginSignIn and
// Client.FinishSignIn serve an application with an https redirect URI of its own,
// Client.SignInDevice a machine without a browser (RFC 8628), and
// Client.SignInApplication an application whose token needs no user (W8). All end
// in Owners whose grants are kept in the same way. The implicit and the password
// grant are not supported (RFC 9700).
//
// The application proves who it is (W4) by a client certificate (RFC 8705), by
// assertions of a private key (RFC 7523), by a secret, or not at all. Tokens can be
// bound to the certificate, or to a key of their own (RFC 9449), and authorization
// requests pushed (RFC 9126). See Application; nothing but the credential needs
// setting where the provider's metadata say the rest.
//
// For requests of your own Owner.RoundTripper carries the token to the provider
// and to nobody else.
//
// # What it promises about grants
//
// A rotated refresh token is stored before anyone sees the access token that
// came with it, on a time of its own that no caller can cut short. One process
// at a time renews a grant, under the store's lock. Only the provider's
// invalid_grant and its OpenID kin mean that the user must sign in again
// (ErrSignInRequired); everything else, a proxy's 403, a page in HTML, a time-out,
// is tried again, and the grant is kept. One window no client can close: when the
// server has rotated the token and its answer never arrives, the stored token is
// spent; a server that allows a retry heals it, another answers invalid_grant.
//
// # Secrets
//
// No token, code, verifier or client secret appears in an error, a log line or
// %+v. A Token and an Attempt redact themselves.
package fdsclient
