package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/internal/tap"
	"github.com/fds-sdk/fds-go/push"
)

// harmlessUser are the user properties of packets whose values are shown.
var harmlessUser = wordSet("user-agent traceparent tracestate request-id correlation-id")

// tracedUser bounds the user properties that are shown of a packet, which may have thousands.
const tracedUser = 20

// packet shows a packet of MQTT.
func (t *tracer) packet(p tap.Packet) {
	hidden := t.connectSecrets(p)
	name, text := packetText(p.Data, hidden)
	if t.brief {
		switch name {
		case "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "PINGREQ", "PINGRESP":
			return
		}
		t.log.Debug("mqtt packet", "packet", pick(p.Sent, "sent ", "received ")+name, "says", text, "broker", p.Broker, "owner", p.Owner)
		return
	}
	whose := t.nameOf(p.Owner.SubscriptionID)
	if p.TLS != nil {
		secured := tlsText(p.TLS)
		t.event(traced{sign: "*", id: whose, lines: []string{"connected to " + p.Broker + "; " + secured}, msg: "mqtt connection",
			attrs: []slog.Attr{slog.Any("owner", p.Owner), slog.String("broker", p.Broker), slog.String("what", secured)}})
	}
	line := strings.TrimRight(name+" "+text, " ")
	t.event(traced{sign: pick(p.Sent, ">", "<"), id: whose, lines: []string{line}, hidden: hidden, msg: "mqtt packet", attrs: []slog.Attr{
		slog.Any("owner", p.Owner), slog.String("broker", p.Broker), slog.String("direction", pick(p.Sent, "sent", "received")),
		slog.String("packet", name), slog.String("says", text), slog.Int("bytes", len(p.Data)),
	}})
}

// connectSecrets returns what a broker was sent as secret with the last CONNECT of an owner, which
// it may repeat.
func (t *tracer) connectSecrets(p tap.Packet) *secrets {
	if p.Sent && p.Data[0]>>4 == packets.CONNECT {
		hidden := new(secrets)
		if c := readConnect(p.Data); c != nil {
			hidden.add(string(c.Password))
			if !strings.EqualFold(c.Username, c.ClientID) { // which topics have
				hidden.add(c.Username)
			}
			if c.Properties != nil {
				hidden.add(string(c.Properties.AuthData))
			}
		}
		t.connects.Store(p.Owner, hidden)
		return hidden
	}
	hidden, _ := t.connects.Load(p.Owner)
	last, _ := hidden.(*secrets)
	return last
}

// readConnect returns a CONNECT of ours; nil: it cannot be read.
func readConnect(data []byte) *packets.Connect {
	p, err := packets.ReadPacket(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	c, _ := p.Content.(*packets.Connect)
	return c
}

// packetText returns the type of a packet and what it says, but for a message's payload and for
// what is secret.
func packetText(data []byte, hidden *secrets) (name, text string) {
	name = (&packets.ControlPacket{FixedHeader: packets.FixedHeader{Type: data[0] >> 4}}).PacketType()
	defer func() { // the codec is not for hostile bytes
		if recover() != nil {
			text = "which cannot be read"
		}
	}()
	p, err := packets.ReadPacket(bytes.NewReader(data))
	if err != nil {
		return name, fmt.Sprintf("of %d bytes, which cannot be read", len(data))
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	var properties *packets.Properties
	switch c := p.Content.(type) {
	case *packets.Connect:
		add("MQTT %d, client ID %s, keep-alive %d s, clean start %t", c.ProtocolVersion, terminal.Short(c.ClientID), c.KeepAlive, c.CleanStart)
		if c.UsernameFlag {
			add("user name %s", redacted)
		}
		if c.PasswordFlag {
			add("password %s", redacted)
		}
		properties = c.Properties
	case *packets.Connack:
		add("%s, session present %t", reasonText(name, c.ReasonCode), c.SessionPresent)
		properties = c.Properties
	case *packets.Subscribe:
		add("%d", c.PacketID)
		for _, s := range c.Subscriptions {
			add("%s QoS %d", s.Topic, s.QoS)
		}
		properties = c.Properties
	case *packets.Suback:
		add("%d", c.PacketID)
		for _, code := range c.Reasons {
			add("%s", pick(code <= 2, fmt.Sprintf("QoS %d", code), reasonText(name, code)))
		}
		properties = c.Properties
	case *packets.Unsubscribe:
		add("%d", c.PacketID)
		add("%s", strings.Join(c.Topics, ", "))
		properties = c.Properties
	case *packets.Unsuback:
		add("%d", c.PacketID)
		for _, code := range c.Reasons {
			add("%s", reasonText(name, code))
		}
		properties = c.Properties
	case *packets.Publish:
		add("QoS %d", c.QoS)
		if c.QoS > 0 {
			add("%d", c.PacketID)
		}
		if c.Retain {
			add("retained")
		}
		if c.Duplicate {
			add("duplicate")
		}
		add("%s", c.Topic)
		add("%d bytes", len(c.Payload))
		properties = c.Properties
	case *packets.Puback:
		add("%d %s", c.PacketID, reasonText(name, c.ReasonCode))
		properties = c.Properties
	case *packets.Pubrec:
		add("%d %s", c.PacketID, reasonText(name, c.ReasonCode))
		properties = c.Properties
	case *packets.Pubrel:
		add("%d %s", c.PacketID, reasonText(name, c.ReasonCode))
		properties = c.Properties
	case *packets.Pubcomp:
		add("%d %s", c.PacketID, reasonText(name, c.ReasonCode))
		properties = c.Properties
	case *packets.Disconnect:
		add("%s", reasonText(name, c.ReasonCode))
		properties = c.Properties
	case *packets.Auth:
		add("%s", reasonText(name, c.ReasonCode))
	}
	return name, hidden.without(strings.Join(append(parts, propertyTexts(properties, hidden)...), ", "))
}

// reasonText names a reason code (MQTT 5.0 section 2.4).
func reasonText(packet string, code byte) string {
	if code == 0 && packet != "DISCONNECT" {
		return "success"
	}
	_, name, _ := strings.Cut((&push.ReasonError{Packet: packet, Code: code}).Error(), "(")
	name, _, _ = strings.Cut(name, ")")
	return fmt.Sprintf("0x%02X %s", code, name)
}

// propertyTexts shows the properties of a packet.
func propertyTexts(p *packets.Properties, hidden *secrets) (parts []string) {
	if p == nil {
		return nil
	}
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+terminal.Short(hidden.without(value)))
		}
	}
	short := func(name string, value *uint16) {
		if value != nil {
			add(name, strconv.Itoa(int(*value)))
		}
	}
	long := func(name string, value *uint32, unit string) {
		if value != nil {
			add(name, strconv.FormatUint(uint64(*value), 10)+unit)
		}
	}
	one := func(name string, value *byte) {
		if value != nil {
			add(name, strconv.Itoa(int(*value)))
		}
	}
	if p.ReasonString != "" {
		add("reason", strconv.Quote(hidden.without(p.ReasonString)))
	}
	add("assigned client ID", p.AssignedClientID)
	long("session expiry", p.SessionExpiryInterval, " s")
	short("server keep-alive", p.ServerKeepAlive)
	short("receive maximum", p.ReceiveMaximum)
	long("maximum packet size", p.MaximumPacketSize, "")
	short("topic alias maximum", p.TopicAliasMaximum)
	short("topic alias", p.TopicAlias)
	one("maximum QoS", p.MaximumQOS)
	one("retain available", p.RetainAvailable)
	one("wildcards available", p.WildcardSubAvailable)
	one("subscription identifiers available", p.SubIDAvailable)
	one("shared subscriptions available", p.SharedSubAvailable)
	one("payload format", p.PayloadFormat)
	long("message expiry", p.MessageExpiry, " s")
	add("content type", p.ContentType)
	add("response topic", p.ResponseTopic)
	add("server reference", p.ServerReference)
	add("authentication method", p.AuthMethod)
	if p.SubscriptionIdentifier != nil {
		add("subscription identifier", strconv.Itoa(*p.SubscriptionIdentifier))
	}
	for name, data := range map[string]int{"correlation data": len(p.CorrelationData), "authentication data": len(p.AuthData), "response information": len(p.ResponseInfo)} {
		if data > 0 {
			add(name, redacted)
		}
	}
	for _, u := range p.User[:min(len(p.User), tracedUser)] {
		value := redacted
		if harmlessUser[strings.ToLower(u.Key)] {
			value = terminal.Short(hidden.without(u.Value))
		}
		add("user property", terminal.Short(hidden.without(u.Key))+"="+value)
	}
	if more := len(p.User) - tracedUser; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d user properties more", more))
	}
	return parts
}
