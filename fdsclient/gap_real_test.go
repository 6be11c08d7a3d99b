package fdsclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// onMosquitto is an owner of a provider in a box whose broker is Mosquitto: what
// is published shows in the box's Web API, and goes to Mosquitto.
type onMosquitto struct {
	p      *fdstest.Provider
	broker *realtest.Broker
	cfg    fdsclient.Config
	owner  fdstest.Owner
	gaps   *gapLog
	events *events
	box    inbox
	online bool // publish to Mosquitto too
}

func newOnMosquitto(t *testing.T, known bool, lines ...string) *onMosquitto {
	t.Helper()
	d, span := randomDialect()
	if !known {
		d, span = fds.Dialect{}, &fdstest.TimeRange{}
	}
	s := &onMosquitto{p: start(t, fdstest.Options{TimeRange: span}), gaps: &gapLog{}, online: true}
	s.broker = realtest.Mosquitto(t, realtest.MosquittoOptions{Config: lines})
	roots := s.p.RootCAs()
	roots.AppendCertsFromPEM(s.broker.CAPEM)
	s.cfg = configure(t, s.p)
	s.cfg.Provider.Dialect, s.cfg.Provider.BrokerURL, s.cfg.Provider.Roots = d, s.broker.URL, realtest.Trusting(roots)
	s.cfg.Hooks = []any{s.gaps}
	s.cfg.Certificates = certificateFunc(func(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
		c := s.broker.IssueCertificate(owner.SubscriptionID.String(), realtest.CertificateOptions{}).TLS
		return &c, nil
	})
	s.owner = s.p.Owners()[0]
	s.events = &events{t: t, dialect: d, send: func(item []byte) error {
		if err := s.p.AddEvent(s.owner, item); err != nil || !s.online {
			return err
		}
		return s.broker.Publish(t.Context(), s.owner.Topic("devices", "D", "events"), item, 1)
	}}
	return s
}

// run runs a Client of the owner until stop.
func (s *onMosquitto) run(t *testing.T) (stop func()) {
	t.Helper()
	connected := &upCount{}
	cfg := s.cfg
	cfg.Hooks = append([]any{connected}, cfg.Hooks...)
	client := open(t, cfg)
	owners, err := client.Owners(t.Context())
	if err == nil && len(owners) == 0 {
		signIn(t, client, s.p, s.owner)
	}
	stop = runClient(t, client, s.box.handle)
	eventually(t, "connected", func() bool { return connected.count() > 0 })
	return stop
}

// upCount counts how often a connection came up.
type upCount struct {
	mu sync.Mutex
	n  int
}

func (c *upCount) OnConnection(_ fds.OwnerKey, s push.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Phase == push.Connected {
		c.n++
	}
}

func (c *upCount) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func TestNoEventIsMissingWhateverMosquittoLoses(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		name := map[bool]string{true: "names drawn at random", false: "no name known"}[known]
		t.Run(name+", killed without persistence", func(t *testing.T) {
			t.Parallel()
			s := newOnMosquitto(t, known, "persistence false")
			s.run(t)
			s.events.publish(3)
			s.events.arrive(&s.box)
			s.broker.Kill()
			s.online = false
			s.events.publish(20)
			s.broker.Start()
			s.online = true
			s.done(t, "had not kept")
		})
		t.Run(name+", session expiry passed", func(t *testing.T) {
			t.Parallel()
			s := newOnMosquitto(t, known)
			s.cfg.Push.SessionExpiry = time.Second
			stop := s.run(t)
			s.events.publish(3)
			s.events.arrive(&s.box)
			stop()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := s.broker.WaitLog(ctx, "Expiring client"); err != nil {
				t.Fatal(err)
			}
			s.events.publish(20)
			s.run(t)
			s.done(t, "had not kept")
		})
		t.Run(name+", queue limit hit though the session is present", func(t *testing.T) {
			t.Parallel()
			s := newOnMosquitto(t, known, "max_queued_messages 3", "max_inflight_messages 2")
			stop := s.run(t)
			s.events.publish(3)
			s.events.arrive(&s.box)
			stop()
			s.events.publish(20)
			s.run(t)
			s.done(t, "had kept")
			if n := len(s.box.from(delivery.FromPush)); n >= 26 {
				t.Errorf("the broker delivered all %d messages by itself: its limit was not hit", n)
			}
		})
	}
}

// done waits until nothing is missing and the gap is closed, and looks at what
// the broker said of the session.
func (s *onMosquitto) done(t *testing.T, session string) {
	t.Helper()
	eventually(t, "the gap closed", func() bool { return len(s.gaps.all(fdsclient.GapClosed)) > 0 })
	s.events.publish(3)
	s.events.arrive(&s.box)
	if why := s.gaps.all(fdsclient.GapClosed)[0].Gap.Reason; !strings.Contains(why, session) {
		t.Errorf("why: %s; want that the broker %s the session", why, session)
	}
	if len(s.box.from(delivery.FromBackfill)) == 0 {
		t.Error("nothing was fetched")
	}
}

// consumer is what a process does that is killed in the middle of a backfill or,
// without a broker, of a poll: it prints each payload that it has handled. With Webhook
// see there.
type consumer struct {
	Issuer, API, Broker, ClientID string
	CA, Certificate, Key          []byte
	Folder, Identity, State       string
	Dialect                       fds.Dialect
	HangAfter                     int // messages that were fetched; 0: never
	Webhook                       *hooked
}

const consumerVariable = "FDSCLIENT_TEST_CONSUMER"

// runConsumer runs one when this process is one.
func runConsumer() bool {
	text := os.Getenv(consumerVariable)
	if text == "" {
		return false
	}
	var c consumer
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func (c consumer) run() error {
	poll := fdsclient.Poll{}
	var certificates certificateFunc
	var certificate tls.Certificate
	if len(c.Certificate) > 0 {
		var err error
		if certificate, err = tls.X509KeyPair(c.Certificate, c.Key); err != nil {
			return err
		}
	}
	if c.Broker == "" {
		poll.Interval = time.Second
	} else {
		certificates = certificateFunc(func(context.Context, fds.OwnerKey) (*tls.Certificate, error) { return &certificate, nil })
	}
	store, err := tokenstore.OpenFolder(context.Background(), tokenstore.FolderConfig{Path: c.Folder, Identity: fds.NewSecret(c.Identity)})
	if err != nil {
		return err
	}
	state, err := statestore.OpenFolder(c.State)
	if err != nil {
		return err
	}
	client, err := fdsclient.New(fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: c.Issuer, APIURL: c.API, BrokerURL: c.Broker, Roots: realtest.Trusting(poolOf(c.CA)), Dialect: c.Dialect},
		Application: fdsclient.Application{ClientID: c.ClientID},
		Store:       store, State: state, Certificates: certificates, Poll: poll,
	})
	if err != nil {
		return err
	}
	if c.Webhook != nil {
		return c.Webhook.serve(client, &certificate)
	}
	n := 0
	return client.Run(context.Background(), func(_ context.Context, m delivery.Message) error {
		if m.Source != delivery.FromPush {
			if n++; c.HangAfter > 0 && n > c.HangAfter {
				fmt.Println("hangs")
				select {}
			}
		}
		fmt.Printf("%s\n", m.Payload)
		return nil
	})
}

func TestAConsumerKilledInTheMiddleOfABackfillBeginsItAgain(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := newOnMosquitto(t, known)
		folder, state := t.TempDir(), t.TempDir()
		identity := newIdentity(t)
		store, err := tokenstore.OpenFolder(t.Context(), tokenstore.FolderConfig{Path: folder, Identity: fds.NewSecret(identity)})
		if err != nil {
			t.Fatal(err)
		}
		states, err := statestore.OpenFolder(state)
		if err != nil {
			t.Fatal(err)
		}
		s.cfg.Store, s.cfg.State = store, states
		stop := s.run(t)
		s.events.publish(3)
		s.events.arrive(&s.box)
		stop()
		s.broker.Kill() // with all that is in its memory
		s.broker.Start()
		s.online = false
		s.events.publish(20)
		s.online = true

		certificate := s.broker.IssueCertificate(s.owner.SubscriptionID.String(), realtest.CertificateOptions{})
		c := consumer{
			Issuer: s.p.Issuer(), API: s.p.APIURL(), Broker: s.broker.URL, ClientID: s.p.PublicApplication().ID,
			CA: append(s.p.CAPEM(), s.broker.CAPEM...), Certificate: certificate.PEM, Key: certificate.KeyPEM,
			Folder: folder, Identity: identity, State: state, Dialect: s.cfg.Provider.Dialect, HangAfter: 7,
		}
		task, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		handled := killConsumer(t, string(task), "", &s.box)
		if handled != 7 {
			t.Fatalf("the consumer handled %d messages before it was killed, want 7", handled)
		}
		if len(s.events.missing(&s.box)) == 0 {
			t.Fatal("nothing is missing after the kill, which proves nothing")
		}
		stop = s.run(t)
		s.done(t, "kept")
		stop()
	}
}

// killConsumer runs a consumer until it hangs, kills it, and puts into the box what
// it has handled.
func killConsumer(t *testing.T, task string, source delivery.Source, box *inbox) (handled int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), consumerVariable+"="+task)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "hangs"; handled++ {
		_ = box.handle(ctx, delivery.Message{Source: source, Payload: append([]byte(nil), lines.Bytes()...)})
	}
	_ = child.Process.Kill()
	_ = child.Wait() // it was killed
	return handled
}
