package realtest

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"
)

// SmallBroker is a broker other than Mosquitto, of which tests need less. It demands a client
// certificate whose common name is the client ID; the provider publishes.
type SmallBroker struct {
	*CA
	URL     string // mqtts://127.0.0.1:PORT
	RootCAs *x509.CertPool

	utf8      bool
	running   *child
	publisher publisher
}

// Mochi starts a broker of mochi-mqtt, built from the module beside this package. It checks
// the packet ID of a SUBSCRIBE against those of the messages that it has in flight.
func Mochi(t testing.TB) *SmallBroker {
	t.Helper()
	goTool := program(t, "a broker of mochi-mqtt", "go", "see https://go.dev/doc/install")
	_, here, _, _ := runtime.Caller(0)
	folder := shortTempDir(t)
	binary := filepath.Join(folder, "mochi")
	build := exec.Command(goTool, "build", "-o", binary, ".")
	build.Dir = filepath.Join(filepath.Dir(here), "mochi")
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		Require(t, "a broker of mochi-mqtt", fmt.Sprintf("it cannot be built: (cd internal/realtest/mochi && go mod download): %v: %s", err, out))
	}
	return startSmall(t, folder, "mochi", " running", false, func(address string, file func(string) string) *exec.Cmd {
		return exec.Command(binary, "-address", address, "-ca", file("ca.pem"), "-cert", file("server.crt"), "-key", file("server.key"), "-provider", ProviderUser)
	})
}

// Ejabberd starts an ejabberd that serves MQTT alone. It keeps sessions for five minutes
// whatever a client asks for, lets owners read each other's topics, and takes a client whose
// certificate has a UTF8String for its common name: OwnerCertificate issues it.
func Ejabberd(t testing.TB) *SmallBroker {
	t.Helper()
	const install = "RUNLEVEL=1 apt-get install --no-install-recommends ejabberd"
	program(t, "ejabberd", "ejabberdctl", install)
	erl := program(t, "ejabberd", "erl", install)
	folder := shortTempDir(t)
	return startSmall(t, folder, "ejabberd", "Start accepting TLS connections at ", true, func(address string, file func(string) string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(address)
		configuration := lines([]string{
			"hosts: [localhost]", "loglevel: info",
			"certfiles: [" + strconv.Quote(file("server.pem")) + "]", "c2s_cafile: " + strconv.Quote(file("ca.pem")),
			"listen:", "  -", "    port: " + port, `    ip: "127.0.0.1"`, "    module: mod_mqtt", "    tls: true", "    tls_verify: true",
			"modules:", "  mod_mqtt: {}",
		})
		if err := os.WriteFile(file("ejabberd.yml"), configuration, 0o600); err != nil {
			t.Fatalf("realtest: %v", err)
		}
		// No name for the node, so that no daemon stays behind that maps names to ports.
		command := exec.Command(erl, "-noinput", "-mnesia", "dir", strconv.Quote(file("data")), "-s", "ejabberd")
		command.Env = append(os.Environ(), "HOME="+folder, "ERL_LIBS="+libraries(), "ERL_CRASH_DUMP="+file("crash"),
			"EJABBERD_CONFIG_PATH="+file("ejabberd.yml"), "EJABBERD_LOG_PATH="+file("ejabberd.log"))
		return command
	})
}

// libraries are where Debian keeps Erlang's: under the name of the machine.
func libraries() string {
	found, _ := filepath.Glob("/usr/lib/*/ejabberd-*")
	for i, path := range found {
		found[i] = filepath.Dir(path)
	}
	return strings.Join(append(found, os.Getenv("ERL_LIBS")), ":")
}

// startSmall starts a broker and waits until it writes a line that contains up.
func startSmall(t testing.TB, folder, name, up string, utf8 bool, command func(address string, file func(string) string) *exec.Cmd) *SmallBroker {
	t.Helper()
	b := &SmallBroker{CA: NewCA(t), utf8: utf8}
	b.RootCAs = b.CA.Pool()
	file := func(name string) string { return filepath.Join(folder, name) }
	server := b.serverCertificate()
	for name, content := range map[string][]byte{"ca.pem": b.CA.PEM(), "server.crt": server.PEM, "server.key": server.KeyPEM, "server.pem": server.Bundle()} {
		if err := os.WriteFile(file(name), content, 0o600); err != nil {
			t.Fatalf("realtest: %v", err)
		}
	}
	if err := os.MkdirAll(file("data"), 0o700); err != nil {
		t.Fatalf("realtest: %v", err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	b.URL = "mqtts://" + address
	b.running = startChild(t, name, command(address, file))
	b.running.waitLine(t, up)
	b.publisher = publisher{address: address, roots: b.RootCAs, certificate: b.OwnerCertificate(ProviderUser)}
	t.Cleanup(b.publisher.close)
	return b
}

// OwnerCertificate issues a certificate that the broker takes for that client ID.
func (b *SmallBroker) OwnerCertificate(clientID string) Certificate {
	return b.IssueCertificate(clientID, CertificateOptions{UTF8: b.utf8})
}

// PublishPacket publishes as the provider.
func (b *SmallBroker) PublishPacket(ctx context.Context, packet *paho.Publish) error {
	return b.publisher.publish(ctx, packet)
}

// Logs is what the broker has written.
func (b *SmallBroker) Logs() string { return b.running.output.String() }
