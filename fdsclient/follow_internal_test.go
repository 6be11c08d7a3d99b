package fdsclient

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/following"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// webAPI is a Web API that has nothing.
type webAPI struct{}

func (webAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader("[]")),
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
	}, nil
}

// anyone needs no token.
type anyone struct{}

func (anyone) Authorize(context.Context, *http.Request) error                     { return nil }
func (anyone) Challenged(context.Context, *http.Response) (retry bool, err error) { return false, nil }

// gapClient makes a Client with no provider behind it but a webAPI.
func gapClient(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	const issuer = "https://auth.example"
	cfg := Config{
		Provider: Provider{
			Issuer: issuer, APIURL: "https://api.example", BrokerURL: "mqtts://broker.example",
			Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"},
		},
		Application: Application{ClientID: "app"},
		Store:       tokenstore.OpenMemory(),
		State:       &statestore.Memory{},
		Logger:      slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// pollClient makes a Client that polls each minute.
func pollClient(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	return gapClient(t, func(cfg *Config) {
		cfg.Provider.BrokerURL, cfg.Poll.Interval = "", time.Minute
		cfg.Provider.Dialect = fds.Dialect{FromParameter: "from", TimeMember: "generic.date_time"}
		if change != nil {
			change(cfg)
		}
	})
}

// ownerWith makes an owner whose Web API a transport is.
func ownerWith(t *testing.T, c *Client, api http.RoundTripper) *Owner {
	t.Helper()
	id := fds.NewSubscriptionID()
	o := &Owner{client: c, key: fds.OwnerKey{Issuer: c.cfg.Provider.Issuer, SubscriptionID: id}, root: id.Root()}
	made, err := pull.New(pull.Config{BaseURL: c.cfg.Provider.APIURL, Authorizer: anyone{}, Transport: api, Dialect: c.cfg.Provider.Dialect, Root: o.root, Settings: pull.Settings{RetryFor: -1}, Logger: c.log})
	if err != nil {
		t.Fatal(err)
	}
	o.pullOnes.made.Store(made)
	return o
}

// followed returns the follower of an owner whose messages up to now were handled.
func followed(t *testing.T, c *Client, o *Owner, h delivery.Handler) *following.Follower {
	t.Helper()
	state, err := json.Marshal(map[string]any{"filters": []string{o.root.String() + "#"}, "position": time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.followers.Store.Save(t.Context(), statestore.Key{ClientID: c.cfg.Application.ClientID, Owner: o.key, Name: "state"}, state, ""); err != nil {
		t.Fatal(err)
	}
	return c.follow(t.Context(), o, nil, c.calling(h))
}

func TestAnIntervalHasABound(t *testing.T) {
	cfg := Config{Provider: Provider{Issuer: "https://auth.example", APIURL: "https://api.example"}, Application: Application{ClientID: "app"}, State: &statestore.Memory{}, Poll: Poll{Interval: math.MaxInt64}}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "Poll.Interval") {
		t.Errorf("New: %v; the next read would be due in the past", err)
	}
}
