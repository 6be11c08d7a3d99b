package examples

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const passphrase = "of the examples"

var programs string // the folder of the built programs

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "examples")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		programs = folder
		if out, err := exec.Command("go", "build", "-o", folder+string(filepath.Separator), "./...", "../cmd/fdsdemo").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// program is a running example, with its standard output and error as one text.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	seen  strings.Builder

	drained chan struct{} // closed when another goroutine has read to the end; nil: there is none
}

// run starts an example that trusts p, in a folder of its own.
func run(t *testing.T, p *fdstest.Provider, folder, name string, args ...string) *program {
	t.Helper()
	ca := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(ca, p.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programs, name), args...)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=/nonexistent", "HOME=" + folder, "SSL_CERT_FILE=" + ca, "SSL_CERT_DIR=/nonexistent", "GRANTS_PASSPHRASE=" + passphrase}
	return runCommand(t, cmd)
}

func runCommand(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	r := &program{t: t, cmd: cmd, lines: bufio.NewScanner(out)}
	go func() {
		_ = cmd.Wait() // status says how
		_ = in.Close()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		killer.Stop()
		if r.drained != nil {
			<-r.drained
			return
		}
		for r.lines.Scan() { // until it has ended
		}
	})
	return r
}

// find waits for a line that matches and returns its first group.
func (r *program) find(pattern string) string {
	r.t.Helper()
	expression := regexp.MustCompile(pattern)
	for r.lines.Scan() {
		r.seen.WriteString(r.lines.Text() + "\n")
		if m := expression.FindStringSubmatch(r.lines.Text()); m != nil {
			return m[len(m)-1]
		}
	}
	r.t.Fatalf("no line matches %q:\n%s", pattern, r.seen.String())
	return ""
}

// end waits for the end and returns the status.
func (r *program) end() int {
	for r.lines.Scan() {
		r.seen.WriteString(r.lines.Text() + "\n")
	}
	return r.cmd.ProcessState.ExitCode()
}

func provider(t *testing.T) *fdstest.Provider {
	t.Helper()
	return fdstest.New(t, fdstest.Options{Quiet: true, Devices: 3})
}

func TestDesktopSignsInOnceEver(t *testing.T) {
	p, folder := provider(t), t.TempDir()
	args := []string{"-issuer", p.Issuer(), "-api", p.APIURL(), "-client-id", p.PublicApplication().ID, "-grants", "grants"}
	first := run(t, p, folder, "desktop", args...)
	if err := p.Approve(t.Context(), first.find(`If no browser opens, open (\S+)`)); err != nil {
		t.Fatal(err)
	}
	first.find(`^` + p.Owners()[0].SubscriptionID.String() + ` `)
	if status := first.end(); status != 0 {
		t.Fatalf("status %d:\n%s", status, first.seen.String())
	}
	second := run(t, p, folder, "desktop", args...)
	if status := second.end(); status != 0 || strings.Contains(second.seen.String(), "browser") || strings.Count(second.seen.String(), "\n") != 3 {
		t.Errorf("status %d:\n%s", status, second.seen.String())
	}
}

func TestAttackWebappSignsInTheBrowserThatBeganItAndNoOther(t *testing.T) {
	p, folder := provider(t), t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	if err := p.AddClient(fdstest.Application{ID: "web", RedirectURIs: []string{"https://" + address + "/callback"}}); err != nil {
		t.Fatal(err)
	}
	certificate, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "web", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"server.pem": certificate.ChainPEM, "server.key": certificate.KeyPEM} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	web := run(t, p, folder, "webapp", "-issuer", p.Issuer(), "-client-id", "web", "-address", address)
	start := web.find(`open (https://\S+)`)

	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.RootCAs()}}
	t.Cleanup(transport.CloseIdleConnections)
	browser := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	get := func(client *http.Client, address string) (*http.Response, string) {
		var err error
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			var response *http.Response
			if response, err = client.Get(address); err == nil {
				defer response.Body.Close()
				body, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatal(err)
				}
				return response, string(body)
			} // the server may not listen yet
		}
		t.Fatal(err)
		return nil, ""
	}
	victim, attacker := browser(), browser()
	begun, _ := get(victim, start)
	callback, err := p.ApproveCallback(t.Context(), begun.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if response, body := get(attacker, callback); response.StatusCode != http.StatusForbidden {
		t.Errorf("another browser gets %d %q", response.StatusCode, body)
	}
	if response, body := get(victim, callback); response.StatusCode != http.StatusOK || body != "connected "+p.Owners()[0].SubscriptionID.String()+"\n" {
		t.Errorf("the user's browser gets %d %q", response.StatusCode, body)
	}
	if err := web.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if status := web.end(); status != 0 {
		t.Errorf("status %d:\n%s", status, web.seen.String())
	}
}

func TestFleetReceivesUntilItIsAskedToEnd(t *testing.T) {
	p, folder := provider(t), t.TempDir()
	owner := p.Owners()[0]
	signIn(t, p, filepath.Join(folder, "grants"))
	certificate, err := p.OwnerCertificate(owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "owners"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "owners", owner.SubscriptionID.String()+".pem"), append(certificate.ChainPEM, certificate.KeyPEM...), 0o600); err != nil {
		t.Fatal(err)
	}
	fleet := run(t, p, folder, "fleet", "-issuer", p.Issuer(), "-broker", p.BrokerURL(), "-client-id", p.PublicApplication().ID)
	for deadline := time.Now().Add(20 * time.Second); len(p.Subscriber(owner).Subscriptions) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it has not subscribed")
		}
	}
	for _, payload := range []string{`no JSON`, `{"generic":{"device_type":"dispenser"}}`} {
		if err := p.Publish(t.Context(), owner, []string{"devices", "status"}, []byte(payload), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	fleet.find(owner.SubscriptionID.String() + ` \[devices status\] "dispenser"`)
	if err := fleet.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	fleet.find(`^connected 1 times, 2 messages handled`)
	if status := fleet.end(); status != 0 {
		t.Errorf("status %d:\n%s", status, fleet.seen.String())
	}
}

// signIn puts a grant into a folder.
func signIn(t *testing.T, p *fdstest.Provider, folder string) {
	t.Helper()
	store, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: folder, Passphrase: fds.NewSecret(passphrase)})
	if err != nil {
		t.Fatal(err)
	}
	client, err := fdsclient.New(fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: p.Issuer(), Roots: p.Roots},
		Application: fdsclient.Application{ClientID: p.PublicApplication().ID},
		Store:       store,
		State:       &statestore.Memory{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.SignIn(t.Context(), fdsclient.SignInOptions{
		ShowURL:     func(string) {},
		OpenBrowser: func(ctx context.Context, url string) error { return p.Approve(ctx, url) },
	})
	if err != nil {
		t.Fatal(err)
	}
}
