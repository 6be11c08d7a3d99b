package push_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds every wait for something that must happen.
const testTimeout = time.Minute

// broker is what the end-to-end tests need of a real broker.
type broker struct {
	url     string
	roots   *x509.CertPool
	issue   func(clientID string) *tls.Certificate
	publish func(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error
	restart func() // drops all connections and keeps the sessions
}

// eachBroker runs a test against every broker there is.
func eachBroker(t *testing.T, test func(t *testing.T, b broker)) {
	t.Run("fdstest", func(t *testing.T) { test(t, box(t)) })
	t.Run("mosquitto", func(t *testing.T) { test(t, mosquitto(t)) })
}

// newOwner is a resource owner nobody knows yet.
func newOwner() (fds.OwnerKey, fds.Root) {
	id := fds.NewSubscriptionID()
	return fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: id}, id.Root()
}

// config is a configuration that works with b, with delays short enough for a test.
func (b broker) config(owner fds.OwnerKey, root fds.Root) push.Config {
	certificate := b.issue(root.ClientID())
	return push.Config{
		Issuer: owner.Issuer, Root: root, BrokerURL: b.url, Roots: realtest.Trusting(b.roots),
		Certificate: source(certificate),
		Settings:    push.Settings{Backoff: push.Backoff{Initial: 50 * time.Millisecond, Max: time.Second}, HandlerBackoff: push.Backoff{Initial: 10 * time.Millisecond, Max: 50 * time.Millisecond}},
	}
}

// source returns one certificate for ever.
func source(certificate *tls.Certificate) func(context.Context) (*tls.Certificate, error) {
	return func(context.Context) (*tls.Certificate, error) { return certificate, nil }
}

// collector is a handler that keeps what it was given.
type collector struct {
	mu       sync.Mutex
	messages []delivery.Message
	changed  chan struct{}
	fail     func(m delivery.Message, n int) error // n: how often the handler was called before
	calls    int
}

func newCollector() *collector { return &collector{changed: make(chan struct{})} }

func (c *collector) handle(_ context.Context, m delivery.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.calls
	c.calls++
	if c.fail != nil {
		if err := c.fail(m, n); err != nil {
			return err
		}
	}
	c.messages = append(c.messages, m)
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

func (c *collector) all() []delivery.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

// wait waits until n messages were handled and returns them.
func (c *collector) wait(t *testing.T, n int) []delivery.Message {
	t.Helper()
	deadline := time.After(testTimeout)
	for {
		c.mu.Lock()
		messages, changed := slices.Clone(c.messages), c.changed
		c.mu.Unlock()
		if len(messages) >= n {
			return messages
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d messages within %v, want %d", len(messages), testTimeout, n)
		}
	}
}

// payloads returns the payloads without repetitions that are marked as such.
func payloads(messages []delivery.Message) []string {
	var texts []string
	for _, m := range messages {
		if text := string(m.Payload); !m.Duplicate || !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// running is a connection whose Run is at work.
type running struct {
	*push.Connection
	t      *testing.T
	cancel context.CancelFunc
	result chan error
	states chan push.State
}

// start makes and runs a connection until the test ends.
func start(t *testing.T, cfg push.Config, h delivery.Handler) *running {
	t.Helper()
	return startWith(t, cfg, func(ctx context.Context, c *push.Connection) error { return c.Run(ctx, h) })
}

// startBatches is start for a handler of several messages.
func startBatches(t *testing.T, cfg push.Config, b *delivery.Batching) *running {
	t.Helper()
	return startWith(t, cfg, func(ctx context.Context, c *push.Connection) error { return c.RunBatches(ctx, b) })
}

func startWith(t *testing.T, cfg push.Config, run func(context.Context, *push.Connection) error) *running {
	t.Helper()
	r := &running{t: t, result: make(chan error, 1), states: make(chan push.State, 10_000)}
	cfg.OnState = func(s push.State) { r.states <- s }
	var dialled connections
	if cfg.Dial != nil {
		cfg.Dial = dialled.keep(cfg.Dial)
	}
	connection, err := push.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Connection = connection
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	done := make(chan struct{})
	go func() {
		r.result <- run(ctx, connection)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(testTimeout): // without an end of Run there is none of the test
			t.Errorf("Run does not return; the connection is %+v", connection.State())
			dialled.close()
			select {
			case <-done:
			case <-time.After(testTimeout):
				panic("Run does not return though its connections are closed")
			}
		}
	})
	return r
}

// connections are those of a client.
type connections struct {
	mu  sync.Mutex
	all []net.Conn
}

func (c *connections) keep(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.all = append(c.all, conn)
		}
		return conn, err
	}
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.all {
		_ = conn.Close()
	}
}

// waitState waits for a state that want accepts, among those told since the last one.
func (r *running) waitState(want func(push.State) bool) push.State {
	r.t.Helper()
	deadline := time.After(testTimeout)
	for {
		select {
		case s := <-r.states:
			if want(s) {
				return s
			}
		case <-deadline:
			r.t.Fatalf("not within %v; the connection is %+v", testTimeout, r.State())
		}
	}
}

func (r *running) waitPhase(phase push.Phase) push.State {
	r.t.Helper()
	return r.waitState(func(s push.State) bool { return s.Phase == phase })
}

// stop ends Run and returns what it returned.
func (r *running) stop() error {
	r.cancel()
	return r.wait()
}

// wait returns what Run returned.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(testTimeout):
		r.t.Fatalf("Run did not return; the connection is %+v", r.State())
		return nil
	}
}

// mustPublish publishes a payload below root with quality of service 1.
func (b broker) mustPublish(t *testing.T, root fds.Root, below, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := b.publish(ctx, root.String()+below, []byte(payload), 1, false); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, to int) (texts []string) {
	for i := from; i < to; i++ {
		texts = append(texts, fmt.Sprintf(`{"n":%d}`, i))
	}
	return texts
}

var errNotNow = errors.New("not now")

func box(t *testing.T) broker {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1, Owners: []fdstest.Owner{}})
	ownerOf := func(spelling string) fdstest.Owner {
		for _, o := range p.Owners() {
			if o.Spelling == spelling {
				return o
			}
		}
		o, err := p.AddOwner(fdstest.Owner{Spelling: spelling})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	return broker{
		url: p.BrokerURL(), roots: p.RootCAs(),
		issue: func(clientID string) *tls.Certificate {
			certificate, err := p.OwnerCertificate(ownerOf(clientID))
			if err != nil {
				t.Fatal(err)
			}
			return &certificate.TLS
		},
		publish: func(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
			levels := strings.Split(topic, "/")
			return p.Publish(ctx, ownerOf(levels[2]), levels[3:], payload, qos, retain)
		},
		restart: func() { p.Inject(fdstest.DropConnections()) },
	}
}

func mosquitto(t *testing.T) broker {
	m := realtest.Mosquitto(t, realtest.MosquittoOptions{Config: []string{"max_queued_messages 0"}})
	return broker{
		url: m.URL, roots: m.RootCAs,
		issue: func(clientID string) *tls.Certificate {
			certificate := m.IssueCertificate(clientID, realtest.CertificateOptions{})
			return &certificate.TLS
		},
		publish: func(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
			return m.PublishPacket(ctx, publishPacket(topic, payload, qos, retain))
		},
		restart: func() {
			m.Stop()
			m.Start()
		},
	}
}
