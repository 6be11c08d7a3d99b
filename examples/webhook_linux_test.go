package examples

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// webhookSite is what the example webhook runs with: an owner who has signed in, and a certificate.
type webhookSite struct {
	t               *testing.T
	provider        *fdstest.Provider
	folder, address string
}

const webhookAudience = "https://app.example.com/fds"

func newWebhookSite(t *testing.T) *webhookSite {
	t.Helper()
	s := &webhookSite{t: t, provider: provider(t), folder: t.TempDir()}
	signIn(t, s.provider, filepath.Join(s.folder, "grants"))
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	listener.Close()
	certificate, err := s.provider.IssueCertificate(fdstest.CertificateRequest{CommonName: "web", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"server.pem": certificate.ChainPEM, "server.key": certificate.KeyPEM} {
		if err := os.WriteFile(filepath.Join(s.folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// start starts the example and waits until it can take deliveries.
func (s *webhookSite) start() *program {
	s.t.Helper()
	p := run(s.t, s.provider, s.folder, "webhook", "-issuer", s.provider.Issuer(), "-client-id", s.provider.PublicApplication().ID,
		"-audience", webhookAudience, "-sender", "fdsbox-sender", "-address", s.address)
	p.find(`^listening at `)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if status, text := s.page("/health"); status == http.StatusOK {
			return p
		} else if time.Now().After(deadline) {
			s.t.Fatalf("its health is %d %q", status, text)
		}
	}
}

// page returns one of the server's pages.
func (s *webhookSite) page(path string) (status int, text string) {
	s.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.provider.RootCAs()}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + s.address + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestWebhookTakesEachDeliveryOnceOverARestart(t *testing.T) {
	s := newWebhookSite(t)
	owner := s.provider.Owners()[0]
	sender, err := s.provider.SendTo(t.Context(), fdstest.Webhook{
		URL: "https://" + s.address + "/fds/{subscription_id}", Audience: webhookAudience, First: 10 * time.Millisecond, Most: 100 * time.Millisecond, Attempts: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(program *program, n int, id string) {
		t.Helper()
		body := fmt.Appendf(nil, `{"generic":{"device_type":"dispenser %d"}}`, n)
		reply, err := sender.Attempt(t.Context(), fdstest.Attempt{Owner: owner, Body: body, ID: id})
		if err != nil || reply.Status != http.StatusOK {
			t.Fatalf("%v, %+v\n%s", err, reply, program.seen.String())
		}
	}
	ended := func(program *program, taken int) {
		t.Helper()
		if err := program.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		program.find(fmt.Sprintf(`^%d deliveries taken$`, taken))
		if status := program.end(); status != 0 {
			t.Errorf("status %d:\n%s", status, program.seen.String())
		}
	}

	first := s.start()
	if err := sender.Deliver(t.Context(), owner, []byte(`{"generic":{"device_type":"dispenser 0"}}`)); err != nil {
		t.Fatal(err)
	}
	send(first, 1, "msg_1")
	if status, text := s.page("/health"); status != http.StatusOK || text != "ok\n" {
		t.Errorf("its health is %d %q", status, text)
	}
	if status, text := s.page("/"); status != http.StatusOK || !strings.Contains(text, "own page") {
		t.Errorf("its page is %d %q", status, text)
	}
	ended(first, 2)

	second := s.start()
	if err := sender.Deliver(t.Context(), owner, []byte(`{"generic":{"device_type":"dispenser 2"}}`)); err != nil {
		t.Fatal(err)
	}
	send(second, 1, "msg_1") // the answer was lost, say
	send(second, 3, "msg_3")
	ended(second, 3)
	if got := handled(first) + "; " + handled(second); got != "0 1; 2 3" {
		t.Errorf("it handled %s:\n%s%s", got, first.seen.String(), second.seen.String())
	}
}

// handled returns the numbers that a run of the example was sent, in order.
func handled(p *program) string {
	var numbers []string
	for line := range strings.Lines(p.seen.String()) {
		if _, number, ok := strings.Cut(line, `sent "dispenser `); ok {
			numbers = append(numbers, strings.TrimSuffix(number, "\"\n"))
		}
	}
	return strings.Join(numbers, " ")
}
