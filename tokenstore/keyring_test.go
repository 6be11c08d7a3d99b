package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/zalando/go-keyring"
)

// hangingStore is a store whose keyring answers no call until release is called.
// The locks need no file system here: a bubble's clock does not wait for one.
func hangingStore(t *testing.T, timeout time.Duration) (k *Keyring, fake *fakeKeyring, release func()) {
	fake = newFakeKeyring()
	hang := make(chan struct{})
	fake.fail(func(string) error { <-hang; return nil })
	k, err := OpenKeyring(KeyringConfig{Service: "test", LockFolder: t.TempDir(), Timeout: timeout, gate: newCallGate(fake)})
	if err != nil {
		t.Fatal(err)
	}
	return k, fake, sync.OnceFunc(func() { fake.fail(nil); close(hang) })
}

func TestAttackAHangingKeyringHangsNoOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, fake, release := hangingStore(t, 10*time.Second)
		defer release()
		key := crashGrant(1, "", 0).Key

		began := time.Now()
		_, err := k.Load(t.Context(), key)
		if !errors.Is(err, fds.ErrStoreUnavailable) || !strings.Contains(err.Error(), "tokens: store: file") {
			t.Fatalf("Load from a hanging keyring gives %v", err)
		}
		if waited := time.Since(began); waited != 10*time.Second {
			t.Fatalf("Load gave up after %v, want 10s", waited)
		}

		// While the call hangs, nothing waits and nothing more is called.
		began = time.Now()
		for range 50 {
			_, err := k.Load(t.Context(), key)
			for _, err := range []error{err, k.Probe(t.Context()), saveError(t, k, crashGrant(1, "x", 0)), k.Delete(t.Context(), key)} {
				if !errors.Is(err, fds.ErrStoreUnavailable) {
					t.Fatalf("a call while another hangs gives %v", err)
				}
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("calls while another hangs waited %v", waited)
		}
		fake.mu.Lock()
		if len(fake.calls) != 1 {
			t.Errorf("%d calls piled up: %q", len(fake.calls), fake.calls)
		}
		fake.mu.Unlock()

		// Once it has answered, the store works again.
		release()
		synctest.Wait()
		if _, err := replace(t.Context(), k, crashGrant(1, "x", 0)); err != nil {
			t.Errorf("Save after the keyring came back: %v", err)
		}
	})
}

func TestWhoWaitsForAHangingCallLearnsItAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, release := hangingStore(t, 10*time.Second)
		defer release()
		began := time.Now()
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(n) * 400 * time.Millisecond) // in the bubble's time
				if _, err := k.Load(t.Context(), crashGrant(n, "", 0).Key); !errors.Is(err, fds.ErrStoreUnavailable) {
					t.Errorf("Load gives %v", err)
				}
			})
		}
		wg.Wait()
		if waited := time.Since(began); waited != 10*time.Second {
			t.Errorf("the last of 20 callers waited %v, want 10s in all", waited)
		}
	})
}

func TestACancelledCallDoesNotWaitForTheKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, release := hangingStore(t, time.Hour)
		defer release()
		for _, name := range []string{"first caller", "a caller in line"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			_, err := k.Load(ctx, crashGrant(1, "", 0).Key)
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fds.ErrStoreUnavailable) {
				t.Errorf("%s: got %v", name, err)
			}
			if waited := time.Since(began); waited != time.Second {
				t.Errorf("%s: waited %v", name, waited)
			}
		}
	})
}

func TestASlowKeyringIsNotAHangingOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeKeyring()
		fake.before = func(string) error { time.Sleep(9 * time.Second); return nil }
		i := newItems(newCallGate(fake), "test", 10*time.Second)
		for range 3 {
			if err := i.set(t.Context(), "entry", fds.NewSecret("x")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestADismissedDialogueIsNotASave(t *testing.T) {
	fake := newFakeKeyring()
	k := fakeStore(t, fake, 400)
	if _, err := replace(t.Context(), k, crashGrant(1, "old", 10)); err != nil {
		t.Fatal(err)
	}
	// go-keyring reports no error when a prompt is dismissed.
	k.items.gate.backend = dismissed{fake}
	k.records.items.gate.backend = dismissed{fake}
	for _, size := range []int{10, 1000} {
		if _, err := replace(t.Context(), k, crashGrant(1, "new", size)); !errors.Is(err, fds.ErrStoreUnavailable) {
			t.Errorf("Save gives %v", err)
		}
	}
	if err := k.Delete(t.Context(), crashGrant(1, "", 0).Key); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("Delete gives %v", err)
	}
	if err := k.Probe(t.Context()); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("Probe gives %v", err)
	}
	if g, err := k.Load(t.Context(), crashGrant(1, "", 0).Key); err != nil || !g.Equal(crashGrant(1, "old", 10)) {
		t.Errorf("the old grant is gone: %v", err)
	}
}

// dismissed changes nothing and says nothing.
type dismissed struct{ backend }

func (dismissed) Set(string, string, string) error { return nil }
func (dismissed) Delete(string, string) error      { return nil }

func TestAKeyringsErrorsNameTheRemedy(t *testing.T) {
	for _, c := range []struct {
		cause error
		class error
		says  string
	}{
		{errNoBus, fds.ErrStoreUnavailable, "SSH session or a container"},
		{errors.New("failed to unlock correct collection '/org/freedesktop/secrets/aliases/default'"), fds.ErrStoreUnavailable, "unlock it"},
		{errors.New("The name org.freedesktop.secrets was not provided by any .service files"), fds.ErrStoreUnavailable, "no Secret Service runs"},
		{fmt.Errorf("dial unix: %w", syscall.ECONNREFUSED), fds.ErrStoreUnavailable, "DBUS_SESSION_BUS_ADDRESS"},
		{keyring.ErrUnsupportedPlatform, fds.ErrStoreUnavailable, "OpenFolder"},
		{keyring.ErrSetDataTooBig, fds.ErrTooLarge, "too big"},
		{errors.New("something new"), fds.ErrStoreUnavailable, "check that the keyring runs"},
	} {
		fake := newFakeKeyring()
		fake.before = func(string) error { return c.cause }
		k := fakeStore(t, fake, 400)
		_, loadErr := k.Load(t.Context(), crashGrant(1, "", 0).Key)
		var listErr error
		for _, listErr = range k.List(t.Context()) {
		}
		for op, err := range map[string]error{
			"Probe": k.Probe(t.Context()), "Load": loadErr, "List": listErr,
			"Save": saveError(t, k, crashGrant(1, "x", 10)), "Delete": k.Delete(t.Context(), crashGrant(1, "", 0).Key),
		} {
			var e *Error
			if !errors.Is(err, c.class) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: the keyring says %q: the error is %v, which should match %q and say %q", op, c.cause, err, c.class, c.says)
			}
			if c.class == fds.ErrStoreUnavailable && !strings.Contains(err.Error(), `"tokens: store: file"`) {
				t.Errorf("%s: %v does not name the other store", op, err)
			}
			if n := strings.Count(err.Error(), "tokenstore:"); n > 2 {
				t.Errorf("%s: %v repeats itself", op, err)
			}
		}
	}
}

func TestAttackTextOfTheKeyringIsCutAndEscaped(t *testing.T) {
	fake := newFakeKeyring()
	fake.before = func(string) error { return errors.New("\x1b[2J" + strings.Repeat("long", 1000)) }
	_, err := fakeStore(t, fake, 400).Load(t.Context(), crashGrant(1, "", 0).Key)
	if err == nil || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 600 {
		t.Fatalf("got %q", err)
	}
}

func TestAnEntryThatVanishesUnderAReaderIsLookedUpAgain(t *testing.T) {
	for _, text := range []string{ // as gnome-keyring and go-keyring word it
		`No such interface “org.freedesktop.Secret.Item” on object at path /org/freedesktop/secrets/collection/login/1`,
		`Object does not exist at path “/org/freedesktop/secrets/collection/login/26”`,
		`failed to unlock correct collection '/org/freedesktop/secrets/collection/login/7'`,
	} {
		fake := newFakeKeyring()
		k, g := fakeStore(t, fake, 400), crashGrant(1, "x", 1000)
		n := 0
		fake.fail(func(call string) error {
			if n++; n%3 != 0 && !strings.HasPrefix(call, "set") {
				return errors.New(text)
			}
			return nil
		})
		if _, err := k.Load(t.Context(), g.Key); !errors.Is(err, fds.ErrNoGrant) {
			t.Errorf("Load of what is gone: %v", err)
		}
		saveAll(t, k, g)
		wantLoad(t, k, g)
		if err := k.Delete(t.Context(), g.Key); err != nil {
			t.Error(err)
		}
		fake.fail(func(string) error { return errors.New(text) })
		if _, err := k.Load(t.Context(), g.Key); !errors.Is(err, fds.ErrStoreUnavailable) {
			t.Errorf("an entry that stays so: %v", err)
		}
	}
}

func TestADamagedRecordHarmsNoOther(t *testing.T) {
	for _, damage := range []struct {
		name   string
		class  error
		change func(items map[string]string, name string)
	}{
		{"another text in a part", fds.ErrCorrupt, func(items map[string]string, name string) { items[name+".a.1"] = "x" + items[name+".a.1"][1:] }},
		{"a missing part", fds.ErrCorrupt, func(items map[string]string, name string) { delete(items, name+".a.1") }},
		{"parts in another order", fds.ErrCorrupt, func(items map[string]string, name string) {
			items[name+".a.0"], items[name+".a.1"] = items[name+".a.1"], items[name+".a.0"]
		}},
		{"no head of ours", fds.ErrCorrupt, func(items map[string]string, name string) { items[name] = "hello" }},
		{"a head without numbers", fds.ErrCorrupt, func(items map[string]string, name string) { items[name] = partsMark + "a" }},
		{"a head with absurd numbers", fds.ErrCorrupt, func(items map[string]string, name string) { items[name] = partsMark + "a 99999999 999999999999 x" }},
		{"a head of a newer form", fds.ErrNewerFormat, func(items map[string]string, name string) { items[name] = "fds2 x" }},
		{"a record that is no grant", fds.ErrCorrupt, func(items map[string]string, name string) { items[name] = wholeMark + `{"version":1}` }},
		{"the record of another grant", fds.ErrCorrupt, func(items map[string]string, name string) {
			data, _ := crashGrant(9, "x", 0).Encode()
			items[name] = wholeMark + string(data)
		}},
		{"a record of a newer version", fds.ErrNewerFormat, func(items map[string]string, name string) { items[name] = wholeMark + `{"version":2}` }},
	} {
		t.Run(damage.name, func(t *testing.T) {
			fake := newFakeKeyring()
			k := fakeStore(t, fake, 400)
			hurt, well := crashGrant(1, "x", 1000), crashGrant(2, "y", 1000)
			for _, g := range []Grant{hurt, well} {
				if _, err := replace(t.Context(), k, g); err != nil {
					t.Fatal(err)
				}
			}
			damage.change(fake.items, "test:"+recordName(hurt.Key))
			_, err := k.Load(t.Context(), hurt.Key)
			if !errors.Is(err, damage.class) || damage.class == fds.ErrCorrupt && errors.Is(err, fds.ErrStoreUnavailable) {
				t.Errorf("Load gives %v, want %q", err, damage.class)
			}
			if g, err := k.Load(t.Context(), well.Key); err != nil || !g.Equal(well) {
				t.Errorf("the other grant: %v", err)
			}
			if damage.class == fds.ErrNewerFormat {
				return // which a Save must not overwrite
			}
			if _, err := replace(t.Context(), k, hurt); err != nil {
				t.Errorf("a Save over the damage: %v", err)
			}
			if g, err := k.Load(t.Context(), hurt.Key); err != nil || !g.Equal(hurt) {
				t.Errorf("Load after that Save: %v", err)
			}
		})
	}
}

func TestADamagedIndexDoesNotKeepATokenFromBeingSaved(t *testing.T) {
	fake := newFakeKeyring()
	k := fakeStore(t, fake, 400)
	old, renewed := crashGrant(1, "old", 10), crashGrant(1, "renewed", 10)
	if _, err := replace(t.Context(), k, old); err != nil {
		t.Fatal(err)
	}
	fake.items["test:"+indexName] = wholeMark + "{"
	marked, err := loaded(t.Context(), k, old)
	if err != nil {
		t.Fatal(err)
	}
	marked.Renewal.By = "here/1"
	if _, err := k.Reserve(t.Context(), marked); !errors.Is(err, fds.ErrStoreUnavailable) {
		t.Errorf("Reserve gives %v", err)
	}
	wantLoad(t, k, old)
	_, err = replace(t.Context(), k, renewed)
	if !errors.Is(err, fds.ErrCorrupt) || !strings.Contains(err.Error(), "the grant is saved") || !strings.Contains(err.Error(), `entry index of service "test"`) {
		t.Errorf("Save gives %v", err)
	}
	if g, err := k.Load(t.Context(), old.Key); err != nil || !g.Equal(renewed) {
		t.Errorf("the renewed grant is not there: %v", err)
	}
	var listErr error
	for _, listErr = range k.List(t.Context()) {
	}
	// The list as a whole is not to be had, and no browser need open: both say so.
	for name, err := range map[string]error{"List": listErr, "Probe": k.Probe(t.Context())} {
		if !errors.Is(err, fds.ErrStoreUnavailable) || !errors.Is(err, fds.ErrCorrupt) || !strings.Contains(err.Error(), `entry index of service "test"`) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	delete(fake.items, "test:"+indexName) // as the error says
	if _, err := replace(t.Context(), k, renewed); err != nil {
		t.Fatal(err)
	}
	for e, err := range k.List(t.Context()) {
		if err != nil || e.Key != renewed.Key {
			t.Errorf("List gives %+v, %v", e, err)
		}
		return
	}
	t.Error("the grant is not listed again")
}

func TestARenewalDoesNotTouchTheIndex(t *testing.T) {
	fake := newFakeKeyring()
	k := fakeStore(t, fake, 2400)
	renewed := crashGrant(1, "new", 10)
	var err error
	if renewed.Revision, err = k.Save(t.Context(), crashGrant(1, "old", 10)); err != nil {
		t.Fatal(err)
	}
	fake.reset()
	if _, err := k.Save(t.Context(), renewed); err != nil {
		t.Fatal(err)
	}
	sets := 0
	for _, call := range fake.calls {
		if strings.HasPrefix(call, "set") {
			sets++
		}
	}
	if sets != 1 || len(fake.calls) > 6 {
		t.Errorf("a renewal makes %d calls, %d of them writes: %q", len(fake.calls), sets, fake.calls)
	}
}

func TestServicesDoNotSeeOneAnother(t *testing.T) {
	fake := newFakeKeyring()
	locks := t.TempDir()
	open := func(service string) *Keyring {
		k, err := OpenKeyring(KeyringConfig{Service: service, LockFolder: locks, gate: newCallGate(fake)})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	one, two := open("one"), open("two")
	g := crashGrant(1, "x", 10)
	if _, err := replace(t.Context(), one, g); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Load(t.Context(), g.Key); !errors.Is(err, fds.ErrNoGrant) {
		t.Errorf("Load from another service gives %v", err)
	}
	lease, err := one.Lock(t.Context(), g.Key)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if lease, err := two.Lock(ctx, g.Key); err != nil {
		t.Errorf("the locks of two services are one: %v", err)
	} else {
		lease.Release()
	}
}

func TestAKeyringsConfigurationIsChecked(t *testing.T) {
	for _, config := range []KeyringConfig{
		{},
		{Service: strings.Repeat("x", 129)},
		{Service: "a\nb"},
		{Service: "\xff"},
		{Service: "x", Timeout: -1},
	} {
		if _, err := OpenKeyring(config); !errors.Is(err, fds.ErrConfig) {
			t.Errorf("%+v gives %v", config, err)
		}
	}
}

func TestLocksAreInTheUsersConfigurationFolderByDefault(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "AppData"} {
		t.Setenv(name, home)
	}
	k, err := OpenKeyring(KeyringConfig{Service: "x", gate: newCallGate(newFakeKeyring())})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rel, err := filepath.Rel(home, k.locks.folder); err != nil || strings.HasPrefix(rel, "..") {
		t.Errorf("the locks are in %s", k.locks.folder)
	}
	if _, err := os.Stat(k.locks.folder); err != nil {
		t.Error(err)
	}
}
