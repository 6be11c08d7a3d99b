package fdsclient_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func TestAttackNamesInTheAuthorizationServersCertificateForgeNoLogLine(t *testing.T) {
	port, roots := realtest.HostileServer(t)
	var log strings.Builder
	issuer := "https://localhost:" + port
	cfg := configure(t, start(t, fdstest.Options{}))
	cfg.Provider = fdsclient.Provider{Issuer: issuer, Roots: realtest.Trusting(roots), APIURL: issuer}
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := open(t, cfg)
	_, err := client.SignIn(t.Context(), fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(context.Context, string) error { return nil }})
	realtest.CheckHostileNames(t, err)
	for line := range strings.Lines(log.String()) {
		realtest.CheckShown(t, strings.TrimSuffix(line, "\n"))
	}
}

func TestAttackNamesInTheProvidersCertificateForgeNoLogLineOfTheCallersOwnRequests(t *testing.T) {
	p := start(t, fdstest.Options{})
	port, _ := realtest.HostileServer(t)
	cfg := configure(t, p)
	cfg.Provider.APIURL = "https://localhost:" + port
	client := open(t, cfg)
	owner := signIn(t, client, p)[0]
	_, err := (&http.Client{Transport: owner.RoundTripper()}).Get(cfg.Provider.APIURL + "/fds/v2/own")
	if err == nil || !strings.Contains(err.Error(), "x509") {
		t.Fatal(err)
	}
	realtest.CheckShown(t, err.Error())
}

// issuedFor returns the certificate of an owner of p, and the owner's key.
func issuedFor(t *testing.T, p *fdstest.Provider, n int) (fdstest.Certificate, fds.OwnerKey) {
	t.Helper()
	owner := p.Owners()[n]
	issued, err := p.OwnerCertificate(owner)
	if err != nil {
		t.Fatal(err)
	}
	return issued, fds.OwnerKey{Issuer: p.Issuer(), SubscriptionID: owner.SubscriptionID}
}

func openCertificates(t *testing.T, folder, password string) *fdsclient.CertificateFolder {
	t.Helper()
	source, err := fdsclient.OpenCertificateFolder(folder, fds.NewSecret(password))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestAttackACertificateThatIsLongInDecryptionHoldsUpNoOther(t *testing.T) {
	p := start(t, fdstest.Options{})
	slow, slowKey := issuedFor(t, p, 0)
	other, otherKey := issuedFor(t, p, 1)
	folder := t.TempDir()
	archive, err := pkcs12.Modern2023.WithIterations(500_000).Encode(slow.TLS.PrivateKey, slow.TLS.Leaf, nil, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, slowKey.SubscriptionID.String()+".p12"), archive)
	write(t, filepath.Join(folder, otherKey.SubscriptionID.String()+".pem"), other.ChainPEM, other.KeyPEM)
	source := openCertificates(t, folder, "open sesame")

	began := time.Now()
	var both sync.WaitGroup
	read := make(chan struct{})
	for range 2 { // who ask for the same share its work
		both.Go(func() {
			if got, err := source.Certificate(t.Context(), slowKey); err != nil || string(got.Certificate[0]) != string(slow.TLS.Certificate[0]) {
				t.Errorf("the slow one: %v", err)
			}
		})
	}
	go func() { both.Wait(); close(read) }()
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Certificate(short, slowKey); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller's own end: %v", err)
	}
	var longest time.Duration
	for {
		select {
		case <-read:
			if took := time.Since(began); longest > took/2 {
				t.Errorf("the other owner waited %v, of the %v that the slow one took", longest, took)
			}
			return
		default:
		}
		asked := time.Now()
		if _, err := source.Certificate(t.Context(), otherKey); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(asked))
	}
}

func TestAttackACertificateSourceThatPanicsEndsNothing(t *testing.T) {
	p := start(t, fdstest.Options{})
	issued, _ := issuedFor(t, p, 0)
	panics := func(what any) certificateFunc {
		return func(context.Context, fds.OwnerKey) (*tls.Certificate, error) { panic(what) }
	}
	broken := issued.TLS
	broken.PrivateKey = panickingKey{issued.TLS.PrivateKey.(crypto.Signer)}
	for name, c := range map[string]struct {
		source certificateFunc
		roots  func(context.Context) (*x509.CertPool, error)
		says   string
	}{
		"the source":    {panics("no vault\x1b[31m"), nil, `Config.Certificates panicked: "no vault`},
		"with an error": {panics(errors.New("no vault")), nil, `Config.Certificates panicked: "no vault"`},
		"a nil folder":  {(*fdsclient.CertificateFolder)(nil).Certificate, nil, "Config.Certificates panicked"},
		"the key":       {certificateFunc(func(context.Context, fds.OwnerKey) (*tls.Certificate, error) { return &broken, nil }), nil, "private key panicked"},
		"the roots":     {certificatesOf(p), func(context.Context) (*x509.CertPool, error) { panic("no roots") }, `Provider.Roots panicked: "no roots"`},
	} {
		t.Run(name, func(t *testing.T) {
			store := configure(t, p)
			owner := signIn(t, open(t, store), p)[0].Key()
			cfg := configure(t, p)
			cfg.Store, cfg.Certificates = store.Store, c.source
			if c.roots != nil {
				cfg.Provider.Roots = c.roots
			}
			states := make(stateHook, 100)
			cfg.Hooks = []any{states}
			client := open(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- client.Run(ctx, func(context.Context, delivery.Message) error { return nil }) }()
			for s := range states {
				if s.Err != nil {
					if !strings.Contains(s.Err.Error(), c.says) || strings.Contains(s.Err.Error(), "\x1b") {
						t.Errorf("%v, want %q in it", s.Err, c.says)
					}
					break
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, err := client.CertificateExpiry(t.Context(), owner); strings.Contains(c.says, "Config.Certificates") && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("its expiry: %v", err)
			}
		})
	}
}

type stateHook chan push.State

func (h stateHook) OnConnection(_ fds.OwnerKey, s push.State) { h <- s }

type panickingKey struct{ crypto.Signer }

func (panickingKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { panic("no device") }

func TestAttackTheApplicationsSourcesThatPanicEndNothing(t *testing.T) {
	p := start(t, fdstest.Options{})
	for says, change := range map[string]func(*fdsclient.Config){
		`Application.Certificate: fdsclient: Application.Certificate panicked: "no device"`: func(c *fdsclient.Config) {
			c.Application.Certificate = func(context.Context) (*tls.Certificate, error) { panic("no device") }
		},
		`Provider.Roots panicked: "no roots"`: func(c *fdsclient.Config) {
			c.Provider.Roots = func(context.Context) (*x509.CertPool, error) { panic("no roots") }
		},
		`Provider.Dial panicked: "no tunnel"`: func(c *fdsclient.Config) {
			c.Provider.Dial = func(context.Context, string, string) (net.Conn, error) { panic("no tunnel") }
		},
	} {
		cfg := configure(t, p)
		change(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := open(t, cfg).SignIn(ctx, approve(p))
		cancel()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q in it", err, says)
		}
	}
}
