package webapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is an API behind TLS with the owners A and B. The token "a" covers A, "b"
// B, "ab" both, "none" nobody.
type box struct {
	api    *webapi.API
	world  *world.World
	server *httptest.Server
	a, b   fds.SubscriptionID
	log    *bytes.Buffer
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{log: &bytes.Buffer{}, world: world.New(world.Config{Seed: 1}), a: fds.NewSubscriptionID(), b: fds.NewSubscriptionID()}
	for name, id := range map[string]fds.SubscriptionID{"A": b.a, "B": b.b} {
		if err := b.world.AddOwner(id, name); err != nil {
			t.Fatal(err)
		}
	}
	covered := map[string][]fds.SubscriptionID{"a": {b.a}, "b": {b.b}, "ab": {b.a, b.b}, "none": nil}
	b.api = webapi.New(webapi.Config{
		Verify: func(_ *http.Request, scheme, token string) ([]fds.SubscriptionID, *webapi.Refusal) {
			ids, ok := covered[token]
			if !ok || !strings.EqualFold(scheme, "Bearer") {
				return nil, &webapi.Refusal{Scheme: "Bearer", Code: "invalid_token", Description: "it is \"unknown\"\r\n"}
			}
			return ids, nil
		},
		World:  b.world,
		Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	b.server = httptest.NewUnstartedServer(b.api)
	b.server.Config = webapi.Server(b.api)
	b.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	b.server.StartTLS()
	t.Cleanup(b.server.Close)
	return b
}

// response is an answer read to its end.
type response struct {
	*http.Response
	body string
}

func (b *box) request(t *testing.T, method, path, token, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (b *box) do(t *testing.T, r *http.Request) response {
	t.Helper()
	client := *b.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp, string(all)}
}

func (b *box) get(t *testing.T, path, token string) response {
	t.Helper()
	return b.do(t, b.request(t, http.MethodGet, "/fds/v2/"+path, token, ""))
}

// list asserts a list and returns its items.
func (r response) list(t *testing.T) []json.RawMessage {
	t.Helper()
	var items []json.RawMessage
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s %s: %s", r.Status, r.Header.Get("Content-Type"), r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &items); err != nil || items == nil {
		t.Fatalf("no list: %v in %s", err, r.body)
	}
	return items
}

// fails asserts an error object.
func (r response) fails(t *testing.T, status int, message string) {
	t.Helper()
	want := fmt.Sprintf(`{"status":%d,"message":%q}`, status, message)
	if r.StatusCode != status || r.body != want || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: got %s %s, want %d %s", r.Request.Method, r.Request.URL.RequestURI(), r.Status, r.body, status, want)
	}
}

func deviceOf(t *testing.T, w *world.World, owner fds.SubscriptionID, deviceType string) string {
	t.Helper()
	items, err := w.Read([]fds.SubscriptionID{owner}, world.Specifications, world.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range items {
		var d struct {
			DeviceID string `json:"device_id"`
			Generic  struct {
				DeviceType string `json:"device_type"`
			} `json:"generic"`
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatal(err)
		}
		if d.Generic.DeviceType == deviceType {
			return d.DeviceID
		}
	}
	t.Fatalf("no %s", deviceType)
	return ""
}
