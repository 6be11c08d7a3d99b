package tokenstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

var errDied = errors.New("fake: this process is dead")

func crashGrant(n int, text string, size int) Grant {
	return Grant{
		Key:           Key{Issuer: "https://auth.example.com", ClientID: "app", GrantID: fmt.Sprint("grant", n)},
		Subscriptions: []string{fmt.Sprint("subscription of ", n)},
		RefreshToken:  fds.NewSecret(text + strings.Repeat(".", size)),
	}
}

// TestACrashBetweenAnyTwoCallsOfTheKeyringLosesNoGrant ends the process at each
// call of each operation in turn, before the call has its effect and after it, and
// looks at what the next process finds.
func TestACrashBetweenAnyTwoCallsOfTheKeyringLosesNoGrant(t *testing.T) {
	t.Parallel()
	const small, large, larger = 10, 1000, 2500 // entries take 400 bytes
	other := crashGrant(0, "other", large)
	moved := func(g Grant) Grant {
		g.Subscriptions = []string{"another subscription", "and one more"}
		return g
	}
	type scenario struct {
		name   string
		before []Grant // what the key held, in order of saving
		save   *Grant  // nil: delete
	}
	saves := func(name string, after Grant, before ...Grant) scenario { return scenario{name, before, &after} }
	g := func(text string, size int) Grant { return crashGrant(1, text, size) }
	for _, s := range []scenario{
		saves("first save, small", g("new", small)),
		saves("first save, in parts", g("new", large)),
		saves("small to small", g("new", small), g("old", small)),
		saves("small to parts", g("new", large), g("old", small)),
		saves("parts to small", g("new", small), g("old", large)),
		saves("parts to parts", g("new", large), g("old", large)),
		saves("parts to more parts", g("new", larger), g("older", larger), g("old", large)),
		saves("parts to fewer parts", g("new", large), g("older", large), g("old", larger)),
		saves("other subscriptions, small", moved(g("new", small)), g("old", small)),
		saves("other subscriptions, in parts", moved(g("new", large)), g("old", large)),
		{"delete small", []Grant{g("old", small)}, nil},
		{"delete parts", []Grant{g("older", larger), g("old", large)}, nil},
		{"delete what is not there", nil, nil},
	} {
		for _, when := range []string{"before", "after"} {
			t.Run(s.name+"/"+when+" the call", func(t *testing.T) {
				crashes := 0
				for at := 1; ; at++ {
					if crashed := crashOnce(t, s.before, s.save, other, at, when == "after"); !crashed {
						break
					}
					crashes++
				}
				if crashes < 4 {
					t.Errorf("the operation took %d calls only: the test does not reach it", crashes)
				}
			})
		}
	}
}

// crashOnce reports whether the operation had an at-th call to die at.
func crashOnce(t *testing.T, before []Grant, after *Grant, other Grant, at int, effect bool) (crashed bool) {
	t.Helper()
	fake := newFakeKeyring()
	k := fakeStore(t, fake, 400)
	for _, g := range append([]Grant{other}, before...) {
		if _, err := replace(t.Context(), k, g); err != nil {
			t.Fatal(err)
		}
	}
	if after != nil {
		var err error
		if *after, err = loaded(t.Context(), k, *after); err != nil {
			t.Fatal(err)
		}
	}
	calls := 0
	fake.fail(func(string) error {
		calls++
		switch {
		case calls == at && effect:
			crashed = true
			return errAfterwards
		case calls >= at:
			crashed = true
			return errDied
		}
		return nil
	})
	key := crashGrant(1, "", 0).Key
	var opErr error
	if after != nil {
		_, opErr = k.Save(t.Context(), *after)
	} else {
		opErr = k.Delete(t.Context(), key)
	}
	fake.fail(nil)
	at1 := fmt.Sprintf("after a crash at call %d", at)

	// The next process.
	next := ReopenKeyring(t, k)
	var old *Grant
	if len(before) > 0 {
		old = &before[len(before)-1]
	}
	got, err := next.Load(t.Context(), key)
	var found *Grant
	switch {
	case errors.Is(err, fds.ErrNoGrant):
	case err != nil:
		t.Fatalf("%s: Load: %v", at1, err)
	default:
		found = &got
	}
	same := func(a, b *Grant) bool { return a == nil && b == nil || a != nil && b != nil && a.Equal(*b) }
	if !same(found, old) && !same(found, after) {
		t.Fatalf("%s the grant is neither the old one nor the new one: %+v", at1, found)
	}
	if opErr == nil && !same(found, after) {
		t.Fatalf("%s the operation said it was done, but it was not", at1)
	}
	listed := map[string]string{}
	for e, err := range next.List(t.Context()) {
		if err != nil {
			t.Fatalf("%s: List: %v", at1, err)
		}
		listed[e.GrantID] = fmt.Sprint(e.Subscriptions)
	}
	want := map[string]string{other.GrantID: fmt.Sprint(other.Subscriptions)}
	if found != nil {
		want[found.GrantID] = fmt.Sprint(found.Subscriptions)
	}
	if fmt.Sprint(listed) != fmt.Sprint(want) {
		t.Fatalf("%s the list is %v, want %v", at1, listed, want)
	}
	if g, err := next.Load(t.Context(), other.Key); err != nil || !g.Equal(other) {
		t.Fatalf("%s another grant is gone: %v", at1, err)
	}

	// Whatever the crash left, one more save of either grant and the deletion of
	// both leave nothing in the keyring.
	again := crashGrant(1, "again", 1500)
	saver := other
	if at%2 == 0 {
		saver = again
	}
	if _, err := replace(t.Context(), next, saver); err != nil {
		t.Fatalf("%s: Save: %v", at1, err)
	}
	if g, err := next.Load(t.Context(), saver.Key); err != nil || !g.Equal(saver) {
		t.Fatalf("%s: Load after a new Save: %v", at1, err)
	}
	if i, err := next.readIndex(t.Context(), next.records.get); err != nil {
		t.Fatalf("%s: index: %v", at1, err)
	} else if slices.ContainsFunc(i.entries, func(e indexEntry) bool { return e.unsettled }) {
		t.Fatalf("%s a new Save does not settle the index", at1)
	}
	// A grant that is not there any more is not deleted by its user: its remains
	// must go by themselves.
	for e, err := range next.List(t.Context()) {
		if err != nil {
			t.Fatalf("%s: List: %v", at1, err)
		}
		if err := next.Delete(t.Context(), e.Key); err != nil {
			t.Fatalf("%s: Delete: %v", at1, err)
		}
	}
	if left := fake.snapshot(); len(left) > 0 {
		names := []string{}
		for name := range left {
			names = append(names, name)
		}
		t.Fatalf("%s and after all grants were deleted the keyring still has %q", at1, names)
	}
	return crashed
}

// TestASaveLeavesNothingOfTheGrantBefore: also not when that one was cut short.
func TestASaveLeavesNothingOfTheGrantBefore(t *testing.T) {
	for _, sizes := range [][]int{{10, 10}, {10, 3000}, {3000, 10}, {3000, 3000}, {3000, 1000}, {1000, 3000}, {10, 5000, 10}, {1000, 5000, 2000}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			fake := newFakeKeyring()
			k := fakeStore(t, fake, 400)
			for _, size := range sizes {
				// The sweep after this save fails, and with it the deletions.
				fake.fail(func(call string) error {
					if strings.HasPrefix(call, "delete") {
						return errDied
					}
					return nil
				})
				if _, err := replace(t.Context(), k, crashGrant(1, "old", size)); err != nil {
					t.Fatalf("a Save whose sweep fails: %v", err)
				}
			}
			fake.fail(nil)
			last := crashGrant(1, "new", sizes[len(sizes)-1])
			if _, err := replace(t.Context(), k, last); err != nil {
				t.Fatal(err)
			}
			data, err := last.Encode()
			if err != nil {
				t.Fatal(err)
			}
			want := 2 // the index, the head
			if len(wholeMark)+len(data) > 400 {
				want += len(split(string(data), 400))
			}
			if got := len(fake.snapshot()); got != want {
				t.Errorf("the keyring has %d entries, the grant needs %d", got, want)
			}
		})
	}
}

// TestPartsStayWithoutAGap: records.sweep finds all parts by counting upwards.
func TestPartsStayWithoutAGap(t *testing.T) {
	fake := newFakeKeyring()
	k := fakeStore(t, fake, 400)
	fake.fail(func(call string) error {
		fake.mu.Lock()
		defer fake.mu.Unlock()
		// As the calls before this one left it.
		for name := range fake.items {
			base, number, ok := cutLast(name)
			if !ok || number == 0 {
				continue
			}
			if _, ok := fake.items[fmt.Sprintf("%s.%d", base, number-1)]; !ok {
				t.Errorf("before %q there is %q but not the part in front of it", call, name)
			}
		}
		return nil
	})
	for _, size := range []int{10, 3000, 1000, 5000, 10, 4000, 2000} {
		if _, err := replace(t.Context(), k, crashGrant(1, "x", size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Delete(t.Context(), crashGrant(1, "", 0).Key); err != nil {
		t.Fatal(err)
	}
}

func cutLast(name string) (base string, number int, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", 0, false
	}
	_, err := fmt.Sscanf(name[i+1:], "%d", &number)
	return name[:i], number, err == nil
}
