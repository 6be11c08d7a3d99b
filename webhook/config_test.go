package webhook_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

func sound() webhook.Config {
	return webhook.Config{
		Settings: webhook.Settings{Issuer: issuer, Audience: audience, Senders: []string{sender}},
		Handler:  func(context.Context, delivery.Message) error { return nil },
		Owner:    func(context.Context, fds.SubscriptionID) (fds.OwnerKey, error) { return fds.OwnerKey{}, fds.ErrNoOwner },
		Keys:     func(context.Context) ([]byte, error) { return []byte(`{"keys":[]}`), nil },
	}
}

func TestEachFaultOfAConfigurationNamesItsField(t *testing.T) {
	for field, changes := range map[string][]func(*webhook.Config){
		"Issuer": {
			func(c *webhook.Config) { c.Issuer = "" }, func(c *webhook.Config) { c.Issuer = "http://login.example" },
			func(c *webhook.Config) { c.Issuer = "https://login.example?x=1" }, func(c *webhook.Config) { c.Issuer = "login.example" },
		},
		"Audience": {func(c *webhook.Config) { c.Audience = "" }},
		"Senders":  {func(c *webhook.Config) { c.Senders = nil }, func(c *webhook.Config) { c.Senders = []string{"a", ""} }},
		"Handler":  {func(c *webhook.Config) { c.Handler = nil }},
		"Batch": {func(c *webhook.Config) {
			c.Batch = &delivery.Batching{Handler: func(context.Context, []delivery.Message) error { return nil }}
		}},
		"Owner":      {func(c *webhook.Config) { c.Owner = nil }},
		"Keys":       {func(c *webhook.Config) { c.Keys = nil }},
		"Introspect": {func(c *webhook.Config) { c.Introspection = true }},
		"Algorithms": {
			func(c *webhook.Config) { c.Algorithms = []string{"HS256"} }, func(c *webhook.Config) { c.Algorithms = []string{"ES256", "none"} },
		},
		"Proxies": {
			func(c *webhook.Config) { c.Proxies = []netip.Prefix{{}} },
			func(c *webhook.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
			func(c *webhook.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("::/0")} },
			func(c *webhook.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.1/128")} },
		},
		"Path": {
			func(c *webhook.Config) { c.Path = "fds" }, func(c *webhook.Config) { c.Path = "/fds/{" }, func(c *webhook.Config) { c.Path = "/fds/{subscription_id" },
		},
		"ClockSkew":        {func(c *webhook.Config) { c.ClockSkew = -1 }, func(c *webhook.Config) { c.ClockSkew = 6 * time.Minute }},
		"BodyTimeout":      {func(c *webhook.Config) { c.BodyTimeout = -1 }, func(c *webhook.Config) { c.BodyTimeout = time.Hour }},
		"HandlerTimeout":   {func(c *webhook.Config) { c.HandlerTimeout = -1 }, func(c *webhook.Config) { c.HandlerTimeout = time.Hour }},
		"MaxMarks":         {func(c *webhook.Config) { c.MaxMarks = -1 }},
		"MaxBody":          {func(c *webhook.Config) { c.MaxBody = -1 }, func(c *webhook.Config) { c.MaxBody = 65 << 20 }},
		"MaxInHand":        {func(c *webhook.Config) { c.MaxInHand = -1 }},
		"MaxInHandOfOwner": {func(c *webhook.Config) { c.MaxInHandOfOwner = -1 }},
		"MaxBytes":         {func(c *webhook.Config) { c.MaxBytes = -1 }, func(c *webhook.Config) { c.MaxBytes, c.MaxBody = 1<<20, 2<<20 }},
		"MaxConnections":   {func(c *webhook.Config) { c.MaxConnections = -1 }},
		"SlowHandler":      {func(c *webhook.Config) { c.SlowHandler = -1 }},
		"MaxAttempts": {
			func(c *webhook.Config) { c.MaxAttempts = -1 }, func(c *webhook.Config) { c.MaxAttempts = 3 },
		},
		"Hooks[0]": {func(c *webhook.Config) { c.Hooks = []any{nil} }, func(c *webhook.Config) { c.Hooks = []any{3} }},
	} {
		for i, change := range changes {
			cfg := sound()
			change(&cfg)
			r, err := webhook.New(cfg)
			var faults *fds.ConfigError
			if !errors.As(err, &faults) || !errors.Is(err, fds.ErrConfig) {
				t.Errorf("%s %d: %v", field, i, err)
				if r != nil {
					r.Close()
				}
				continue
			}
			if len(faults.Faults) != 1 || faults.Faults[0].Field != field {
				t.Errorf("%s %d: %v", field, i, err)
			}
		}
	}
	r, err := webhook.New(sound())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestOneFolderIsOfOneReceiver(t *testing.T) {
	cfg := sound()
	cfg.Folder = t.TempDir()
	first, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := webhook.New(cfg); !errors.Is(err, fds.ErrRunning) {
		t.Error(err)
		_ = second.Close()
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
