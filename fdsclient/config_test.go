package fdsclient_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func TestEveryFaultOfAConfigIsNamed(t *testing.T) {
	good := func() fdsclient.Config {
		return fdsclient.Config{
			Provider:    fdsclient.Provider{Issuer: "https://auth.example.com"},
			Application: fdsclient.Application{ClientID: "app"},
			Store:       tokenstore.OpenMemory(),
			State:       &statestore.Memory{},
		}
	}
	client, err := fdsclient.New(good())
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	for name, c := range map[string]struct {
		change func(*fdsclient.Config)
		says   string
	}{
		"no issuer":            {func(c *fdsclient.Config) { c.Provider.Issuer = "" }, "Provider.Issuer is missing"},
		"http issuer":          {func(c *fdsclient.Config) { c.Provider.Issuer = "http://127.0.0.1:1" }, "must begin with https://"},
		"issuer and query":     {func(c *fdsclient.Config) { c.Provider.Issuer = "https://a.example?b" }, "no query"},
		"http API":             {func(c *fdsclient.Config) { c.Provider.APIURL = "http://api.example" }, "Provider.APIURL"},
		"mqtt broker":          {func(c *fdsclient.Config) { c.Provider.BrokerURL = "mqtt://b.example" }, "begins with mqtt://"},
		"http endpoint":        {func(c *fdsclient.Config) { c.Provider.Endpoints.Token = "http://a.example/token" }, "Endpoints.Token"},
		"no client ID":         {func(c *fdsclient.Config) { c.Application.ClientID = "" }, "Application.ClientID is missing"},
		"method and no secret": {func(c *fdsclient.Config) { c.Application.AuthMethod = fdsclient.AuthClientSecretPost }, "needs a client secret"},
		"secret and no method": {func(c *fdsclient.Config) {
			c.Application.AuthMethod, c.Application.ClientSecret = fdsclient.AuthNone, fds.NewSecret("x")
		}, "does not go with"},
		"unknown method":   {func(c *fdsclient.Config) { c.Application.AuthMethod = "password" }, "not supported"},
		"http redirect":    {func(c *fdsclient.Config) { c.Application.RedirectURL = "http://app.example/cb" }, "Application.RedirectURL"},
		"redirect path":    {func(c *fdsclient.Config) { c.Application.RedirectPath = "callback" }, "Application.RedirectPath"},
		"port":             {func(c *fdsclient.Config) { c.Application.RedirectPorts = []int{70000} }, "70000"},
		"no error code":    {func(c *fdsclient.Config) { c.Provider.FinalErrors = []string{"a\nb"} }, "Provider.FinalErrors"},
		"an error for now": {func(c *fdsclient.Config) { c.Provider.FinalErrors = []string{"temporarily_unavailable"} }, "passes by itself"},
		"a short secret": {func(c *fdsclient.Config) {
			c.Application.SymmetricIDTokens, c.Application.ClientSecret = true, fds.NewSecret(strings.Repeat("x", 31))
		}, "Application.SymmetricIDTokens"},
		"topic with root":  {func(c *fdsclient.Config) { c.Push.Topics = []string{"fds/v2/#"} }, "topics are below fds/v2/<subscription_id>/ already"},
		"topic above root": {func(c *fdsclient.Config) { c.Push.Topics = []string{"a/#/b"} }, "Push.Topics"},
	} {
		cfg := good()
		c.change(&cfg)
		_, err := fdsclient.New(cfg)
		if !errors.Is(err, fds.ErrConfig) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
		}
	}

	cfg := good()
	cfg.Provider.Issuer, cfg.Application.ClientID, cfg.Provider.APIURL = "", "", "https://user:hunter2@api.example"
	_, err = fdsclient.New(cfg)
	if err == nil || !strings.Contains(err.Error(), "Issuer") || !strings.Contains(err.Error(), "ClientID") || !strings.Contains(err.Error(), "APIURL") {
		t.Errorf("not all faults at once: %v", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error holds a password: %v", err)
	}
}
