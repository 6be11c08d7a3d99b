// Package fdsclient is the front door of this SDK: it lets an application read what belongs to
// resource owners at an FDS information provider.
//
// A [Client] is the application's registration with one provider. An owner's user signs in once,
// and from then on the Client has an [Owner]. Its grant is stored, renewed ahead of its expiry,
// and found again after a restart.
//
//   - [Client.SignIn] signs an owner's user in; [Client.Owners] returns those of earlier runs.
//   - [Owner.Pull] reads the owner's part of the provider's Web API.
//   - [Client.Run] receives what the provider publishes, for all owners at once, each on its own
//     MQTT connection with its own certificate. What an outage of a connection may have lost is
//     fetched from the Web API and goes to the same handler ([Gaps]). Where a provider has no
//     broker, Run polls in its place ([Poll]).
//   - [Client.Webhook] takes what a provider delivers to an HTTPS endpoint of the application, for
//     the same handler.
//   - [Owner.Token] is the access token, and [Owner.RoundTripper] carries it in requests of your
//     own, to the provider and to nobody else.
//   - [Owner.SignOut] revokes the grant and deletes it.
//   - [Retryable] and [SignInNeeded] say what to do about any error of this module.
//
// example_test.go in this folder is a whole round, with the provider in a box of package
// fdstest: copy it.
//
// # Ways in
//
//   - [Client.SignIn] uses the browser of this machine. With its option ReadRedirect it uses one
//     elsewhere, whose last address the user pastes.
//   - [Client.BeginSignIn] and [Client.FinishSignIn] serve an application with an https redirect
//     URI of its own.
//   - [Client.SignInDevice] serves a machine without a browser (RFC 8628).
//   - [Client.SignInApplication] serves an application whose token needs no user (W8).
//
// All end in Owners whose grants are kept in the same way. The implicit and the password grant
// are not supported (RFC 9700).
//
// The application proves who it is (W4) by a client certificate (RFC 8705), by assertions of a
// private key (RFC 7523), by a secret, or not at all. Tokens can be bound to the certificate, or
// to a key of their own (RFC 9449). Authorization requests can be pushed (RFC 9126). See
// [Application]: where the provider's metadata say the rest, nothing but the credential needs
// setting.
//
// # What to register
//
// For SignIn a provider must know the redirect URIs http://127.0.0.1 and http://[::1] with the
// path that [RedirectPath] returns for its issuer, for any port (RFC 8252 section 7.3) or for
// those of Application.RedirectPorts. A provider that knows the path /callback from an earlier
// version goes on with Application.RedirectPath; see there for what that loses.
//
// For BeginSignIn a provider must know Application.RedirectURL, and each provider one of its own.
// SignInDevice and SignInApplication need no redirect URI.
//
// SignIn begins at a page on the loopback that works once, and sends the browser a cookie, which
// the redirect must bring back. So a sign-in ends in the browser in which it began, whoever has
// seen its URL. On Linux the page is refused to other users of the machine. macOS and Windows do
// not show them its address. On other systems one who reads the arguments of processes, and is
// faster than the browser, is found out when the browser comes second: that ends a sign-in that is
// pending.
//
// # What it promises about grants
//
// A refresh token may be spent by the request that carries it. So before the provider is asked,
// the store makes sure that the answer has its place (tokenstore.Store.Reserve). Where it cannot,
// as on a full disk, the provider is not asked.
//
// A new refresh token is stored before anything else is done with the answer, whatever is wrong
// with the rest of it, and before anyone sees the access token that came with it. It is stored on
// a time of its own, which no caller can cut short. One process at a time renews a grant, under
// the store's lock.
//
// The answer is waited for as long as the provider's connection lives, 3 minutes at most. If the
// connection dies, or a gateway answers 502 or 504, the request may have been carried out. It is
// then repeated once, within seconds, since providers that allow for that give the same answer
// again for about half a minute; and otherwise rarely. A note in the stored record says who asks,
// and since when. A process that dies leaves the note, and the next one makes the one retry.
//
// Meanwhile:
//
//   - Owner.Token returns the access token of before while it is valid, and else waits as its
//     context allows.
//   - Client.Close waits for the answer, for it must be saved, but ends whatever has not asked
//     yet.
//   - Owner.SignOut waits for the grant's lock, as its context allows, and then revokes what the
//     renewal brought.
//   - Another process waits for the lock for 4 minutes, and then takes what was stored.
//
// Only the provider's invalid_grant and its kin (see Provider.FinalErrors) mean that the user must
// sign in again (fds.ErrSignInRequired), and only when the provider says so twice, at least 30
// seconds apart: some refuse a good token once. After a lost answer its repetition counts as the
// second time. Everything else, a proxy's 403, a page in HTML, a time-out, is tried again, and the
// grant is kept. A grant that has lapsed is asked about once a day, one every 10 seconds at most.
//
// A renewed token for other owners than the grant's is final at once. Where it still names some
// of them, the others end (HookSignInNeeded) and these go on.
//
// One window no client can close: when the process dies between the provider's answer and the
// save, or the answer never arrives, the stored token is spent. A provider that returns its answer
// again heals that; another refuses.
//
// # Whose data
//
// Nothing is handed over, read or shown under an owner of whom it is not certain.
//
// Owners who signed in together have one grant, and its token reads the data of all of them. Then
// an item is an owner's where it says so (Dialect.SubscriptionMember), or where the request asked
// for that owner's alone (Dialect.SubscriptionParameter). Where the provider has neither,
// Owner.Pull fails with an error that matches fds.ErrOwner, gaps stay open with it, and
// [Owner.PullGrant] reads what the grant as a whole can. Messages of a connection are the owner's
// by their topic.
//
// An owner who signs out of such a grant is not read any more, though the grant could; see
// SignOutError.HeldBy.
//
// # One consumer
//
// An owner is followed by one Run with a handler at a time, in a Client and, where Config.State is a
// statestore.Claimer, among all processes that use it: see Client.Run. Replicas that share owners
// out among themselves use [Client.RunWhere]: a [Selection] says whom this one has, at each moment,
// and to what each owner's messages go. Selection.Fence ends an owner whose lease is over, and
// Selection.Stopped tells when the next replica may have it.
//
// # Webhooks
//
// A provider that delivers, in place of a broker or besides, needs an endpoint that it can reach.
// [Client.Webhook] makes one, an http.Handler that can also serve itself. It takes a delivery with
// an access token of the provider's that was issued for this endpoint (Audience) to one of the
// provider's own clients (Senders), and that names an owner who is signed in here. All three must
// be agreed on: the provider's other tokens, which any application has, are not enough.
//
//	receiver, err := client.Webhook(webhook.Settings{
//		Audience:    "https://app.example.com/fds",
//		Senders:     []string{"provider-sender"},
//		Certificate: fdsclient.CertificateFiles("app.pem", "app.key"),
//		Folder:      "/var/lib/fleet/webhook",
//	}, handler)
//	...
//	err = receiver.Serve(ctx, listener)
//
// Run keeps the grants meanwhile, with a nil handler or, for a broker too, the same one. A Run and
// a Receiver of one Client call no two handlers at once for one owner. See package webhook for what
// is answered, and docs/webhooks.md for a reverse proxy in front.
//
// # Hooks
//
// Each value in Config.Hooks implements one or more of these interfaces, of one method each:
//
//   - [HookRenewed], [HookRenewalFailing], [HookSignInNeeded], [HookStoreUnavailable]: grants;
//   - [HookCertificate]: client certificates;
//   - [HookConnection]: every change of a connection's state, from its beginning to its end;
//   - [push.HookConnect]: every attempt to connect, with how long it took;
//   - [HookGap], [HookPoll]: what is fetched from the Web API;
//   - [push.HookHandled], [push.HookSlowHandler], [push.HookDiscarded]: messages, whichever way
//     they came;
//   - [webhook.HookAnswer]: what senders of webhooks are answered.
//
// They are called where the thing happens and must be fast and safe for concurrent use. What
// one panics with is logged. An owner must not become a metric's label: there may be ten
// thousand. New refuses a value that implements none of them, or has a method of one with
// another signature.
//
// # Faults of a configuration
//
// New returns all at once, as a *fds.ConfigError. A fault's Field is the setting's path from the
// Config down that New was given, so that it is Provider.APIURL here and BaseURL in pull.New, with
// an index where it is of a list: Hooks[1]. example_faults_test.go has them in the words of an
// application's own file.
//
// # Secrets
//
// No token, code, verifier or client secret appears in an error, a log line or %+v. A Token and an
// Attempt redact themselves.
package fdsclient
