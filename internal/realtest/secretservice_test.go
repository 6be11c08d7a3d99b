package realtest_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"github.com/fds-sdk/fds-go/internal/realtest"
)

func TestTheSecretServiceKeepsASecretWhileItIsUnlocked(t *testing.T) {
	secrets := realtest.SecretService(t)
	if _, err := keyring.Get("realtest", "user"); !errors.Is(err, keyring.ErrNotFound) {
		t.Fatalf("a new Secret Service answers %v, want ErrNotFound", err)
	}
	if err := keyring.Set("realtest", "user", "a secret"); err != nil {
		t.Fatal(err)
	}
	wantSecret(t)

	secrets.Lock()
	if _, err := keyring.Get("realtest", "user"); err == nil {
		t.Fatal("a locked collection gave its secret away")
	}
	if err := keyring.Set("realtest", "user", "another"); err == nil {
		t.Fatal("a locked collection took a secret")
	}
	secrets.Unlock()
	wantSecret(t)
}

func TestAKilledSecretServiceStaysDeadUntilItIsStarted(t *testing.T) {
	secrets := realtest.SecretService(t)
	if err := keyring.Set("realtest", "user", "a secret"); err != nil {
		t.Fatal(err)
	}
	secrets.Kill()
	if _, err := keyring.Get("realtest", "user"); err == nil {
		t.Fatal("a dead Secret Service answered")
	}
	secrets.Start()
	wantSecret(t)
}

func TestAChildProcessReachesTheSecretService(t *testing.T) {
	secrets := realtest.SecretService(t)
	command := exec.Command("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets",
		"org.freedesktop.DBus.Properties.Get", "string:org.freedesktop.Secret.Service", "string:Collections")
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, secrets.Env()...)
	answer, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(answer), "/org/freedesktop/secrets/collection/login") {
		t.Fatalf("dbus-send: %v\n%s", err, answer)
	}
}

func wantSecret(t *testing.T) {
	t.Helper()
	if secret, err := keyring.Get("realtest", "user"); err != nil || secret != "a secret" {
		t.Fatalf("the keyring gave %q, %v", secret, err)
	}
}
