package fdsclient_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

func TestEveryServerIsReachedByTheApplicationsDial(t *testing.T) {
	p := start(t, fdstest.Options{})
	port := func(url string) string { return url[strings.Index(url, "//")+2:] }
	ways := map[string]string{port(p.Issuer()): port(p.Issuer()), "localhost:7": port(p.APIURL()), "localhost:8": port(p.BrokerURL())}
	var mu sync.Mutex
	used := make(map[string]bool)
	cfg := configure(t, p)
	cfg.Provider.APIURL, cfg.Provider.BrokerURL = "https://localhost:7", "mqtts://localhost:8"
	cfg.Provider.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		used[address] = true
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, ways[address])
	}
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
	for address := range ways {
		if !used[address] {
			t.Errorf("%s was reached without it", address)
		}
	}
}

func TestADialThatFailsIsTold(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Provider.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no tunnel") }
	_, err := open(t, cfg).SignIn(t.Context(), approve(p))
	if !errors.Is(err, fds.ErrUnavailable) || !fdsclient.Retryable(err) || !strings.Contains(err.Error(), "no tunnel") {
		t.Errorf("%v", err)
	}
}
