package push_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
)

func TestEveryFaultOfAConfigurationIsNamed(t *testing.T) {
	owner, root := newOwner()
	_, other := newOwner()
	good := func() push.Config {
		return push.Config{
			Issuer: owner.Issuer, Root: root, BrokerURL: "mqtts://broker.example.com",
			Certificate: func(context.Context) (*tls.Certificate, error) { return nil, nil },
		}
	}
	if _, err := push.New(good()); err != nil {
		t.Fatal(err)
	}
	url := func(text string) func(*push.Config) { return func(c *push.Config) { c.BrokerURL = text } }
	for name, c := range map[string]struct {
		change func(*push.Config)
		says   string
	}{
		"no root":               {func(c *push.Config) { c.Root = fds.Root{} }, "Root has no subscription ID; make it with fds.ParseRoot"},
		"no certificate":        {func(c *push.Config) { c.Certificate = nil }, "Certificate is missing"},
		"no URL":                {url(""), "BrokerURL is missing; write mqtts://host:8883"},
		"mqtt":                  {url("mqtt://broker.example.com:1883"), "begins with mqtt://, which has no TLS"},
		"tcp":                   {url("tcp://broker.example.com:1883"), "begins with tcp://, which has no TLS"},
		"http":                  {url("http://broker.example.com"), "begins with http://, which has no TLS"},
		"https":                 {url("https://broker.example.com"), "has another scheme than mqtts"},
		"no scheme":             {url("broker.example.com:8883"), "has another scheme than mqtts"},
		"no host":               {url("mqtts://:8883"), "names no host"},
		"no such port":          {url("mqtts://broker.example.com:99999"), `the port "99999"`},
		"port 0":                {url("mqtts://broker.example.com:0"), `the port "0"`},
		"a path":                {url("mqtts://broker.example.com/x"), "host and port only"},
		"a query":               {url("mqtts://broker.example.com?x"), "host and port only"},
		"ws":                    {url("ws://broker.example.com"), "begins with ws://, which has no TLS"},
		"wss, no host":          {url("wss:///mqtt"), "names no host"},
		"wss, a query":          {url("wss://broker.example.com/mqtt?token=hunter2"), "may hold host"},
		"wss, a password":       {url("wss://user:hunter2@broker.example.com/mqtt"), "user name or password"},
		"a password":            {url("mqtts://user:hunter2@broker.example.com"), "user name or password"},
		"a password, no URL":    {url("mqtts://user:hunter2@broker.example.com:x"), "not a URL"},
		"a foreign topic":       {func(c *push.Config) { c.Topics = []string{"#", "a/#/b"} }, "# stands only at the end"},
		"a topic with the root": {func(c *push.Config) { c.Topics = []string{"fds/v2/#"} }, "topics are below fds/v2/<subscription_id>/ already"},
		"an empty topic":        {func(c *push.Config) { c.Topics = []string{""} }, "empty level"},
		"a foreign filter":      {func(c *push.Config) { c.Subscribed = []string{other.String() + "#"} }, "stored for another owner"},
		"the prefix alone":      {func(c *push.Config) { c.Subscribed = []string{root.String()} }, "stored for another owner"},
		"session expiry":        {func(c *push.Config) { c.SessionExpiry = time.Millisecond }, "SessionExpiry is 1ms"},
		"negative expiry":       {func(c *push.Config) { c.SessionExpiry = -1 }, "SessionExpiry is -1ns"},
		"keep-alive":            {func(c *push.Config) { c.KeepAlive = 19 * time.Hour }, "KeepAlive is 19h"},
		"packet size":           {func(c *push.Config) { c.MaxPacketSize = 100 }, "MaxPacketSize is 100"},
		"huge packets":          {func(c *push.Config) { c.MaxPacketSize = 1 << 29 }, "MaxPacketSize is 536870912"},
		"connect time-out":      {func(c *push.Config) { c.ConnectTimeout = -time.Second }, "ConnectTimeout is -1s"},
		"a fragment":            {url("mqtts://broker.example.com#x"), "host and port only"},
		"a bare ?":              {url("mqtts://broker.example.com?"), "host and port only"},
		"an opaque URL":         {url("mqtts:broker.example.com"), "names no host"},
		"a long port":           {url("mqtts://broker.example.com:" + strings.Repeat("9", 10_000)), `the port "99999`},
		"write time-out":        {func(c *push.Config) { c.WriteTimeout = 25 * time.Hour }, "WriteTimeout is 25h"},
		"drain time-out":        {func(c *push.Config) { c.DrainTimeout = -1 }, "DrainTimeout is -1ns"},
		"certificate check":     {func(c *push.Config) { c.CertificateCheck = 1 }, "CertificateCheck is 1ns"},
		"slow handler":          {func(c *push.Config) { c.SlowHandler = -1 }, "SlowHandler is -1ns"},
		"taken over":            {func(c *push.Config) { c.TakenOverRetry = time.Second }, "TakenOverRetry is 1s"},
		"negative attempts":     {func(c *push.Config) { c.MaxAttempts = -1 }, "MaxAttempts is -1"},
		"a slow back-off":       {func(c *push.Config) { c.Backoff.Slow = -1 }, "Backoff.Slow is -1ns"},
		"handler back-off":      {func(c *push.Config) { c.HandlerBackoff.Initial = 48 * time.Hour }, "HandlerBackoff.Initial is 48h"},
		"a long foreign filter": {func(c *push.Config) { c.Subscribed = []string{other.String() + strings.Repeat("x", 10_000)} }, "stored for another owner"},
		"back-off":              {func(c *push.Config) { c.Backoff = push.Backoff{Initial: time.Minute, Max: time.Second} }, "Backoff.Initial is 1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			c.change(&cfg)
			_, err := push.New(cfg)
			if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") || !isSafe(err.Error()) {
				t.Errorf("error %.1000q, want %q", err, c.says)
			}
		})
	}
	_, err := push.New(push.Config{})
	var faults *fds.ConfigError
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	var fields []string
	for _, fault := range faults.Faults {
		fields = append(fields, fault.Field)
	}
	if want := []string{"Root", "BrokerURL", "Certificate"}; !slices.Equal(fields, want) {
		t.Errorf("the faults are those of %q, want %q", fields, want)
	}
}

// TestAttackAnAllowedServerIsAHostAndNothingElse: what else it held would decide where
// an owner's certificate is shown.
func TestAttackAnAllowedServerIsAHostAndNothingElse(t *testing.T) {
	b := newScripted(t, nil)
	for _, allowed := range []string{
		"", " ", "https://other.test", "mqtts://other.test:8883", "other.test/mqtt", "user@other.test", "user:hunter2@other.test:8883", "other.test?x", "other.test#x",
		"a b", "[::1", "::1]:1:2", "1:2:3", "other.test:0", "other.test:99999", "other.test:-1", "other.test:mqtt", ":8883", "[other.test", "other.test,third.test",
		"line\nforged\x1b[31m\u202e/" + strings.Repeat("x", 10_000),
	} {
		cfg := b.config()
		cfg.AllowedServers = []string{"fine.test", allowed}
		if _, err := push.New(cfg); !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), "AllowedServers") || !isSafe(err.Error()) {
			t.Errorf("%.40q: error %.1000q", allowed, err)
		}
	}
}

func TestAnUpperCaseFilterOfAnEarlierRunIsTheOwnersToo(t *testing.T) {
	owner, root := newOwner()
	_, err := push.New(push.Config{
		Issuer: owner.Issuer, Root: root, BrokerURL: "mqtts://[::1]:1234",
		Certificate: func(context.Context) (*tls.Certificate, error) { return nil, nil },
		Subscribed:  []string{"fds/v2/" + strings.ToUpper(root.ClientID()) + "/#"},
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAttackAMessagePrintsWithoutItsContent(t *testing.T) {
	owner, _ := newOwner()
	m := delivery.Message{Owner: owner, Topic: "t", Payload: []byte("secret")}
	for _, text := range []string{m.String(), m.LogValue().String()} {
		if strings.Contains(text, "secret") || strings.Contains(text, "115 101 99") {
			t.Errorf("%s", text)
		}
	}
}

// TestAttackATopicForgesNoLineOfALog: it is the broker's, and up to 64 KiB long.
func TestAttackATopicForgesNoLineOfALog(t *testing.T) {
	owner, _ := newOwner()
	m := delivery.Message{Owner: owner, Topic: strings.Repeat("a/\n\x1b[31m\u009b\u202e\"", 1000), Payload: []byte("secret")}
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		var log bytes.Buffer
		slog.New(handler(&log)).Info("x", "message", m)
		if text := strings.TrimSuffix(log.String(), "\n"); !isSafe(text) || strings.Contains(text, "secret") || !strings.Contains(text, owner.SubscriptionID.String()) {
			t.Errorf("%.1500q", text)
		}
	}
	if !isSafe(m.String()) {
		t.Errorf("%.1500q", m.String())
	}
	m.Topic = "fds/v2/x/devices/S 1"
	if got := m.LogValue().String(); !strings.Contains(got, m.Topic) {
		t.Errorf("a topic as usual is logged as %s", got)
	}
}
