package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// The tests here talk to a real Secret Service, gnome-keyring on a private bus, or
// have a process of their own without one.

func realStore(t *testing.T) *Keyring {
	t.Helper()
	k, err := OpenKeyring(KeyringConfig{Service: "tokenstore test " + t.Name(), LockFolder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestARealKeyringKeepsLargeGrantsInParts(t *testing.T) {
	realtest.SecretService(t)
	k := realStore(t)
	small, large := crashGrant(1, "x", 100), crashGrant(2, "y", 64<<10)
	large.AccessToken = fds.NewSecret(strings.Repeat("z", 64<<10))
	began := time.Now()
	saveAll(t, k, small, large)
	t.Logf("two first saves, 200 bytes and 128 KiB: %v", time.Since(began))
	wantLoad(t, k, small)
	wantLoad(t, k, large)
	part := partName(recordName(large.Key), generationA, 2)
	if text, err := keyring.Get(k.items.service, part); err != nil || len(text) == 0 || len(text) > systemChunk {
		t.Errorf("part %s has %d bytes, %v: the grant is not in parts", part, len(text), err)
	}
	began = time.Now()
	const renewals = 20
	for range renewals {
		saveAll(t, k, small)
	}
	t.Logf("a renewal: %v", time.Since(began)/renewals)
	for _, g := range []Grant{small, large} {
		if err := k.Delete(t.Context(), g.Key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{indexName, recordName(small.Key), recordName(large.Key), part, partName(recordName(large.Key), generationA, 0), "probe"} {
		if _, err := keyring.Get(k.items.service, name); !errors.Is(err, keyring.ErrNotFound) {
			t.Errorf("after all was deleted %s gives %v", name, err)
		}
	}
}

func TestALockedKeyringSaysSoAndLosesNothing(t *testing.T) {
	service := realtest.SecretService(t)
	k, g := realStore(t), crashGrant(1, "x", 100)
	saveAll(t, k, g)
	service.Lock()
	wantAllUnavailable(t, k, g, "the keyring is locked: unlock it")
	service.Unlock()
	wantLoad(t, k, g)
}

func TestWorkThatNobodyWaitsForAsksForNoUnlocking(t *testing.T) {
	service := realtest.SecretService(t)
	k, g := realStore(t), crashGrant(1, "x", 100)
	saveAll(t, k, g)
	g, err := loaded(t.Context(), k, g)
	if err != nil {
		t.Fatal(err)
	}
	background := Unattended(t.Context())
	g.Renewal.By = "here/1"
	if g.Revision, err = k.Reserve(background, g); err != nil {
		t.Fatalf("with an unlocked keyring: %v", err)
	}
	if err := k.Probe(background); err != nil {
		t.Fatalf("with an unlocked keyring: %v", err)
	}

	service.Lock()
	unlocks := service.Unlocks()
	var listErr error
	for _, listErr = range k.List(background) {
	}
	_, loadErr := k.Load(background, g.Key)
	_, reserveErr := k.Reserve(background, g)
	_, saveErr := k.Save(background, g)
	for op, err := range map[string]error{"Probe": k.Probe(background), "List": listErr, "Load": loadErr, "Reserve": reserveErr,
		"Save": saveErr, "Delete": k.Delete(background, g.Key)} {
		if !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "the keyring is locked: unlock it") {
			t.Errorf("%s gives %v", op, err)
		}
	}
	if n := unlocks(); n != 0 {
		t.Errorf("the keyring was asked %d times to unlock something", n)
	}
	if _, err := k.Load(t.Context(), g.Key); !errors.Is(err, fds.ErrStoreUnavailable) || unlocks() == 0 {
		t.Errorf("where someone waits it is not asked for: %v", err)
	}
	service.Unlock()
	wantLoad(t, k, g)
}

func TestASecretServiceWithoutAKeyringSaysHowToMakeOne(t *testing.T) {
	service := realtest.SecretService(t)
	service.Kill()
	service.StartFresh()
	k, g := realStore(t), crashGrant(1, "x", 100)
	for _, ctx := range []context.Context{t.Context(), Unattended(t.Context())} {
		for op, err := range map[string]error{"Probe": k.Probe(ctx), "Load": func() error { _, err := k.Load(ctx, g.Key); return err }(),
			"Save": func() error { _, err := k.Save(ctx, g); return err }()} {
			if !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "has no keyring yet") || !strings.Contains(err.Error(), "make one") ||
				strings.Contains(err.Error(), "locked") {
				t.Errorf("%s gives %v", op, err)
			}
		}
	}
	config := FolderConfig{Path: t.TempDir(), KeyringService: "tokenstore test"}
	if _, err := OpenFolder(t.Context(), config); !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "has no keyring yet") {
		t.Errorf("OpenFolder gives %v", err)
	}
}

func TestADeadKeyringSaysSoAndLosesNothing(t *testing.T) {
	service := realtest.SecretService(t)
	k, g := realStore(t), crashGrant(1, "x", 100)
	saveAll(t, k, g)
	service.Kill()
	wantAllUnavailable(t, k, g, "no Secret Service runs on the D-Bus session bus")
	service.Start()
	wantLoad(t, k, g)
}

func wantAllUnavailable(t *testing.T, k *Keyring, g Grant, says string) {
	t.Helper()
	_, loadErr := k.Load(t.Context(), g.Key)
	var listErr error
	for _, listErr = range k.List(t.Context()) {
	}
	for op, err := range map[string]error{"Probe": k.Probe(t.Context()), "Load": loadErr, "List": listErr,
		"Save": saveError(t, k, crashGrant(1, "other", 0)), "Delete": k.Delete(t.Context(), g.Key)} {
		if !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "tokens: store: file") {
			t.Errorf("%s gives %v, want it to say %q", op, err, says)
		}
	}
}

func TestAFoldersKeyIsKeptInARealKeyring(t *testing.T) {
	service := realtest.SecretService(t)
	config := FolderConfig{Path: t.TempDir(), KeyringService: "tokenstore test"}
	g := crashGrant(1, "x", 100)
	saveAll(t, openFolder(t, config), g)
	f := openFolder(t, config)
	service.Lock()
	wantLoad(t, f, g) // the keyring is asked at opening only
	if _, err := OpenFolder(t.Context(), config); !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "unlock") {
		t.Errorf("OpenFolder with a locked keyring gives %v", err)
	}
	service.Unlock()
	wantLoad(t, openFolder(t, config), g)
}

func TestAKilledWriterLeavesAWholeGrantInARealKeyring(t *testing.T) {
	service := realtest.SecretService(t)
	k := realStore(t)
	first := crashGrant(1, "first", 0)
	saveAll(t, k, first)
	for round := range 6 {
		before, err := k.Load(t.Context(), first.Key)
		if err != nil {
			t.Fatal(err)
		}
		writer := exec.Command(os.Args[0])
		writer.Env = append(append(os.Environ(), service.Env()...), childTask+"=save", childFolder+"="+k.locks.folder, childStore+"="+k.items.service)
		writer.Stderr = os.Stderr
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; {
			now, err := k.Load(t.Context(), first.Key)
			if err == nil {
				err = wholeVersion(now)
			}
			if err != nil {
				t.Errorf("Load beside a writer: %v", err)
				break
			}
			if !now.Equal(before) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the writer changes nothing")
			}
		}
		time.Sleep(time.Duration(round*7) * time.Millisecond) // to end it at various points; nothing waits for this
		if err := writer.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = writer.Wait() // killed: the error says so
		now, err := k.Load(t.Context(), first.Key)
		if err == nil {
			err = wholeVersion(now)
		}
		if err != nil {
			t.Fatalf("after the writer was killed: %v", err)
		}
		if ids, errs := list(t, k); len(ids) != 1 || len(errs) != 0 {
			t.Fatalf("after the writer was killed List gives %q, %v", ids, errs)
		}
	}
	if err := k.Delete(t.Context(), first.Key); err != nil {
		t.Fatal(err)
	}
}

// version returns a grant whose tokens belong together, large or small.
func version(n int) Grant {
	g := crashGrant(1, fmt.Sprint("version ", n, " "), n%2*150_000)
	g.AccessToken = fds.NewSecret(g.RefreshToken.Reveal())
	return g
}

func wholeVersion(g Grant) error {
	if text := g.RefreshToken.Reveal(); text != "first" && (!g.AccessToken.Equal(g.RefreshToken) || !strings.HasPrefix(text, "version ")) {
		return fmt.Errorf("a grant of %d and %d bytes that was never saved", len(text), len(g.AccessToken.Reveal()))
	}
	return nil
}

// realTasks is what this test's other processes do.
var realTasks = map[string]func(ctx context.Context, folder string) error{
	"save": func(ctx context.Context, folder string) error {
		k, err := OpenKeyring(KeyringConfig{Service: os.Getenv(childStore), LockFolder: folder})
		if err != nil {
			return err
		}
		for n := 1; ; n++ {
			if _, err := replace(ctx, k, version(n)); err != nil {
				return err
			}
		}
	},
	"probe": func(ctx context.Context, folder string) error {
		k, err := OpenKeyring(KeyringConfig{Service: "tokenstore test", LockFolder: folder, Timeout: 2 * time.Second})
		if err != nil {
			return err
		}
		return k.Probe(ctx)
	},
	"go-keyring alone": func(context.Context, string) error {
		_, err := keyring.Get("tokenstore test", "x")
		return err
	},
}

// busless runs a task in a process with that bus address and a dbus-launch that
// tells when it is run.
func busless(t *testing.T, task, address string) (said string, launched bool) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("D-Bus leads to the keyring on Linux")
	}
	if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil {
		t.Skip("this machine has a session bus that every process finds")
	}
	bin := t.TempDir()
	mark := filepath.Join(bin, "launched")
	script := "#!/bin/sh\n: >" + mark + "\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "dbus-launch"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = []string{childTask + "=" + task, childFolder + "=" + t.TempDir(), "PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + bin,
		"DBUS_SESSION_BUS_ADDRESS=" + address}
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the process ends with %v and says %s", err, out)
	}
	_, err = os.Stat(mark)
	return string(out), err == nil
}

func TestWithoutABusNoDaemonIsLaunched(t *testing.T) {
	for _, address := range []string{"", "autolaunch:"} {
		if _, launched := busless(t, "go-keyring alone", address); !launched {
			t.Fatal("go-keyring does not run dbus-launch here: the test below proves nothing")
		}
		said, launched := busless(t, "probe", address)
		if launched {
			t.Error("dbus-launch was run, and leaves a daemon behind")
		}
		for _, want := range []string{"store not available", "there is no D-Bus session bus", "SSH session or a container", "tokens: store: file"} {
			if !strings.Contains(said, want) {
				t.Errorf("the error is %s; it does not say %q", said, want)
			}
		}
	}
}

func TestABusThatIsGoneSaysSo(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "bus")
	if said, _ := busless(t, "probe", "unix:path="+gone); !strings.Contains(said, "nothing answers at DBUS_SESSION_BUS_ADDRESS") {
		t.Errorf("a bus that was removed: %s", said)
	}
	listener := listen(t, gone)
	listener.SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if said, _ := busless(t, "probe", "unix:path="+gone); !strings.Contains(said, "nothing answers at DBUS_SESSION_BUS_ADDRESS") {
		t.Errorf("a bus that has died: %s", said)
	}
}

func TestABusThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	silent := filepath.Join(t.TempDir(), "bus")
	defer listen(t, silent).Close() // takes connections and says nothing
	said, _ := busless(t, "probe", "unix:path="+silent)
	for _, want := range []string{"store not available", "does not answer", "tokens: store: file"} {
		if !strings.Contains(said, want) {
			t.Errorf("the error is %s; it does not say %q", said, want)
		}
	}
}

func listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Skipf("no unix sockets here: %v", err)
	}
	return l
}
