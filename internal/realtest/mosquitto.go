package realtest

import (
	"context"
	"crypto/x509"
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
	"testing"
)

// ProviderUser is the common name of the one certificate that may publish.
const ProviderUser = "realtest-provider"

// MosquittoOptions says what differs from a broker with Mosquitto's own defaults.
type MosquittoOptions struct {
	// CA issues the broker's certificate and those of its clients; by default the broker gets one
	// of its own.
	CA *CA
	// Config are further lines of mosquitto.conf, for example "max_queued_messages 10",
	// "max_keepalive 5", "log_type all", or "autosave_interval 1" with "autosave_on_changes true",
	// which saves each change so that Kill loses nothing.
	Config []string
	// ACL are further lines of the access list, below those of the provider and the owners.
	ACL []string
	// AccessList is the access list in the place of that one. Empty, and not nil: there is none.
	AccessList []string
	// TLS12 has the broker speak TLS 1.2 only; otherwise 1.2 and 1.3.
	TLS12 bool
	// Revocations has the broker look into a list of revoked certificates, to which Revoke adds.
	Revocations bool
}

// Broker is a running Mosquitto that demands a client certificate and takes its common name for the
// client ID, whatever the CONNECT says. A client may read below fds/v2/<its client ID>/ and write
// nothing; the provider may write below fds/v2/. Later lines of the configuration stand in the
// place of earlier ones, so MosquittoOptions can undo all that. Facts that a test meets: a SUBSCRIBE
// to a foreign topic is granted, but nothing is delivered; a client that is taken over sees a bare
// EOF; under TLS 1.3 a missing client certificate shows at the first read and not at the dial.
type Broker struct {
	*CA
	URL     string // mqtts://127.0.0.1:PORT
	Address string // 127.0.0.1:PORT
	CAPEM   []byte
	// RootCAs trusts the broker's certificate.
	RootCAs *x509.CertPool

	t         testing.TB
	program   string
	folder    string
	tls12     bool
	running   *child
	logs      []*output
	publisher publisher
}

// Mosquitto starts a broker on a free port of 127.0.0.1. What it keeps lies in a folder of its own,
// and ends with the test.
func Mosquitto(t testing.TB, options MosquittoOptions) *Broker {
	t.Helper()
	b := &Broker{
		t:       t,
		program: program(t, "an MQTT broker", "mosquitto", "RUNLEVEL=1 apt-get install --no-install-recommends mosquitto"),
		folder:  shortTempDir(t),
		tls12:   options.TLS12,
		CA:      options.CA,
	}
	if b.CA == nil {
		b.CA = NewCA(t)
	}
	b.CAPEM, b.RootCAs = b.CA.PEM(), b.CA.Pool()

	server := b.serverCertificate()
	b.write("ca.pem", b.CAPEM)
	b.write("server.pem", server.PEM)
	b.write("server.key", server.KeyPEM)
	acl := options.AccessList
	if acl == nil {
		acl = []string{"user " + ProviderUser, "topic write fds/v2/#", "pattern read fds/v2/%c/#"}
	}
	if options.Revocations {
		b.write("revoked.pem", b.CA.RevocationList())
		options.Config = append([]string{"crlfile " + filepath.Join(b.folder, "revoked.pem")}, options.Config...)
	}
	if acl = append(acl, options.ACL...); len(acl) > 0 {
		b.write("acl", lines(acl))
		options.Config = append([]string{"acl_file " + filepath.Join(b.folder, "acl")}, options.Config...)
	}
	b.write("openssl.cnf", []byte("openssl_conf = main\n[main]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\nMaxProtocol = TLSv1.2\n"))
	if err := os.Mkdir(filepath.Join(b.folder, "data"), 0o700); err != nil {
		t.Fatalf("realtest: %v", err)
	}

	for attempt := 1; ; attempt++ {
		port := freePort(t)
		b.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		b.URL = "mqtts://" + b.Address
		b.write("mosquitto.conf", lines(append(b.configuration(port), options.Config...)))
		err := b.start()
		if err == nil {
			break
		}
		// Another process may have taken the port since it was seen free.
		if attempt == 5 || !strings.Contains(err.Error(), "Address already in use") {
			t.Fatal(err)
		}
	}
	b.publisher = publisher{address: b.Address, roots: b.RootCAs, certificate: b.IssueCertificate(ProviderUser, CertificateOptions{})}
	t.Cleanup(b.publisher.close)
	return b
}

// MosquittoFrom starts a broker from the mosquitto.conf of a folder that the test has made, with a
// port that FreePort has found and its log on standard error. It runs as this user. Of the Broker,
// Start, Stop, Kill, Reload, Freeze, Thaw and the log can be used.
func MosquittoFrom(t testing.TB, folder string) *Broker {
	t.Helper()
	b := &Broker{
		t:       t,
		program: program(t, "an MQTT broker", "mosquitto", "RUNLEVEL=1 apt-get install --no-install-recommends mosquitto"),
		folder:  folder,
	}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// FreePort returns a port of 127.0.0.1 that nothing listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	return freePort(t)
}

// Reload has the running broker read its files anew, and returns when it has begun to: what a
// client does afterwards meets the new ones.
func (b *Broker) Reload() {
	b.t.Helper()
	const told = "Reloading config"
	before := b.running.output.count(told)
	if err := b.running.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		b.t.Fatalf("realtest: reload: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := b.running.output.waitCount(ctx, told, before+1); err != nil {
		b.t.Fatalf("realtest: reload: %v", err)
	}
}

func (b *Broker) configuration(port int) []string {
	file := func(name string) string { return filepath.Join(b.folder, name) }
	configuration := []string{
		fmt.Sprintf("listener %d 127.0.0.1", port),
		"cafile " + file("ca.pem"),
		"certfile " + file("server.pem"),
		"keyfile " + file("server.key"),
		"tls_version tlsv1.2", // the least, not the only one
		"require_certificate true",
		"use_identity_as_username true",
		"use_username_as_clientid true",
		"allow_anonymous false",
		"persistence true",
		"persistence_location " + file("data") + string(filepath.Separator),
		"log_dest stderr",
	}
	for _, kind := range []string{"error", "warning", "notice", "information", "subscribe", "unsubscribe"} {
		configuration = append(configuration, "log_type "+kind)
	}
	// Started by root, Mosquitto would change to a user that cannot read the folder, and no longer
	// die with the test.
	if self, err := user.Current(); err == nil && self.Uid == "0" {
		configuration = append(configuration, "user "+self.Username)
	}
	return configuration
}

func (b *Broker) start() error {
	command := exec.Command(b.program, "-c", filepath.Join(b.folder, "mosquitto.conf"))
	if b.tls12 {
		command.Env = append(os.Environ(), "OPENSSL_CONF="+filepath.Join(b.folder, "openssl.cnf"))
	}
	b.running = startChild(b.t, "mosquitto", command)
	b.logs = append(b.logs, b.running.output)
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	// The line comes once all listeners are open.
	if _, err := b.running.output.waitLine(ctx, " running"); err != nil {
		b.running.kill()
		return fmt.Errorf("realtest: mosquitto did not come up: %w; its output:\n%s", err, b.running.output)
	}
	return nil
}

// Start starts the broker again, on the same port, with what it had saved.
func (b *Broker) Start() {
	b.t.Helper()
	select {
	case <-b.running.ended:
	default:
		b.t.Fatal("realtest: Start: the broker is running")
	}
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
}

// Stop ends the broker with SIGTERM: it saves sessions, queued messages and retained messages.
func (b *Broker) Stop() {
	b.t.Helper()
	if err := b.running.stop(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
}

// Kill ends the broker with SIGKILL: what it had not saved is lost, with Mosquitto's defaults all
// of it.
func (b *Broker) Kill() { b.running.kill() }

// Revoke has the running broker refuse certificates from the next handshake on, and returns when it
// has read that: with SIGHUP it loads its files anew, those of TLS among them. Connections that are
// up stay.
func (b *Broker) Revoke(revoked ...Certificate) {
	b.t.Helper()
	b.write("revoked.pem", b.CA.RevocationList(revoked...))
	b.Reload()
}

// Freeze has the broker go silent with its connections open, as behind a network that died; Thaw
// ends that. Unix only.
func (b *Broker) Freeze() {
	b.t.Helper()
	if err := b.running.freeze(); err != nil {
		b.t.Fatalf("realtest: freeze the broker: %v", err)
	}
}

// Thaw lets a frozen broker go on.
func (b *Broker) Thaw() {
	b.t.Helper()
	if err := b.running.thaw(); err != nil {
		b.t.Fatalf("realtest: thaw the broker: %v", err)
	}
}

// Logs is what the broker has logged, over all its runs: connects, disconnects with their reason,
// subscriptions.
func (b *Broker) Logs() string {
	var all strings.Builder
	for _, run := range b.logs {
		all.WriteString(run.String())
	}
	return all.String()
}

// WaitLog waits until the broker's present run has logged a line that contains part, and returns
// the line.
func (b *Broker) WaitLog(ctx context.Context, part string) (string, error) {
	line, err := b.running.output.waitLine(ctx, part)
	if err != nil {
		return "", fmt.Errorf("realtest: mosquitto's log: %w", err)
	}
	return line, nil
}

func (b *Broker) write(name string, content []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.folder, name), content, 0o600); err != nil {
		b.t.Fatalf("realtest: %v", err)
	}
}

func lines(all []string) []byte { return []byte(strings.Join(all, "\n") + "\n") }

// freePort finds a port that nothing listens on, below those from which systems take the local port
// of a connection: a port among those may be gone while the broker is down, and a client that dials
// it meanwhile may be connected to itself.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			t.Fatalf("realtest: %v", err)
		}
		return port
	}
	t.Fatal("realtest: no free port found below 32000 in 100 tries")
	return 0
}
