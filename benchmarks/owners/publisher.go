package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// publisherProcess publishes to a foreign broker, over several connections.
type publisherProcess struct {
	access  *access
	clients []*paho.Client
}

func (p *publisherProcess) handle(r request) (answer, error) {
	switch r.Do {
	case "begin":
		p.access = r.Access
		return answer{}, nil
	case "publish":
		if len(p.clients) == 0 {
			if err := p.connect(); err != nil {
				return answer{}, err
			}
		}
		return p.publish(r.Count, r.Rate)
	}
	return answer{}, fmt.Errorf("there is no request %q", r.Do)
}

func (p *publisherProcess) connect() error {
	brokerURL, err := url.Parse(p.access.BrokerURL)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.access.CAPEM) {
		return errors.New("the authority's certificate cannot be read")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, i := range p.access.Providers {
		certificate, err := tls.X509KeyPair(i.CertPEM, i.KeyPEM)
		if err != nil {
			return err
		}
		dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}}}
		conn, err := dialer.DialContext(ctx, "tcp", brokerURL.Host)
		if err != nil {
			return err
		}
		client := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn), PacketTimeout: time.Minute})
		if _, err := client.Connect(ctx, &paho.Connect{ClientID: i.ID, CleanStart: true, KeepAlive: 60, Properties: tunedProperties()}); err != nil {
			return err
		}
		p.clients = append(p.clients, client)
	}
	return nil
}

const inFlight = 16 // messages of each connection that await their acknowledgement

// publish returns when the broker has acknowledged every message.
func (p *publisherProcess) publish(count, rate int) (answer, error) {
	type numbered struct {
		n int
		s *send
	}
	next := make(chan numbered)
	failed := make(chan error, len(p.clients)*inFlight)
	var workers sync.WaitGroup
	ids := p.access.Owners[:len(p.access.Owners)-1]
	for _, client := range p.clients {
		for range inFlight {
			workers.Go(func() {
				for m := range next {
					var payload []byte
					payload, m.s.Sent = newMessage(m.n)
					_, err := client.Publish(context.Background(), &paho.Publish{
						QoS: 1, Topic: "fds/v2/" + ids[m.n%len(ids)].ID + "/" + messageLevel, Payload: payload,
					})
					m.s.Acknowledged = time.Now().UnixNano()
					if err != nil {
						failed <- err
						return
					}
				}
			})
		}
	}
	sends, err := pace(count, rate, func(n int, s *send) error {
		select {
		case next <- numbered{n, s}:
			return nil
		case err := <-failed:
			return err
		}
	})
	close(next)
	workers.Wait()
	select {
	case err = <-failed:
	default:
	}
	return answer{Sends: sends}, err
}

const messageLevel = "benchmark"

// A message begins with the time at which it was sent, in nanoseconds, and its number.
const (
	sentBefore   = `{"sent":`
	sentDigits   = 19
	numberBefore = `,"n":"`
	numberDigits = 8
)

// newMessage makes a JSON object that says when it was made.
func newMessage(n int) (payload []byte, sent int64) {
	sent = time.Now().UnixNano()
	text := fmt.Appendf(nil, `%s%0*d%s%0*d","pad":"`, sentBefore, sentDigits, sent, numberBefore, numberDigits, n)
	text = append(text, bytes.Repeat([]byte("x"), messageBytes-len(text)-2)...)
	return append(text, `"}`...), sent
}

func readMessage(payload []byte) (n int, sent int64, ok bool) {
	rest, ok := bytes.CutPrefix(payload, []byte(sentBefore))
	if !ok || len(rest) < sentDigits+len(numberBefore)+numberDigits {
		return 0, 0, false
	}
	sent, failed := strconv.ParseInt(string(rest[:sentDigits]), 10, 64)
	n, err := strconv.Atoi(string(rest[sentDigits+len(numberBefore):][:numberDigits]))
	return n, sent, failed == nil && err == nil
}

// send is how a message with a number was published: nanoseconds of the publisher's clock.
type send struct {
	Due, Sent, Acknowledged int64 // Acknowledged by the broker
	Overslept               time.Duration
}

// pace calls do for 0 to count-1, rate times a second or as fast as it goes. With a rate it
// returns what do has noted of each, after when it was due and by how much it was slept
// too long before it.
func pace(count, rate int, do func(n int, s *send) error) (sends []send, err error) {
	began := time.Now()
	if rate > 0 {
		sends = make([]send, count)
	}
	for n := range count {
		s := new(send)
		if rate > 0 {
			s = &sends[n]
			due := began.Add(time.Duration(n) * time.Second / time.Duration(rate))
			s.Due = due.UnixNano()
			if early := time.Until(due); early > 0 {
				time.Sleep(early)
				s.Overslept = time.Since(due)
			}
		}
		if err := do(n, s); err != nil {
			return nil, err
		}
	}
	return sends, nil
}
