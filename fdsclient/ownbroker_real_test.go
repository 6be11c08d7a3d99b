package fdsclient_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/fds-sdk/fds-go/brokerconfig"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
	"github.com/fds-sdk/fds-go/push"
)

// ownBroker is an application that runs its broker: a Mosquitto from a folder of brokerconfig.
type ownBroker struct {
	*realtest.Broker
	t      *testing.T
	p      *fdstest.Provider
	client *fdsclient.Client
	config brokerconfig.Config
	box    inbox
}

// newOwnBroker signs the first two owners of a provider in, and runs them and the broker. Change
// is of the folder's first writing.
func newOwnBroker(t *testing.T, change func(*brokerconfig.Config)) *ownBroker {
	t.Helper()
	b := &ownBroker{t: t, p: start(t, fdstest.Options{Owners: []fdstest.Owner{
		{Name: "A", Spelling: "1a6f0c1e-5b9d-4c53-8b0e-2f9d1c7a3e01"}, {Name: "B", Spelling: "2B7F1D2F-6CAE-4D64-9C1F-3A0E2D8B4F02"}, {Name: "C", Spelling: "3c803e30-7dbf-4e75-8d20-4b1f3e9c5003"},
	}})}
	b.config = brokerconfig.Config{
		Dir:        filepath.Join(t.TempDir(), "broker"),
		Providers:  []brokerconfig.Provider{{Name: "soap-inc", Connections: 2}},
		Hosts:      []string{"127.0.0.1"},
		Port:       realtest.FreePort(t),
		Passphrase: fds.NewSecret("for tests only"),
	}
	cfg := configure(t, b.p)
	b.client = open(t, cfg) // to sign in; it has no broker yet
	b.signIn(b.p.Owners()[:2]...)
	b.write(change)

	roots := filepath.Join(t.TempDir(), "both.pem") // the provider's authority and the broker's
	brokers, err := os.ReadFile(filepath.Join(b.config.Dir, "ca.pem"))
	if err == nil {
		err = os.WriteFile(roots, append(b.p.CAPEM(), brokers...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	folder, err := fdsclient.OpenCertificateFolder(filepath.Join(b.config.Dir, "owners"), fds.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	b.Broker = realtest.MosquittoFrom(t, b.config.Dir)
	cfg.Provider.BrokerURL, cfg.Provider.Roots, cfg.Certificates = fmt.Sprintf("mqtts://127.0.0.1:%d", b.config.Port), fdsclient.RootsFile(roots), folder.Certificate
	cfg.Gaps.Off = true
	cfg.Push.Backoff = push.Backoff{Initial: 50 * time.Millisecond, Max: time.Second}
	b.client = open(t, cfg)
	runClient(t, b.client, b.box.handle)
	return b
}

// write brings the folder up to date for the owners who have signed in, as an application does.
func (b *ownBroker) write(change func(*brokerconfig.Config)) *brokerconfig.Result {
	b.t.Helper()
	c := b.config
	for _, owner := range b.owners() {
		c.Owners = append(c.Owners, owner.Root())
	}
	if change != nil {
		change(&c)
	}
	result, err := brokerconfig.Write(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(result.Faults) > 0 {
		b.t.Fatal(result.Faults)
	}
	return result
}

func (b *ownBroker) signIn(owners ...fdstest.Owner) {
	b.t.Helper()
	for _, owner := range owners {
		signIn(b.t, b.client, b.p, owner)
	}
}

func (b *ownBroker) owners() []*fdsclient.Owner {
	b.t.Helper()
	owners, err := b.client.Owners(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return owners
}

func (b *ownBroker) owner(o fdstest.Owner) *fdsclient.Owner {
	b.t.Helper()
	owner, err := b.client.Owner(b.t.Context(), o.SubscriptionID)
	if err != nil {
		b.t.Fatal(err)
	}
	return owner
}

// connected waits until an owner is, and returns since when and with which certificate.
func (b *ownBroker) connected(o fdstest.Owner) (s push.State) {
	b.t.Helper()
	owner := b.owner(o)
	eventually(b.t, o.Name+" is connected", func() bool {
		s = owner.Connection()
		return s.Phase == push.Connected
	})
	return s
}

// publisher is a connection of the provider, n its number.
func (b *ownBroker) publisher(n int) func(o fdstest.Owner, payload string) {
	b.t.Helper()
	file := filepath.Join(b.config.Dir, "providers", fmt.Sprintf("soap-inc-%d.pem", n))
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(b.config.Dir, "ca.pem"))
	if err != nil {
		b.t.Fatal(err)
	}
	roots, err := tlspolicy.Roots(data)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", b.config.Port))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	client := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn)})
	if _, err := client.Connect(ctx, &paho.Connect{ClientID: "anything", CleanStart: true, KeepAlive: 60}); err != nil {
		b.t.Fatal(err)
	}
	return func(o fdstest.Owner, payload string) {
		b.t.Helper()
		ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
		defer cancel()
		if _, err := client.Publish(ctx, &paho.Publish{Topic: "fds/v2/" + o.Spelling + "/devices/d1/status", Payload: []byte(payload), QoS: 1}); err != nil {
			b.t.Fatalf("publish %s: %v", payload, err)
		}
	}
}

func (b *ownBroker) has(o fdstest.Owner, payloads ...string) {
	b.t.Helper()
	want := strings.Join(payloads, " ")
	eventually(b.t, o.Name+" has "+want, func() bool { return b.box.payloads(o.SubscriptionID) == want })
}

func TestAnApplicationRunsItsOwnBroker(t *testing.T) {
	t.Parallel()
	b := newOwnBroker(t, nil)
	a, second, third := b.p.Owners()[0], b.p.Owners()[1], b.p.Owners()[2]
	since := b.connected(a).Since
	b.connected(second)
	one, two := b.publisher(1), b.publisher(2)
	one(a, "1")
	one(second, "2")
	b.has(a, "1")
	b.has(second, "2")
	two(a, "3")
	two(second, "4")
	b.has(a, "1", "3")
	b.has(second, "2", "4")

	// An owner who signs in later.
	b.signIn(third)
	if result := b.write(nil); !result.Reload {
		t.Fatal("the broker is not to read anything anew")
	}
	b.Reload()
	b.owner(third).Wake()
	b.connected(third)
	one(third, "5")
	one(a, "6")
	b.has(third, "5")
	b.has(a, "1", "3", "6")
	if s := b.owner(a).Connection(); s.Phase != push.Connected || !s.Since.Equal(since) || s.Connects != 1 {
		t.Errorf("the first owner did not stay connected: %+v", s)
	}
}

func TestARunningConnectionTakesUpARenewedCertificate(t *testing.T) {
	t.Parallel()
	b := newOwnBroker(t, func(c *brokerconfig.Config) { // they expire in four hours
		c.Lifetime = 24 * time.Hour
		c.Now = func() time.Time { return time.Now().Add(-20 * time.Hour) }
	})
	a := b.p.Owners()[0]
	if s := b.connected(a); time.Until(s.CertificateExpiry) > 5*time.Hour {
		t.Fatalf("%+v", s)
	}
	for _, entry := range b.write(nil).Entries {
		if want := map[string]brokerconfig.Outcome{"ca.pem": brokerconfig.Kept}[entry.File]; entry.Outcome != want && entry.Outcome != brokerconfig.Renewed {
			t.Errorf("%+v", entry)
		}
	}
	b.Reload()
	b.owner(a).Wake()
	eventually(t, "with the renewed certificate", func() bool {
		s := b.owner(a).Connection()
		return s.Phase == push.Connected && s.Connects == 2 && s.CertificateExpiry.After(time.Now().AddDate(0, 11, 0))
	})
	b.publisher(1)(a, "after")
	b.has(a, "after")
}

func TestAttackARevokedOwnerOfTheOwnBrokerIsRefused(t *testing.T) {
	t.Parallel()
	b := newOwnBroker(t, nil)
	a, second := b.p.Owners()[0], b.p.Owners()[1]
	b.connected(a)
	b.connected(second)
	b.write(func(c *brokerconfig.Config) { c.Revoke = []string{a.Spelling} })
	b.Reload()
	b.Stop()
	b.Start()
	eventually(t, "the owner needs another certificate", func() bool {
		s := b.owner(a).Connection()
		return s.Phase == push.NeedsCertificate && errors.Is(s.Err, fds.ErrCertificate)
	})
	b.connected(second)
	b.publisher(1)(second, "goes on")
	b.has(second, "goes on")
}
