package push

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/fds-sdk/fds-go/fds"
)

const (
	foreignBytes = 512                    // of an answer that is no MQTT, as much as is looked at
	foreignTime  = 250 * time.Millisecond // and what the rest of it has to come
	foreignShown = 64

	http2Settings = 4 // the type of the frame with which a server begins (RFC 9113 section 3.4)
)

// foreignError: what answered is no broker of MQTT 5.0. It matches fds.ErrProtocol.
type foreignError struct {
	who   string
	begin string // of its answer
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("%s answers there and no broker of MQTT 5.0 (%q); check the URL's host and port with the provider", e.who, e.begin)
}

func (e *foreignError) Is(target error) bool { return target == fds.ErrProtocol }

// greetings are how servers begin that people take for a broker: those of a web server's
// port, and those that speak first.
var greetings = []struct{ begin, who string }{
	{"HTTP/", "a web server"},
	{"<!", "a web server"},
	{"<html", "a web server"},
	{"SSH-", "an SSH server"},
	{"220 ", "a mail or FTP server"},
	{"220-", "a mail or FTP server"},
	{"* OK", "an IMAP server"},
	{"+OK", "a POP3 server"},
	{"-ERR", "a Redis server"},
	{"-DENIED", "a Redis server"},
	{"AMQP", "an AMQP broker"},
	{"INFO {", "a NATS server"},
	{"RFB ", "a VNC server"},
}

// whoAnswers names the kind of a server by how it begins; "" for one that may be a broker.
func whoAnswers(begin []byte) string {
	for _, g := range greetings {
		if n := min(len(g.begin), len(begin)); n >= 2 && strings.EqualFold(g.begin[:n], string(begin[:n])) {
			return g.who
		}
	}
	if len(begin) >= 4 && begin[0] == 0 && begin[3] == http2Settings {
		return "an HTTP/2 server"
	}
	if len(begin) >= 4 && !bytes.ContainsFunc(begin, func(c rune) bool { return (c < ' ' || c > '~') && !strings.ContainsRune("\t\r\n", c) }) {
		return "something else"
	}
	return ""
}

// mayBeBroker reports whether a broker's first packet may begin so: CONNACK, or a refusal.
func mayBeBroker(first byte) bool {
	switch first >> 4 {
	case packets.CONNACK, packets.DISCONNECT, packets.AUTH:
		return first&0x0F == 0
	}
	return false
}

// foreign returns what is wrong with a first packet that begins as no broker's does, when
// that is a text of another kind of server: it does not wait for as many bytes as the length
// would say that the text happens to hold.
func (w *wire) foreign(begin []byte) error {
	_ = w.raw.SetReadDeadline(time.Now().Add(foreignTime))
	all := append(make([]byte, 0, foreignBytes), begin...)
	for len(all) < foreignBytes && !bytes.ContainsRune(all, '\n') {
		n, err := w.Read(all[len(all):foreignBytes])
		if all = all[:len(all)+n]; err != nil {
			break
		}
	}
	_ = w.raw.SetReadDeadline(time.Time{})
	who := whoAnswers(all)
	if who == "" {
		return protocolError(0x82, "packet type %d is out of place", begin[0]>>4)
	}
	line, _, _ := strings.Cut(string(all), "\n")
	return &foreignError{who, strings.TrimSpace(line[:min(len(line), foreignShown)])}
}

// oldMQTT is a CONNACK without properties, which MQTT 3.1.1 has and 5.0 has not: the
// refusals of section 3.2.2.3 there, or an acceptance of what it took for its own.
func oldMQTT(connack []byte) error {
	const refused = len(oldRefusals)
	if code := int(connack[1]); 0 < code && code <= refused {
		return reasonError("CONNACK", oldRefusals[code-1], nil)
	}
	return &foreignError{"a broker of MQTT 3.1.1", fmt.Sprintf("%x", connack)}
}
