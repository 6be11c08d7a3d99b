package push

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/eclipse/paho.golang/packets"
)

// maxReferrals is how many servers in a row may refer to another one.
const maxReferrals = 3

// route says where the next attempt goes: to the broker's URLs in turn, or where
// the broker has referred this client (MQTT 5.0 section 4.11).
type route struct {
	settings *settings
	turn     int
	moved    *server // for as long as this Run lasts
	once     *server // for the next attempt
	hops     int
	referred bool // the last end was a referral that is followed
}

func (r *route) next() server {
	switch {
	case r.once != nil:
		to := *r.once
		r.once = nil
		return to
	case r.moved != nil:
		return *r.moved
	}
	return r.settings.brokers[r.turn%len(r.settings.brokers)]
}

// ended learns from how an attempt or a connection ended.
func (r *route) ended(err error) {
	r.referred = false
	var refused *ReasonError
	referral := errors.As(err, &refused) && (refused.Code == packets.DisconnectUseAnotherServer || refused.Code == packets.DisconnectServerMoved)
	unavailable := refused == nil || refused.Packet == "CONNACK" && reasonOf(refused.Code).action == again
	switch {
	case referral:
	case unavailable:
		r.hops = 0
		if r.moved != nil { // what the broker said may hold no longer
			r.moved = nil
		} else {
			r.turn++
		}
		return
	default: // the others would say the same
		r.hops = 0
		return
	}
	if r.hops++; r.hops > maxReferrals {
		r.hops, r.moved = 0, nil
		return
	}
	for reference := range strings.FieldsSeq(refused.ServerReference) {
		to, ok := parseServer(reference)
		if ok {
			to, ok = r.allowed(to)
		}
		if !ok {
			continue
		}
		r.referred = true
		if refused.Code == packets.DisconnectServerMoved {
			r.moved = &to
		} else {
			r.once = &to
		}
		return
	}
}

// allowed returns the server that is named, reached as the configuration says where
// that knows it.
func (r *route) allowed(to server) (server, bool) {
	for _, broker := range r.settings.brokers {
		if strings.EqualFold(broker.address, to.address) {
			return broker, true
		}
	}
	for _, allowed := range r.settings.allowed {
		if allowed == to.host || allowed == to.address {
			return to, true
		}
	}
	return server{}, false
}

// parseServer reads a server as a Server Reference names it (MQTT 5.0 section
// 4.11): a host, or host:port; an IPv6 address in brackets.
func parseServer(text string) (server, bool) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = text, "8883"
		if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
			host = strings.TrimSuffix(inner, "]")
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || !isHost(host) {
		return server{}, false
	}
	host = strings.ToLower(host)
	return server{host: host, address: net.JoinHostPort(host, port)}, true
}

// isHost reports whether a text is an IP address or may be a name in DNS.
func isHost(text string) bool {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == '_')
	}
	return net.ParseIP(text) != nil || text != "" && !strings.ContainsFunc(text, odd)
}
