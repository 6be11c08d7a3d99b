package fdsclient

import (
	"context"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// TestAttackEverySettingReachesPushAndPull: else what an operator sets protects nothing.
func TestAttackEverySettingReachesPushAndPull(t *testing.T) {
	spacing := push.Backoff{Initial: time.Hour, Max: time.Hour, StableAfter: time.Hour, Slow: time.Hour}
	pushing := push.Settings{
		Topics: []string{"a"}, AtMostOnce: true, Fallbacks: []string{"mqtts://second.example"}, AllowedServers: []string{"third.example"},
		SessionExpiry: time.Hour, KeepAlive: time.Hour, ReceiveMaximum: 3, MaxPacketSize: 2 << 10,
		ConnectTimeout: time.Hour, WriteTimeout: time.Hour, DrainTimeout: time.Hour, CertificateCheck: time.Hour,
		Backoff: spacing, Limit: new(fds.Limit), TakenOverRetry: time.Hour,
		MaxAttempts: 7, DeadLetter: func(context.Context, delivery.Message, error) error { return nil }, SlowHandler: time.Hour, HandlerBackoff: spacing,
		Budget: push.NewBudget(9), Proxy: "none", ALPN: []string{"mqtt"},
	}
	pulling := pull.Settings{
		MaxBodyBytes: 1, MaxItemBytes: 2, MaxPages: 3, MaxListBytes: 4, Timeout: time.Hour, ListTimeout: 2 * time.Hour, RetryFor: 3 * time.Hour, Limit: new(fds.Limit),
	}
	for _, settings := range []any{pushing, pulling} {
		for field, value := range reflect.ValueOf(settings).Fields() {
			if value.IsZero() {
				t.Errorf("%T.%s is not looked at", settings, field.Name)
			}
		}
	}
	client := gapClient(t, func(cfg *Config) {
		cfg.Provider.ExactlyTLS12 = true
		cfg.Provider.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
		cfg.Push, cfg.Pull = pushing, pulling
	})
	id := fds.NewSubscriptionID()
	got := client.pushConfig(fds.OwnerKey{Issuer: client.cfg.Provider.Issuer, SubscriptionID: id}, id.Root(), nil)
	if got.Issuer != client.cfg.Provider.Issuer || got.Root != id.Root() || got.BrokerURL != "mqtts://broker.example" || !got.ExactlyTLS12 || got.Dial == nil || got.Certificate == nil {
		t.Errorf("%+v", got)
	}
	if got.DeadLetter == nil {
		t.Error("DeadLetter is lost")
	}
	got.DeadLetter, pushing.DeadLetter = nil, nil // functions compare with nothing
	if !reflect.DeepEqual(got.Settings, pushing) {
		t.Errorf("%+v, want %+v", got.Settings, pushing)
	}
	reading := client.pullConfig(noAPI{}, pulling.RetryFor, nil)
	if !reflect.DeepEqual(reading.Settings, pulling) {
		t.Errorf("%+v, want %+v", reading.Settings, pulling)
	}
}

// TestAttackManyOwnersStormNoProviderByDefault: what nobody set is bounded as well.
func TestAttackManyOwnersStormNoProviderByDefault(t *testing.T) {
	client := gapClient(t, nil)
	connects := 0
	for connects < 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := client.cfg.Push.Limit.Wait(ctx)
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
		cfg.Push.Fallbacks, cfg.Push.AllowedServers, cfg.Provider.Resources = fallbacks, allowed, resources
	})
	hooks[0], fallbacks[0], allowed[0], resources[0], topics[0], ports[0] = 1, "x", "x", "x", "x", 2
	cfg := client.cfg
	if cfg.Hooks[0] != any(hook) || cfg.Push.Fallbacks[0] == "x" || cfg.Push.AllowedServers[0] == "x" || cfg.Provider.Resources[0] == "x" ||
		cfg.Push.Topics[0] == "x" || cfg.Application.RedirectPorts[0] == 2 {
		t.Errorf("%+v", cfg)
	}
}
