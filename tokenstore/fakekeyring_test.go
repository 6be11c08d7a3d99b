package tokenstore

import (
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/zalando/go-keyring"
)

// fakeKeyring is a backend in memory in which each failure can be switched on.
type fakeKeyring struct {
	mu    sync.Mutex
	items map[string]string
	calls []string // "get name", "set name", "delete name"

	// before, when set, is asked at each call, unlocked; an error of it is the
	// call's answer, and the call has its effect only when that is errAfterwards.
	before func(call string) error
	limit  int  // longest secret; 0: any
	locked bool // a call would ask for it to be unlocked
}

func (f *fakeKeyring) Quiet(_, user string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "look at "+user)
	if f.locked {
		return errLocked
	}
	return nil
}

// errAfterwards: the call had its effect, but its caller does not learn it.
var errAfterwards = errors.New("fake: the connection broke after the call")

func newFakeKeyring() *fakeKeyring { return &fakeKeyring{items: map[string]string{}} }

func (f *fakeKeyring) call(verb, service, user string, effect func(name string) error) error {
	name := service + ":" + user
	call := verb + " " + user
	f.mu.Lock()
	f.calls = append(f.calls, call)
	before := f.before
	f.mu.Unlock()
	var answer error
	if before != nil {
		answer = before(call)
	}
	if answer != nil && !errors.Is(answer, errAfterwards) {
		return answer
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(effect(name), answer)
}

func (f *fakeKeyring) Get(service, user string) (text string, err error) {
	err = f.call("get", service, user, func(name string) error {
		var ok bool
		if text, ok = f.items[name]; !ok {
			return keyring.ErrNotFound
		}
		return nil
	})
	return text, err
}

func (f *fakeKeyring) Set(service, user, secret string) error {
	return f.call("set", service, user, func(name string) error {
		if f.limit > 0 && len(secret) > f.limit {
			return keyring.ErrSetDataTooBig
		}
		f.items[name] = secret
		return nil
	})
}

func (f *fakeKeyring) Delete(service, user string) error {
	return f.call("delete", service, user, func(name string) error {
		if _, ok := f.items[name]; !ok {
			return keyring.ErrNotFound
		}
		delete(f.items, name)
		return nil
	})
}

// fail sets before.
func (f *fakeKeyring) fail(before func(call string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

// reset forgets the calls counted so far.
func (f *fakeKeyring) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = nil
}

func (f *fakeKeyring) snapshot() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.items)
}

// fakeStore opens a Keyring on b, with small entries, so that most grants are in parts.
func fakeStore(t testing.TB, b backend, chunk int) *Keyring {
	t.Helper()
	k, err := OpenKeyring(KeyringConfig{Service: "test", LockFolder: t.TempDir(), Timeout: 10 * time.Second, gate: newCallGate(b), chunk: chunk})
	if err != nil {
		t.Fatal(err)
	}
	return k
}
