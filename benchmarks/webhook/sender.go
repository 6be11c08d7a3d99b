package main

import (
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
	ctx    context.Context
	url    string
	places []*http.Client // one for each delivery in hand
	serial atomic.Int64
	sent   int64 // and answered 200
}

// newSender opens all connections.
func newSender(ctx context.Context, e *endpoint, http2 bool, places int) (*sender, error) {
	s := &sender{ctx: ctx, url: "https://" + e.address + "/fds"}
	for n := range places {
		if http2 && n%streams != 0 {
			s.places = append(s.places, s.places[n-1])
			continue
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP2(http2)
		protocols.SetHTTP1(!http2)
		s.places = append(s.places, &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: e.roots, MinVersion: tls.VersionTLS12},
			Protocols:       protocols,
		}})
		// One that is refused has opened the connection as well.
		if response, err := s.places[n].Get(s.url); err != nil {
			return nil, err
		} else if err := drain(response); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *sender) close() {
	for _, c := range s.places {
		c.CloseIdleConnections()
	}
}

func drain(response *http.Response) error {
	_, err := io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return err
}

// deliver sends one delivery, as no other one is.
func (s *sender) deliver(client *http.Client, token string) error {
	n := s.serial.Add(1)
	body := fmt.Sprintf(`{"message_id":"m-%d","timestamp":"2026-01-02T03:04:05Z","type":"dispenser.level","device":{"device_id":"FORKINC_S1_%d","device_type":"dispenser","space_id":"9f1c2b3a-0000-4000-8000-%012d"},"data":{"category":"soap","capacity_ml":1000,"levels":[%d,%d.5],"refillable":true,"battery":{"percent":%d,"low":false}}}`,
		n, n%50, n%20, n%100, n%100, n%100)
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Webhook-Id", fmt.Sprintf("msg_%d", n))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if err := drain(response); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("a delivery was answered %s", response.Status)
	}
	atomic.AddInt64(&s.sent, 1)
	return nil
}

// all sends n deliveries as fast as they are taken, with one token after the other.
func (s *sender) all(n int, tokens []string) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	for _, client := range s.places {
		wait.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := s.deliver(client, tokens[i%len(tokens)]); err != nil {
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
