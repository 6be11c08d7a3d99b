package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// others are servers that this module did not write, and a Web API of the test's
// own, with a configuration that leads to them.
type others struct {
	t      *testing.T
	broker *realtest.Broker
	server *realtest.OIDC
	env    []string
	folder string
	all    []*process
}

func newOthers(t *testing.T) *others {
	t.Helper()
	o := &others{t: t, broker: realtest.Mosquitto(t, realtest.MosquittoOptions{}), folder: t.TempDir()}
	o.server = realtest.OIDCProvider(t, realtest.OIDCOptions{CA: o.broker.CA})
	o.env = realtest.SecretService(t).Env()
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/fds/v2/specifications" || strings.Count(r.Header.Get("Authorization"), ".") != 2 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[" + odd + "]"))
	}))
	api.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{
		o.broker.IssueCertificate("api", realtest.CertificateOptions{Hosts: []string{"127.0.0.1"}}).TLS,
	}}
	api.StartTLS()
	t.Cleanup(api.Close)

	o.write("ca.pem", o.broker.CAPEM)
	o.write("secret.txt", []byte(o.server.Basic.Secret+"\n"))
	o.write("fdsdemo.yaml", fmt.Appendf(nil, `provider:
  issuer: %s
  api_url: %s
  broker_url: %s
  ca_file: ca.pem
application:
  name: fdsdemo test
  client_id: %s
  client_secret_file: secret.txt
push:
  certificates: owners/
  state_folder: state/
`, o.server.Issuer, api.URL, o.broker.URL, o.server.Basic.ID))
	return o
}

func (o *others) write(name string, data []byte) {
	o.t.Helper()
	path := filepath.Join(o.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *others) start(args ...string) *process {
	o.t.Helper()
	c := invocation(o.t, append([]string{"--verbose", "--config", filepath.Join(o.folder, "fdsdemo.yaml")}, args...)...)
	c.Env = append(c.Env, o.env...)
	p := start(o.t, c)
	o.all = append(o.all, p)
	return p
}

func (o *others) signIn(id string) {
	o.t.Helper()
	o.write("owners/"+id+".pem", o.broker.IssueCertificate(id, realtest.CertificateOptions{}).Bundle())
	p := o.start("login", "--no-browser")
	callback, err := o.server.Approve(o.t.Context(), p.signInURL(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	if page, err := o.server.Open(o.t.Context(), callback); err != nil || !strings.Contains(page, "Signed in") {
		o.t.Fatalf("the page at the end: %v\n%s", err, page)
	}
	if r := p.wait().expect(statusDone); r.out != id+"\n" {
		o.t.Errorf("signed in is %q, want %s", r.out, id)
	}
}

func (o *others) publish(id, payload string) {
	o.t.Helper()
	if err := o.broker.Publish(o.t.Context(), "fds/v2/"+id+"/devices/d1", []byte(payload), 1); err != nil {
		o.t.Fatal(err)
	}
}

func TestTheWholeRoundOnServersThatAreNotOurs(t *testing.T) {
	o := newOthers(t)
	a, b := fds.NewSubscriptionID().String(), fds.NewSubscriptionID().String()
	o.signIn(a)
	o.signIn(b)
	if r := o.start("owners", "--json").wait().expect(statusDone); len(r.lines()) != 2 || strings.Count(r.out, `"token":"fresh"`) != 2 {
		t.Errorf("owners:\n%s", r.out)
	}
	if r := o.start("get", "specifications", "--json").wait().expect(statusDone); r.out != oddCompact+"\n"+oddCompact+"\n" {
		t.Errorf("get:\n%s", r.out)
	}
	if r := o.start("get", "spaces", "--owner", a).wait().expect(statusFailed); !strings.Contains(r.err, "does not accept the access token") {
		t.Errorf("a 401 is told so:\n%s", r.err)
	}

	watch := o.start("watch", "--take-over", "--json")
	watch.await(watch.err, "Connected: 2 owners.")
	o.publish(a, `{"n": 1}`)
	o.publish(b, "text")
	watch.await(watch.out, `"payload":{"n":1}`)
	watch.await(watch.out, `"payload_base64":"dGV4dA=="`)
	if err := watch.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-watch.ended
	o.publish(a, `"while it was dead"`)
	watch = o.start("watch", "--json", "--owner", a)
	if line := watch.await(watch.out, "while it was dead"); !strings.HasPrefix(line, `{"owner":"`+a+`"`) {
		t.Errorf("the line is %s", line)
	}

	watch.end()

	for _, id := range []string{a, b} {
		o.start("logout", id).wait().expect(statusDone)
	}
	o.start("get", "specifications").wait().expect(statusSignIn)

	secrets := o.server.Secrets()
	if len(secrets) < 5 {
		t.Fatalf("only %d secrets passed", len(secrets))
	}
	for _, p := range o.all {
		if leaked := leaks(p.out.String()+p.err.String(), secrets); len(leaked) > 0 {
			t.Errorf("fdsdemo %q puts out %d secrets", p.args, len(leaked))
		}
	}
}

func TestStartedByGoRunItNamesGoRun(t *testing.T) {
	t.Parallel()
	c := invocation(t)
	folder := filepath.Join(t.TempDir(), "go-build1", "b001", "exe")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(folder, filepath.Base(binary))
	if err := os.WriteFile(copied, data, 0o700); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(copied, "--duration", "1ms")
	run.Dir, run.Env = c.Dir, c.Env
	if r := start(t, run).wait().expect(statusDone); !strings.Contains(r.err, "  go run ./cmd/fdsdemo provider --dir box\n") {
		t.Errorf("it says\n%s", r.err)
	}
}
