package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestAProviderSendsToAWebhookWhatIsOfThoseWhoSignedIn(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "box")
	first := start(t, invocation(t, "provider", "--dir", folder))
	first.await(first.out, "ready")
	first.signal(os.Interrupt)
	first.wait().expect(statusDone)

	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "localhost.pem"), filepath.Join(folder, "localhost.key"))
	if err != nil {
		t.Fatal(err)
	}
	type delivery struct{ path, token, body string }
	var mu sync.Mutex
	var deliveries []delivery
	arrived := make(chan struct{}, 1<<10)
	e := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		deliveries = append(deliveries, delivery{r.URL.RequestURI(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), string(body)})
		if len(deliveries) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		arrived <- struct{}{}
	}))
	e.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	e.StartTLS()
	defer e.Close()

	box := start(t, invocation(t, "provider", "--dir", folder, "--every", "20ms", "--webhook", e.URL+"/of/{subscription_id}?v=1", "--webhook-audience", "https://app.example/fds"))
	box.await(box.out, "ready")
	config := filepath.Join(folder, "fdsdemo.yaml")
	signedIn := start(t, invocation(t, "--config", config, "login", "--approve")).wait().expect(statusDone)
	owner := strings.TrimSpace(signedIn.out)
	for range 5 {
		<-arrived
	}
	mu.Lock()
	for _, d := range deliveries {
		var claims map[string]any
		part := strings.Split(d.token, ".")
		if len(part) != 3 {
			t.Fatalf("the token is %q", d.token)
		}
		if text, err := base64.RawURLEncoding.DecodeString(part[1]); err != nil || json.Unmarshal(text, &claims) != nil {
			t.Fatal(err)
		}
		if claims["aud"] != "https://app.example/fds" || claims["client_id"] != "fdsbox-sender" || claims["subscription_id"] != owner || d.path != "/of/"+owner+"?v=1" || !json.Valid([]byte(d.body)) {
			t.Errorf("%s to %s, by a token with %v", d.body, d.path, claims)
		}
	}
	if deliveries[0].body != deliveries[1].body || deliveries[0].token != deliveries[1].token {
		t.Errorf("after 503 came %+v", deliveries[1])
	}
	mu.Unlock()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`audience: "https://app.example/fds"`, "senders: [fdsbox-sender]", "certificate_file: localhost.pem", "key_file: localhost.key"} {
		if !bytes.Contains(text, []byte(line)) {
			t.Errorf("the configuration has no %s:\n%s", line, text)
		}
	}
	box.signal(os.Interrupt)
	said := box.wait().expect(statusDone).err
	for _, part := range []string{"Sends what is published of owners who have signed in to " + e.URL + "/of/{subscription_id}?v=1", "webhook: ", " acknowledged"} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q:\n%s", part, said)
		}
	}
}

func TestFlagsOfAWebhookThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--webhook", ""}, {"--webhook", "http://127.0.0.1:8443/"}, {"--webhook", "https://a:b@127.0.0.1:8443/"}, {"--webhook-audience", "https://app.example"},
		{"--webhook", "https://127.0.0.1:8443/{subscription_id}"},
	} {
		start(t, invocation(t, append([]string{"provider"}, args...)...)).wait().expect(statusUsage).says("--webhook")
	}
}

func TestHowDeliveriesFareIsALine(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]fdstest.Deliveries{
		"3 acknowledged": {Sent: 3, Acknowledged: 3, LastError: "the endpoint answered 503"},
		"3 acknowledged, 2 not yet; the last attempt that failed: the endpoint answered 503":          {Acknowledged: 3, InHand: 1, Waiting: 1, LastError: "the endpoint answered 503"},
		"0 acknowledged, 1 refused for good; the last attempt that failed: the endpoint answered 403": {Failed: 1, LastError: "the endpoint answered 403"},
	} {
		if got := deliveriesLine(d); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
