package fdsclient

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// A test runs its own binary again with childVariable set, as another process of
// the same application.
const childVariable = "FDSCLIENT_TEST_CHILD"

// child is what such a process does.
type child struct {
	Task     string // "renew": renew Count times; "step": renew once and die at step KillAt; "serve": keep all grants renewed until killed
	Folder   string // of the grants
	Identity string // the folder's key
	Issuer   string
	CA       []byte // PEM
	ClientID string
	Secret   string
	Count    int
	KillAt   int
}

// RunAsChild is for TestMain: it runs a child's task when this process is one.
func RunAsChild() (was bool) {
	text := os.Getenv(childVariable)
	if text == "" {
		return false
	}
	var c child
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func (c child) open() (*Client, tokenstore.Store, error) {
	store, err := tokenstore.OpenFolder(context.Background(), tokenstore.FolderConfig{Path: c.Folder, Identity: fds.NewSecret(c.Identity)})
	if err != nil {
		return nil, nil, err
	}
	steps := &steps{killAt: c.KillAt}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CA)
	client, err := New(Config{
		Provider:    Provider{Issuer: c.Issuer, Roots: realtest.Trusting(roots)},
		Application: Application{ClientID: c.ClientID, ClientSecret: fds.NewSecret(c.Secret)},
		Store:       steppedStore{store, steps},
		State:       &statestore.Memory{},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, nil, err
	}
	speakThrough(client, steppedTransport{client.auth.ClientCerts, steps})
	return client, store, nil
}

func (c child) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for done := 0; done < max(c.Count, 1); done++ {
		client, store, err := c.open()
		if err != nil {
			return err
		}
		if c.Task == "serve" {
			grants.LeastRest = time.Second // this process is for nothing else
			return client.Run(ctx, nil)
		}
		owners, err := client.Owners(ctx)
		if err != nil {
			return err
		}
		if len(owners) != 1 {
			return fmt.Errorf("%d owners", len(owners))
		}
		g := owners[0].grant.Load()
		if c.Task == "renew" {
			if err := expire(ctx, store, g.Key); err != nil {
				return err
			}
		}
		if _, err := owners[0].Token(ctx); err != nil {
			return err
		}
		if err := client.Close(); err != nil {
			return err
		}
	}
	return nil
}

// expire makes the stored access token one that has expired.
func expire(ctx context.Context, store tokenstore.Store, key tokenstore.Key) error {
	lease, err := store.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer lease.Release()
	record, err := store.Load(ctx, key)
	if err != nil {
		return err
	}
	record.AccessExpiry = time.Now().Add(-time.Minute)
	_, err = store.Save(ctx, record)
	return err
}

// steps counts what a renewal does, and ends the process by SIGKILL at one.
type steps struct {
	killAt int
	now    atomic.Int64
}

func (s *steps) step() {
	if int(s.now.Add(1)) == s.killAt {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			_ = self.Kill()
		}
		select {} // it may take a moment
	}
}

type steppedStore struct {
	tokenstore.Store
	steps *steps
}

func (s steppedStore) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	s.steps.step()
	return s.Store.Load(ctx, key)
}

func (s steppedStore) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	s.steps.step()
	revision, err := s.Store.Save(ctx, g)
	s.steps.step()
	return revision, err
}

func (s steppedStore) Lock(ctx context.Context, key tokenstore.Key) (tokenstore.Lease, error) {
	s.steps.step()
	lease, err := s.Store.Lock(ctx, key)
	s.steps.step()
	return steppedLease{lease, s.steps}, err
}

type steppedLease struct {
	tokenstore.Lease
	steps *steps
}

func (l steppedLease) Release() {
	l.steps.step()
	l.Lease.Release()
}

type steppedTransport struct {
	base  http.RoundTripper
	steps *steps
}

func (t steppedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.steps.step()
	return t.base.RoundTrip(r)
}

// start runs the child's task in a process of its own.
func (c child) start(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // when the test failed before it waited
	return cmd
}

// newChild signs in with approve and returns what another process needs to use the
// grant.
func newChild(t *testing.T, issuer, clientID, secret string, ca []byte, approve func(context.Context, string) error) child {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	c := child{Folder: filepath.Join(t.TempDir(), "grants"), Identity: identity.String(), Issuer: issuer, CA: ca, ClientID: clientID, Secret: secret}
	client, _, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := client.SignIn(ctx, SignInOptions{ShowURL: func(string) {}, OpenBrowser: approve}); err != nil {
		t.Fatal(err)
	}
	return c
}

// owner returns the owner as the application finds it after a restart.
func (c child) owner(t *testing.T) (*Owner, tokenstore.Store) {
	t.Helper()
	c.KillAt = 0
	client, store, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	owners, err := client.Owners(t.Context())
	if err != nil || len(owners) != 1 {
		t.Fatalf("%d owners, %v", len(owners), err)
	}
	return owners[0], store
}

func TestTwoProcessesRenewOneGrantAndNeitherLosesIt(t *testing.T) {
	t.Parallel()
	count := 50
	if os.Getenv("FDS_LONG") != "" {
		count = 500
	}
	renewInTwo := func(t *testing.T, c child, renewals func() int) {
		c.Task, c.Count = "renew", count
		before := renewals()
		for _, process := range []*exec.Cmd{c.start(t), c.start(t)} {
			if err := process.Wait(); err != nil {
				t.Errorf("a process ended with %v", err)
			}
		}
		owner, _ := c.owner(t)
		if _, err := owner.Token(t.Context()); err != nil {
			t.Error(err)
		}
		if n := renewals() - before; n < count || n > 2*count {
			t.Errorf("%d renewals in two processes of %d each", n, count)
		}
	}
	t.Run("at the provider in a box", func(t *testing.T) {
		p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
		c := newChild(t, p.Issuer(), p.PublicApplication().ID, "", p.CAPEM(), atBox(p))
		renewInTwo(t, c, func() int { return p.Requests(fdstest.TokenEndpoint) })
	})
	t.Run("at oidc-provider", func(t *testing.T) {
		server := realtest.OIDCProvider(t, realtest.OIDCOptions{})
		c := newChild(t, server.Issuer, server.Basic.ID, server.Basic.Secret, server.CAPEM, func(ctx context.Context, url string) error {
			callback, err := server.Approve(ctx, url)
			if err == nil {
				_, err = server.Open(ctx, callback)
			}
			return err
		})
		renewInTwo(t, c, func() (renewals int) {
			for _, r := range server.Requests() {
				if r.Error != "" {
					t.Errorf("the provider refused %+v", r)
				}
				if r.Grant == "refresh_token" {
					renewals++
				}
			}
			return renewals
		})
	})
}

func atBox(p *fdstest.Provider) func(context.Context, string) error {
	return func(ctx context.Context, url string) error { return p.Approve(ctx, url) }
}

// TestARenewalThatIsKilledAtAnyStepLosesNoGrant kills a process at each step of a
// renewal. The one step that no client can survive is between the server's
// rotation and the end of the save.
func TestARenewalThatIsKilledAtAnyStepLosesNoGrant(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
	var lost []int
	killed := 0
	for step := 1; ; step++ {
		c := newChild(t, p.Issuer(), p.PublicApplication().ID, "", p.CAPEM(), atBox(p))
		owner, store := c.owner(t)
		if err := expire(t.Context(), store, owner.grant.Load().Key); err != nil {
			t.Fatal(err)
		}
		c.Task, c.KillAt = "step", step
		if err := c.start(t).Wait(); err == nil {
			break // it has fewer steps
		}
		killed++
		restored, _ := c.owner(t)
		switch _, err := restored.Token(t.Context()); {
		case errors.Is(err, fds.ErrSignInRequired):
			lost = append(lost, step)
		case err != nil:
			t.Errorf("killed at step %d: %v", step, err)
		}
	}
	if killed < 8 {
		t.Errorf("only %d steps", killed)
	}
	if len(lost) != 1 {
		t.Errorf("killed at steps %v the grant was lost; only the one before the save may do that", lost)
	}
}
