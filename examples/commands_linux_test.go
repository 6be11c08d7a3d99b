package examples

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"go/parser"
	"go/token"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandsOf returns the commands of a program's doc comment, each on one line.
func commandsOf(t *testing.T, program string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(program, "main.go"), nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	goesOn := false
	for line := range strings.Lines(file.Doc.Text()) {
		if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "    ") {
			goesOn = false
			continue
		}
		line = strings.TrimSpace(line)
		text, more := strings.CutSuffix(line, `\`)
		if goesOn {
			commands[len(commands)-1] += " " + text
		} else {
			commands = append(commands, text)
		}
		goesOn = more
	}
	if len(commands) < 2 {
		t.Fatalf("the doc comment of %s has the commands %q", program, commands)
	}
	return commands
}

// terminals run commands in one folder, as a person types them in the repository's root:
// what go run would build is built already, and the ports are free ones.
type terminals struct {
	t      *testing.T
	folder string
	ports  *strings.Replacer
}

func newTerminals(t *testing.T) *terminals {
	t.Helper()
	base := freePorts(t)
	s := &terminals{t: t, folder: t.TempDir()}
	var swap []string
	for i, port := range []string{"8400", "8401", "8402", "8443"} {
		swap = append(swap, port, strconv.Itoa(base+i))
	}
	s.ports = strings.NewReplacer(swap...)
	shim := "#!/bin/sh\n[ \"$1\" = run ] || exit 9\nprogram=\"" + programs + "/${2##*/}\"\nshift 2\nexec \"$program\" \"$@\"\n"
	bin := filepath.Join(s.folder, "bin") // with no browser in it
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(shim), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cat", "env"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(bin, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// freePorts returns the first of four ports in a row on which nothing listens.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		var listeners []net.Listener
		base, free := 0, true
		for i := 0; i < 4 && free; i++ {
			port := 0
			if i > 0 {
				port = base + i
			}
			l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if free = err == nil; free {
				listeners = append(listeners, l)
				base = listeners[0].Addr().(*net.TCPAddr).Port
			}
		}
		for _, l := range listeners {
			l.Close()
		}
		if free {
			return base
		}
	}
	t.Fatal("no four ports in a row are free")
	return 0
}

func (s *terminals) typed(command string) *program {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "exec env "+s.ports.Replace(command))
	cmd.Dir = s.folder
	cmd.Env = []string{"PATH=" + filepath.Join(s.folder, "bin"), "HOME=" + s.folder, "XDG_STATE_HOME=" + s.folder, "XDG_CONFIG_HOME=" + s.folder,
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent"}
	return runCommand(s.t, cmd)
}

// provider types the first command and waits until the provider is ready.
func (s *terminals) provider(command string) *program {
	s.t.Helper()
	p := s.typed(command)
	p.find(`^ready$`)
	p.drained = make(chan struct{})
	go func() { // so that it can go on writing
		defer close(p.drained)
		for p.lines.Scan() {
		}
	}()
	return p
}

func (s *terminals) browser() *http.Client {
	s.t.Helper()
	ca, err := os.ReadFile(filepath.Join(s.folder, "box", "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, Timeout: 20 * time.Second}
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	formInput  = regexp.MustCompile(`<input type="(?:hidden|checkbox)" name="([^"]*)" value="([^"]*)"`)
)

// approve opens an address that leads to the provider, approves for the first owner, and
// returns the page at the end.
func (s *terminals) approve(address string) string {
	s.t.Helper()
	b := s.browser()
	var at *url.URL
	read := func(r *http.Response, err error) string {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
		defer r.Body.Close()
		at = r.Request.URL
		page, err := io.ReadAll(r.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		return string(page)
	}
	response, err := b.Get(address)
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); response, err = b.Get(address) {
		time.Sleep(10 * time.Millisecond) // a server that has said its address may not listen yet
	}
	page := read(response, err)
	action := formAction.FindStringSubmatch(page)
	if action == nil {
		s.t.Fatalf("no form on the page:\n%s", page)
	}
	form := url.Values{"decision": {"approve"}}
	for _, input := range formInput.FindAllStringSubmatch(page, -1) {
		if name := html.UnescapeString(input[1]); !form.Has(name) {
			form.Set(name, html.UnescapeString(input[2]))
		}
	}
	target, err := at.Parse(html.UnescapeString(action[1]))
	if err != nil {
		s.t.Fatal(err)
	}
	return read(b.PostForm(target.String(), form))
}

// ended asks a program to end and looks at its status.
func (p *program) ended(signal os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	if status := p.end(); status != 0 {
		p.t.Errorf("status %d:\n%s", status, p.seen.String())
	}
}

func TestTheCommandsOfDesktopRunWithTheBox(t *testing.T) {
	s, commands := newTerminals(t), commandsOf(t, "desktop")
	if len(commands) != 2 {
		t.Fatalf("%q", commands)
	}
	s.provider(commands[0])
	desktop := s.typed(commands[1])
	s.approve(desktop.find(`If no browser opens, open (\S+)`))
	desktop.find(`^[0-9a-f-]{36} dispenser `)
	if status := desktop.end(); status != 0 {
		t.Errorf("status %d:\n%s", status, desktop.seen.String())
	}
}

func TestTheCommandsOfFleetRunWithTheBox(t *testing.T) {
	s, commands := newTerminals(t), commandsOf(t, "fleet")
	if len(commands) != 3 {
		t.Fatalf("%q", commands)
	}
	s.provider(commands[0])
	login := s.typed(commands[1])
	s.approve(login.find(`(https?://127\.0\.0\.1:\S+)`))
	id := login.find(`^([0-9a-f-]{36})$`)
	if status := login.end(); status != 0 {
		t.Errorf("status %d:\n%s", status, login.seen.String())
	}
	fleet := s.typed(commands[2])
	fleet.find(`^` + id + ` \[devices `)
	if err := fleet.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	fleet.find(`^connected 1 times, `)
	if status := fleet.end(); status != 0 {
		t.Errorf("status %d:\n%s", status, fleet.seen.String())
	}
}

func TestTheCommandsOfWebappRunWithTheBox(t *testing.T) {
	s, commands := newTerminals(t), commandsOf(t, "webapp")
	if len(commands) != 2 {
		t.Fatalf("%q", commands)
	}
	s.provider(commands[0])
	web := s.typed(commands[1])
	page := s.approve(web.find(`open (https://\S+)`))
	if !regexp.MustCompile(`^connected [0-9a-f-]{36}\n$`).MatchString(page) {
		t.Errorf("the page at the end:\n%s", page)
	}
	web.ended(os.Interrupt)
}

func TestTheCommandsOfWebhookRunWithTheBox(t *testing.T) {
	s, commands := newTerminals(t), commandsOf(t, "webhook")
	if len(commands) != 3 {
		t.Fatalf("%q", commands)
	}
	s.provider(commands[0])
	login := s.typed(commands[1])
	id := login.find(`^([0-9a-f-]{36})$`)
	if status := login.end(); status != 0 {
		t.Errorf("status %d:\n%s", status, login.seen.String())
	}
	for range 2 { // stopped and started again it goes on
		endpoint := s.typed(commands[2])
		endpoint.find(`^` + id + ` sent "`)
		if err := endpoint.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		endpoint.find(`^[1-9]\d* deliveries taken$`)
		if status := endpoint.end(); status != 0 {
			t.Errorf("status %d:\n%s", status, endpoint.seen.String())
		}
	}
}

func TestTheCommandsOfThePageAboutWebhooksRun(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh\n(go run .*?)\n```").FindStringSubmatch(string(page))
	if block == nil {
		t.Fatal("the page has no commands")
	}
	commands := strings.Split(block[1], "\n")
	if len(commands) != 3 {
		t.Fatalf("%q", commands)
	}
	s := newTerminals(t)
	s.provider(commands[0])
	login := s.typed(commands[1])
	login.find(`^[0-9a-f-]{36}$`)
	if status := login.end(); status != 0 {
		t.Errorf("status %d:\n%s", status, login.seen.String())
	}
	for range 2 {
		endpoint := s.typed(commands[2])
		endpoint.find(` \(webhook\) `)
		endpoint.ended(os.Interrupt)
	}
}

func TestEveryExampleHasCommandsThatATestRuns(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("commands_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		tests := self
		if _, err := os.Stat(filepath.Join(e.Name(), "go.mod")); err == nil { // a module of its own has its own tests
			if tests, err = os.ReadFile(filepath.Join(e.Name(), "commands_linux_test.go")); err != nil {
				t.Error(err)
			}
			tests = bytes.Replace(tests, []byte("commands(t)"), fmt.Appendf(nil, "commandsOf(t, %q)", e.Name()), 1)
		}
		if e.IsDir() && !bytes.Contains(tests, fmt.Appendf(nil, "commandsOf(t, %q)", e.Name())) {
			t.Errorf("no test runs the commands of %s", e.Name())
		}
	}
}
