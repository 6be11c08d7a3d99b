package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
)

// broker is a running broker with its owners, and what publishes there.
type broker struct {
	access    *access
	publisher *child
	pid       func() int
	stop      func() error
	start     func() error
	close     func()
}

// startEmbedded starts the broker of fdstest in a process of its own, which also
// publishes: a provider that is no client.
func startEmbedded(owners int) (*broker, error) {
	process, err := startChild("broker", "")
	if err != nil {
		return nil, err
	}
	a, err := process.ask(request{Do: "begin", Count: owners})
	if err != nil {
		process.close()
		return nil, err
	}
	tell := func(what string) func() error {
		return func() error {
			_, err := process.ask(request{Do: what})
			return err
		}
	}
	return &broker{access: a.Access, publisher: process, pid: process.pid, stop: tell("stop"), start: tell("start"), close: process.close}, nil
}

// embeddedProcess is the process of the embedded broker.
type embeddedProcess struct {
	provider  *fdstest.Provider
	owners    []fdstest.Owner // without the one to warm up with
	reference fdstest.Owner
	back      func()
}

func (p *embeddedProcess) handle(r request) (answer, error) {
	switch r.Do {
	case "begin":
		a, err := p.begin(r.Count)
		return answer{Access: a}, err
	case "publish":
		sends, err := pace(r.Count, r.Rate, func(n int, s *send) error { return p.publish(n, s, r.Rate > 0) })
		return answer{Sends: sends}, err
	case "stop": // sessions are kept, connections and new ones are not
		p.back = p.provider.Inject(fdstest.RefuseConnections())
		p.provider.Inject(fdstest.DropConnections())
		return answer{}, nil
	case "start":
		p.back()
		return answer{}, nil
	}
	return answer{}, fmt.Errorf("there is no request %q", r.Do)
}

func (p *embeddedProcess) publish(n int, s *send, refer bool) error {
	var payload []byte
	payload, s.Sent = newMessage(n)
	owner := p.owners[n%len(p.owners)]
	if err := p.provider.Publish(context.Background(), owner, []string{messageLevel}, payload, 1, false); err != nil {
		return err
	}
	s.Acknowledged = time.Now().UnixNano()
	if !refer {
		return nil
	}
	return p.provider.PublishRaw(context.Background(), p.reference, owner.Topic(messageLevel), payload, 1)
}

func (p *embeddedProcess) begin(owners int) (a *access, err error) {
	opts := fdstest.Options{Devices: -1, Quiet: true}
	for range owners + 1 { // and the reference
		opts.Owners = append(opts.Owners, fdstest.Owner{SubscriptionID: fds.NewSubscriptionID()})
	}
	if p.provider, err = fdstest.Start(opts); err != nil {
		return nil, err
	}
	a = &access{BrokerURL: p.provider.BrokerURL(), CAPEM: p.provider.CAPEM()}
	p.owners = p.provider.Owners()
	for _, o := range p.owners {
		c, err := p.provider.OwnerCertificate(o)
		if err != nil {
			return nil, err
		}
		a.Owners = append(a.Owners, identity{ID: o.Spelling, CertPEM: c.ChainPEM, KeyPEM: c.KeyPEM})
	}
	p.reference = p.owners[owners]
	a.Reference, a.ReferenceFilter = a.Owners[owners], p.reference.Topic(messageLevel)
	p.owners, a.Owners = p.owners[:owners-1], a.Owners[:owners]
	return a, nil
}

// mosquittoProgram returns its path, or "".
func mosquittoProgram() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// mosquitto is a Mosquitto that takes the common name of a client's certificate
// for its client ID and lets an owner read its own tree, and providers write.
type mosquitto struct {
	folder, address string
	running         *exec.Cmd
}

const publishers = 4 // connections

func startMosquitto(owners int) (_ *broker, err error) {
	m := &mosquitto{}
	if m.folder, err = os.MkdirTemp("", "owners"); err != nil {
		return nil, err
	}
	b := &broker{access: &access{}, pid: m.pid, start: m.start, stop: m.stop, close: m.close}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	b.access.CAPEM = ca.pem
	for range owners {
		i, err := ca.issue(fds.NewSubscriptionID().String(), "")
		if err != nil {
			return nil, err
		}
		b.access.Owners = append(b.access.Owners, i)
	}
	if b.access.Reference, err = ca.issue("reference", ""); err != nil {
		return nil, err
	}
	b.access.ReferenceFilter = "fds/v2/+/" + messageLevel
	acl := []string{"pattern read fds/v2/%c/#", "user " + b.access.Reference.ID, "topic read fds/v2/#"}
	for n := range publishers {
		i, err := ca.issue(fmt.Sprint("provider-", n), "")
		if err != nil {
			return nil, err
		}
		b.access.Providers = append(b.access.Providers, i)
		acl = append(acl, "user "+i.ID, "topic write fds/v2/#")
	}
	server, err := ca.issue("localhost", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"ca.pem": ca.pem, "server.pem": server.CertPEM, "server.key": server.KeyPEM, "acl": []byte(strings.Join(acl, "\n") + "\n")} {
		if err := os.WriteFile(filepath.Join(m.folder, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	for attempt := 0; ; attempt++ { // a port that was free a moment ago may be taken
		if err = m.configure(); err == nil {
			err = m.start()
		}
		if err == nil {
			break
		}
		if attempt == 5 {
			return nil, err
		}
	}
	b.access.BrokerURL = "mqtts://" + m.address
	if b.publisher, err = startChild("publisher", ""); err != nil {
		return nil, err
	}
	b.close = func() {
		b.publisher.close()
		m.close()
	}
	_, err = b.publisher.ask(request{Do: "begin", Access: b.access})
	return b, err
}

// configure chooses a port, below those that the system assigns to connections, and
// writes the configuration.
func (m *mosquitto) configure() error {
	port := 20000 + rand.IntN(12000)
	m.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	file := func(name string) string { return filepath.Join(m.folder, name) }
	lines := []string{
		fmt.Sprintf("listener %d 127.0.0.1", port),
		"cafile " + file("ca.pem"),
		"certfile " + file("server.pem"),
		"keyfile " + file("server.key"),
		"tls_version tlsv1.2", // the least
		"require_certificate true",
		"use_identity_as_username true",
		"use_username_as_clientid true",
		"allow_anonymous false",
		"acl_file " + file("acl"),
		"persistence true",
		"persistence_location " + m.folder + string(filepath.Separator),
		"max_queued_messages 0", // no limit
		"log_dest stderr",
		"log_type error",
		"log_type information", // says that it runs
		"connection_messages false",
	}
	// Started by root it would become a user who cannot read the folder.
	if self, err := user.Current(); err == nil && self.Uid == "0" {
		lines = append(lines, "user "+self.Username)
	}
	return os.WriteFile(file("mosquitto.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (m *mosquitto) start() error {
	command := exec.Command(mosquittoProgram(), "-c", filepath.Join(m.folder, "mosquitto.conf"))
	endWithParent(command)
	stderr, err := command.StderrPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	m.running = command
	up := make(chan error, 1)
	go func() {
		var before []string
		lines := bufio.NewScanner(stderr)
		for lines.Scan() { // on to the end, so that it never waits for a reader
			if strings.HasSuffix(lines.Text(), " running") {
				select {
				case up <- nil:
				default:
				}
			}
			if len(before) < 20 {
				before = append(before, lines.Text())
			}
		}
		select {
		case up <- errors.New("mosquitto ended: " + strings.Join(before, "; ")):
		default:
		}
	}()
	select {
	case err = <-up:
	case <-time.After(time.Minute):
		err = errors.New("mosquitto did not come up within a minute")
	}
	if err != nil {
		m.kill()
	}
	return err
}

// stop has it save its sessions.
func (m *mosquitto) stop() error {
	command := m.running
	m.running = nil
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // that it has ended is what counts
		close(ended)
	}()
	defer func() {
		_ = command.Process.Kill() // or it ran on, after an error
		<-ended
	}()
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("mosquitto did not end within 20 s")
	}
}

func (m *mosquitto) pid() int { return m.running.Process.Pid }

func (m *mosquitto) kill() {
	if m.running != nil {
		_ = m.running.Process.Kill()
		_ = m.running.Wait()
		m.running = nil
	}
}

func (m *mosquitto) close() {
	m.kill()
	_ = os.RemoveAll(m.folder)
}
