package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
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
		return answer{}, p.publish(r.Count, r.Rate)
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
func (p *publisherProcess) publish(count, rate int) error {
	next := make(chan int)
	failed := make(chan error, len(p.clients)*inFlight)
	var workers sync.WaitGroup
	ids := p.access.Owners[:len(p.access.Owners)-1]
	for _, client := range p.clients {
		for range inFlight {
			workers.Go(func() {
				for n := range next {
					_, err := client.Publish(context.Background(), &paho.Publish{
						QoS: 1, Topic: "fds/v2/" + ids[n%len(ids)].ID + "/" + messageLevel, Payload: newMessage(),
					})
					if err != nil {
						failed <- err
						return
					}
				}
			})
		}
	}
	err := pace(count, rate, func(n int) error {
		select {
		case next <- n:
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
	return err
}

const messageLevel = "benchmark"

// newMessage makes a JSON object that says when it was made.
func newMessage() []byte {
	text := fmt.Appendf(nil, `%s%0*d,"pad":"`, sentBefore, sentDigits, time.Now().UnixNano())
	text = append(text, bytes.Repeat([]byte("x"), messageBytes-len(text)-2)...)
	return append(text, `"}`...)
}

// pace calls do for 0 to count-1, rate times a second or as fast as it goes.
func pace(count, rate int, do func(n int) error) error {
	began := time.Now()
	for n := range count {
		if rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(rate))))
		}
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}
