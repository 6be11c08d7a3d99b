//go:build !windows

package fdsclient_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestAttackAPipeNamedLikeACertificateHoldsNoOneUp(t *testing.T) {
	p := start(t, fdstest.Options{})
	issued, key := issuedFor(t, p, 0)
	other, otherKey := issuedFor(t, p, 1)
	folder := t.TempDir()
	named := filepath.Join(folder, key.SubscriptionID.String())
	if err := syscall.Mkfifo(named+".pem", 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, otherKey.SubscriptionID.String()+".pem"), other.ChainPEM, other.KeyPEM)
	source := openCertificates(t, folder, "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := source.Certificate(ctx, key); err == nil || !strings.Contains(err.Error(), "a pipe") {
		t.Errorf("the pipe: %v", err)
	}
	if _, err := source.Certificate(ctx, otherKey); err != nil {
		t.Errorf("the other owner: %v", err)
	}
	for _, file := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := fdsclient.CertificateFiles(named+".pem", named+".pem")(ctx)
			return err
		},
		func(ctx context.Context) error { _, err := fdsclient.RootsFile(named + ".pem")(ctx); return err },
	} {
		if err := file(ctx); err == nil || !strings.Contains(err.Error(), "a pipe") {
			t.Errorf("the application's: %v", err)
		}
	}
	write(t, filepath.Join(folder, strings.ToUpper(key.SubscriptionID.String())+".PEM"), issued.ChainPEM, issued.KeyPEM)
	if _, err := source.Certificate(ctx, key); err != nil {
		t.Errorf("a file beside the pipe: %v", err)
	}
}

func TestAttackAKeyThatOthersMayReadIsUsedAndWarnedAboutOnce(t *testing.T) {
	p := start(t, fdstest.Options{})
	issued, key := issuedFor(t, p, 0)
	folder := t.TempDir()
	path := filepath.Join(folder, key.SubscriptionID.String()+".pem")
	write(t, path, issued.ChainPEM, issued.KeyPEM)
	told := func(mode os.FileMode) (told []string) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		source := openCertificates(t, folder, "")
		ctx := fdsclient.Warned(t.Context(), func(err error) { told = append(told, err.Error()) })
		for range 3 {
			if c, err := source.Certificate(ctx, key); err != nil || c == nil {
				t.Fatalf("not used: %v", err)
			}
		}
		return told
	}
	if warnings := told(0o600); len(warnings) != 0 {
		t.Errorf("a file of one's own: %q", warnings)
	}
	for _, mode := range []os.FileMode{0o644, 0o640} {
		if warnings := told(mode); len(warnings) != 1 || !strings.Contains(warnings[0], "chmod 600 "+path) {
			t.Errorf("%o: %q", mode, warnings)
		}
	}
}

type certificateHook chan error

func (h certificateHook) OnCertificate(_ fds.OwnerKey, err error) { h <- err }

func TestAttackAnApplicationsKeyThatOthersMayReadIsUsedAndWarnedAboutOnce(t *testing.T) {
	p := start(t, fdstest.Options{})
	app := realtest.NewCA(t).IssueCertificate("app", realtest.CertificateOptions{})
	path := filepath.Join(t.TempDir(), "app.pem")
	write(t, path, app.Bundle())
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := configure(t, p)
	cfg.Application.Certificate = fdsclient.CertificateFiles(path, path)
	if _, err := cfg.Application.Certificate(t.Context()); err != nil { // as a program does that checks its settings
		t.Fatal(err)
	}
	hook := make(certificateHook, 10)
	cfg.Hooks = []any{hook}
	client := open(t, cfg)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		asked := false
		if _, err := client.SignIn(ctx, fdsclient.SignInOptions{ShowURL: func(string) {}, OpenBrowser: func(context.Context, string) error {
			asked = true
			cancel()
			return nil
		}}); err == nil || !asked {
			t.Fatalf("the certificate is not used: %v", err)
		}
	}
	if len(hook) != 1 {
		t.Fatalf("%d warnings", len(hook))
	}
	if err := <-hook; !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("%v", err)
	}
}
