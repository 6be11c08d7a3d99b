package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// Config is all about one endpoint. Besides what Settings demands, Handler, Owner and one of Keys
// and Introspect are required. fdsclient.Client.Webhook fills it in for a Client's owners.
type Config struct {
	Settings

	// Handler is called for the messages of an owner one at a time, for several owners at once.
	Handler delivery.Handler
	// Batch is in place of Handler, and has the items of one delivery in one call, up to Batch.Most.
	// Those of several deliveries are in one call only with Batch.Across, and of several owners: for
	// the others of its call an owner waits within HandlerTimeout, too.
	Batch *delivery.Batching
	// Owner returns the owner of a subscription ID, when it is one of this application and signed
	// in. An error that matches fds.ErrNoOwner or fds.ErrSignInRequired says that it is not: the
	// delivery is refused (403). After any other error the sender is asked to come again (503). It
	// is called for every delivery, and is to answer from memory.
	Owner func(ctx context.Context, id fds.SubscriptionID) (fds.OwnerKey, error)

	// Turn waits until nobody else of the application calls a handler for an owner, such as the one of
	// a push connection, and has them wait until end is called. It returns why ctx has ended. Nil:
	// there is nobody else.
	Turn func(ctx context.Context, owner fds.OwnerKey) (end func(), err error)

	// Keys fetches the JSON Web Key Set of the issuer (RFC 7517) as it stands, of 1 MiB at most. It
	// is called in the background. Not needed with Introspection.
	Keys func(ctx context.Context) ([]byte, error)
	// Introspect asks the issuer about a token (RFC 7662) and returns the answer's JSON object. It
	// is needed with Introspection.
	Introspect func(ctx context.Context, token fds.Secret) ([]byte, error)

	SubscriptionClaim string      // of the token, a string or an array of strings (W7); default "subscription_id"
	Dialect           fds.Dialect // how an item names its owner and its kind, and an event its ID

	// MaxAttempts is how often Handler is called for a message, however often the sender comes with
	// it, before DeadLetter gets it, which is called until it returns nil. What Handler calls
	// Terminal goes there at once, and does without MaxAttempts; its Unavailable never counts.
	// MaxAttempts needs a DeadLetter; by default a message goes to Handler whenever it comes. What is
	// asked for by delivery.RetryAfter is the answer's Retry-After.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, m delivery.Message, err error) error
	SlowHandler time.Duration // how long a call of Handler may take until it is reported; default 1 min

	Logger *slog.Logger // nil: none
	Hooks  []any        // each a HookAnswer, HookHandled or HookSlowHandler
}

// Settings are those of an endpoint that do not depend on how the application finds its owners.
// Issuer, Audience and Senders are required: without all three of them any token that the provider
// issues, to whichever application and for whatever, would be good enough to forge a delivery.
type Settings struct {
	// Issuer is the issuer identifier of the authorization server whose tokens are taken (RFC 8414
	// section 2), compared byte by byte. For fdsclient.Client.Webhook it is Provider.Issuer, and may be
	// left out.
	Issuer string
	// Audience is what a token must name as its audience: this endpoint, as the provider has
	// registered it, most often its URL. Never that of the provider's own Web API: a token for
	// that is in the hands of every application that reads data.
	Audience string
	// Senders are the client IDs of those who deliver: a token must have been issued to one of
	// them. Never that of this application.
	Senders []string

	// Introspection says that tokens mean nothing to anyone but their issuer, who is asked about
	// each (RFC 7662). By default a token is a JWT (RFC 9068).
	Introspection bool
	// TokenType is the typ of a token's header: "at+jwt", the default (RFC 9068 section 2.1), or
	// what an issuer writes in its place. With "JWT" it is the Audience alone that tells an access
	// token from any other token of the issuer.
	TokenType string
	// Algorithms are those by which tokens may be signed; default RS256, RS384, RS512, PS256, PS384,
	// PS512, ES256, ES384, ES512 and EdDSA. There is no symmetric one, nor none.
	Algorithms []string
	// ClientClaim is the claim that has the client ID to which a token was issued; default
	// "client_id" (RFC 9068 section 2.2). Others write azp or appid.
	ClientClaim string
	// ClockSkew is how far the issuer's and a sender's clock may be from this machine's; default
	// 1 min, at most 5 min.
	ClockSkew time.Duration

	// CertificateBound takes only tokens that are bound to the client certificate of the sender's
	// connection (RFC 8705). A token that is bound is held to it anyway.
	CertificateBound bool
	// ClientRoots returns the authorities of the senders' client certificates: TLSConfig then asks
	// for one, and refuses one of others. With CertificateBound and no ClientRoots any is asked
	// for, self-signed ones too: what counts is that the token names it.
	ClientRoots func(context.Context) (*x509.CertPool, error)

	// Secrets returns the secrets by which an owner's deliveries are signed besides (Standard
	// Webhooks 1.0.0, whsec_ and base64, 24 to 64 bytes); several while one takes over from another.
	// Each delivery must then have a signature by one of them, made within 5 minutes of now. With
	// none for an owner its deliveries are refused. Nil: no signature is looked at.
	Secrets func(ctx context.Context, owner fds.OwnerKey) ([]fds.Secret, error)

	// Proxies are the addresses of reverse proxies that speak TLS in this process's place. Only from
	// them a request may come without TLS, and has its client certificate in the header Client-Cert
	// (RFC 9440), which of anyone else is not looked at. One that passes TLS through to this process
	// is none of them: what a sender wrote there would be believed. See docs/webhooks.md for what
	// such a proxy has to take out of requests.
	Proxies []netip.Prefix

	// Certificate returns this server's certificate for TLSConfig and Serve; CertificateFiles of
	// fdsclient is one that reads files anew. It is asked for each connection.
	Certificate  func(context.Context) (*tls.Certificate, error)
	ExactlyTLS12 bool   // pin TLS 1.2; default 1.2 or newer (W2)
	Path         string // what Serve answers at, a pattern of http.ServeMux such as "/fds/{subscription_id}"; default "/", all paths

	// Folder is where is kept what was handled, so that a sender's repetition is known for one over
	// a restart too. It is this endpoint's alone. Empty: memory alone.
	Folder string
	// MaxMarks bounds how many marks of what was handled are kept, two for most messages; default
	// 1,000,000. Within it they are kept for 76 hours, longer than a sender repeats.
	MaxMarks int

	MaxBody          int           // bytes of a delivery; default 1 MiB, at most 64 MiB; more is refused (413)
	MaxInHand        int           // deliveries in hand at once, of all owners; default 1024; more are asked to come again (503)
	MaxInHandOfOwner int           // and of one owner; default 16; more are asked to come again (429)
	MaxBytes         int           // of all bodies in hand; default 64 MiB, at least MaxBody; more are asked to come again (503)
	MaxConnections   int           // that Serve has open at once; default 4096
	BodyTimeout      time.Duration // for a delivery's body to arrive; default 10 s
	// HandlerTimeout is what a delivery may wait for those before it and be at work; default 15 s.
	// Then the sender is asked to come again (503), and the handler's context ends.
	HandlerTimeout time.Duration
}

// HookAnswer is told of every answer.
type HookAnswer interface{ OnAnswer(Answer) }

// HookHandled is told of every call of the handler, as push.HookHandled is.
type HookHandled interface {
	OnHandled(owner fds.OwnerKey, took time.Duration, err error)
}

// HookSlowHandler is told of each call of the handler that has taken Config.SlowHandler and goes
// on, as push.HookSlowHandler is.
type HookSlowHandler interface {
	OnSlowHandler(owner fds.OwnerKey, took time.Duration)
}

// Answer is what a sender was answered. Do not make a metric's label of the owner: there may be ten
// thousand.
type Answer struct {
	Owner      fds.OwnerKey // zero: it was refused before that was known
	Status     int          // of HTTP
	Messages   int          // that were handed over
	Suppressed int          // that were not, since they had been handled before
	Bytes      int          // of the body
	Took       time.Duration
	Err        error // why it was not taken; nil: it was
}

// State is what can be seen of an endpoint.
type State struct {
	InHand     int       // deliveries at this moment
	Taken      uint64    // deliveries that were answered with success
	TakenAt    time.Time // when the last of them was; zero: none was yet
	Refused    uint64    // that were answered with anything else
	Suppressed uint64    // messages that had been handled before

	KeysAt  time.Time // when the issuer's keys were fetched last; zero: never yet
	KeysErr error     // why they could not be fetched since; the old ones serve on

	Marks     int    // of what was handled
	Forgotten uint64 // marks that went before their 76 hours were over, for MaxMarks
	MarksErr  error  // why they cannot be written; they are known to this process all the same
}
