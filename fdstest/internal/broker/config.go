package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Config says how a broker behaves. Only TLS is required.
type Config struct {
	// TLS is the server's configuration: its certificate and, in ClientCAs, the
	// authorities whose client certificates it takes. New copies it, demands a
	// verified client certificate whatever ClientAuth says (M2), and raises
	// MinVersion to TLS 1.2 (M1). GetConfigForClient is refused, because it
	// could lift both rules.
	TLS *tls.Config

	// Provider reports whether a verified certificate belongs to an information
	// provider, whose client may publish below fds/v2/ and not subscribe (M6).
	// Its client ID must not be empty nor a subscription ID. Nil: no client may
	// publish.
	Provider func(*x509.Certificate) bool

	// Logger gets the broker's log. Nil: no log.
	Logger *slog.Logger

	// SessionExpiryMax bounds how long a session outlives its connection, in
	// whole seconds; CONNACK returns what was granted. 0: 24 hours. Negative:
	// no session outlives its connection.
	SessionExpiryMax time.Duration

	// ServerKeepAlive, in whole seconds up to 65,535, replaces every client's
	// keep-alive. 0: each client's own holds, and a client that asks for none
	// has none.
	ServerKeepAlive time.Duration

	// SessionChanges is called, with an owner locked, before a client learns that its
	// session is new or has other subscriptions. Nil: nobody is told.
	SessionChanges func(clientID string)

	// MaximumPacketSize bounds what a client may send, in bytes. 0: 256 KiB.
	MaximumPacketSize int

	// ReceiveMaximum is announced to clients: how many QoS 1 messages one may
	// publish before it is answered. 0: 64.
	ReceiveMaximum uint16

	// QoS0Buffer is how many QoS 0 messages wait for a connected client that
	// reads slowly; more are dropped and counted. 0: 256.
	QoS0Buffer int

	// ConnectTimeout bounds the TLS handshake, and again the wait for CONNECT.
	// 0: 10 seconds.
	ConnectTimeout time.Duration

	// WriteTimeout bounds one write to a client, of at most some 16 KiB or one
	// packet; the connection of a client that takes longer is closed, its
	// session stays. 0: 30 seconds.
	WriteTimeout time.Duration
}

// normalized checks c and returns it with its defaults filled in.
func (c Config) normalized() (Config, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	switch {
	case c.TLS == nil:
		fault("Config.TLS is missing: the broker speaks TLS only")
	default:
		if len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil {
			fault("Config.TLS has no server certificate: set Certificates or GetCertificate")
		}
		if c.TLS.ClientCAs == nil {
			fault("Config.TLS has no ClientCAs: no client certificate could be verified")
		}
		if c.TLS.GetConfigForClient != nil {
			fault("Config.TLS has GetConfigForClient, which could lift the demand for a client certificate: use GetCertificate")
		}
		c.TLS = c.TLS.Clone()
		c.TLS.ClientAuth = tls.RequireAndVerifyClientCert
		c.TLS.MinVersion = max(c.TLS.MinVersion, tls.VersionTLS12)
		c.TLS.DynamicRecordSizingDisabled = true // a batch is one write, not a dozen small records
	}
	seconds := func(name string, d time.Duration, most int64) {
		if d > 0 && (d%time.Second != 0 || int64(d/time.Second) > most) {
			fault("Config.%s is %v: it must be whole seconds, at most %d", name, d, most)
		}
	}
	seconds("SessionExpiryMax", c.SessionExpiryMax, math.MaxUint32-1)
	seconds("ServerKeepAlive", c.ServerKeepAlive, math.MaxUint16)
	if c.ServerKeepAlive < 0 {
		fault("Config.ServerKeepAlive is negative")
	}
	if c.MaximumPacketSize != 0 && (c.MaximumPacketSize < 128 || c.MaximumPacketSize > maxPacket) {
		fault("Config.MaximumPacketSize is %d: it must be between 128 and %d bytes", c.MaximumPacketSize, maxPacket)
	}
	if c.QoS0Buffer < 0 || c.ConnectTimeout < 0 || c.WriteTimeout < 0 {
		fault("Config.QoS0Buffer, ConnectTimeout and WriteTimeout must not be negative")
	}
	if len(faults) > 0 {
		return c, fmt.Errorf("broker: new: %w", errors.Join(faults...))
	}

	if c.SessionChanges == nil {
		c.SessionChanges = func(string) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.SessionExpiryMax, 24*time.Hour)
	setDefault(&c.MaximumPacketSize, 256<<10)
	setDefault(&c.ReceiveMaximum, 64)
	setDefault(&c.QoS0Buffer, 256)
	setDefault(&c.ConnectTimeout, 10*time.Second)
	setDefault(&c.WriteTimeout, 30*time.Second)
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
