package fdsclient_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/tap"
	"github.com/fds-sdk/fds-go/pull"
)

// tapped tells of the requests that go through it.
type tapped struct {
	inner http.RoundTripper
	note  func(*http.Request)
}

func (t tapped) RoundTrip(r *http.Request) (*http.Response, error) {
	t.note(r)
	return t.inner.RoundTrip(r)
}

func TestATapSeesEveryRequestAndPacket(t *testing.T) {
	p := start(t, fdstest.Options{})
	var mu sync.Mutex
	requests, sent, received := make(map[string]int), 0, 0
	cfg := configure(t, p)
	cfg.Hooks = append(cfg.Hooks, &tap.Tap{
		Packet: func(p tap.Packet) {
			mu.Lock()
			defer mu.Unlock()
			if p.Sent {
				sent++
			} else {
				received++
			}
		},
		Wrap: func(inner http.RoundTripper) http.RoundTripper {
			return tapped{inner, func(r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(r.URL.Path, "/fds/v2/") && r.Header.Get("Authorization") == "" {
					t.Errorf("%s is not what is sent", r.URL.Path)
				}
				requests[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]++
			}}
		},
	})
	client := open(t, cfg)
	owner := signIn(t, client, p)[0]
	for _, err := range owner.Pull().Statuses(t.Context(), pull.Query{}) {
		if err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx, ignore) }()
	subscribed(t, p, p.Owners()[0])
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if requests["token"] != 1 || requests["statuses"] == 0 || len(requests) < 3 { // and the metadata
		t.Errorf("requests: %v", requests)
	}
	if sent < 3 || received < 2 { // CONNECT, SUBSCRIBE, DISCONNECT; CONNACK, SUBACK
		t.Errorf("%d packets sent, %d received", sent, received)
	}
}
