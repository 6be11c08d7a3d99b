package fdsclient_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

func TestADeadLetterOfOneOwnerHoldsUpNoOther(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	var buried atomic.Int64
	seen := &connects{}
	cfg.Hooks = []any{seen}
	cfg.Push.MaxAttempts = 1
	cfg.Push.DeadLetter = func(_ context.Context, m delivery.Message, err error) error {
		if string(m.Payload) != `"poison"` || err == nil {
			t.Errorf("dead letter %v: %v", m, err)
		}
		buried.Add(1)
		return nil
	}
	client := open(t, cfg)
	owner := signIn(t, client, p)[0]
	var box inbox
	runClient(t, client, func(ctx context.Context, m delivery.Message) error {
		if string(m.Payload) == `"poison"` {
			return errors.New("cannot digest")
		}
		return box.handle(ctx, m)
	})
	eventually(t, "the connection", func() bool { return seen.n.Load() == 1 })
	publish(t, p, p.Owners()[0], `"poison"`)
	publish(t, p, p.Owners()[0], `1`)
	eventually(t, "the message behind the poison", func() bool { return box.payloads(owner.Key().SubscriptionID) == "1" })
	if s := owner.Connection(); s.Phase != push.Connected || s.Since.IsZero() || s.CertificateExpiry.Before(time.Now()) {
		t.Errorf("the connection is %+v", s)
	}
	if buried.Load() != 1 {
		t.Errorf("%d dead letters", buried.Load())
	}
}

// rotating returns an owner's certificate of now.
type rotating struct {
	provider *fdstest.Provider
	mu       sync.Mutex
	known    *tls.Certificate
}

func (r *rotating) Certificate(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		c, err := r.provider.OwnerCertificate(r.provider.Owners()[0])
		if err != nil {
			return nil, err
		}
		r.known = &c.TLS
	}
	return r.known, nil
}

func (r *rotating) rotate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = nil
}

// connects counts how often an owner came up.
type connects struct{ n atomic.Int64 }

func (c *connects) OnConnection(_ fds.OwnerKey, s push.State) {
	if s.Phase == push.Connected {
		c.n.Store(int64(s.Connects))
	}
}

func TestCertificatesAreRotatedWhileMessagesFlowAndNoneIsLost(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	source, seen := &rotating{provider: p}, &connects{}
	cfg.Certificates, cfg.Hooks = source.Certificate, []any{seen}
	cfg.Push.CertificateCheck = 20 * time.Millisecond
	client := open(t, cfg)
	owner := signIn(t, client, p)[0]
	var box inbox
	runClient(t, client, box.handle)
	eventually(t, "the first connection", func() bool { return seen.n.Load() == 1 })
	want := ""
	for n := range 200 {
		if n%40 == 20 {
			before := seen.n.Load()
			source.rotate()
			defer func() {
				if seen.n.Load() <= before {
					t.Error("a new certificate was not taken up")
				}
			}()
		}
		publish(t, p, p.Owners()[0], fmt.Sprint(n))
		want += fmt.Sprint(n) + " "
		time.Sleep(2 * time.Millisecond) // messages flow
	}
	eventually(t, "the reconnects", func() bool { return seen.n.Load() >= 3 })
	eventually(t, "every message, in order", func() bool { return distinct(box.payloads(owner.Key().SubscriptionID))+" " == want })
}

// distinct leaves out redeliveries.
func distinct(payloads string) string {
	var out []string
	for _, p := range strings.Fields(payloads) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return strings.Join(out, " ")
}

func TestAuthoritiesAreReadAgainWhenTheirFileChanges(t *testing.T) {
	p, foreign := start(t, fdstest.Options{}), start(t, fdstest.Options{})
	file := filepath.Join(t.TempDir(), "ca.pem")
	roots := fdsclient.RootsFile(file)
	if _, err := roots(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	write := func(data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(foreign.CAPEM())
	cfg := configure(t, p)
	cfg.Provider.Roots = roots
	failed, seen := &failures{}, &connects{}
	cfg.Hooks = []any{failed, seen}
	client := open(t, cfg)
	if _, err := client.SignIn(t.Context(), approve(p)); err == nil || !strings.Contains(err.Error(), "not trusted here") {
		t.Fatalf("a sign-in at a server with a foreign authority gives %v", err)
	}
	write(append(foreign.CAPEM(), p.CAPEM()...))
	owner := signIn(t, client, p)[0]

	write(foreign.CAPEM())
	var box inbox
	runClient(t, client, box.handle)
	eventually(t, "the refusal of the broker", func() bool { return failed.n.Load() > 0 })
	specifications := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := pull.Collect(owner.Pull().Specifications(ctx, pull.Query{}))
		return err
	}
	if err := specifications(); err == nil || !strings.Contains(err.Error(), "not trusted here") {
		t.Errorf("a connection to the Web API that is up is used by those who trust it no more: %v", err)
	}
	write([]byte("half a file"))
	if pool, err := roots(t.Context()); pool == nil || err != nil {
		t.Errorf("half a file: %v", err)
	}
	write(p.CAPEM())
	eventually(t, "the connection", func() bool { return seen.n.Load() == 1 })
	if err := specifications(); err != nil {
		t.Error(err)
	}
}

// failures counts attempts that failed.
type failures struct{ n atomic.Int64 }

func (f *failures) OnConnect(_ fds.OwnerKey, _ time.Duration, err error) {
	if err != nil {
		f.n.Add(1)
	}
}

var _ fdsclient.HookConnection = &connects{}
