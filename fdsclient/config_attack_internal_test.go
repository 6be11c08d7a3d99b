package fdsclient

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// TestAttackWhatBoundsAConnectionReachesIt: else what an operator sets protects nothing.
func TestAttackWhatBoundsAConnectionReachesIt(t *testing.T) {
	client := gapClient(t, func(cfg *Config) {
		cfg.Provider.BrokerFallbacks, cfg.Provider.AllowedServers, cfg.Provider.ExactlyTLS12 = []string{"mqtts://second.example"}, []string{"third.example"}, true
		cfg.Provider.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
		cfg.Push = Push{
			Topics: []string{"a"}, MaxPacketSize: 2 << 10, KeepAlive: time.Hour, SessionExpiry: time.Hour, CertificateCheck: time.Hour,
			TakenOverRetry: time.Hour, MaxAttempts: 7, SlowHandler: time.Hour, MaxBytes: 9, Proxy: "none", ALPN: []string{"mqtt"},
			DeadLetter: func(context.Context, delivery.Message, error) error { return nil },
		}
	})
	id := fds.NewSubscriptionID()
	key := fds.OwnerKey{Issuer: client.cfg.Provider.Issuer, SubscriptionID: id}
	got := client.pushConfig(key, id.Root(), nil)
	for name, ok := range map[string]bool{
		"Owner":            got.Owner == key && got.Root == id.Root(),
		"BrokerURL":        got.BrokerURL == "mqtts://broker.example",
		"Fallbacks":        slices.Equal(got.Fallbacks, []string{"mqtts://second.example"}),
		"AllowedServers":   slices.Equal(got.AllowedServers, []string{"third.example"}),
		"ExactlyTLS12":     got.ExactlyTLS12,
		"Topics":           slices.Equal(got.Topics, []string{"a"}),
		"MaxPacketSize":    got.MaxPacketSize == 2<<10,
		"KeepAlive":        got.KeepAlive == time.Hour,
		"SessionExpiry":    got.SessionExpiry == time.Hour,
		"CertificateCheck": got.CertificateCheck == time.Hour,
		"TakenOverRetry":   got.TakenOverRetry == time.Hour,
		"MaxAttempts":      got.MaxAttempts == 7 && got.DeadLetter != nil,
		"SlowHandler":      got.SlowHandler == time.Hour,
		"Budget":           got.Budget == client.budget && got.Budget != nil,
		"Proxy":            got.Proxy == "none",
		"ALPN":             slices.Equal(got.ALPN, []string{"mqtt"}),
		"Dial":             got.Dial != nil,
		"Limiter":          got.Limiter == client.limiter && got.Limiter != nil,
		"Certificate":      got.Certificate != nil,
	} {
		if !ok {
			t.Errorf("%s is another: %+v", name, got)
		}
	}
}

// TestAttackManyOwnersStormNoProviderByDefault: what nobody set is bounded as well.
func TestAttackManyOwnersStormNoProviderByDefault(t *testing.T) {
	client := gapClient(t, nil)
	connects := 0
	for connects < 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := client.limiter.Wait(ctx)
		cancel()
		if err != nil {
			break
		}
		connects++
	}
	if connects > 100 {
		t.Errorf("%d connects at once", connects)
	}
	if client.cfg.Pull.Limit == nil {
		t.Error("requests of the Web API are not bounded")
	}
	if client.followers.Concurrent != 16 {
		t.Errorf("%d owners are backfilled at once", client.followers.Concurrent)
	}
}

// quietHook is told of a store, and does nothing.
type quietHook struct{}

func (*quietHook) OnStoreUnavailable(error) {}

// TestAttackAListThatIsChangedAfterNewChangesNothing: it may be that of another Client.
func TestAttackAListThatIsChangedAfterNewChangesNothing(t *testing.T) {
	hook := new(quietHook)
	hooks, fallbacks, allowed := []any{hook}, []string{"mqtts://second.example"}, []string{"third.example"}
	resources, topics, ports := []string{"https://api.example"}, []string{"a"}, []int{1}
	client := gapClient(t, func(cfg *Config) {
		cfg.Hooks, cfg.Push.Topics, cfg.Application.RedirectPorts = hooks, topics, ports
		cfg.Provider.BrokerFallbacks, cfg.Provider.AllowedServers, cfg.Provider.Resources = fallbacks, allowed, resources
	})
	hooks[0], fallbacks[0], allowed[0], resources[0], topics[0], ports[0] = 1, "x", "x", "x", "x", 2
	cfg := client.cfg
	if cfg.Hooks[0] != any(hook) || cfg.Provider.BrokerFallbacks[0] == "x" || cfg.Provider.AllowedServers[0] == "x" || cfg.Provider.Resources[0] == "x" ||
		cfg.Push.Topics[0] == "x" || cfg.Application.RedirectPorts[0] == 2 {
		t.Errorf("%+v", cfg)
	}
}
