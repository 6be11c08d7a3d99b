package fdsclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

func TestAFileThatComesIsFoundAtTheNextQuestionWhateverItsName(t *testing.T) {
	p := start(t, fdstest.Options{})
	issued, key := issuedFor(t, p, 0)
	id := key.SubscriptionID.String()
	archive, err := pkcs12.Modern.Encode(issued.TLS.PrivateKey, issued.TLS.Leaf, nil, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	for _, crowd := range []int{0, 1500} { // names of others
		folder := t.TempDir()
		for range crowd {
			write(t, filepath.Join(folder, fds.NewSubscriptionID().String()+".pem"), nil)
		}
		for file, data := range map[string][]byte{
			id + ".pem":                  slices.Concat(issued.ChainPEM, issued.KeyPEM),
			strings.ToUpper(id) + ".PEM": slices.Concat(issued.KeyPEM, issued.ChainPEM),
			id + ".p12":                  archive,
			id + ".pfx":                  archive,
			id + ".PFX":                  archive,
		} {
			source := openCertificates(t, folder, "open sesame")
			if _, err := source.Certificate(t.Context(), key); !errors.Is(err, fds.ErrNoCertificate) || !errors.Is(err, fds.ErrCertificate) {
				t.Errorf("without: %v", err)
			}
			path := filepath.Join(folder, file)
			write(t, path, data)
			ask := func() error {
				got, err := source.Certificate(t.Context(), key)
				if err == nil && string(got.Certificate[0]) != string(issued.TLS.Certificate[0]) {
					err = errors.New("another certificate")
				}
				return err
			}
			if crowd == 0 {
				if err := ask(); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			} else { // it may take until the folder is read again
				eventually(t, file, func() bool { return ask() == nil })
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAFileWithPrecedenceIsTakenOnceItIsThere(t *testing.T) {
	p := start(t, fdstest.Options{})
	folder := t.TempDir()
	source := openCertificates(t, folder, "")
	for _, ending := range []string{".PFX", ".pfx", ".P12", ".p12", ".PEM", ".pem"} { // the later has it
		issued, key := issuedFor(t, p, 0)
		write(t, filepath.Join(folder, key.SubscriptionID.String()+ending), issued.ChainPEM, issued.KeyPEM)
		got, err := source.Certificate(t.Context(), key)
		if err != nil || string(got.Certificate[0]) != string(issued.TLS.Certificate[0]) {
			t.Errorf("%s: %v, or the certificate of another file", ending, err)
		}
	}
}

func TestAFileThatChangesWithinAStepOfItsDatesIsReadAnew(t *testing.T) {
	p := start(t, fdstest.Options{})
	_, key := issuedFor(t, p, 0)
	path := filepath.Join(t.TempDir(), key.SubscriptionID.String()+".pem")
	source := openCertificates(t, filepath.Dir(path), "")
	size, stamp := 8<<10, time.Now()
	for range 3 {
		issued, _ := issuedFor(t, p, 0)
		data := slices.Concat(issued.ChainPEM, issued.KeyPEM)
		write(t, path, data, []byte(strings.Repeat("\n", size-len(data))))
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
		got, err := source.Certificate(t.Context(), key)
		if err != nil || string(got.Certificate[0]) != string(issued.TLS.Certificate[0]) {
			t.Errorf("%v, or the certificate of before", err)
		}
	}
}

// One that cannot be used is asked for every few seconds: it is not tried again each time.
func TestAttackAFileThatIsLongInDecryptionIsTriedOnce(t *testing.T) {
	p := start(t, fdstest.Options{})
	issued, key := issuedFor(t, p, 0)
	path := filepath.Join(t.TempDir(), key.SubscriptionID.String()+".p12")
	archive, err := pkcs12.Modern2023.WithIterations(1_000_000).Encode(issued.TLS.PrivateKey, issued.TLS.Leaf, nil, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, archive)
	source := openCertificates(t, filepath.Dir(path), "wrong")
	took := func() time.Duration {
		t.Helper()
		began := time.Now()
		if _, err := source.Certificate(t.Context(), key); err == nil || !strings.Contains(err.Error(), "password") || !errors.Is(err, fds.ErrCertificate) {
			t.Fatalf("%v", err)
		}
		return time.Since(began)
	}
	first := took()
	for n := range 10 {
		stamp := time.Now().Add(time.Duration(n) * time.Minute)
		if err := os.Chtimes(path, stamp, stamp); err != nil { // as a program does that copies it again and again
			t.Fatal(err)
		}
		if again := took(); again > first/2 {
			t.Errorf("the first look took %v, a later one %v", first, again)
		}
	}
}

func TestAFaultOfAChangedFileIsToldOnce(t *testing.T) {
	p := start(t, fdstest.Options{})
	issued, key := issuedFor(t, p, 0)
	path := filepath.Join(t.TempDir(), key.SubscriptionID.String()+".pem")
	source := openCertificates(t, filepath.Dir(path), "")
	var told []string
	ctx := fdsclient.Warned(t.Context(), func(err error) { told = append(told, err.Error()) })
	well := slices.Concat(issued.ChainPEM, issued.KeyPEM)
	for _, content := range [][]byte{well, []byte("half a fi"), well, []byte("half a fi"), issued.ChainPEM} {
		write(t, path, content)
		for range 5 {
			if _, err := source.Certificate(ctx, key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(told) != 3 {
		t.Errorf("told %d times: %q", len(told), told)
	}
}

func TestOnlyWhatAPersonMustMendIsFinalOfAFolder(t *testing.T) {
	p := start(t, fdstest.Options{})
	issued, key := issuedFor(t, p, 0)
	for name, c := range map[string]struct {
		make  func(path string)
		final bool
	}{
		"none":                 {func(string) {}, true},
		"half a file":          {func(path string) { write(t, path, issued.ChainPEM[:100]) }, true},
		"no key":               {func(path string) { write(t, path, issued.ChainPEM) }, true},
		"far too large":        {func(path string) { write(t, path, make([]byte, 2<<20)) }, true},
		"a folder of its name": {func(path string) { _ = os.Mkdir(path, 0o700) }, true},
		"a folder that is gone": {func(path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		folder := filepath.Join(t.TempDir(), "owners")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		source := openCertificates(t, folder, "")
		c.make(filepath.Join(folder, key.SubscriptionID.String()+".pem"))
		if _, err := source.Certificate(t.Context(), key); err == nil || errors.Is(err, fds.ErrCertificate) != c.final {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// inFolder is an application of a provider whose broker is Mosquitto, and a folder for
// its owners' certificates.
type inFolder struct {
	p      *fdstest.Provider
	broker *realtest.Broker
	cfg    fdsclient.Config
	client *fdsclient.Client
	owner  *fdsclient.Owner
	folder string
	states stateHook
}

func newInFolder(t *testing.T) *inFolder {
	t.Helper()
	p := start(t, fdstest.Options{})
	m := &inFolder{p: p, broker: realtest.Mosquitto(t, realtest.MosquittoOptions{}), folder: t.TempDir(), states: make(stateHook, 1000)}
	m.cfg = configure(t, p)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.CAPEM()) || !roots.AppendCertsFromPEM(m.broker.CA.PEM()) {
		t.Fatal("no roots")
	}
	m.cfg.Provider.BrokerURL, m.cfg.Provider.Roots = m.broker.URL, realtest.Trusting(roots)
	m.cfg.Certificates, m.cfg.Hooks = openCertificates(t, m.folder, "").Certificate, []any{m.states}
	m.cfg.Push.CertificateCheck = 200 * time.Millisecond
	return m
}

func (m *inFolder) run(t *testing.T) {
	t.Helper()
	m.client = open(t, m.cfg)
	m.owner = signIn(t, m.client, m.p)[0]
	runClient(t, m.client, new(inbox).handle)
}

// put writes the owner's certificate, as an administrator does, with a file of another
// name in between.
func (m *inFolder) put(t *testing.T, options realtest.CertificateOptions) {
	t.Helper()
	issued := m.broker.IssueCertificate(m.owner.Root().ClientID(), options)
	name := filepath.Join(m.folder, m.owner.Key().SubscriptionID.String())
	write(t, name+".new", issued.Bundle())
	if err := os.Rename(name+".new", name+".pem"); err != nil {
		t.Fatal(err)
	}
}

func (m *inFolder) until(t *testing.T, phase push.Phase) push.State {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case s := <-m.states:
			if s.Phase == phase {
				return s
			}
		case <-late:
			t.Fatalf("not %s within 20 s: %+v", phase, m.owner.Connection())
		}
	}
}

func TestACertificateThatArrivesAfterTheSignInConnectsTheOwner(t *testing.T) {
	m := newInFolder(t)
	m.run(t)
	if s := m.until(t, push.NeedsCertificate); !errors.Is(s.Err, fds.ErrNoCertificate) || time.Until(s.RetryAt) < time.Minute {
		t.Errorf("%+v", s)
	}
	m.put(t, realtest.CertificateOptions{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	if s := m.until(t, push.NeedsCertificate); !strings.Contains(s.Err.Error(), "it expired on") {
		t.Error(s.Err)
	}
	m.put(t, realtest.CertificateOptions{})
	m.until(t, push.Connected)
	m.put(t, realtest.CertificateOptions{}) // renewed
	if s := m.until(t, push.Connected); s.Connects != 2 {
		t.Errorf("%+v", s)
	}
}

func TestASourceThatFailsOnceDelaysTheOwnerByASecond(t *testing.T) {
	m := newInFolder(t)
	folder, failed := m.cfg.Certificates, atomic.Bool{}
	m.cfg.Push.CertificateCheck = time.Hour
	m.cfg.Certificates = certificateFunc(func(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
		if failed.CompareAndSwap(false, true) {
			return nil, fmt.Errorf("vault: %w", context.DeadlineExceeded)
		}
		return folder(ctx, owner)
	})
	m.client = open(t, m.cfg)
	m.owner = signIn(t, m.client, m.p)[0]
	m.put(t, realtest.CertificateOptions{})
	runClient(t, m.client, new(inbox).handle)
	s := m.until(t, push.BackingOff)
	if wait := time.Until(s.RetryAt); wait > 2*time.Second || !errors.Is(s.Err, context.DeadlineExceeded) {
		t.Errorf("tried again in %v: %v", wait, s.Err)
	}
	m.until(t, push.Connected)
}

func TestAnOwnerIsWoken(t *testing.T) {
	m := newInFolder(t)
	m.cfg.Push.CertificateCheck = 24 * time.Hour
	m.run(t)
	m.owner.Wake() // for nothing
	m.until(t, push.NeedsCertificate)
	for n := range uint64(3) {
		m.put(t, realtest.CertificateOptions{})
		m.owner.Wake()
		if s := m.until(t, push.Connected); s.Connects != n+1 {
			t.Errorf("connection %d: %+v", n+1, s)
		}
	}
}

// The looks of many owners who wait for certificates, or have them, are cheap.
func BenchmarkALookForACertificate(b *testing.B) {
	folder := b.TempDir()
	ca := realtest.NewCA(b)
	var present, absent []fds.OwnerKey
	bundle := ca.IssueCertificate("owner", realtest.CertificateOptions{}).Bundle()
	for range 10_000 {
		key := fds.OwnerKey{SubscriptionID: fds.NewSubscriptionID()}
		if err := os.WriteFile(filepath.Join(folder, key.SubscriptionID.String()+".pem"), bundle, 0o600); err != nil {
			b.Fatal(err)
		}
		present, absent = append(present, key), append(absent, fds.OwnerKey{SubscriptionID: fds.NewSubscriptionID()})
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(folder, old, old); err != nil {
		b.Fatal(err)
	}
	for name, keys := range map[string][]fds.OwnerKey{"that is there": present, "that is not": absent} {
		b.Run(name, func(b *testing.B) {
			source, err := fdsclient.OpenCertificateFolder(folder, fds.Secret{})
			if err != nil {
				b.Fatal(err)
			}
			if keys[0] == present[0] {
				for _, key := range keys {
					path := filepath.Join(folder, key.SubscriptionID.String()+".pem")
					if err := os.Chtimes(path, old, old); err != nil {
						b.Fatal(err)
					}
					if _, err := source.Certificate(b.Context(), key); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				_, _ = source.Certificate(b.Context(), keys[n%len(keys)])
				n++
			}
		})
	}
}
