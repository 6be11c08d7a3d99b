package fdsclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// TestAttackAConfigThatCannotWorkIsRefusedInOneLine: it may come from a file that
// someone else wrote.
func TestAttackAConfigThatCannotWorkIsRefusedInOneLine(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	odd := "odd\n\x1b[31m\u009b\u202e"
	polled := func(c *fdsclient.Config) { c.Poll.Interval, c.Provider.APIURL = time.Minute, "https://api.example" }
	for name, c := range map[string]struct {
		change func(*fdsclient.Config)
		says   string
	}{
		"two ways to prove itself": {func(c *fdsclient.Config) {
			c.Application.ClientSecret, c.Application.Key = fds.NewSecret("hunter2"), curve
		}, "Application.AuthMethod is missing, and there are a client secret and a key (see Application.Key); choose one"},
		"TLS and no certificate":  {func(c *fdsclient.Config) { c.Application.AuthMethod = fdsclient.AuthTLS }, "tls_client_auth needs a client certificate"},
		"self-signed and none":    {func(c *fdsclient.Config) { c.Application.AuthMethod = fdsclient.AuthSelfSignedTLS }, "needs a client certificate"},
		"assertions and no key":   {func(c *fdsclient.Config) { c.Application.AuthMethod = fdsclient.AuthPrivateKeyJWT }, "needs a private key"},
		"an odd method":           {func(c *fdsclient.Config) { c.Application.AuthMethod = fdsclient.AuthMethod(odd) }, "is not supported"},
		"a weak key":              {func(c *fdsclient.Config) { c.Application.Key = small }, "at least 2048 bits"},
		"another key's algorithm": {func(c *fdsclient.Config) { c.Application.Key, c.Application.KeyAlgorithm = curve, "RS256" }, "does not suit the key"},
		"no algorithm at all":     {func(c *fdsclient.Config) { c.Application.Key, c.Application.KeyAlgorithm = curve, "none" }, "does not suit the key"},
		"an odd name":             {func(c *fdsclient.Config) { c.Application.Name = odd }, "cannot be shown"},
		"a name that is no text":  {func(c *fdsclient.Config) { c.Application.Name = "\xff" }, "cannot be shown"},
		"a redirect's fragment":   {func(c *fdsclient.Config) { c.Application.RedirectURL = "https://app.example/cb#x" }, "must have no fragment"},
		"a redirect's password":   {func(c *fdsclient.Config) { c.Application.RedirectURL = "https://user:hunter2@app.example/cb" }, "Application.RedirectURL"},
		"a redirect path, query":  {func(c *fdsclient.Config) { c.Application.RedirectPath = "/cb?x" }, "is not a plain path"},
		"a redirect path, escape": {func(c *fdsclient.Config) { c.Application.RedirectPath = "/cb%2F" }, "is not a plain path"},
		"a redirect path, host":   {func(c *fdsclient.Config) { c.Application.RedirectPath = "//evil.example" }, "is not a plain path"},
		"a redirect path, back":   {func(c *fdsclient.Config) { c.Application.RedirectPath = `/\evil.example` }, "is not a plain path"},
		"port 0":                  {func(c *fdsclient.Config) { c.Application.RedirectPorts = []int{0} }, "has 0, which is no port"},
		"a negative port":         {func(c *fdsclient.Config) { c.Application.RedirectPorts = []int{-1} }, "has -1, which is no port"},

		"an issuer's fragment": {func(c *fdsclient.Config) { c.Provider.Issuer = "https://a.example#b" }, "no fragment"},
		"an issuer's password": {func(c *fdsclient.Config) { c.Provider.Issuer = "https://user:hunter2@a.example" }, "Provider.Issuer"},
		"an odd issuer":        {func(c *fdsclient.Config) { c.Provider.Issuer = "https://" + odd }, "Provider.Issuer"},
		"a broker's password":  {func(c *fdsclient.Config) { c.Provider.BrokerURL = "mqtts://user:hunter2@b.example" }, "Provider.BrokerURL"},
		"ws":                   {func(c *fdsclient.Config) { c.Provider.BrokerURL = "ws://b.example" }, "Provider.BrokerURL begins with ws://"},
		"a fallback": {func(c *fdsclient.Config) {
			c.Provider.BrokerURL, c.Push.Fallbacks = "mqtts://b.example", []string{"mqtt://c.example"}
		}, "Push.Fallbacks"},
		"an allowed server": {func(c *fdsclient.Config) {
			c.Provider.BrokerURL, c.Push.AllowedServers = "mqtts://b.example", []string{"https://c.example"}
		}, "Push.AllowedServers"},
		"a negative lifetime":   {func(c *fdsclient.Config) { c.Provider.AssumedLifetime = -1 }, "AssumedLifetime"},
		"a negative refresh":    {func(c *fdsclient.Config) { c.Provider.RefreshInterval = -1 }, "RefreshInterval"},
		"a resource, no URI":    {func(c *fdsclient.Config) { c.Provider.Resources = []string{"api"} }, "not an absolute URI"},
		"a resource's fragment": {func(c *fdsclient.Config) { c.Provider.Resources = []string{"https://api.example#x"} }, "not an absolute URI"},
		"an odd resource":       {func(c *fdsclient.Config) { c.Provider.Resources = []string{odd} }, "not an absolute URI"},
		"a dialect":             {func(c *fdsclient.Config) { c.Provider.Dialect = fds.Dialect{FromParameter: "at", ToParameter: "at"} }, "Provider.Dialect.ToParameter"},
		"a layout":              {func(c *fdsclient.Config) { c.Provider.Dialect.TimeLayout = "YYYY-MM-DD" }, "does not give a date"},
		"a layout of the day":   {func(c *fdsclient.Config) { c.Provider.Dialect.TimeLayout = "15:04:05" }, "does not give a date"},
		"an odd topic":          {func(c *fdsclient.Config) { c.Push.Topics = []string{odd + "+"} }, "Push.Topics"},
		"negative pages":        {func(c *fdsclient.Config) { c.Pull.MaxPages = -1 }, "Pull.MaxPages is -1"},

		"polls without a pause":  {func(c *fdsclient.Config) { polled(c); c.Poll.Interval = 999 * time.Millisecond }, "at least 1s"},
		"polls of the past":      {func(c *fdsclient.Config) { polled(c); c.Poll.Interval = -time.Hour }, "at least 1s"},
		"polls for nobody":       {func(c *fdsclient.Config) { polled(c); c.Poll.Interval = 31 * day }, "at most 720h"},
		"polls beside a broker":  {func(c *fdsclient.Config) { polled(c); c.Provider.BrokerURL = "mqtts://b.example" }, "a provider with a broker pushes"},
		"polls of nothing":       {func(c *fdsclient.Config) { polled(c); c.Provider.APIURL = "" }, "nothing to read from"},
		"a negative poll margin": {func(c *fdsclient.Config) { polled(c); c.Poll.Margin = -1 }, "Poll.Margin"},
		"a long poll margin":     {func(c *fdsclient.Config) { polled(c); c.Poll.Margin = 31 * day }, "Poll.Margin"},

		"a negative margin": {func(c *fdsclient.Config) { c.Gaps.Margin = -1 }, "Gaps.Margin"},
		"a long margin":     {func(c *fdsclient.Config) { c.Gaps.Margin = 25 * time.Hour }, "Gaps.Margin"},
		"a negative wait":   {func(c *fdsclient.Config) { c.Gaps.Wait = -1 }, "Gaps.Wait"},
		"a long wait":       {func(c *fdsclient.Config) { c.Gaps.Wait = 2 * time.Hour }, "Gaps.Wait"},
		"a negative retry":  {func(c *fdsclient.Config) { c.Gaps.Retry.Initial = -1 }, "Gaps.Retry.Initial"},
		"a long retry":      {func(c *fdsclient.Config) { c.Gaps.Retry.Max = 25 * time.Hour }, "Gaps.Retry.Max"},
		"fewer than none":   {func(c *fdsclient.Config) { c.Gaps.Concurrent = -1 }, "Gaps.Concurrent"},

		"what push refuses":  {func(c *fdsclient.Config) { c.Push.MaxPacketSize = 1 }, "Push.MaxPacketSize"},
		"half a dead letter": {func(c *fdsclient.Config) { c.Push.MaxAttempts = 1 }, "Push.MaxAttempts needs a function for dead letters (see Push.DeadLetter)"},
	} {
		cfg := fdsclient.Config{
			Provider:    fdsclient.Provider{Issuer: "https://auth.example.com"},
			Application: fdsclient.Application{ClientID: "app"},
			Store:       tokenstore.OpenMemory(),
			State:       &statestore.Memory{},
		}
		c.change(&cfg)
		client, err := fdsclient.New(cfg)
		if err == nil {
			client.Close()
			t.Errorf("%s: accepted", name)
			continue
		}
		if text := err.Error(); !errors.Is(err, fds.ErrConfig) || !strings.Contains(text, c.says) || strings.Contains(text, "hunter2") ||
			len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %.1000q, want %q in it", name, err, c.says)
		}
	}
}

// TestAttackAPrivateKeyThatCannotBeReadIsNotShown: an error of a parser may quote it.
func TestAttackAPrivateKeyThatCannotBeReadIsNotShown(t *testing.T) {
	const secret = "hunter2hunter2hunter2"
	for _, kind := range []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "CERTIFICATE"} {
		for _, content := range []string{secret, "\x30\x15" + secret, ""} {
			_, err := fdsclient.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)}))
			if err == nil || strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 120 ||
				!strings.Contains(err.Error(), "cannot be read") && !strings.Contains(err.Error(), "encrypted") && !strings.Contains(err.Error(), "there is none") {
				t.Errorf("%s: error %v", kind, err)
			}
		}
	}
}
