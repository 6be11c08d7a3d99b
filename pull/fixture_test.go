package pull_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"iter"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret stands in answers and tokens; no error may show it.
const secret = "S3CR3T"

// bearer is an Authorizer that counts.
type bearer struct {
	mu         sync.Mutex
	token      string
	authorized int
	challenged int
	renew      func(*http.Response) (string, bool, error) // asked when challenged
	err        error                                      // of Authorize
}

func (b *bearer) Authorize(_ context.Context, r *http.Request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.authorized++
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.err
}

func (b *bearer) Challenged(_ context.Context, response *http.Response) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.challenged++
	if b.renew == nil {
		return false, nil
	}
	token, retry, err := b.renew(response)
	b.token = token
	return retry, err
}

// api is a provider's Web API for one test.
type api struct {
	*httptest.Server
	*bearer
	config pull.Config
}

func serve(t testing.TB, handler http.HandlerFunc) *api {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	a := &api{Server: server, bearer: &bearer{token: secret}}
	a.config = pull.Config{BaseURL: server.URL, Authorizer: a.bearer, Transport: transportFor(t, server), Settings: pull.Settings{Timeout: 20 * time.Second, RetryFor: -1}}
	return a
}

// traps are servers elsewhere, with TLS and without, that no request may reach.
func traps(t *testing.T) (elsewhere *api, plain *httptest.Server) {
	t.Helper()
	caught := func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a request went elsewhere, with %v", r.Header)
		answer(`[{}]`)(w, r)
	}
	plain = httptest.NewServer(http.HandlerFunc(caught))
	t.Cleanup(plain.Close)
	return serve(t, caught), plain
}

func transportFor(t testing.TB, server *httptest.Server) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	transport := pull.NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func (a *api) client(t testing.TB) *pull.Client { return newClient(t, a.config) }

func newClient(t testing.TB, config pull.Config) *pull.Client {
	t.Helper()
	client, err := pull.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// answer serves a fixed body as JSON.
func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// raws gathers the items' bytes up to the first error.
func raws(list iter.Seq2[fds.Item, error]) ([]string, error) {
	var got []string
	for item, err := range list {
		if err != nil {
			return got, err
		}
		got = append(got, string(item.Raw()))
	}
	return got, nil
}

// noLeak checks at the test's end that nothing of it is still running; call it before serve.
func noLeak(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// wait fails the test when the channel does not close within a minute.
func wait(t testing.TB, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("waited in vain until %s", what)
	}
}

// inTime returns what a call returns that must end within a minute. One that goes on for
// ever, as what lacks a bound may, fails the test then, and not when all tests are out
// of time.
func inTime[T any](t testing.TB, call func() (T, error)) (value T, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		value, err = call()
	}()
	wait(t, done, "it ended")
	return value, err
}

// devices writes a list of n devices, each with a note of that many bytes.
func devices(w io.Writer, n, note int) error {
	text := bytes.Repeat([]byte("x"), note)
	between := "["
	for i := range n {
		if _, err := fmt.Fprintf(w, `%s{"device_id":"FORKINC_S1_%d","generic":{"device_type":"dispenser","note":"%s"},"level":%d.50}`, between, i, text, i%100); err != nil {
			return err
		}
		between = ",\n"
	}
	_, err := io.WriteString(w, "]")
	return err
}
