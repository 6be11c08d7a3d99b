package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

// The tests drive the built program as scripts do.
var binary string

var serverUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "fdsdemo-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		binary = filepath.Join(folder, "fdsdemo")
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		// Most tests wait, many for half a minute, rather than for a core.
		flag.Parse()
		if err := flag.Set("test.parallel", "24"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// deadline bounds every wait for something that should happen soon.
const deadline = 50 * time.Second

// The owners of newSetup's provider.
var (
	north = fdstest.Owner{Name: "North", Spelling: "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01"}
	south = fdstest.Owner{Name: "South", Spelling: "2B7F1D2F-6CAE-4D64-9C1F-3A0E2D8B4F02"}
)

// setup is a provider in this process and a folder with a configuration that
// leads to it.
type setup struct {
	t            *testing.T
	box          *fdstest.Provider
	north, south fdstest.Owner
	folder       string
	config       string
	polls        bool // see poll
}

func newSetup(t *testing.T) *setup {
	t.Helper()
	return newSetupOf(t, fdstest.WebAPI{})
}

// newSetupOf is newSetup with a Web API of other ways.
func newSetupOf(t *testing.T, web fdstest.WebAPI) *setup {
	t.Helper()
	return newSetupWith(t, fdstest.Options{WebAPI: web})
}

// newSetupWith is newSetup with a provider of other ways.
func newSetupWith(t *testing.T, options fdstest.Options) *setup {
	t.Helper()
	t.Parallel()
	if web := &options.WebAPI; web.SubscriptionMember == "" && web.SubscriptionParameter == "" {
		web.SubscriptionParameter = "owner" // items are then served as they are given
	}
	s := &setup{t: t, folder: t.TempDir()}
	options.Quiet, options.Devices, options.Owners = true, -1, []fdstest.Owner{north, south}
	s.box = fdstest.New(t, options)
	s.north, s.south = s.box.Owners()[0], s.box.Owners()[1]
	s.write("ca.pem", string(s.box.CAPEM()))
	for _, o := range s.box.Owners() {
		s.certificate(o, fdstest.CertificateRequest{CommonName: o.Spelling})
	}
	s.write("pass.txt", "for tests only\n")
	// A folder of grants whose passphrase is cheap to try; by default it takes a
	// second of each command.
	key, err := os.ReadFile(filepath.Join("testdata", "folder.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("grants/folder.key", string(key))
	s.configure()
	return s
}

// configure writes the configuration with old texts replaced by new ones.
func (s *setup) configure(replace ...string) {
	s.t.Helper()
	text := fmt.Sprintf(`provider:
  issuer: %s
  api_url: %s
  broker_url: %s
  ca_file: ca.pem
application:
  client_id: fdsdemo
tokens:
  store: file
  folder: grants/
  passphrase_file: pass.txt
push:
  certificates: owners/
  state_folder: state/
`, s.box.Issuer(), s.box.APIURL(), s.box.BrokerURL())
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			s.t.Fatalf("the configuration has no %q", replace[i])
		}
		text = strings.Replace(text, replace[i], replace[i+1], 1)
	}
	s.config = s.write("fdsdemo.yaml", text)
}

// confidential is configure for the application that has a secret.
func (s *setup) confidential(replace ...string) {
	s.t.Helper()
	app := s.box.ConfidentialApplication()
	s.write("secret.txt", app.Secret+"\n")
	s.configure(append([]string{"client_id: fdsdemo", "client_id: " + app.ID + "\n  client_secret_file: secret.txt"}, replace...)...)
}

func (s *setup) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// certificate puts a certificate where the configuration says.
func (s *setup) certificate(o fdstest.Owner, request fdstest.CertificateRequest) {
	s.t.Helper()
	c, err := s.box.IssueCertificate(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("owners/"+o.SubscriptionID.String()+".pem", string(c.ChainPEM)+string(c.KeyPEM))
}

// command returns the program with the setup's configuration. Nobody else is connected to it whom
// watch would take over.
func (s *setup) command(args ...string) *exec.Cmd {
	if len(args) > 0 && args[0] == "watch" && !slices.Contains(args, "--poll") {
		args = append(slices.Clone(args), "--take-over")
	}
	if slices.Contains(args, "--json") && !slices.Contains(args, "--log-format") { // what is told is looked at as text
		args = append(slices.Clone(args), "--log-format", "text")
	}
	return s.bare(args...)
}

// bare is command, with nothing added.
func (s *setup) bare(args ...string) *exec.Cmd {
	return invocation(s.t, append([]string{"--config", s.config}, args...)...)
}

// run runs the program to its end.
func (s *setup) run(args ...string) result {
	s.t.Helper()
	return start(s.t, s.command(args...)).wait()
}

// start starts the program.
func (s *setup) start(args ...string) *process {
	s.t.Helper()
	return start(s.t, s.command(args...))
}

// signIn signs owners in.
func (s *setup) signIn(owners ...fdstest.Owner) {
	s.t.Helper()
	p := s.start("login", "--no-browser")
	s.approve(p, owners...)
	p.wait().expect(statusDone)
}

// approve plays the person of a login.
func (s *setup) approve(p *process, owners ...fdstest.Owner) {
	s.t.Helper()
	if err := s.box.Approve(s.t.Context(), p.signInURL(), owners...); err != nil {
		s.t.Fatal(err)
	}
}

// invocation returns the built program in an environment of its own, in which it
// could find nothing of the user's.
func invocation(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	home := t.TempDir()
	c := exec.Command(binary, args...)
	c.Dir = home
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_STATE_HOME=" + home,
		"AppData=" + home, "LocalAppData=" + home, "USERPROFILE=" + home, "SystemRoot=" + os.Getenv("SystemRoot"), "TMPDIR=" + home, "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent"}
	return c
}

// process is the running program.
type process struct {
	t        *testing.T
	args     []string
	cmd      *exec.Cmd
	out, err *output
	ended    chan struct{}
}

func start(t *testing.T, c *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, args: c.Args[1:], cmd: c, out: newOutput(), err: newOutput(), ended: make(chan struct{})}
	if c.Stdout == nil {
		c.Stdout = p.out
	}
	c.Stderr = p.err
	c.WaitDelay = 5 * time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // its status is looked at by wait
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill() // it has ended when all is well
		<-p.ended
	})
	return p
}

// wait waits for the process to end by itself.
func (p *process) wait() result {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(deadline):
		p.t.Fatalf("fdsdemo %q does not end; stdout:\n%s\nstderr:\n%s", p.args, p.out, p.err)
	}
	return result{t: p.t, args: p.args, status: p.cmd.ProcessState.ExitCode(), out: p.out.String(), err: p.err.String()}
}

// signal sends a signal.
func (p *process) signal(signal os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatalf("fdsdemo %q: %v; stderr:\n%s", p.args, err, p.err)
	}
}

// signInURL waits for the URL that a person shall open.
func (p *process) signInURL() string {
	p.t.Helper()
	const before = "Open this URL to sign in: "
	line := p.await(p.err, before)
	if strings.HasPrefix(line, "{") {
		var told struct{ URL string }
		if err := json.Unmarshal([]byte(line), &told); err != nil {
			p.t.Fatalf("the line is %q: %v", line, err)
		}
		return told.URL
	}
	if !strings.HasPrefix(line, before) {
		p.t.Fatalf("the line is %q, scripts look for %q at its beginning", line, before)
	}
	return strings.TrimPrefix(line, before)
}

// await waits for a line that contains part.
func (p *process) await(o *output, part string) string {
	p.t.Helper()
	return p.awaitNth(o, part, 1)
}

// awaitNth waits for the n-th line that contains part.
func (p *process) awaitNth(o *output, part string, n int) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), deadline)
	defer cancel()
	for {
		over := false
		select {
		case <-p.ended:
			over = true
		default:
		}
		text, changed := o.now()
		found := 0
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, part) {
				if found++; found == n {
					return strings.TrimRight(line, "\r\n")
				}
			}
		}
		if over {
			p.t.Fatalf("fdsdemo %q ended before it wrote %q; stdout:\n%s\nstderr:\n%s", p.args, part, p.out, p.err)
		}
		select {
		case <-changed:
		case <-p.ended:
		case <-ctx.Done():
			p.t.Fatalf("fdsdemo %q does not write %q; stdout:\n%s\nstderr:\n%s", p.args, part, p.out, p.err)
		}
	}
}

// eventually waits until a condition of the provider holds.
func (s *setup) eventually(what string, holds func() bool) {
	s.t.Helper()
	for end := time.Now().Add(deadline); !holds(); {
		if time.Now().After(end) {
			s.t.Fatalf("it does not come to this: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between looks at the condition
	}
}

// output keeps what a process writes.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at each change
}

var _ io.Writer = (*output)(nil)

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

func (o *output) String() string {
	text, _ := o.now()
	return text
}

// unusedAddress is a port of this machine on which nothing listens: no other test can
// be given it while this one runs.
const unusedAddress = "127.0.0.1:1"

// occupiedPort returns a port on both loopback addresses that is in use.
func occupiedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// handshakes returns the address of a server that shows a certificate of the box's
// authority and does nothing else.
func (s *setup) handshakes(request fdstest.CertificateRequest) string {
	s.t.Helper()
	c, err := s.box.IssueCertificate(request)
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c.TLS}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			connection, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				_ = connection.SetDeadline(time.Now().Add(deadline))
				_, _ = connection.Read(make([]byte, 1)) // until the client has gone
			}()
		}
	}()
	return l.Addr().String()
}
