package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// atTerminal starts a program at a terminal, and returns what a person types to and sees there.
func atTerminal(t *testing.T, c *exec.Cmd) (p *process, person *os.File, seen *output) {
	t.Helper()
	person, program := realtest.PTY(t, 100)
	seen = newOutput()
	out := newOutput()
	c.Stdin, c.Stdout, c.Stderr = program, out, program
	p = &process{t: t, args: c.Args[1:], cmd: c, out: out, err: seen, ended: make(chan struct{})}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // its status is looked at by wait
		close(p.ended)
	}()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := person.Read(buffer)
			if _, _ = seen.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill() // it has ended when all is well
		<-p.ended
		program.Close()
	})
	return p, person, seen
}

// answers waits for each question, and types the answer.
func answers(t *testing.T, p *process, person *os.File, seen *output, dialogue ...string) {
	t.Helper()
	for i := 0; i < len(dialogue); i += 2 {
		waitFor(t, p, seen, dialogue[i])
		if _, err := person.WriteString(dialogue[i+1]); err != nil {
			t.Fatal(err)
		}
	}
}

// waitFor waits until a text that has no end of line is seen.
func waitFor(t *testing.T, p *process, seen *output, part string) {
	t.Helper()
	for {
		text, changed := seen.now()
		if strings.Contains(text, part) {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			t.Fatalf("it ended without %q: %s", part, text)
		case <-t.Context().Done():
			t.Fatal("over")
		}
	}
}

func TestInitAsksAtATerminal(t *testing.T) {
	s := newSetup(t)
	app := s.box.ConfidentialApplication()
	s.config = filepath.Join(s.folder, "x.yaml")
	p, person, seen := atTerminal(t, s.command("init"))
	answers(t, p, person, seen,
		"Issuer, the URL", strings.TrimPrefix(s.box.Issuer(), "https://")+"\n",
		"File with the provider's certificate authority, PEM (Enter: none): ", filepath.Join(s.folder, "ca.pem")+"\n",
		"Client ID of this application", app.ID+"\n",
		"Client secret, which is not shown", app.Secret+"\n",
		"Web API, as https://api.example.com (Enter: none): ", "http://wrong.example.com\n",
		"does not begin with https://, which FDS demands (W1)\r\nWeb API, as https://api.example.com (Enter: none): ", s.box.APIURL()+"\n",
		"Broker, as ", s.box.BrokerURL()+"\n",
		"Folder for the owners' certificates of the broker [x-owners/]: ", "\n",
		"Where to keep grants: keyring of the system, or file [keyring]: ", "fiel\n",
		"did you mean file?\r\nWhere to keep grants", "file\n",
	)
	r := p.wait().expect(statusDone)
	if r.out != s.config+"\n" || strings.Contains(seen.String(), app.Secret) {
		t.Errorf("stdout %s, the terminal %s", r.out, seen)
	}
	if secret, err := os.ReadFile(filepath.Join(s.folder, "x-client-secret.txt")); err != nil || string(secret) != app.Secret+"\n" {
		t.Error("the secret is not in its file")
	}
	s.signIn(s.north)
}

func TestCtrlCEndsAQuestionAndLeavesTheTerminalAsItWas(t *testing.T) {
	s := newSetup(t)
	s.config = filepath.Join(s.folder, "made", "x.yaml")
	for _, question := range []string{"Client ID of this application", "Client secret, which is not shown"} {
		p, person, seen := atTerminal(t, s.command("init", "--issuer", s.box.Issuer(), "--ca-file", filepath.Join(s.folder, "ca.pem")))
		before, err := unix.IoctlGetTermios(int(person.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if question != "Client ID of this application" {
			answers(t, p, person, seen, "Client ID of this application", "x\n")
		}
		waitFor(t, p, seen, question)
		p.signal(os.Interrupt)
		if r := p.wait().expect(statusFailed); r.out != "" {
			t.Errorf("stdout %s", r.out)
		}
		waitFor(t, &process{ended: make(chan struct{})}, seen, "fdsdemo: interrupted")
		after, err := unix.IoctlGetTermios(int(person.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if after.Lflag != before.Lflag || after.Lflag&unix.ECHO == 0 {
			t.Errorf("the terminal is left as %x, it was %x", after.Lflag, before.Lflag)
		}
		if _, err := os.Stat(s.config); err == nil {
			t.Error("a file was written")
		}
	}
}

func TestAnEndOfTheInputEndsTheQuestions(t *testing.T) {
	s := newSetup(t)
	s.config = filepath.Join(s.folder, "made", "x.yaml")
	p, person, seen := atTerminal(t, s.command("init"))
	answers(t, p, person, seen, "Issuer, the URL", "\x04")
	waitFor(t, &process{ended: make(chan struct{})}, seen, "standard input has ended; nothing was written")
	p.wait().expect(statusFailed)
}

func TestInitAsksForAKeyWhereNoSecretIsTaken(t *testing.T) {
	s := newSetup(t)
	s.box.Inject(fdstest.MetadataMember("token_endpoint_auth_methods_supported", []string{"tls_client_auth", "private_key_jwt"}))
	s.config = filepath.Join(s.folder, "x.yaml")
	c := s.command("init", "--issuer", s.box.Issuer(), "--ca-file", filepath.Join(s.folder, "ca.pem"), "--client-id", "x", "--api-url", s.box.APIURL(), "--store", "memory")
	c.Dir = filepath.Join(s.folder, "owners")
	p, person, seen := atTerminal(t, c)
	answers(t, p, person, seen,
		"client certificate, PEM (Enter: none, a key alone): ", s.north.SubscriptionID.String()+".pem\n",
		"private key, PEM: ", "none.pem\n",
		"none.pem: no such file or directory\r\n", s.north.SubscriptionID.String()+".pem\n",
		"Broker, as ", "\n",
		"reads the Web API every [30s]: ", "1 hour\n",
		"poll.interval is a duration, and the value is none\r\n", "30s\n",
	)
	p.wait().expect(statusDone)
	name := "owners/" + s.north.SubscriptionID.String() + ".pem"
	for key, want := range map[string]string{"application.certificate_file": name, "application.key_file": name, "provider.ca_file": "ca.pem", "poll.interval": "30s"} {
		if got := s.run("config", "get", key).expect(statusDone).out; got != want+"\n" {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

func TestInitAsksForNoIntervalWhereThereIsNoWebAPI(t *testing.T) {
	s := newSetup(t)
	s.config = filepath.Join(s.folder, "x.yaml")
	p, person, seen := atTerminal(t, s.command("init", "--issuer", s.box.Issuer(), "--ca-file", filepath.Join(s.folder, "ca.pem"), "--client-id", "x"))
	answers(t, p, person, seen, "Client secret", "\n", "Web API, as ", "\n", "Broker, as ", "\n")
	waitFor(t, p, seen, "]: ")
	if strings.Contains(seen.String(), "reads the Web API every") { // to which no answer would be right
		t.Fatalf("the terminal %s", seen)
	}
	answers(t, p, person, seen, "Where to keep grants", "memory\n")
	p.wait().expect(statusDone)
}

func TestAWrongAnswerIsAskedForAgainAtOnce(t *testing.T) {
	s := newSetup(t)
	folder := filepath.Join(s.folder, "made")
	s.config = filepath.Join(folder, "x.yaml")
	c := s.command("init", "--client-id", "x", "--ca-file", "nofile.pem")
	c.Dir = s.folder
	p, person, seen := atTerminal(t, c)
	const ca = "File with the provider's certificate authority, PEM (Enter: none): "
	answers(t, p, person, seen,
		"Issuer, the URL", s.box.Issuer()+"\n",
		"nofile.pem: no such file or directory\r\n"+ca, "\n",
		"signed by unknown authority\r\n"+ca, "nothing.pem\n",
		"nothing.pem: no such file or directory\r\n"+ca, "owners/"+north.Spelling+".key\n",
	)
	answers(t, p, person, seen, north.Spelling+".key: no such file or directory\r\n"+ca, "ca.pem\n",
		"Client secret", "\n",
		"Web API, as ", "ftp://x\n",
		"\r\nprovider.api_url", "https://api.example.com\n",
		"Broker, as ", "https://broker.example.com\n",
		"\r\nprovider.broker_url", s.box.BrokerURL()+"\n",
		"Folder for the owners' certificates", "mqtt://127.0.0.1:1\n",
		"push.certificates is a URL; needed is a folder of this machine\r\nFolder for the owners' certificates", "certificates/\n",
		"Where to keep grants", "fiel\n",
	)
	waitFor(t, p, seen, "did you mean file?\r\nWhere to keep grants")
	if strings.Contains(seen.String(), "is named as provider.ca_file") {
		t.Errorf("the terminal %s", seen)
	}
	p.signal(os.Interrupt)
	p.wait().expect(statusFailed)
	if _, err := os.Stat(folder); err == nil {
		t.Error("something was made")
	}
}

func TestAKilledInitLeavesNoConfiguration(t *testing.T) {
	s := newSetup(t)
	s.script("secret", "touch running; exec sleep 600")
	s.config = filepath.Join(s.folder, "x.yaml")
	p := s.start(s.begins("--set", "application.client_secret_command=[./secret]")...)
	for {
		if _, err := os.Stat(filepath.Join(s.folder, "running")); err == nil {
			break
		}
		select {
		case <-p.ended:
			t.Fatal(p.err)
		case <-t.Context().Done():
			t.Fatal("over")
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.signal(os.Kill)
	p.wait()
	if _, err := os.Lstat(s.config); err == nil {
		t.Error("a file was left")
	}
	s.run(s.begins()...).expect(statusDone)
}
