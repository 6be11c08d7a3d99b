package fdsclient_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

func write(t *testing.T, path string, data ...[]byte) {
	t.Helper()
	var all []byte
	for _, d := range data {
		all = append(all, d...)
	}
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestACertificateIsReadFromPEMAndPKCS12(t *testing.T) {
	p := start(t, fdstest.Options{})
	owner := p.Owners()[0]
	key := fds.OwnerKey{Issuer: p.Issuer(), SubscriptionID: owner.SubscriptionID}
	issued, err := p.OwnerCertificate(owner)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := pkcs12.Modern.Encode(issued.TLS.PrivateKey, issued.TLS.Leaf, nil, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	id := owner.SubscriptionID.String()
	for name, c := range map[string]struct {
		file string
		data []byte
	}{
		"PEM":                {id + ".pem", append(issued.ChainPEM, issued.KeyPEM...)},
		"PEM, key first":     {id + ".pem", append(append([]byte(nil), issued.KeyPEM...), issued.ChainPEM...)},
		"upper case":         {strings.ToUpper(id) + ".pem", append(issued.ChainPEM, issued.KeyPEM...)},
		"PKCS#12":            {id + ".p12", archive},
		"PKCS#12 upper case": {strings.ToUpper(id) + ".P12", archive},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, filepath.Join(folder, c.file), c.data)
			source, err := fdsclient.OpenCertificateFolder(folder, fds.NewSecret("open sesame"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := source.Certificate(t.Context(), key)
			if err != nil || string(got.Certificate[0]) != string(issued.TLS.Certificate[0]) {
				t.Errorf("%v, or another certificate", err)
			}
		})
	}
}

func TestWhatIsWrongWithACertificateFileIsSaid(t *testing.T) {
	p := start(t, fdstest.Options{})
	owner, other := p.Owners()[0], p.Owners()[1]
	key := fds.OwnerKey{Issuer: p.Issuer(), SubscriptionID: owner.SubscriptionID}
	mine, err := p.OwnerCertificate(owner)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := p.OwnerCertificate(other)
	if err != nil {
		t.Fatal(err)
	}
	id := owner.SubscriptionID.String()
	for name, c := range map[string]struct {
		file string
		data []byte
		says string
	}{
		"missing":            {"", nil, "holds neither"},
		"no key":             {id + ".pem", mine.ChainPEM, "no private key"},
		"no certificate":     {id + ".pem", mine.KeyPEM, "no certificate"},
		"someone else's key": {id + ".pem", append(append([]byte(nil), mine.ChainPEM...), theirs.KeyPEM...), "do not belong together"},
		"rubbish":            {id + ".pem", []byte("hello"), "no certificate"},
		"encrypted key":      {id + ".pem", append(append([]byte(nil), mine.ChainPEM...), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"...), "encrypted"},
		"not PKCS#12":        {id + ".p12", []byte("hello"), "not a PKCS#12"},
		"far too large":      {id + ".pem", make([]byte, 2<<20), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if c.file != "" {
				write(t, filepath.Join(folder, c.file), c.data)
			}
			source, err := fdsclient.OpenCertificateFolder(folder, fds.Secret{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = source.Certificate(t.Context(), key)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
			if c.file == "" && !errors.Is(err, fds.ErrNoCertificate) {
				t.Errorf("class of %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Errorf("the error shows the file: %v", err)
			}
		})
	}
	if _, err := fdsclient.OpenCertificateFolder(filepath.Join(t.TempDir(), "missing"), fds.Secret{}); !errors.Is(err, fds.ErrConfig) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestAChangedCertificateIsTakenAndABadOneIsNot(t *testing.T) {
	p := start(t, fdstest.Options{})
	owner := p.Owners()[0]
	key := fds.OwnerKey{Issuer: p.Issuer(), SubscriptionID: owner.SubscriptionID}
	folder := t.TempDir()
	file := filepath.Join(folder, owner.SubscriptionID.String()+".pem")
	stamp := time.Now().Add(-time.Hour)
	renew := func(data ...[]byte) {
		write(t, file, data...)
		stamp = stamp.Add(time.Minute) // file systems may tell times in seconds
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	source, err := fdsclient.OpenCertificateFolder(folder, fds.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	var ctx context.Context
	ctx = fdsclient.Warned(t.Context(), func(err error) {
		told = append(told, err)
		// Until when the old one serves is what its reader asks next.
		if c, err := source.Certificate(ctx, key); err != nil || c == nil {
			t.Errorf("asked for while it is told: %v, %v", c, err)
		}
	})
	read := func() string {
		t.Helper()
		c, err := source.Certificate(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Certificate[0])
	}

	first, err := p.OwnerCertificate(owner)
	if err != nil {
		t.Fatal(err)
	}
	renew(first.ChainPEM, first.KeyPEM)
	if read() != string(first.TLS.Certificate[0]) {
		t.Error("not the certificate of the file")
	}
	second, err := p.OwnerCertificate(owner)
	if err != nil {
		t.Fatal(err)
	}
	renew(second.ChainPEM, second.KeyPEM)
	if read() != string(second.TLS.Certificate[0]) {
		t.Error("the new certificate was not taken")
	}
	renew([]byte("half a fi"))
	if read() != string(second.TLS.Certificate[0]) || len(told) != 1 {
		t.Errorf("a bad file: the old certificate must serve on, and be told: %v", told)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if read() != string(second.TLS.Certificate[0]) || len(told) != 2 {
		t.Errorf("a removed file: %v", told)
	}
}

func TestAFileWithoutACertificateGivesNoRoots(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(name, []byte("-----BEGIN NOTHING-----\n-----END NOTHING-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pool, err := fdsclient.RootsFile(name)(t.Context()); err == nil || pool != nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("roots %v, error %v", pool, err)
	}
}

func TestRootsAreReadFromWhatEditorsMakeOfThem(t *testing.T) {
	p := start(t, fdstest.Options{})
	path := filepath.Join(t.TempDir(), "ca.pem")
	other := realtest.NewCA(t).PEM()
	write(t, path, []byte("\ufeff"), p.CAPEM(), other)
	cfg := configure(t, p)
	cfg.Provider.Roots = fdsclient.RootsFile(path)
	signIn(t, open(t, cfg), p)

	write(t, path, other, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), p.CAPEM())
	if _, err := fdsclient.RootsFile(path)(t.Context()); err == nil || !strings.Contains(err.Error(), "PEM block 2") || !strings.Contains(err.Error(), path) {
		t.Errorf("a malformed one: %v", err)
	}
	if pool, err := cfg.Provider.Roots(t.Context()); err != nil || pool == nil {
		t.Errorf("those read before are no longer given: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := fdsclient.RootsFile(path)(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
