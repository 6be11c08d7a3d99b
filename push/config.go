package push

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/proxy"
)

// Limiter spaces the connects of many connections that share it.
// *rate.Limiter of golang.org/x/time/rate is one.
type Limiter interface {
	Wait(ctx context.Context) error
}

// Backoff spaces attempts: exponential with full jitter. Except for the first, no
// delay is longer than twice the time that has passed since the first failure.
type Backoff struct {
	Initial     time.Duration // mean of the first delay; default 1 s
	Max         time.Duration // no delay is longer; default 2 min
	StableAfter time.Duration // a connection that lived this long starts the delays anew; default 1 min
	Slow        time.Duration // longest delay while only a person can help; default 5 min
}

// Config is all about one owner's connection. Owner, Root, BrokerURL and
// Certificate are required; every other zero value is a default.
type Config struct {
	Owner fds.OwnerKey
	Root  fds.Root // of the same subscription ID, spelt as the provider does: the client ID (M4) and the topics (M5)

	// BrokerURL is mqtts://host:port, default port 8883; or wss://host:port/path,
	// default port 443 and path /mqtt, where the broker is reachable only by
	// WebSocket. Without TLS there is no way.
	BrokerURL string
	// Fallbacks are more URLs of the same broker, tried in turn after a failed
	// attempt.
	Fallbacks []string
	// AllowedServers are the hosts, or host:port, to which the broker may refer
	// this client (reason codes 0x9C and 0x9D), besides those of the URLs. None:
	// referrals are not followed. TLS verifies the host that is named.
	AllowedServers []string

	RootCAs *x509.CertPool // that the broker's certificate is verified against; nil: the system's
	// Roots returns them anew before each dial, instead of RootCAs.
	Roots        func(ctx context.Context) (*x509.CertPool, error)
	ExactlyTLS12 bool // speak TLS 1.2 and nothing newer

	// Certificate returns the owner's client certificate (M2). It is asked before
	// every dial, so that a renewed one is taken up. What it returns is checked
	// before the dial: dates, key, usage. When it has none, or one that only a
	// person can mend, its error is to match fds.ErrCertificate, or it returns nil:
	// that is waited for (NeedsCertificate). Any other error counts as one that
	// passes, such as a vault's time-out, and is retried as Backoff spaces attempts.
	Certificate func(ctx context.Context) (*tls.Certificate, error)
	// CertificateCheck is about how often it is asked otherwise: at most that long
	// passes between two questions, at least half of it. While connected: when it
	// returns another certificate that can be used, the connection is made anew with
	// that, within as long again but well before the one in use expires. While no
	// certificate can be used, or the broker refuses it: the first questions follow
	// within seconds, and with another certificate the broker is dialled at once.
	// Default 30 s, so that a new certificate is taken up within a minute; choose
	// longer where a question costs something. One that issues another certificate
	// at each call has its owner connect anew every ten minutes at most.
	CertificateCheck time.Duration

	// Topics below the root are what is wanted, see fds.Root.Filter; default "#", everything.
	// What a session from before sends besides is discarded; DiscardHook is told.
	Topics     []string
	AtMostOnce bool // subscribe with quality of service 0: messages may be lost; default 1

	// Subscribed are the full filters that SaveSubscribed was told last, in an
	// earlier run. A session kept by the broker keeps them too, so those that are
	// no longer wanted are unsubscribed.
	Subscribed []string
	// SaveSubscribed stores which filters the broker may know: told before
	// subscribing and after unsubscribing, so that a crash between forgets none.
	// An error is reported and the attempt repeated. Nil: not stored.
	SaveSubscribed func(ctx context.Context, filters []string) error

	SessionExpiry  time.Duration // how long the broker keeps messages for us while we are away; default 24 h, at least 1 s
	KeepAlive      time.Duration // a dead connection is found within one and a half of it; default 60 s, 1 s to 65535 s
	ReceiveMaximum uint16        // unacknowledged messages the broker may send ahead; default 32
	MaxPacketSize  int           // bytes of a packet that is accepted; default 1 MiB, at least 1 KiB; never over 64 KiB for one that carries no message

	ConnectTimeout time.Duration // for TCP, TLS and CONNACK together, then again for subscribing; default 30 s
	WriteTimeout   time.Duration // for each packet; default 10 s
	DrainTimeout   time.Duration // what a handler at work has to finish when Run's context ends; default 10 s

	Backoff Backoff // between attempts to connect
	// TakenOverRetry makes Run try again that long after a take-over, and up to
	// half of that more, instead of ending. At least a minute. After one that is
	// only suspected (TakenOverError.Suspected), which a broker in trouble looks
	// like, Run tries again without it too, as rarely as Backoff.Slow says.
	TakenOverRetry time.Duration

	// MaxAttempts is how often the handler is called for one message before
	// DeadLetter gets it, which is called until it returns nil; then the message is
	// acknowledged. Both or neither must be set; by default a handler is called
	// until it succeeds.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, m delivery.Message, err error) error
	// SlowHandler is how long a call of the handler may take until it is reported:
	// in the log, and to SlowHook. Default 1 minute.
	SlowHandler time.Duration

	HandlerBackoff Backoff // between calls of the handler for a message it failed on; StableAfter and Slow are not used
	Limiter        Limiter // waited for before each dial of Run, once there is a certificate; nil: none

	Logger  *slog.Logger // nil: none
	OnState func(State)  // told every change, in order, before the first message of a new connection is handed over; must not block long

	// BeforeMessages is called on each connection when it is subscribed and
	// OnState was told, before its first message is handed over; its messages wait
	// meanwhile, unacknowledged. ctx ends with the connection and with Run's. An
	// error ends the connection, and the attempt is repeated after a while. (A
	// handler that is still at work on a message of the connection before goes on.)
	BeforeMessages func(ctx context.Context, s Subscribed) error
	// OnAcknowledged is told each message of quality of service 1 or 2 whose
	// acknowledgement was written, in order. It must not block.
	OnAcknowledged func(delivery.Message)

	// Budget bounds what waiting messages take in memory; connections share it. Nil: one
	// of 64 MiB for this connection.
	Budget *Budget

	Hooks any // see AttemptHook, HandledHook, DiscardHook; nil: none

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
	// Dial opens the network connection, for networks that need a way of their own. TLS is
	// always put on top, and Proxy is not used. Nil: TCP, or as Proxy says; where the broker's
	// name has several addresses, one that does not answer is left for the next.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// settings is a validated Config with its defaults filled in.
type settings struct {
	Config
	brokers []server // BrokerURL's and the fallbacks'
	allowed []string // in lower case: a host without brackets, or host:port
	filters []string // full, wanted

	everything bool // one of them is all there is
}

// server is where a broker listens.
type server struct {
	host    string // for the TLS server name
	address string // host:port
	path    string // of the WebSocket; empty: MQTT directly on TLS
	via     string // the proxy's host:port; empty: none, or not dialled yet
}

const (
	minPacketSize = 1 << 10
	maxPacketSize = 268_435_455 + 5 // MQTT 5.0 section 1.5.5: the longest packet there is
	maxKeepAlive  = 65535 * time.Second
	maxExpiry     = (1<<32 - 2) * time.Second // 2^32-1 would mean never
)

// validate fills in defaults and returns all faults at once, each a sentence.
func (c Config) validate() (settings, error) {
	s := settings{Config: c}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("push: %w: "+format, append([]any{fds.ErrConfig}, args...)...))
	}

	if c.Owner.SubscriptionID.IsZero() {
		fault("Owner has no subscription ID")
	}
	if c.Root.SubscriptionID() != c.Owner.SubscriptionID {
		fault("Root must be made from Owner's subscription ID, see fds.ParseRoot")
	}
	for i, text := range append([]string{c.BrokerURL}, c.Fallbacks...) {
		broker, err := parseBrokerURL(text)
		if err != nil && i == 0 {
			fault("BrokerURL: %w", err)
		} else if err != nil {
			fault("Fallbacks: %w", err)
		}
		s.brokers = append(s.brokers, broker)
	}
	for _, allowed := range c.AllowedServers {
		to, ok := parseServer(allowed)
		if !ok {
			fault("AllowedServers holds %q, which is neither a host nor host:port", cut(allowed))
		}
		if _, _, err := net.SplitHostPort(allowed); err != nil { // no port: any will do
			to.address = to.host
		}
		s.allowed = append(s.allowed, to.address)
	}
	if c.Certificate == nil {
		fault("Certificate is missing: a broker identifies an owner by its client certificate (M2)")
	}

	if len(s.Topics) == 0 {
		s.Topics = []string{"#"}
	}
	if !c.Root.SubscriptionID().IsZero() {
		for _, below := range s.Topics {
			filter, err := c.Root.Filter(below)
			if err != nil {
				fault("Topics: %w", err)
				continue
			}
			s.filters = appendNew(s.filters, filter)
			s.everything = s.everything || below == "#"
		}
		for _, filter := range c.Subscribed {
			if prefix := c.Root.String(); len(filter) <= len(prefix) || !strings.EqualFold(filter[:len(prefix)], prefix) {
				fault("Subscribed holds %q, which is not below %s: it was stored for another owner", cut(filter), prefix)
			}
		}
	}

	duration := func(name string, value *time.Duration, standard, least, most time.Duration) {
		switch {
		case *value == 0:
			*value = standard
		case *value < least || *value > most:
			fault("%s is %v; it must lie between %v and %v", name, *value, least, most)
		}
	}
	const day = 24 * time.Hour
	duration("SessionExpiry", &s.SessionExpiry, day, time.Second, maxExpiry)
	duration("KeepAlive", &s.KeepAlive, time.Minute, time.Second, maxKeepAlive)
	duration("ConnectTimeout", &s.ConnectTimeout, 30*time.Second, time.Millisecond, day)
	duration("WriteTimeout", &s.WriteTimeout, 10*time.Second, time.Millisecond, day)
	duration("DrainTimeout", &s.DrainTimeout, 10*time.Second, time.Millisecond, day)
	duration("CertificateCheck", &s.CertificateCheck, 30*time.Second, time.Millisecond, day)
	duration("SlowHandler", &s.SlowHandler, time.Minute, time.Millisecond, day)
	if s.TakenOverRetry != 0 {
		duration("TakenOverRetry", &s.TakenOverRetry, 0, time.Minute, 30*day)
	}
	switch {
	case s.MaxAttempts < 0:
		fault("MaxAttempts is %d; it must be positive, or 0 for no limit", s.MaxAttempts)
	case (s.MaxAttempts > 0) != (s.DeadLetter != nil):
		fault("MaxAttempts and DeadLetter go together: a message that is given up must have a place to go")
	}
	if s.Roots != nil && s.RootCAs != nil {
		fault("RootCAs and Roots are both set; one is enough")
	}
	spacing := func(name string, b *Backoff) {
		duration(name+".Initial", &b.Initial, time.Second, time.Millisecond, day)
		duration(name+".Max", &b.Max, max(2*time.Minute, b.Initial), time.Millisecond, day)
		duration(name+".StableAfter", &b.StableAfter, time.Minute, time.Millisecond, day)
		duration(name+".Slow", &b.Slow, 5*time.Minute, time.Millisecond, day)
		if b.Initial > b.Max {
			fault("%s.Initial is %v, longer than %s.Max, %v", name, b.Initial, name, b.Max)
		}
	}
	spacing("Backoff", &s.Backoff)
	spacing("HandlerBackoff", &s.HandlerBackoff)

	if s.ReceiveMaximum == 0 {
		s.ReceiveMaximum = 32
	}
	switch {
	case s.MaxPacketSize == 0:
		s.MaxPacketSize = 1 << 20
	case s.MaxPacketSize < minPacketSize || s.MaxPacketSize > maxPacketSize:
		fault("MaxPacketSize is %d; it must lie between %d and %d bytes", s.MaxPacketSize, minPacketSize, maxPacketSize)
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.Budget == nil {
		s.Budget = NewBudget(0)
	}
	if err := proxy.Check(c.Proxy); err != nil {
		fault("Proxy: %w", err)
	}
	for _, protocol := range c.ALPN {
		if protocol == "" || len(protocol) > 255 {
			fault("ALPN holds a name of %d bytes; it must have 1 to 255", len(protocol))
		}
	}
	return s, errors.Join(faults...)
}

// parseBrokerURL never repeats the URL, which may hold a password.
func parseBrokerURL(text string) (server, error) {
	fail := func(format string, args ...any) (server, error) { return server{}, fmt.Errorf(format, args...) }
	if text == "" {
		return fail("it is empty; write mqtts://host:8883")
	}
	u, err := url.Parse(text)
	if err != nil {
		return fail("it is not a URL; write mqtts://host:8883")
	}
	port, path := "8883", ""
	switch u.Scheme {
	case "mqtts":
		if u.Path != "" && u.Path != "/" {
			return fail("it may hold host and port only")
		}
	case "wss":
		port, path = "443", cmp.Or(u.Path, "/mqtt")
	case "mqtt", "tcp", "http", "ws":
		return fail("%s has no TLS, which FDS demands (M1); write mqtts://", u.Scheme)
	default:
		return fail("the scheme must be mqtts, MQTT over TLS, or wss")
	}
	port = cmp.Or(u.Port(), port)
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case u.Hostname() == "":
		return fail("it names no host; write mqtts://host:8883")
	case err != nil || number == 0:
		return fail("port %q is not a number between 1 and 65535", cut(port))
	case u.User != nil:
		return fail("it holds a user name or password; FDS brokers identify clients by certificate (M2)")
	case u.RawQuery != "", u.Fragment != "", u.Opaque != "", u.ForceQuery:
		return fail("it may hold host and port only")
	}
	return server{host: u.Hostname(), address: net.JoinHostPort(u.Hostname(), port), path: path}, nil
}

// appendNew appends those of more that list does not hold yet.
func appendNew(list []string, more ...string) []string {
next:
	for _, s := range more {
		for _, known := range list {
			if s == known {
				continue next
			}
		}
		list = append(list, s)
	}
	return list
}
