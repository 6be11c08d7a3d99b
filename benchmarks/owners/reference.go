package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// referenceProcess is a subscriber that notes when it has read a message, acknowledges it,
// and does nothing else. At QoS 0 it would be late: a broker that leaves Nagle's algorithm on
// keeps a message back until the one before is acknowledged by TCP, which takes up to 40 ms
// where nothing is sent back.
type referenceProcess struct {
	conn *tls.Conn
	got  []int64
	last chan struct{} // closed when reading has ended
}

func (p *referenceProcess) handle(r request) (answer, error) {
	switch r.Do {
	case "begin":
		return answer{}, p.begin(r.Access, r.Count)
	case "received": // what has not come a second after the client had all is missing
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
		<-p.last
		return answer{Got: p.got}, p.conn.Close()
	}
	return answer{}, fmt.Errorf("there is no request %q", r.Do)
}

func (p *referenceProcess) begin(a *access, count int) error {
	brokerURL, err := url.Parse(a.BrokerURL)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.CAPEM) {
		return errors.New("the authority's certificate cannot be read")
	}
	certificate, err := tls.X509KeyPair(a.Reference.CertPEM, a.Reference.KeyPEM)
	if err != nil {
		return err
	}
	if p.conn, err = tls.Dial("tcp", brokerURL.Host, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}}); err != nil {
		return err
	}
	connect := packets.NewControlPacket(packets.CONNECT)
	connect.Content.(*packets.Connect).ClientID = a.Reference.ID
	connect.Content.(*packets.Connect).CleanStart = true
	subscribe := packets.NewControlPacket(packets.SUBSCRIBE)
	subscribe.Content.(*packets.Subscribe).PacketID = 1
	subscribe.Content.(*packets.Subscribe).Subscriptions = []packets.SubOptions{{Topic: a.ReferenceFilter, QoS: 1}}
	for _, packet := range []*packets.ControlPacket{connect, subscribe} {
		if _, err := packet.WriteTo(p.conn); err != nil {
			return err
		}
		answer, err := packets.ReadPacket(p.conn)
		if err != nil {
			return err
		}
		if reason := refusal(answer); reason >= 0x80 {
			return fmt.Errorf("the broker refuses with reason 0x%02x", reason)
		}
	}
	time.Sleep(100 * time.Millisecond) // until TCP has acknowledged the SUBACK
	p.got, p.last = make([]int64, count), make(chan struct{})
	go p.read(p.conn)
	return nil
}

func refusal(p *packets.ControlPacket) byte {
	switch content := p.Content.(type) {
	case *packets.Connack:
		return content.ReasonCode
	case *packets.Suback:
		if len(content.Reasons) == 1 {
			return content.Reasons[0]
		}
	}
	return 0xff
}

// read returns when all messages have come, or no more are waited for.
func (p *referenceProcess) read(conn io.ReadWriter) {
	defer close(p.last)
	for range p.got {
		packet, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		now := time.Now().UnixNano()
		publish, ok := packet.Content.(*packets.Publish)
		if !ok {
			continue
		}
		if n, _, ok := readMessage(publish.Payload); ok && n < len(p.got) {
			p.got[n] = now
		}
		if _, err := conn.Write([]byte{packets.PUBACK << 4, 2, byte(publish.PacketID >> 8), byte(publish.PacketID)}); err != nil {
			return
		}
	}
}
