package docs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/webhook"
)

// What webhooks.md shows.

func endpoint() webhook.Settings {
	return webhook.Settings{
		Audience:    "https://app.example.com/fds",
		Senders:     []string{"provider-sender"},
		Certificate: fdsclient.CertificateFiles("/etc/fleet/app.pem", "/etc/fleet/app.key"),
		Path:        "/fds/{subscription_id}", // leave it out where the URL does not name the owner
		Folder:      "/var/lib/fleet/webhook",
	}
}

func receive(ctx context.Context, client *fdsclient.Client, settings webhook.Settings, listener net.Listener, h delivery.Handler) error {
	receiver, err := client.Webhook(settings, h)
	if err != nil {
		return err
	}
	defer receiver.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return client.Run(ctx, nil) }) // keeps grants renewed; with h it takes what a broker publishes, too
	group.Go(func() error { return receiver.Serve(ctx, listener) })
	return group.Wait()
}

func mount(ctx context.Context, receiver *webhook.Receiver, others http.Handler, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/fds/{subscription_id}", receiver)
	mux.Handle("/", others)
	server := &http.Server{
		Handler:           mux,
		TLSConfig:         receiver.TLSConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // an access token, and a certificate from a proxy
	}
	stop := context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_ = server.Shutdown(within)
	})
	defer stop()
	// No files are named: the certificate is that of Settings.Certificate, in TLSConfig.
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func behind(settings webhook.Settings) webhook.Settings {
	settings.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	return settings
}

// site is an application that the provider in a box delivers to.
type site struct {
	t        *testing.T
	provider *fdstest.Provider
	client   *fdsclient.Client
	owner    fdstest.Owner
	settings webhook.Settings
	files    string // folder of a server's certificate, for localhost

	mu  sync.Mutex
	got []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, provider: start(fdstest.Options{}), files: t.TempDir(), settings: endpoint()}
	t.Cleanup(s.provider.Close)
	s.client, _ = signIn(s.provider, fds.Dialect{}, fdsclient.Config{})
	t.Cleanup(func() { _ = s.client.Close() })
	s.owner = s.provider.Owners()[0]
	server, err := s.provider.IssueCertificate(fdstest.CertificateRequest{CommonName: "localhost", Hosts: []string{"localhost", "127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	s.write("app.pem", server.ChainPEM)
	s.write("app.key", server.KeyPEM)
	s.settings.Certificate = fdsclient.CertificateFiles(s.file("app.pem"), s.file("app.key"))
	s.settings.Folder = filepath.Join(s.files, "webhook")
	return s
}

func (s *site) file(name string) string { return filepath.Join(s.files, name) }

func (s *site) write(name string, data []byte) {
	s.t.Helper()
	if err := os.WriteFile(s.file(name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) handle(_ context.Context, m delivery.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(m.Payload))
	return nil
}

func (s *site) handled() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, " ")
}

// serve runs a server on a new port until the test ends.
func (s *site) serve(server func(context.Context, net.Listener) error) (address string) {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server(ctx, listener) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	return listener.Addr().String()
}

// sender is the provider's, to an address.
func (s *site) sender(address string, change ...func(*fdstest.Webhook)) *fdstest.Sender {
	s.t.Helper()
	w := fdstest.Webhook{URL: "https://" + address + "/fds/{subscription_id}", Audience: s.settings.Audience, ClientID: s.settings.Senders[0], First: 10 * time.Millisecond, Most: 50 * time.Millisecond}
	for _, change := range change {
		change(&w)
	}
	sender, err := s.provider.SendTo(s.t.Context(), w)
	if err != nil {
		s.t.Fatal(err)
	}
	return sender
}

// answered has one request of a sender, and checks the answer's status.
func (s *site) answered(status int, sender *fdstest.Sender, a fdstest.Attempt) {
	s.t.Helper()
	a.Owner = s.owner
	reply, err := sender.Attempt(s.t.Context(), a)
	if err != nil {
		s.t.Fatal(err)
	}
	if reply.Status != status {
		s.t.Errorf("the answer is %d, want %d: %s", reply.Status, status, reply.Body)
	}
}

func TestAnEndpointOfThePageIsDeliveredTo(t *testing.T) {
	s := newSite(t)
	address := s.serve(func(ctx context.Context, listener net.Listener) error {
		return receive(ctx, s.client, s.settings, listener, s.handle)
	})
	if err := s.sender(address).Deliver(t.Context(), s.owner, []byte(`{"a":1}`)); err != nil || s.handled() != `{"a":1}` {
		t.Fatalf("%v; handled was %s", err, s.handled())
	}
	s.answered(http.StatusMethodNotAllowed, s.sender(address), fdstest.Attempt{Method: http.MethodGet, Fields: http.Header{"Authorization": nil}}) // as curl -v URL has it
}

func TestAnEndpointInAServerOfOnesOwnIsDeliveredTo(t *testing.T) {
	s := newSite(t)
	receiver, err := s.client.Webhook(s.settings, s.handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = receiver.Close() })
	address := s.serve(func(ctx context.Context, listener net.Listener) error {
		return mount(ctx, receiver, http.NotFoundHandler(), listener)
	})
	sender := s.sender(address)
	if err := sender.Deliver(t.Context(), s.owner, []byte(`{"a":1}`)); err != nil || s.handled() != `{"a":1}` {
		t.Fatalf("%v; handled was %s", err, s.handled())
	}
	s.answered(http.StatusNotFound, sender, fdstest.Attempt{Body: []byte(`{}`), URL: "https://" + address + "/other"})
}

// replaced is the one block of the page that has a text, with other names in it, each of which must
// be there.
func (s *site) replaced(language, has string, names map[string]string) string {
	s.t.Helper()
	blocks := slices.DeleteFunc(blocksOf(read(s.t, "webhooks.md"), language), func(block string) bool { return !strings.Contains(block, has) })
	if len(blocks) != 1 {
		s.t.Fatalf("the page has %d blocks of %s with %q", len(blocks), language, has)
	}
	text := blocks[0]
	for old, name := range names {
		if !strings.Contains(text, old) {
			s.t.Fatalf("the page's %s has no %q", language, old)
		}
		text = strings.ReplaceAll(text, old, name)
	}
	return text
}

// nginx runs the page's server, with names replaced besides those of its place.
func (s *site) nginx(before string, names map[string]string) (address string) {
	s.t.Helper()
	s.write("fds.js", []byte(s.replaced("js", "", nil)))
	all := map[string]string{
		"/etc/nginx/fds.js": s.file("fds.js"), "listen 443": "listen " + realtest.ListenAddress,
		"/etc/ssl/app.pem": s.file("app.pem"), "/etc/ssl/app.key": s.file("app.key"),
	}
	maps.Copy(all, names)
	return realtest.Nginx(s.t, before+s.replaced("nginx", "server_name", all))
}

// plain serves without TLS, for a proxy, and returns its address.
func (s *site) plain(receiver http.Handler) (address string) {
	s.t.Helper()
	return s.serve(func(ctx context.Context, listener net.Listener) error {
		mux := http.NewServeMux()
		mux.Handle("/fds/{subscription_id}", receiver)
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
		context.AfterFunc(ctx, func() { _ = server.Close() })
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

// certificate is a sender's.
func (s *site) certificate(name string) *tls.Certificate {
	s.t.Helper()
	issued, err := s.provider.IssueCertificate(fdstest.CertificateRequest{CommonName: name, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		s.t.Fatal(err)
	}
	return &issued.TLS
}

func TestNginxWithoutItsModuleTakesOutWhatASenderWrites(t *testing.T) {
	s := newSite(t)
	receiver, err := s.client.Webhook(behind(s.settings), s.handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = receiver.Close() })
	address := s.nginx("", map[string]string{"127.0.0.1:8080": s.plain(receiver), "js_import": "# js_import", "js_set": "# js_set", "$fds_client_cert;": `"";`})
	if err := s.sender(address).Deliver(t.Context(), s.owner, []byte(`{"a":1}`)); err != nil || s.handled() != `{"a":1}` {
		t.Errorf("%v; handled was %s", err, s.handled())
	}
	own := s.certificate("sender")
	bound := s.sender(address, func(w *fdstest.Webhook) { w.Certificate = own })
	s.answered(http.StatusUnauthorized, bound, fdstest.Attempt{Body: []byte(`{"a":2}`), Fields: http.Header{"Client-Cert": {":" + base64.StdEncoding.EncodeToString(own.Certificate[0]) + ":"}}})
}

func TestTheBalancerOfThePageHasAnOwnersDeliveriesGoToOneProcess(t *testing.T) {
	s := newSite(t)
	s.write("authorities.pem", s.provider.CAPEM())
	var mu sync.Mutex
	got := map[fds.OwnerKey]map[int]int{} // how many of an owner each process has handled
	var backends []string
	for n := range 2 {
		settings := behind(s.settings)
		settings.Folder = s.file(fmt.Sprint("webhook", n))
		receiver, err := s.client.Webhook(settings, func(_ context.Context, m delivery.Message) error {
			mu.Lock()
			defer mu.Unlock()
			if got[m.Owner] == nil {
				got[m.Owner] = map[int]int{}
			}
			got[m.Owner][n]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = receiver.Close() })
		backends = append(backends, s.serve(receiver.Serve))
	}
	upstream := s.replaced("nginx", "upstream fds", map[string]string{"10.0.0.1:8443": backends[0], "10.0.0.2:8443": backends[1]})
	pass := s.replaced("nginx", "https://fds", map[string]string{"/etc/ssl/certs/ca-certificates.crt": s.file("authorities.pem"), "app.example.com": "localhost"})
	address := s.nginx(upstream, map[string]string{"proxy_pass http://127.0.0.1:8080;": pass})
	own := s.certificate("sender")
	sender := s.sender(address, func(w *fdstest.Webhook) { w.Certificate = own })
	owners := s.provider.Owners()
	for _, owner := range owners {
		_, err := s.client.SignIn(t.Context(), fdsclient.SignInOptions{
			ShowURL:     func(string) {},
			OpenBrowser: func(ctx context.Context, url string) error { return s.provider.Approve(ctx, url, owner) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 6 {
			if err := sender.Deliver(t.Context(), owner, fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for owner, by := range got {
		if len(by) != 1 {
			t.Errorf("deliveries of %v were handled so often by each process: %v", owner, by)
		}
	}
	if len(got) != len(owners) {
		t.Errorf("handled was of %d owners, want %d", len(got), len(owners))
	}
}

func TestTheProxiesOfThePageSayWhoSendsAndNothingElse(t *testing.T) {
	for name, proxy := range map[string]func(s *site, backend string) string{
		"nginx": func(s *site, backend string) string {
			return s.nginx("", map[string]string{"127.0.0.1:8080": backend})
		},
		"caddy": func(s *site, backend string) string {
			return realtest.Caddy(s.t, s.replaced("caddy", "", map[string]string{
				"app.example.com":  "https://" + realtest.ListenAddress,
				"/etc/ssl/app.pem": s.file("app.pem"), "/etc/ssl/app.key": s.file("app.key"), "127.0.0.1:8080": backend,
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			receiver, err := s.client.Webhook(behind(s.settings), s.handle)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = receiver.Close() })
			address := proxy(s, s.plain(receiver))
			own, thief := s.certificate("sender"), s.certificate("thief")
			bound := s.sender(address, func(w *fdstest.Webhook) { w.Certificate = own })
			plain := s.sender(address)

			if err := plain.Deliver(t.Context(), s.owner, []byte(`{"a":1}`)); err != nil {
				t.Fatal(err)
			}
			if err := bound.Deliver(t.Context(), s.owner, []byte(`{"a":2}`)); err != nil {
				t.Fatal(err)
			}
			if s.handled() != `{"a":1} {"a":2}` {
				t.Errorf("handled was %s", s.handled())
			}
			stolen := http.Header{"Client-Cert": {":" + base64.StdEncoding.EncodeToString(own.Certificate[0]) + ":"}}
			for _, c := range []*tls.Certificate{thief, {}} {
				s.answered(http.StatusUnauthorized, bound, fdstest.Attempt{Body: []byte(`{"a":3}`), Certificate: c})
				s.answered(http.StatusUnauthorized, bound, fdstest.Attempt{Body: []byte(`{"a":3}`), Certificate: c, Fields: stolen})
			}
			for _, field := range []http.Header{{"X-Forwarded-Proto": {"http"}}, {"Forwarded": {"proto=http"}}} { // of the sender's making
				body, err := json.Marshal(field)
				if err != nil {
					t.Fatal(err)
				}
				s.answered(http.StatusOK, plain, fdstest.Attempt{Body: body, Fields: field})
			}
			s.answered(http.StatusRequestEntityTooLarge, plain, fdstest.Attempt{Body: fmt.Appendf(nil, `{"a":"%s"}`, strings.Repeat("x", 1<<20))})
			old := &tls.Config{RootCAs: s.provider.RootCAs(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} // has to be refused
			if connection, err := tls.Dial("tcp", address, old); err == nil {
				connection.Close()
				t.Error("it speaks TLS 1.1")
			}
		})
	}
}
