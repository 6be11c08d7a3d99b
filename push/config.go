package push

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// Backoff spaces attempts: exponential with full jitter. Except for the first, no
// delay is longer than twice the time that has passed since the first failure.
type Backoff struct {
	Initial     time.Duration // mean of the first delay; default 1 s
	Max         time.Duration // no delay is longer; default 2 min
	StableAfter time.Duration // a connection that lived this long starts the delays anew; default 1 min
	Slow        time.Duration // longest delay while only a person can help; default 5 min
}

// Config is all about one owner's connection. Root, BrokerURL and Certificate are required;
// every other zero value is a default.
type Config struct {
	// Issuer is the issuer identifier of the owner's provider (RFC 8414 section 2): with the
	// subscription ID of Root it names the owner.
	Issuer string
	Root   fds.Root // spelt as the provider does: the client ID (M4) and the topics (M5)

	// BrokerURL is mqtts://host:port, default port 8883; or wss://host:port/path,
	// default port 443 and path /mqtt, where the broker is reachable only by
	// WebSocket. Without TLS there is no way.
	BrokerURL string

	// Roots returns, before each dial, the authorities that the broker's certificate is
	// verified against. Nil: the system's.
	Roots        func(ctx context.Context) (*x509.CertPool, error)
	ExactlyTLS12 bool // speak TLS 1.2 and nothing newer

	// Dial opens the network connection, for networks that need a way of their own. TLS is
	// always put on top, and Proxy is not used. Nil: TCP, or as Proxy says; where the broker's
	// name has several addresses, one that does not answer is left for the next.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Certificate returns the owner's client certificate (M2). It is asked before
	// every dial, so that a renewed one is taken up. What it returns is checked
	// before the dial: dates, key, usage. When it has none, or one that only a
	// person can mend, its error is to match fds.ErrCertificate, or it returns nil:
	// that is waited for (NeedsCertificate). Any other error counts as one that
	// passes, such as a vault's time-out, and is retried as Backoff spaces attempts.
	Certificate func(ctx context.Context) (*tls.Certificate, error)

	// Subscribed are the full filters that SaveSubscribed was told last, in an
	// earlier run. A session kept by the broker keeps them too, so those that are
	// no longer wanted are unsubscribed.
	Subscribed []string
	// SaveSubscribed stores which filters the broker may know: told before
	// subscribing and after unsubscribing, so that a crash between forgets none.
	// An error is reported and the attempt repeated. Nil: not stored.
	SaveSubscribed func(ctx context.Context, filters []string) error

	Settings

	// Dialect is how the provider writes items, for the Kind and the Key of messages; each is parsed
	// for it, before it waits for its turn. It must not be changed. Nil: neither is known.
	Dialect *fds.Dialect

	Logger  *slog.Logger // nil: none
	Hooks   []any        // each a HookConnect, HookHandled, HookDiscarded or HookSlowHandler
	OnState func(State)  // told every change, in order, before the first message of a new connection is handed over; must not block long

	// BeforeMessages is called on each connection when it is subscribed and
	// OnState was told, before its first message is handed over; its messages wait
	// meanwhile, unacknowledged. ctx ends with the connection and with Run's. An
	// error ends the connection, and the attempt is repeated after a while. (A
	// handler that is still at work on a message of the connection before goes on.)
	BeforeMessages func(ctx context.Context, s Subscribed) error
	// Fence is asked before each connect, which takes the session over from whoever has it, before each
	// message is handed over, and before each acknowledgement is written:
	// an error, or a panic, says that this process may not go on with the owner, as when its lease of
	// the owner is over. Then nothing more is handed over or acknowledged, Run ends with an error that
	// matches fds.ErrFenced, and the broker keeps the session, with what is unacknowledged. It is to
	// answer from memory: reading waits for it. Nil: there is none.
	Fence func() error
	// OnAcknowledged is told each message of quality of service 1 or 2 that is acknowledged, in
	// order: the acknowledgement is written, or waits a moment for those of what came with it. It
	// must not block.
	OnAcknowledged func(delivery.Message)
}

// Settings are those of a connection that owners have in common. The zero value stands for
// the defaults.
type Settings struct {
	// Topics below the root are what is wanted, see fds.Root.Filter; default "#", everything.
	// What a session from before sends besides is discarded; HookDiscarded is told.
	Topics     []string
	AtMostOnce bool // subscribe with quality of service 0: messages may be lost; default 1

	// Fallbacks are more URLs of the same broker, tried in turn after a failed
	// attempt.
	Fallbacks []string
	// AllowedServers are the hosts, or host:port, to which the broker may refer
	// this client (reason codes 0x9C and 0x9D), besides those of the URLs. None:
	// referrals are not followed. TLS verifies the host that is named.
	AllowedServers []string

	SessionExpiry  time.Duration // how long the broker keeps messages for us while we are away; default 24 h, at least 1 s
	KeepAlive      time.Duration // a dead connection is found within one and a half of it; default 60 s, 1 s to 65535 s
	ReceiveMaximum uint16        // unacknowledged messages the broker may send ahead; default 32; see RunBatches
	MaxPacketSize  int           // bytes of a packet that is accepted; default 1 MiB, at least 1 KiB; never over 64 KiB for one that carries no message

	ConnectTimeout time.Duration // for TCP, TLS and CONNACK together, then again for subscribing; default 30 s
	WriteTimeout   time.Duration // for each packet; default 10 s
	DrainTimeout   time.Duration // what a handler at work has to finish when Run's context ends; default 10 s

	// CertificateCheck is about how often the client certificate's source is asked besides:
	// at most that long passes between two questions, at least half of it. While connected:
	// when it returns another certificate that can be used, the connection is made anew with
	// that, within as long again but well before the one in use expires. While no
	// certificate can be used, or the broker refuses it: the first questions follow
	// within seconds, and with another certificate the broker is dialled at once.
	// Default 30 s, so that a new certificate is taken up within a minute; choose
	// longer where a question costs something. One that issues another certificate
	// at each call has its owner connect anew every ten minutes at most.
	CertificateCheck time.Duration

	Backoff Backoff    // between attempts to connect
	Limit   *fds.Limit // of the connects of Run, each until CONNACK, once there is a certificate; nil: none
	// TakenOverRetry makes Run try again that long after a take-over, and up to
	// half of that more, instead of ending. At least a minute. After one that is
	// only suspected (TakenOverError.Suspected), which a broker in trouble looks
	// like, Run tries again without it too, as rarely as Backoff.Slow says.
	TakenOverRetry time.Duration

	// MaxAttempts is how often the handler is called for one message before
	// DeadLetter gets it, which is called until it returns nil; then the message is
	// acknowledged. What the handler calls Terminal goes there at once, and does without
	// MaxAttempts; its Unavailable never counts. MaxAttempts needs a DeadLetter; by default
	// a handler is called until it succeeds.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, m delivery.Message, err error) error
	// SlowHandler is how long a call of the handler may take until it is reported:
	// in the log, and to HookSlowHandler. Default 1 minute.
	SlowHandler    time.Duration
	HandlerBackoff Backoff // between calls of the handler for a message it failed on; StableAfter and Slow are not used

	// Budget bounds what waiting messages take in memory; connections share it. Nil: one
	// of 64 MiB for this connection.
	Budget *Budget

	// Proxy is the way to the broker, for mqtts and wss: "" takes the one that the
	// environment names in HTTPS_PROXY (http:// or https://, by CONNECT, with user name and
	// password where the URL has them) or else ALL_PROXY (socks5://), to hosts that NO_PROXY
	// does not except; "none" takes none; a URL is the proxy for every host. One of the
	// environment that forbids the broker's port is gone round, and that is logged. What else
	// goes wrong with a proxy is an error that names it. TLS goes through to the broker.
	Proxy string
	// ALPN are application protocols to offer in the TLS handshake of mqtts (RFC 7301), for
	// brokers that share a port with others: "mqtt", or AWS IoT's "x-amzn-mqtt-ca".
	ALPN []string
}
