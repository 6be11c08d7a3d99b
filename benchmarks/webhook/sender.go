package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// streams of one connection of HTTP/2.
const streams = 64

// sender delivers.
type sender struct {
	places []place // one for each delivery in hand
	serial atomic.Int64
	sent   atomic.Int64 // and answered 200
}

// place has one delivery in hand at a time.
type place interface {
	// post returns the status. Of the answer nothing is left unread.
	post(token, id, body string) (int, error)
	close()
}

// newSender opens all connections.
func newSender(ctx context.Context, e *endpoint, http2 bool, places int) (*sender, error) {
	s := new(sender)
	trust := &tls.Config{RootCAs: e.roots, MinVersion: tls.VersionTLS12}
	for n := range places {
		var p place
		var err error
		switch {
		case !http2:
			p, err = dial(ctx, e.address, trust)
		case n%streams != 0:
			p = s.places[n-1]
		default:
			protocols := new(http.Protocols)
			protocols.SetHTTP2(true)
			p = &stream{ctx, &http.Client{Transport: &http.Transport{TLSClientConfig: trust, Protocols: protocols}}, "https://" + e.address + "/fds"}
			_, err = p.post("", "", "") // one that is refused opens the connection as well
		}
		if err != nil {
			return nil, err
		}
		s.places = append(s.places, p)
	}
	return s, nil
}

func (s *sender) close() {
	for _, p := range s.places {
		p.close()
	}
}

// connection is one of HTTP/1.1. It costs less than an http.Client, which would be what is measured.
type connection struct {
	conn    *tls.Conn
	in      *bufio.Reader
	request []byte
	use     sync.Mutex // by who is paced, and finds a delivery before its own there
}

func dial(ctx context.Context, address string, trust *tls.Config) (*connection, error) {
	conn, err := (&tls.Dialer{Config: trust}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{conn: conn.(*tls.Conn), in: bufio.NewReader(conn)}, nil
}

func (c *connection) post(token, id, body string) (int, error) {
	c.use.Lock()
	defer c.use.Unlock()
	c.request = fmt.Appendf(c.request[:0], "POST /fds HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nWebhook-Id: %s\r\nContent-Length: %d\r\n\r\n%s", token, id, len(body), body)
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, drain(response)
}

func (c *connection) close() { c.conn.Close() }

// stream is any number of one connection of HTTP/2.
type stream struct {
	ctx    context.Context
	client *http.Client
	url    string
}

func (s *stream) post(token, id, body string) (int, error) {
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Webhook-Id", id)
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, drain(response)
}

func (s *stream) close() { s.client.CloseIdleConnections() }

func drain(response *http.Response) error {
	_, err := io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return err
}

// deliver sends one delivery, as no other one is.
func (s *sender) deliver(p place, token string) error {
	n := s.serial.Add(1)
	status, err := p.post(token, fmt.Sprintf("msg_%d", n), fmt.Sprintf(`{"message_id":"m-%d","timestamp":"2026-01-02T03:04:05Z","type":"dispenser.level","device":{"device_id":"FORKINC_S1_%d","device_type":"dispenser","space_id":"9f1c2b3a-0000-4000-8000-%012d"},"data":{"category":"soap","capacity_ml":1000,"levels":[%d,%d.5],"refillable":true,"battery":{"percent":%d,"low":false}}}`,
		n, n%50, n%20, n%100, n%100, n%100))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("a delivery was answered %d", status)
	}
	if err == nil {
		s.sent.Add(1)
	}
	return err
}

// all sends n deliveries as fast as they are taken, with one token after the other.
func (s *sender) all(n int, tokens []string) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	for _, p := range s.places {
		wait.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := s.deliver(p, tokens[i%len(tokens)]); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// paced sends so many a second for a while, and returns how long each took from when it was due.
func (s *sender) paced(rate int, during time.Duration, tokens []string) ([]time.Duration, error) {
	n := max(1, int(float64(rate)*during.Seconds()))
	took, faults := make([]time.Duration, n), make([]error, n)
	var wait sync.WaitGroup
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		wait.Go(func() {
			faults[i] = s.deliver(s.places[i%len(s.places)], tokens[i%len(tokens)])
			took[i] = time.Since(due)
		})
	}
	wait.Wait()
	for _, err := range faults {
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}
