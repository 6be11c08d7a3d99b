package conformance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/conformance/internal/rawmqtt"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	brokerTimeout = 10 * time.Second // of each thing that is asked of the broker
	mostSeen      = 64               // probes of which a connection remembers that they came

	defaultSessionExpiry  = 24 * time.Hour // as push.Settings has it
	defaultReceiveMaximum = 32
)

// How long is waited for what must not come: after something that had to come, and where nothing
// had to.
var quiet, longQuiet = 300 * time.Millisecond, time.Second

// brokerConn is a connection of a check's to the broker, and what came over it.
type brokerConn struct {
	*rawmqtt.Conn
	connack rawmqtt.Connack
	root    fds.Root // what it may see; zero: unknown

	mu       sync.Mutex
	seen     []string      // the probes that came, each once
	outside  int           // messages from outside of root
	retained int           // of these, old ones
	changed  chan struct{} // has one element after either has changed
}

// probePrefix begins the payload of all messages that a check publishes.
const probePrefix = "fds-go conformance probe "

// newProbe returns the payload of a message, which there was never before.
func newProbe() string { return probePrefix + newNonce() }

func newNonce() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// received notes a message. Of all that comes only probes are acknowledged: they are ours.
func (c *brokerConn) received(m rawmqtt.Message) (acknowledge bool) {
	probe := bytes.HasPrefix(m.Payload, []byte(probePrefix)) && len(m.Payload) <= 2*len(probePrefix)+24
	c.mu.Lock()
	defer c.mu.Unlock()
	if probe && len(c.seen) < mostSeen && !slices.Contains(c.seen, string(m.Payload)) {
		c.seen = append(c.seen, string(m.Payload))
	}
	if c.root != (fds.Root{}) && !strings.HasPrefix(m.Topic, c.root.String()) {
		c.outside++
		if m.Retained {
			c.retained++
		}
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return probe
}

// saw reports whether a probe has come.
func (c *brokerConn) saw(probe string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.seen, probe)
}

// strangers returns how many messages came from outside of the root, and how many old ones.
func (c *brokerConn) strangers() (all, retained int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outside, c.retained
}

// await waits until one of the probes has come and reports which; "" after a time.
func (c *brokerConn) await(ctx context.Context, limit time.Duration, probes ...string) string {
	late := time.NewTimer(limit)
	defer late.Stop()
	ended := c.Ended()
	for {
		for _, probe := range probes {
			if c.saw(probe) {
				return probe
			}
		}
		if ended == nil {
			return ""
		}
		select {
		case <-c.changed:
		case <-ended:
			ended = nil // once more
		case <-late.C:
			return ""
		case <-ctx.Done():
			return ""
		}
	}
}

// lives reports whether the connection is still there, some moments later too. An error says that
// nothing is known: the broker does not answer, or not in MQTT.
func (c *brokerConn) lives(ctx context.Context) (bool, error) {
	for range 2 {
		if err := c.ping(ctx); isRefusal(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		c.await(ctx, quiet)
	}
	return c.Err() == nil, nil
}

func (c *brokerConn) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	return c.Ping(ctx)
}

// publish publishes a probe; see rawmqtt.Conn.Publish.
func (c *brokerConn) publish(ctx context.Context, topic, probe string, qos byte) error {
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	return c.Publish(ctx, topic, probe, qos)
}

// brokerStream opens what MQTT is spoken over: TLS, and a WebSocket where the URL says so.
func (r *run) brokerStream(ctx context.Context, certificate *tls.Certificate) (stream, raw net.Conn, err error) {
	at, err := url.Parse(r.config.Client.Provider.BrokerURL)
	if err != nil {
		return nil, nil, err
	}
	config, err := r.tlsConfig(ctx, at.Hostname())
	if err != nil {
		return nil, nil, err
	}
	config.NextProtos = slices.Clone(r.alpn())
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if certificate == nil {
			return new(tls.Certificate), nil
		}
		return certificate, nil
	}
	if raw, err = r.dial(ctx, server{url: at}.address()); err != nil {
		return nil, nil, err
	}
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, nil, err
	}
	if at.Scheme != "wss" {
		return secured, raw, nil
	}
	to := url.URL{Scheme: "wss", Host: at.Host, Path: cmp.Or(at.Path, "/mqtt")}
	if stream, err = rawmqtt.WebSocket(ctx, secured, &to); err != nil {
		return nil, nil, err
	}
	return stream, raw, nil
}

// connect connects to the broker. clean: under a client ID of nobody's, whose session ends with
// the connection; otherwise the session is taken as it is, and is kept as long as the SDK has it
// kept.
func (r *run) connect(ctx context.Context, certificate *tls.Certificate, clientID string, clean bool, root fds.Root) (*brokerConn, error) {
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	stream, raw, err := r.brokerStream(ctx, certificate)
	if err != nil {
		return nil, err
	}
	c := &brokerConn{root: root, changed: make(chan struct{}, 1)}
	c.Conn = rawmqtt.New(r.tapStream(stream, raw.RemoteAddr().String(), root), raw, c.received)
	as := rawmqtt.Connect{ClientID: clientID, CleanStart: clean, ReceiveMaximum: cmp.Or(r.config.Client.Push.ReceiveMaximum, defaultReceiveMaximum)}
	if !clean {
		expiry := cmp.Or(r.config.Client.Push.SessionExpiry, defaultSessionExpiry)
		as.SessionExpiry = uint32((expiry + time.Second - 1) / time.Second)
	}
	if c.connack, err = c.Connect(ctx, as); err != nil {
		c.Close(false)
		return nil, err
	}
	return c, nil
}

// connectAs connects as an owner, in its session.
func (r *run) connectAs(ctx context.Context, owner *fdsclient.Owner) (*brokerConn, error) {
	certificate, err := r.certificate(ctx, owner.Key())
	if err != nil {
		return nil, err
	}
	c, err := r.connect(ctx, certificate, owner.Root().ClientID(), false, owner.Root())
	if err != nil {
		return nil, err
	}
	id := owner.Key().SubscriptionID
	if r.broker.had == nil {
		r.broker.had = make(map[fds.SubscriptionID]bool)
	}
	if _, known := r.broker.had[id]; !known {
		r.broker.had[id] = c.connack.SessionPresent
	}
	return c, nil
}

// leave ends a connection that is in an owner's session, which stays only where it was there
// before.
func (r *run) leave(c *brokerConn, owner *fdsclient.Owner) {
	had, known := r.broker.had[owner.Key().SubscriptionID]
	c.Close(known && !had)
}

// owners opens the connections of the first n spare owners; false: t says why not. end ends them,
// and unsubscribes what is left of the check's filters.
func (r *run) owners(ctx context.Context, t *trial, n int) (conns []*brokerConn, end func(), ok bool) {
	end = func() {
		for i, c := range conns {
			r.sweep(ctx, c, r.spares[i])
			r.leave(c, r.spares[i])
		}
		r.tidy(ctx, t)
	}
	for _, owner := range r.spares[:n] {
		c, err := r.connectAs(ctx, owner)
		if err != nil {
			t.saw("connect as "+owner.Root().ClientID(), "%v", tlspolicy.Shown(err))
			t.error("%s cannot be connected as: %v", owner.Root().ClientID(), tlspolicy.Shown(err))
			end()
			return nil, nil, false
		}
		conns = append(conns, c)
	}
	return conns, end, true
}

// subscribe subscribes to a filter that tidy unsubscribes, in the sessions of these owners.
func (r *run) subscribe(ctx context.Context, c *brokerConn, filter string, in ...*fdsclient.Owner) error {
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	if r.broker.litter == nil {
		r.broker.litter = make(map[fds.SubscriptionID][]string)
	}
	for _, owner := range in {
		id := owner.Key().SubscriptionID
		if !slices.Contains(r.broker.litter[id], filter) {
			r.broker.litter[id] = append(r.broker.litter[id], filter)
		}
	}
	return c.Subscribe(ctx, filter)
}

// sweep unsubscribes, on a connection in an owner's session, what checks have subscribed to
// there.
func (r *run) sweep(ctx context.Context, c *brokerConn, owner *fdsclient.Owner) {
	id := owner.Key().SubscriptionID
	if len(r.broker.litter[id]) == 0 {
		return
	}
	ctx, cancel := r.afterwards(ctx)
	defer cancel()
	if c.Unsubscribe(ctx, r.broker.litter[id]...) == nil {
		delete(r.broker.litter, id)
	}
}

// afterwards returns the context of what is put in order at the end of a check, also when its time
// is over.
func (r *run) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), min(brokerTimeout, r.config.CheckTimeout))
}

// tidy unsubscribes on new connections what sweep could not.
func (r *run) tidy(ctx context.Context, t *trial) {
	for _, owner := range r.spares {
		id := owner.Key().SubscriptionID
		filters := r.broker.litter[id]
		if len(filters) == 0 {
			continue
		}
		ctx, cancel := r.afterwards(ctx)
		defer cancel()
		c, err := r.connectAs(ctx, owner)
		if err == nil {
			err = c.Unsubscribe(ctx, filters...)
			r.leave(c, owner)
		}
		delete(r.broker.litter, id) // once: a broker that takes none does not get better
		if err != nil {
			t.saw(fmt.Sprintf("unsubscribe %q of %s again", filters, id), "%v", tlspolicy.Shown(err))
			t.error("filters of this check may be left in the session of %s: %v", id, tlspolicy.Shown(err))
		}
	}
}

// publisher connects with the certificate of Config.Publisher, or returns nil where there is
// none; false: t says why it cannot.
func (r *run) publisher(ctx context.Context, t *trial) (c *brokerConn, ok bool) {
	if r.config.Publisher == nil {
		return nil, true
	}
	c, err := r.connectPublisher(ctx)
	if err != nil {
		t.saw("connect as the publisher", "%v", tlspolicy.Shown(err))
		t.error("the publisher cannot connect (Config.Publisher): %v", tlspolicy.Shown(err))
		return nil, false
	}
	return c, true
}

func (r *run) connectPublisher(ctx context.Context) (*brokerConn, error) {
	certificate, err := usableCertificate(r.config.Publisher(ctx))
	if err != nil {
		return nil, err
	}
	leaf, err := leafOf(certificate)
	if err != nil {
		return nil, err
	}
	return r.connect(ctx, certificate, cmp.Or(leaf.Subject.CommonName, "fds-go-conformance-"+newNonce()), true, fds.Root{})
}

// isRefusal reports whether an error is the broker's word, by an alert, a code, a status of HTTP
// or the end of the connection, and no mishap on the way.
func isRefusal(err error) bool {
	if err == nil {
		return false
	}
	var refused *rawmqtt.Refusal
	if errors.As(err, &refused) {
		return !refused.SaysNothing()
	}
	alert := tlspolicy.Alert(err)
	return rawmqtt.IsClosure(err) || errors.Is(err, rawmqtt.ErrUpgrade) ||
		alert != "" && alert != "tls: internal error"
}

// isWordless reports whether a refusal is the end of the connection alone, which may have another
// reason.
func isWordless(err error) bool { return rawmqtt.IsClosure(err) && tlspolicy.Alert(err) == "" }

// speakPlainly sends a CONNECT, or asks for a WebSocket, without TLS, and returns what the server
// answers in the same tongue.
func (r *run) speakPlainly(ctx context.Context, to server) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, brokerTimeout)
	defer cancel()
	raw, err := r.dial(ctx, to.address())
	if err != nil {
		return "", err
	}
	if to.url.Scheme == "wss" {
		at := url.URL{Scheme: "ws", Host: to.url.Host, Path: cmp.Or(to.url.Path, "/mqtt")}
		stream, err := rawmqtt.WebSocket(ctx, raw, &at)
		if err != nil {
			return "", nil // whatever it says in clear, it makes no WebSocket
		}
		_ = stream.Close()
		return "it makes a WebSocket", nil
	}
	c := &brokerConn{changed: make(chan struct{}, 1)}
	c.Conn = rawmqtt.New(raw, raw, c.received)
	defer c.Close(false)
	_, err = c.Connect(ctx, rawmqtt.Connect{ClientID: fds.NewSubscriptionID().String(), CleanStart: true, ReceiveMaximum: 1})
	var refused *rawmqtt.Refusal
	switch {
	case err == nil:
		return "CONNACK 0x00", nil
	case errors.As(err, &refused):
		return refused.Error(), nil
	}
	return "", nil
}
