package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"time"
)

// answerWithoutTLS answers a TLS handshake as a port does that speaks something else,
// where that fault is on, and closes the connection.
func (c *conn) answerWithoutTLS() bool {
	answer := c.broker.faults.Load().of("").WithoutTLS
	if answer == "" {
		return false
	}
	var hello [1]byte
	if _, err := io.ReadFull(c.raw, hello[:]); err == nil {
		_, _ = io.WriteString(c.raw, answer)
		c.raw.SetDeadline(time.Now().Add(lingerPeriod))
		_, _ = io.Copy(io.Discard, c.raw)
	}
	c.kill()
	c.broker.untrack(c)
	return true
}

// answerForeign sends what is no MQTT 5.0, where that fault is on for the client, or for all
// with "", and returns once the client has closed. For all the connection ends here.
func (c *conn) answerForeign(clientID string) bool {
	answer := c.broker.faults.Load().of(clientID).Foreign
	if answer == "" {
		return false
	}
	_, _ = io.WriteString(c.stream, answer)
	c.raw.SetDeadline(time.Time{})
	c.drain()
	if clientID == "" {
		c.kill()
		c.broker.untrack(c)
	}
	return true
}

var errNoProtocol = errors.New("the client offers no application protocol that is served here")

// noProtocol is the TLS alert no_application_protocol (RFC 7301 section 3.2). crypto/tls
// sends it to a client that offers others, not to one that offers none.
var noProtocol = []byte{21, 3, 3, 0, 2, 2, 120}

// tlsConfig is the configuration of one connection.
func (c *conn) tlsConfig() *tls.Config {
	faults := c.broker.faults.Load().of("")
	protocol, weak := faults.Protocol, faults.Weak
	if protocol == "" && weak == (Weaknesses{}) {
		return c.broker.config.TLS
	}
	config := c.broker.config.TLS.Clone()
	if weak.OldTLS {
		config.MinVersion = tls.VersionTLS10
	}
	switch {
	case weak.AnyAuthority && weak.NoCertificate:
		config.ClientAuth = tls.RequestClientCert
	case weak.AnyAuthority:
		config.ClientAuth = tls.RequireAnyClientCert
	case weak.NoCertificate:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if protocol == "" {
		return config
	}
	config.NextProtos = []string{protocol}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, protocol) {
			return nil, nil // go on with this one
		}
		_, _ = c.raw.Write(noProtocol)
		return nil, errNoProtocol
	}
	return config
}

// idInUse reports whether a request is answered 0x91; see Faults.IDsInUse. The caller
// holds the owner's lock.
func (c *conn) idInUse(packetID uint16) bool {
	o := c.owner.Load()
	limit := c.broker.faults.Load().of(o.clientID).IDsInUse
	if limit == 0 {
		return false
	}
	if o.session.inFlight[packetID] != nil {
		return true
	}
	c.inUse++
	return c.inUse < limit
}

// repeatSoon is armRepeat after the faults have changed.
func (o *owner) repeatSoon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armRepeat()
}

// armRepeat begins to send again what is not acknowledged, where Faults.RepeatAfter is on.
// The caller holds o.mu.
func (o *owner) armRepeat() {
	s := o.session
	if s == nil || o.conn == nil {
		return
	}
	if s.repeat != nil {
		s.repeat.Stop()
		s.repeat = nil
	}
	after := o.broker.faults.Load().of(o.clientID).RepeatAfter
	if after <= 0 {
		return
	}
	c := o.conn
	s.repeat = time.AfterFunc(max(after/4, time.Millisecond), func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.session != s || o.conn != c || c.ending {
			return
		}
		now := time.Now()
		var due []*delivery
		for _, d := range s.inFlight {
			if d.sent && now.Sub(d.sentAt) >= after {
				d.sent = false
				s.window--
				due = append(due, d)
			}
		}
		slices.SortFunc(due, func(x, y *delivery) int { return int(x.sequence) - int(y.sequence) })
		if s.resend = append(s.resend, due...); len(due) > 0 {
			c.kick()
		}
		o.armRepeat()
	})
}
