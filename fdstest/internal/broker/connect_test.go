package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

func TestConnackSaysWhatIsGrantedAndWhatIsNotSupported(t *testing.T) {
	f := start(t, func(c *Config) {
		c.SessionExpiryMax, c.ServerKeepAlive = time.Minute, 45*time.Second
		c.ReceiveMaximum, c.MaximumPacketSize = 5, 4096
	})
	id := newID()
	ack := f.dial(id).connect(id, nil)
	p := ack.Properties
	switch {
	case ack.SessionPresent:
		t.Error("a session is present at the first connect")
	case *p.SessionExpiryInterval != 60:
		t.Errorf("session expiry %d, want the maximum of 60", *p.SessionExpiryInterval)
	case *p.ServerKeepAlive != 45:
		t.Errorf("server keep alive %d", *p.ServerKeepAlive)
	case *p.MaximumQOS != 1 || *p.SharedSubAvailable != 0 || p.TopicAliasMaximum != nil:
		t.Errorf("maximum QoS %d, shared subscriptions %d, topic alias maximum %v", *p.MaximumQOS, *p.SharedSubAvailable, p.TopicAliasMaximum)
	case *p.ReceiveMaximum != 5 || *p.MaximumPacketSize != 4096:
		t.Errorf("receive maximum %d, maximum packet size %d", *p.ReceiveMaximum, *p.MaximumPacketSize)
	case p.AssignedClientID != "" || p.AuthMethod != "":
		t.Errorf("assigned client ID %q, auth method %q", p.AssignedClientID, p.AuthMethod)
	}
}

func TestAConnectThatBreaksARuleIsRefusedWithItsCode(t *testing.T) {
	f := start(t, nil)
	id, other := newID(), newID()
	for _, test := range []struct {
		name       string
		commonName string
		change     func(*packets.Connect)
		code       byte
	}{
		{"another owner's client ID", other, nil, 0x87},
		{"the same ID in another case", strings.ToUpper(id), nil, 0x87},
		{"an empty client ID", id, func(p *packets.Connect) { p.ClientID = "" }, 0x85},
		{"a client ID that is no subscription ID", "workstation", func(p *packets.Connect) { p.ClientID = "workstation" }, 0x85},
		{"a UUID of version 1", id, func(p *packets.Connect) { p.ClientID = "c232ab00-9414-11ec-b3c8-9f6bdeced846" }, 0x85},
		{"a will", id, func(p *packets.Connect) {
			p.WillFlag, p.WillTopic, p.WillProperties = true, "fds/v2/"+id+"/x", &packets.Properties{}
		}, 0x87},
		{"an authentication method", id, func(p *packets.Connect) { p.Properties.AuthMethod = "SCRAM-SHA-1" }, 0x8c},
		{"authentication data alone", id, func(p *packets.Connect) { p.Properties.AuthData = []byte{1} }, 0x82},
		{"receive maximum 0", id, func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16) }, 0x82},
		{"maximum packet size 0", id, func(p *packets.Connect) { p.Properties.MaximumPacketSize = new(uint32) }, 0x82},
		{"request problem information 2", id, func(p *packets.Connect) { p.Properties.RequestProblemInfo = new(byte(2)) }, 0x82},
		{"protocol version 6", id, func(p *packets.Connect) { p.ProtocolVersion = 6 }, 0x84},
		{"another protocol", id, func(p *packets.Connect) { p.ProtocolName = "AMQP" }, 0x84},
		{"a packet over the limit", id, func(p *packets.Connect) {
			p.UsernameFlag, p.PasswordFlag, p.Password = true, true, make([]byte, 60_000)
			for range 4 {
				p.Properties.User = append(p.Properties.User, packets.User{Key: "k", Value: strings.Repeat("x", 60_000)})
			}
		}, 0x95},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := f.Stats().Refused
			w := f.dial(test.commonName)
			w.send(connectPacket(id, test.change))
			if ack := receive[*packets.Connack](w); ack.ReasonCode != test.code || ack.SessionPresent {
				t.Errorf("CONNACK 0x%02X, want 0x%02X", ack.ReasonCode, test.code)
			}
			w.receiveEnd()
			if f.Stats().Refused != before+1 {
				t.Error("the refusal is not counted")
			}
		})
	}
	if s := f.Client(id); s.Connects != 0 || s.Session {
		t.Errorf("a refused client left traces: %+v", s)
	}
}

func TestUsernameAndPasswordNeitherHelpNorHarm(t *testing.T) {
	f := start(t, nil)
	id := newID()
	f.dial(id).connect(id, func(p *packets.Connect) {
		p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, "someone", true, []byte("x")
	})
}

func TestAnMQTT311ClientReadsItsRefusal(t *testing.T) {
	f := start(t, nil)
	for name, connect := range map[string]string{
		"3.1.1": "\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc",
		"3.1":   "\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03abc",
	} {
		w := f.dial(newID())
		w.sendBytes([]byte(connect))
		answer := make([]byte, 4)
		if _, err := w.Read(answer); err != nil || string(answer) != "\x20\x02\x00\x01" {
			t.Errorf("%s: answered %x, %v", name, answer, err)
		}
		w.receiveEnd()
	}
}

func TestMalformedConnectsAreRefused(t *testing.T) {
	f := start(t, nil)
	id := newID()
	good := appendPacket(nil, connectPacket(id, nil))
	edited := func(change func(b []byte) []byte) []byte { return change(append([]byte(nil), good...)) }
	for name, b := range map[string][]byte{
		"reserved flag":     edited(func(b []byte) []byte { b[9] |= 1; return b }),
		"will QoS, no will": edited(func(b []byte) []byte { b[9] |= 0x08; return b }),
		"header flags":      edited(func(b []byte) []byte { b[0] |= 2; return b }),
		"a lying property length": edited(func(b []byte) []byte {
			b[12] = 127
			return b
		}),
		"bytes left over": edited(func(b []byte) []byte { b[1]++; return append(b, 0) }),
		"a property twice": edited(func(b []byte) []byte {
			property := b[13:18]
			b[1], b[12] = b[1]+5, 10
			return append(b[:18:18], append(append([]byte(nil), property...), b[18:]...)...)
		}),
		"nothing":                          {0x10, 0},
		"only a name":                      {0x10, 6, 0, 4, 'M', 'Q', 'T', 'T'},
		"length with superfluous bytes":    {0x10, 0x80, 0},
		"length of five bytes":             {0x10, 0xff, 0xff, 0xff, 0xff, 1},
		"a client ID longer than the rest": edited(func(b []byte) []byte { b[19] = 0xff; return b }),
	} {
		t.Run(name, func(t *testing.T) {
			w := f.dial(id)
			w.sendBytes(b)
			if ack := receive[*packets.Connack](w); ack.ReasonCode != packets.ConnackMalformedPacket {
				t.Errorf("CONNACK 0x%02X", ack.ReasonCode)
			}
			w.receiveEnd()
		})
	}
	f.dial(id).connect(id, nil) // and the unedited one is good
}

func TestAFirstPacketOtherThanConnectGetsNoAnswer(t *testing.T) {
	f := start(t, nil)
	w := f.dial(newID())
	w.send(&packets.Pingreq{})
	w.receiveEnd()
}

func TestAClientWithoutACertificateOfTheAuthorityDoesNotConnect(t *testing.T) {
	f := start(t, nil)
	stranger := newAuthority(t, "another authority")
	id := newID()
	for name, certificates := range map[string][]tls.Certificate{
		"none":                nil,
		"another authority's": {stranger.issue(t, id, x509.ExtKeyUsageClientAuth)},
		"a server's":          {f.ca.issue(t, id, x509.ExtKeyUsageServerAuth)},
	} {
		t.Run(name, func(t *testing.T) {
			before := f.Stats().HandshakesFailed
			raw, err := net.Dial("tcp", f.address)
			if err != nil {
				t.Fatal(err)
			}
			// Sent even where the server does not name its issuer as acceptable.
			config := &tls.Config{RootCAs: f.ca.pool, ServerName: "broker.test"}
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(certificates) == 0 {
					return &tls.Certificate{}, nil
				}
				return &certificates[0], nil
			}
			w := newWire(t, tls.Client(raw, config))
			_, _ = w.Write(appendPacket(nil, connectPacket(id, nil)))
			if _, err := packets.ReadPacket(w); err == nil {
				t.Error("it got an answer to CONNECT")
			}
			until(t, "counted", func() bool { return f.Stats().HandshakesFailed == before+1 })
		})
	}
}

func TestTLSBelow12IsRefused(t *testing.T) {
	f := start(t, func(c *Config) { c.TLS.MinVersion = tls.VersionTLS10 })
	raw, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	config := f.clientTLS(newID())
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	w := newWire(t, tls.Client(raw, config))
	if err := w.Conn.(*tls.Conn).Handshake(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("handshake with TLS 1.1: %v", err)
	}
}

func TestAConfigurationNamesAllItsFaults(t *testing.T) {
	_, err := New(Config{
		SessionExpiryMax: 1500 * time.Millisecond, ServerKeepAlive: 20 * time.Hour, MaximumPacketSize: 5, QoS0Buffer: -1,
		TLS: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"server certificate", "ClientCAs", "GetConfigForClient", "SessionExpiryMax", "ServerKeepAlive", "MaximumPacketSize", "QoS0Buffer"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Config.TLS is missing") {
		t.Errorf("without TLS: %v", err)
	}
}

func TestLogsHoldNoPayloadAndEscapeNames(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.send(connectPacket("evil\nlevel=ERROR msg=forged", nil))
	receive[*packets.Connack](w)
	w.receiveEnd()
	subscriber := f.subscriber(id, nil)
	subscriber.send(&packets.Publish{Topic: "fds/v2/" + id + "/x", Payload: []byte("SECRET"), QoS: 2, PacketID: 1, Properties: &packets.Properties{}})
	subscriber.receiveDisconnect(packets.DisconnectQoSNotSupported)
	log := f.log.String()
	if strings.Contains(log, "SECRET") || strings.Contains(log, "\nlevel=ERROR") {
		t.Errorf("log:\n%s", log)
	}
	if !strings.Contains(log, "CONNECT refused") || !strings.Contains(log, "connection ended for a packet") {
		t.Errorf("the log does not say what happened:\n%s", log)
	}
}

func TestServeGoesOnWithAnotherListener(t *testing.T) {
	f := start(t, nil)
	id := newID()
	f.subscriber(id, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(listener) }()
	other := *f
	other.address = listener.Addr().String()
	w := other.dial(id)
	if ack := w.connect(id, nil); !ack.SessionPresent {
		t.Error("the session is unknown at the second listener")
	}
	listener.Close()
	if err := <-served; err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("Serve of a closed listener: %v", err)
	}
	w.roundTrip()
	if f.Close(); f.Serve(listener) != ErrClosed {
		t.Error("Serve after Close does not return ErrClosed")
	}
}

func TestCloseTellsClientsAndEndsHandshakes(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	half, err := net.Dial("tcp", f.address) // never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	until(t, "both accepted", func() bool { return f.Stats().Accepted == 2 })
	closed := make(chan struct{})
	go func() { f.Close(); close(closed) }()
	w.receiveDisconnect(packets.DisconnectServerShuttingDown)
	w.Close()
	select {
	case <-closed:
	case <-time.After(timeout):
		t.Fatal("Close hangs")
	}
	if _, err := f.Publish("fds/v2/"+id+"/x", nil, 1, false); !errors.Is(err, ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
}
