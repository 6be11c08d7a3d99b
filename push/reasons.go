package push

import (
	"errors"
	"fmt"
	"strings"

	"github.com/eclipse/paho.golang/packets"
	"github.com/fds-sdk/fds-go/fds"
)

// action is what a connection does when the broker has refused or ended it.
type action uint8

const (
	again  action = iota // try again, spaced by the back-off
	slowly               // a person must change something first: try again rarely
	fault                // one side has a defect: try again a few times, then rarely
	stop                 // never try again by itself
)

// reason is what one reason code means for a connection.
type reason struct {
	name   string // MQTT 5.0 section 2.4
	action action
	advice string
}

// reasons is the policy, for CONNACK, SUBACK and DISCONNECT alike: brokers send
// codes in packets that the standard does not name for them, and what helps does
// not depend on that. An UNSUBACK never ends a connection. A code that is not
// listed is a fault.
var reasons = map[byte]reason{
	0x00: {"normal disconnection", again, ""},
	0x01: {"granted QoS 1", fault, ""},
	0x02: {"granted QoS 2", fault, ""},
	0x04: {"disconnect with will message", again, ""},
	0x10: {"no matching subscribers", fault, ""},
	0x11: {"no subscription existed", fault, ""},
	0x18: {"continue authentication", fault, ""},
	0x19: {"re-authenticate", fault, ""},
	0x80: {"unspecified error", again, "the broker's log may say more"},
	0x81: {"malformed packet", fault, "the broker cannot read what this client sends; report it with the broker's name and version"},
	0x82: {"protocol error", fault, "the broker and this client disagree about MQTT 5.0; report it with the broker's name and version"},
	0x83: {"implementation specific error", again, "the broker's log may say more"},
	0x84: {"unsupported protocol version", slowly, "the broker must speak MQTT 5.0; its operator must enable it, or the URL is wrong"},
	0x85: {"client identifier not valid", slowly, "FDS demands the subscription ID, 36 characters with hyphens, as the MQTT client ID (M4); the broker's administrator must allow it"},
	0x86: {"bad user name or password", slowly, "the broker wants a user name and password; FDS demands client certificates instead (M2), which its administrator must enable"},
	0x87: {"not authorized", slowly, "the broker's administrator must allow this subscription ID with this client certificate"},
	0x88: {"server unavailable", again, ""},
	0x89: {"server busy", again, ""},
	0x8A: {"banned", slowly, "ask the broker's administrator why"},
	0x8B: {"server shutting down", again, ""},
	0x8C: {"bad authentication method", slowly, "the broker wants an enhanced authentication; FDS demands client certificates (M2), which its administrator must enable"},
	0x8D: {"keep alive timeout", again, "the broker heard nothing for one and a half keep-alive times; check the network and the load of this machine"},
	0x8E: {"session taken over", stop, ""},
	0x8F: {"topic filter invalid", slowly, "the broker does not accept the filter; check the configured topics"},
	0x90: {"topic name invalid", fault, ""},
	0x91: {"packet identifier in use", fault, ""},
	0x92: {"packet identifier not found", fault, ""},
	0x93: {"receive maximum exceeded", fault, ""},
	0x94: {"topic alias invalid", fault, ""},
	0x95: {"packet too large", fault, "this client sends small packets only; the broker's administrator must raise its limit"},
	0x96: {"message rate too high", again, ""},
	0x97: {"quota exceeded", again, "the broker's administrator may raise the limit"},
	0x98: {"administrative action", again, ""},
	0x99: {"payload format invalid", fault, ""},
	0x9A: {"retain not supported", fault, ""},
	0x9B: {"QoS not supported", slowly, "the broker does not offer this quality of service; set push.Settings.AtMostOnce"},
	0x9C: {"use another server", again, "a referral is followed only to push.Settings.AllowedServers"},
	0x9D: {"server moved", slowly, "configure the new URL; a referral is followed only to push.Settings.AllowedServers"},
	0x9E: {"shared subscriptions not supported", slowly, ""},
	0x9F: {"connection rate exceeded", again, ""},
	0xA0: {"maximum connect time", again, ""},
	0xA1: {"subscription identifiers not supported", slowly, ""},
	0xA2: {"wildcard subscriptions not supported", slowly, "configure topics without + and #"},
}

func reasonOf(code byte) reason {
	if r, ok := reasons[code]; ok {
		return r
	}
	return reason{"unknown reason code", fault, ""}
}

// actionOf says what to do after a connection could not be made or has ended.
func actionOf(err error) action {
	var refused *ReasonError
	switch {
	case errors.As(err, &refused):
		return reasonOf(refused.Code).action
	case errors.Is(err, fds.ErrTakenOver):
		return stop
	case isPassing(err):
		return again
	case errors.Is(err, fds.ErrCertificate), errors.Is(err, fds.ErrBrokerDenied), isVersionFault(err):
		return slowly
	case errors.Is(err, fds.ErrPacketTooLarge), errors.Is(err, fds.ErrProtocol):
		return fault
	}
	return again
}

const maxReasonText = 256

// reasonError takes a refusal out of a packet's properties. The broker's words
// are bounded.
func reasonError(packet string, code byte, properties *packets.Properties) *ReasonError {
	e := &ReasonError{Packet: packet, Code: code}
	if properties != nil {
		e.Text = cut(properties.ReasonString)
		e.ServerReference = cut(properties.ServerReference)
	}
	return e
}

func cut(s string) string {
	if len(s) > maxReasonText {
		return strings.ToValidUTF8(s[:maxReasonText], "")
	}
	return s
}

func (e *ReasonError) Error() string {
	r := reasonOf(e.Code)
	var b strings.Builder
	fmt.Fprintf(&b, "push: %s 0x%02X (%s)", e.Packet, e.Code, r.name)
	if e.Filter != "" {
		fmt.Fprintf(&b, " for %q", e.Filter)
	}
	if e.Text != "" {
		fmt.Fprintf(&b, ", the broker says %q", e.Text)
	}
	if e.ServerReference != "" {
		fmt.Fprintf(&b, ", it names the server %q", e.ServerReference)
	}
	if r.advice != "" {
		b.WriteString(": ")
		b.WriteString(r.advice)
	}
	return b.String()
}

// Is matches fds.ErrTakenOver and fds.ErrBrokerDenied by the code.
func (e *ReasonError) Is(target error) bool {
	switch target {
	case fds.ErrTakenOver:
		return reasonOf(e.Code).action == stop
	case fds.ErrBrokerDenied:
		return reasonOf(e.Code).action == slowly
	}
	return false
}
