package broker

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// admit does the TLS handshake and reads CONNECT. What follows runs in a new
// goroutine, because a handshake leaves a large stack behind.
func (c *conn) admit() {
	b := c.broker
	b.waitWhileSilent(c, "")
	c.raw.SetDeadline(time.Now().Add(b.config.ConnectTimeout))
	if c.answerWithoutTLS() {
		return
	}
	leaf, err := c.handshake()
	if err == nil && c.answerForeign("") {
		return
	}
	if err == nil {
		c.raw.SetDeadline(time.Now().Add(b.config.ConnectTimeout))
		if c.connect(leaf) {
			go c.serve()
			return
		}
	} else {
		b.handshakesFailed.Add(1)
		b.config.Logger.Info("TLS handshake failed", "error", err)
	}
	c.kill()
	b.untrack(c)
}

// handshake returns the client's certificate, which crypto/tls has demanded and
// verified (M2); an empty one where that is not done, see Weaknesses.
func (c *conn) handshake() (*x509.Certificate, error) {
	secure := c.stream.(*tls.Conn)
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	if shown := secure.ConnectionState().PeerCertificates; len(shown) > 0 {
		return shown[0], nil
	}
	return new(x509.Certificate), nil
}

// oldProtocolRefused is a CONNACK of MQTT 3.1.1 that says "unacceptable
// protocol level"; such a client could not read one of MQTT 5.0.
var oldProtocolRefused = []byte{packets.CONNACK << 4, 2, 0, 1}

// connect reads CONNECT and accepts or refuses it.
func (c *conn) connect(leaf *x509.Certificate) bool {
	b := c.broker
	c.reader = frameReader{r: c.stream, limit: b.config.MaximumPacketSize}
	f, err := c.reader.next()
	if err == nil && f.kind != packets.CONNECT {
		b.refused.Add(1)
		b.config.Logger.Warn("the first packet is not CONNECT", "type", f.kind)
		return false
	}
	var p *packets.Connect
	if err == nil {
		p, err = unpackConnect(f)
	}
	if err == nil {
		c.provider, err = b.checkIdentity(leaf, p.ClientID)
	}
	if err == nil {
		err = checkConnect(p)
	}
	if err != nil {
		b.refused.Add(1)
		c.refuseFor(err, leaf)
		return false
	}
	return c.accept(p)
}

// refuseFor answers what is wrong with a CONNECT, if there is anyone to answer.
func (c *conn) refuseFor(err error, leaf *x509.Certificate) {
	log := c.broker.config.Logger.With("common_name", shown(leaf.Subject.CommonName))
	var wrong *packetError
	var panicked *codecPanic
	code := byte(packets.ConnackMalformedPacket)
	switch {
	case errors.Is(err, errOldProtocol):
		log.Warn("CONNECT refused", "error", err)
		c.refuse(oldProtocolRefused)
		return
	case errors.As(err, &wrong):
		log.Warn("CONNECT refused", "error", err)
		code = wrong.code
	case errors.As(err, &panicked):
		log.Error("the codec panicked, CONNECT refused", "cause", panicked.describe())
	case errors.Is(err, os.ErrDeadlineExceeded):
		log.Info("no CONNECT in time", "timeout", c.broker.config.ConnectTimeout)
		return
	default:
		log.Debug("connection lost before CONNECT", "error", err)
		return
	}
	c.refuse(appendPacket(nil, &packets.Connack{ReasonCode: code, Properties: &packets.Properties{}}))
}

func (p *codecPanic) describe() string { return shown(fmt.Sprint(p.cause)) }

var errOldProtocol = errors.New("the client speaks MQTT 3.1 or 3.1.1")

// unpackConnect looks at protocol, version and flags before the codec does,
// which would read any version as 5.
func unpackConnect(f frame) (*packets.Connect, error) {
	if len(f.body) < 2 {
		return nil, malformed("CONNECT of %d bytes", len(f.body))
	}
	n := int(binary.BigEndian.Uint16(f.body))
	if len(f.body) < 2+n+2 {
		return nil, malformed("CONNECT of %d bytes", len(f.body))
	}
	name, version, flags := f.body[2:2+n], f.body[2+n], f.body[3+n]
	switch {
	case bytes.Equal(name, []byte("MQTT")) && version == 5:
	case bytes.Equal(name, []byte("MQTT")) && version == 4, bytes.Equal(name, []byte("MQIsdp")) && version == 3:
		return nil, errOldProtocol
	default:
		return nil, &packetError{packets.ConnackUnsupportedProtocolVersion, fmt.Sprintf("protocol %q version %d", shown(string(name)), version)}
	}
	switch {
	case flags&1 != 0:
		return nil, malformed("CONNECT with its reserved flag set")
	case flags>>2&1 == 0 && flags&0x38 != 0:
		return nil, malformed("CONNECT with will flags and no will")
	case flags>>2&1 == 1:
		return nil, &packetError{packets.ConnackNotAuthorized, "a will message would be a publish by a subscriber"}
	}
	content, err := f.unpack()
	if err != nil {
		return nil, err
	}
	return content.(*packets.Connect), nil
}

// checkIdentity holds the client ID to the certificate (M4).
func (b *Broker) checkIdentity(leaf *x509.Certificate, clientID string) (provider bool, err error) {
	isOwner := isSubscriptionID(clientID)
	if b.config.Provider != nil && b.config.Provider(leaf) {
		if isOwner || clientID == "" || !validString(clientID) {
			return false, &packetError{packets.ConnackInvalidClientID, "a provider's client ID must not be empty or a subscription ID"}
		}
		return true, nil
	}
	switch {
	case !isOwner:
		return false, &packetError{packets.ConnackInvalidClientID, fmt.Sprintf("the client ID %q is no subscription ID", shown(clientID))}
	case b.weak().AnyClientID, b.weak().NoCertificate && leaf.Raw == nil:
	case clientID != leaf.Subject.CommonName:
		return false, &packetError{packets.ConnackNotAuthorized, fmt.Sprintf("the client ID %q is not the certificate's common name", shown(clientID))}
	}
	return false, nil
}

// checkConnect checks the values of the properties.
func checkConnect(p *packets.Connect) error {
	props := p.Properties
	switch {
	case props.AuthMethod != "":
		return &packetError{packets.ConnackBadAuthenticationMethod, "no authentication method is supported"}
	case props.AuthData != nil:
		return protocolError("authentication data without a method")
	case props.ReceiveMaximum != nil && *props.ReceiveMaximum == 0:
		return protocolError("receive maximum 0")
	case props.MaximumPacketSize != nil && *props.MaximumPacketSize == 0:
		return protocolError("maximum packet size 0")
	case props.RequestProblemInfo != nil && *props.RequestProblemInfo > 1,
		props.RequestResponseInfo != nil && *props.RequestResponseInfo > 1:
		return protocolError("a request property that is neither 0 nor 1")
	}
	return nil
}

// accept applies the faults that are switched on, then sets the connection's
// owner and session. It says false when the connection is not to live.
func (c *conn) accept(p *packets.Connect) bool {
	b := c.broker
	o := b.ownerOf(p.ClientID)
	o.mu.Lock()
	o.count.connects++
	o.mu.Unlock()

	if b.faults.Load().of(p.ClientID).Refuse {
		return false
	}
	b.waitWhileSilent(c, p.ClientID)
	faults := b.faults.Load().of(p.ClientID)
	if !c.pause(faults.ConnackDelay) {
		return false
	}
	if c.answerForeign(p.ClientID) {
		return false
	}
	if faults.Connack.Code != 0 {
		c.refuse(appendPacket(nil, &packets.Connack{ReasonCode: faults.Connack.Code, Properties: faults.Connack.properties()}))
		return false
	}

	c.keepAlive = time.Duration(p.KeepAlive) * time.Second
	c.receiveMaximum, c.maximumPacketSize = math.MaxUint16, maxPacket
	if m := p.Properties.ReceiveMaximum; m != nil {
		c.receiveMaximum = int(*m)
	}
	if m := p.Properties.MaximumPacketSize; m != nil {
		c.maximumPacketSize = int(min(*m, maxPacket))
	}
	if e := p.Properties.SessionExpiryInterval; e != nil {
		c.expiryAsked = *e
	}
	connack := &packets.Connack{Properties: faults.Connack.properties()}
	if k := b.config.ServerKeepAlive; k > 0 {
		c.keepAlive = k
		connack.Properties.ServerKeepAlive = new(uint16(k / time.Second))
	}
	var expiry time.Duration
	if !c.provider {
		expiry = b.grantedExpiry(c.expiryAsked)
		if most := faults.ExpiryMax; most > 0 {
			expiry = min(expiry, most)
		}
	}
	connack.Properties.SessionExpiryInterval = new(uint32(expiry / time.Second))
	connack.Properties.MaximumQOS = new(byte(1))
	connack.Properties.ReceiveMaximum = new(b.config.ReceiveMaximum)
	connack.Properties.MaximumPacketSize = new(uint32(b.config.MaximumPacketSize))
	if !b.weak().NoRules {
		connack.Properties.SharedSubAvailable = new(byte(0))
	}
	return c.attach(o, p.CleanStart, expiry, connack)
}

// attach makes c the owner's connection, in place of an older one, and answers
// CONNECT.
func (c *conn) attach(o *owner, cleanStart bool, expiry time.Duration, connack *packets.Connack) bool {
	b := c.broker
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-b.done:
		return false
	case <-c.stopped:
		return false
	default:
	}
	if o.conn != nil {
		b.config.Logger.Info("connection taken over", "client_id", o.clientID)
		o.conn.end(&packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver})
	}
	if cleanStart {
		o.discardSession()
	}
	if o.session == nil || o.session.expiry != expiry {
		b.config.SessionChanges(o.clientID)
	}
	o.changed = true
	connack.SessionPresent = o.session != nil
	if o.session == nil {
		o.session = &session{}
	}
	o.session.resume()
	o.session.expiry = expiry
	o.conn = c
	c.owner.Store(o)
	c.raw.SetDeadline(time.Time{})
	b.config.Logger.Debug("connected", "client_id", o.clientID, "session_present", connack.SessionPresent, "session_expiry", expiry)
	c.control = appendPacket(c.control, connack)
	c.kick()
	o.armRepeat()
	return true
}

func (b *Broker) grantedExpiry(asked uint32) time.Duration {
	return min(time.Duration(asked)*time.Second, max(b.config.SessionExpiryMax, 0))
}

// pause waits for d unless the connection ends before.
func (c *conn) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.stopped:
		return false
	}
}
