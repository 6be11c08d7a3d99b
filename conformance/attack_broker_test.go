package conformance_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// frame is an MQTT packet.
func frame(first byte, body ...byte) []byte {
	packet := append([]byte{first}, binary.AppendUvarint(nil, uint64(len(body)))...)
	return append(packet, body...)
}

// text is a string of MQTT's.
func text(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

// reason are the properties of a packet with a reason string.
func reason(s string) []byte {
	property := append([]byte{0x1f}, text(s)...)
	return append(binary.AppendUvarint(nil, uint64(len(property))), property...)
}

var (
	connack = frame(0x20, 0, 0, 0)
	long    = strings.Repeat(fdstest.HostileText, 40_000/len(fdstest.HostileText))
)

// endlessly writes until the other side has had enough.
func endlessly(conn net.Conn, packet []byte) {
	many := bytes.Repeat(packet, 1+4096/len(packet))
	for {
		if _, err := conn.Write(many); err != nil {
			return
		}
	}
}

// says writes something and reads what comes, until the other side has had enough.
func says(conn net.Conn, packet []byte) {
	if _, err := conn.Write(packet); err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// answers talks MQTT: to each packet as answer says, by its type and identifier.
func answers(conn net.Conn, answer func(kind byte, id []byte) []byte) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		length := int(head[1] & 0x7f)
		if head[1] >= 0x80 {
			var more [1]byte
			if _, err := io.ReadFull(conn, more[:]); err != nil {
				return
			}
			length |= int(more[0]) << 7
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		id := append(body, 0, 0)[:2]
		if kind := head[0] >> 4; kind == 3 { // behind the topic
			id = body[2+binary.BigEndian.Uint16(body):][:2]
			if _, err := conn.Write(answer(kind, id)); err != nil {
				return
			}
		} else if _, err := conn.Write(answer(kind, id)); err != nil {
			return
		}
	}
}

// hostileBrokers are those that mean harm, from CONNECT on.
var hostileBrokers = map[string]func(net.Conn){
	"silence":                       func(conn net.Conn) { says(conn, nil) },
	"a length of 256 MB":            func(conn net.Conn) { endlessly(conn, []byte{0x20, 0xff, 0xff, 0xff, 0x7f}) },
	"a length without an end":       func(conn net.Conn) { endlessly(conn, []byte{0xff}) },
	"messages without an end":       func(conn net.Conn) { endlessly(conn, frame(0x30, append(text("fds/v2/x"), 0, 1)...)) },
	"answers without an end":        func(conn net.Conn) { endlessly(conn, frame(0xd0)) },
	"a packet of a byte a second":   func(conn net.Conn) { says(conn, []byte{0x20, 0xff, 0x01, 0}) },
	"properties that are cut":       func(conn net.Conn) { says(conn, frame(0x20, 0, 0, 0xff, 0xff, 0x7f)) },
	"types that do not exist":       func(conn net.Conn) { says(conn, frame(0x00, 1, 2, 3)) },
	"a refusal with a hostile text": func(conn net.Conn) { says(conn, frame(0x20, append([]byte{0, 0x87}, reason(long)...)...)) },
	"an end with a hostile text":    func(conn net.Conn) { says(conn, frame(0xe0, append([]byte{0x87}, reason(long)...)...)) },
	"messages without an end after CONNACK": func(conn net.Conn) {
		_, _ = conn.Write(connack)
		endlessly(conn, frame(0x32, append(text(fdstest.HostileText), 0, 1, 0, 'x')...))
	},
	"answers without an end after CONNACK": func(conn net.Conn) {
		_, _ = conn.Write(connack)
		endlessly(conn, frame(0x90, 0, 1, 0, 0))
	},
	"silence after CONNACK": func(conn net.Conn) { says(conn, connack) },
	"everything is granted, and all of it in hostile texts": func(conn net.Conn) {
		answers(conn, func(kind byte, id []byte) []byte {
			switch kind {
			case 1:
				return connack
			case 3:
				return frame(0x40, slices.Concat(id, []byte{0x87}, reason(long))...)
			case 8:
				return frame(0x90, slices.Concat(id, reason(long), []byte{0})...)
			case 10:
				return frame(0xb0, slices.Concat(id, reason(long), []byte{0x87})...)
			case 12:
				return frame(0xd0)
			}
			return nil
		})
	},
	"no subscription ends": func(conn net.Conn) {
		answers(conn, func(kind byte, id []byte) []byte {
			switch kind {
			case 1:
				return connack
			case 8:
				return frame(0x90, slices.Concat(id, []byte{0, 0})...)
			case 12:
				return frame(0xd0)
			}
			return nil
		})
	},
}

func TestAttackAHostileBrokerHoldsUpNoCheckAndShowsNothingOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newBrokerSite(t)
	server, err := s.box.IssueCertificate(fdstest.CertificateRequest{CommonName: "broker", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	policy := &tls.Config{Certificates: []tls.Certificate{server.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.box.RootCAs()}
	var running sync.WaitGroup
	for name, does := range hostileBrokers {
		config := s.config
		config.CheckTimeout = time.Second
		config.Client.Provider.BrokerURL = "mqtts://" + serve(t, policy, func(conn net.Conn) {
			if n, err := conn.Read(make([]byte, 4096)); err == nil && n > 0 {
				does(conn)
			}
		})
		running.Go(func() {
			report, err := conformance.RunBroker(t.Context(), config)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			for _, one := range report.Results {
				texts := []string{one.Why}
				for _, e := range one.Evidence {
					texts = append(texts, e.Tried, e.Saw)
				}
				for _, text := range texts {
					realtest.CheckShown(t, text)
				}
				if one.Duration > 30*time.Second { // the check's own, and what is put in order after it
					t.Errorf("%s: %s took %v", name, one.ID, one.Duration)
				}
				if one.Outcome == pass && (strings.HasPrefix(one.ID, "M5") || strings.HasPrefix(one.ID, "M7")) && one.ID != "M5-own-root" {
					t.Errorf("%s: %s passes: %+v", name, one.ID, one.Evidence)
				}
			}
		})
	}
	running.Wait()
}
