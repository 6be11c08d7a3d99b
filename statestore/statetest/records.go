package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
)

func owner() fds.OwnerKey {
	return fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: fds.NewSubscriptionID()}
}

func newKey(name string) statestore.Key {
	return statestore.Key{ClientID: "fleet-app", Owner: owner(), Name: name}
}

// names are of records: one that stores may have a file of their own for, and another.
var names = []string{"state", "positions.2"}

func save(t *testing.T, s statestore.Store, key statestore.Key, data []byte, revision string) (newRevision string) {
	t.Helper()
	newRevision, err := s.Save(t.Context(), key, data, revision)
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	if newRevision == "" {
		t.Fatal("Save returns an empty revision")
	}
	return newRevision
}

// want checks what Load returns, by every handle.
func want(t *testing.T, handles []statestore.Store, key statestore.Key, data []byte, revision string) {
	t.Helper()
	for n, s := range handles {
		got, err := s.Load(t.Context(), key)
		if err != nil {
			t.Fatalf("Load by handle %d: %v", n, err)
		}
		if !bytes.Equal(got.Data, data) {
			t.Fatalf("Load by handle %d returns %d bytes, %.40q, want %d, %.40q", n, len(got.Data), got.Data, len(data), data)
		}
		if got.Revision != revision {
			t.Fatalf("Load by handle %d returns the revision %q, want %q", n, got.Revision, revision)
		}
	}
}

func wantConflict(t *testing.T, what string, handles []statestore.Store, key statestore.Key, revision string) {
	t.Helper()
	for _, s := range handles {
		if got, err := s.Save(t.Context(), key, []byte("other"), revision); !errors.Is(err, fds.ErrConflict) || got != "" {
			t.Errorf("Save with %s returns %q, %v; want ErrConflict", what, got, err)
		}
		if err := s.Delete(t.Context(), key, revision); !errors.Is(err, fds.ErrConflict) {
			t.Errorf("Delete with %s returns %v; want ErrConflict", what, err)
		}
	}
}

func noRecord(t *testing.T, handles []statestore.Store) {
	for _, name := range names {
		key := newKey(name)
		want(t, handles, key, nil, "")
		for _, s := range handles {
			if err := s.Delete(t.Context(), key, ""); err != nil {
				t.Errorf("Delete of what is not there, with no revision: %v", err)
			}
			if err := s.Delete(t.Context(), key, "never"); !errors.Is(err, fds.ErrConflict) {
				t.Errorf("Delete of what is not there, with a revision, returns %v; want ErrConflict", err)
			}
			if _, err := s.Save(t.Context(), key, nil, "never"); !errors.Is(err, fds.ErrConflict) {
				t.Errorf("Save in place of what is not there returns %v; want ErrConflict", err)
			}
		}
		want(t, handles, key, nil, "")
	}
}

// filler returns bytes that do not repeat.
func filler(size int) []byte {
	data := make([]byte, size)
	for n := range data {
		data[n] = byte(rand.Uint32())
	}
	return data
}

func roundTrip(t *testing.T, handles []statestore.Store) {
	full := `{"text":"` + strings.Repeat("a", statestore.MaxBytes-11) + `"}`
	all := [][]byte{
		{}, []byte("x"), []byte("\x00"), []byte("\n"), []byte("\r\n \t"), []byte("\xff\xfe"),
		[]byte(`{}`), []byte(`null`), []byte(`"text"`), []byte(`12`), []byte(` {"a" : 1} ` + "\n"), []byte(`{"a":1,"a":2}`),
		[]byte(`{"a":"<&>\u003c\u2028` + "\u2028 日本 🚜" + `"}`), []byte(`{"a":1`), []byte(`{"a":1}}`), []byte(`{}{}`),
		[]byte(`{},"owner":{}`), []byte(`,"state":{}`), []byte(`{"state":{"state":1},"version":7,"sum":"0"}`),
		[]byte(strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999)), []byte(strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)), []byte(strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)),
		[]byte(full), filler(statestore.MaxBytes), filler(statestore.MaxBytes - 1), filler(4096), filler(70_000),
		make([]byte, statestore.MaxBytes), bytes.Repeat([]byte("\n"), statestore.MaxBytes),
	}
	for _, name := range names {
		changed, revision := newKey(name), ""
		for n, data := range all {
			key := newKey(name)
			want(t, handles, key, data, save(t, handles[n%len(handles)], key, data, ""))
			revision = save(t, handles[n%len(handles)], changed, data, revision) // grows and shrinks
			want(t, handles, changed, data, revision)
		}
	}
}

func conditionalSave(t *testing.T, handles []statestore.Store) {
	s := handles[0]
	for _, name := range names {
		key := newKey(name)
		first := save(t, s, key, []byte("first"), "")
		wantConflict(t, "no revision where there is a record", handles, key, "")
		want(t, handles, key, []byte("first"), first)
		second := save(t, s, key, []byte("second"), first)
		wantConflict(t, "the revision before", handles, key, first)
		wantConflict(t, "no revision where there is a record", handles, key, "")
		wantConflict(t, "a revision that never was", handles, key, second+"x")
		other := save(t, s, newKey(name), []byte("other"), "")
		if other != second {
			wantConflict(t, "the revision of another record", handles, key, other)
		}
		want(t, handles, key, []byte("second"), second)
		if err := s.Delete(t.Context(), key, second); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantConflict(t, "the revision of a record that was deleted", handles, key, second)
		want(t, handles, key, nil, "")
	}
}

func conditionalDelete(t *testing.T, handles []statestore.Store) {
	for n, s := range handles {
		for _, name := range names {
			key, kept := newKey(name), newKey(name)
			keptRevision := save(t, s, kept, []byte("kept"), "")
			revision := save(t, s, key, []byte("data"), "")
			if err := handles[len(handles)-1-n].Delete(t.Context(), key, revision); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			want(t, handles, key, nil, "")
			want(t, handles, kept, []byte("kept"), keptRevision)
			if err := s.Delete(t.Context(), key, ""); err != nil {
				t.Fatalf("Delete of what is deleted: %v", err)
			}
			want(t, handles, key, []byte("again"), save(t, s, key, []byte("again"), ""))
		}
	}
}

func freshRevisions(t *testing.T, handles []statestore.Store) {
	for _, name := range names {
		key, revision, seen := newKey(name), "", map[string]bool{}
		for n := range 20 {
			s := handles[n%len(handles)]
			revision = save(t, s, key, []byte("the same"), revision)
			if seen[revision] {
				t.Fatalf("the revision %q is given again", revision)
			}
			seen[revision] = true
			if n%5 == 4 {
				if err := s.Delete(t.Context(), key, revision); err != nil {
					t.Fatalf("Delete: %v", err)
				}
				revision = ""
			}
		}
	}
}

func tooLarge(t *testing.T, handles []statestore.Store) {
	s := handles[0]
	for _, name := range names {
		key := newKey(name)
		revision := save(t, s, key, []byte("kept"), "")
		for _, size := range []int{statestore.MaxBytes + 1, 8 * statestore.MaxBytes} {
			if got, err := s.Save(t.Context(), key, filler(size), revision); !errors.Is(err, fds.ErrTooLarge) || got != "" {
				t.Errorf("Save of %d bytes returns %q, %v; want ErrTooLarge", size, got, err)
			}
		}
		want(t, handles, key, []byte("kept"), revision)
	}
}

// nastyKeys are pairwise different, some only by what a careless store drops.
func nastyKeys() []statestore.Key {
	id, other := fds.NewSubscriptionID(), fds.NewSubscriptionID()
	at := func(issuer string, id fds.SubscriptionID, client, name string) statestore.Key {
		return statestore.Key{ClientID: client, Owner: fds.OwnerKey{Issuer: issuer, SubscriptionID: id}, Name: name}
	}
	long := "https://auth.example.com/" + strings.Repeat("tenant/", 1000)
	var keys []statestore.Key
	for _, issuer := range []string{"https://a.example", "https://a.example/", "https://A.example", "https://a.example/b", "a\x00b", "a", "..",
		"../../../../etc/passwd", `C:\`, "con", " con", "a\nb", `{"issuer":"x"}`, `x","state":{}`, "https://münchen.example",
		"https://mu\u0308nchen.example", "%2F", "*?<>|:", "$(id)", "'; DROP TABLE records; --", "\u2028<&>", "\ufeff", long, long + "x"} {
		keys = append(keys, at(issuer, id, "app", "state"), at(issuer, other, "app", "state"), at(issuer, id, "app", "x"))
	}
	for _, client := range []string{"", " ", "App", "app ", "app\x00", "../app", "a/pp", "日本", `","state":{}`, "\n", strings.Repeat("c", 4000), strings.Repeat("c", 4001)} {
		for _, name := range names {
			keys = append(keys, at("https://a.example", id, client, name))
		}
	}
	for _, name := range []string{".", "..", "-", "state.", ".state", "state-x", "state.json", "json", "0", "nul", "con.txt", "tmp",
		strings.Repeat("n", 64), strings.Repeat("n", 63), strings.Repeat(".", 64)} {
		keys = append(keys, at("https://a.example", id, "app", name))
	}
	return keys
}

func isolation(t *testing.T, handles []statestore.Store) {
	keys := nastyKeys()
	revisions := make([]string, len(keys))
	data := func(n, round int) []byte { return fmt.Appendf(nil, `{"n":%d,"round":%d}`, n, round) }
	for round := range 2 {
		for n, key := range keys {
			revisions[n] = save(t, handles[n%len(handles)], key, data(n, round), revisions[n])
		}
		for n, key := range keys {
			want(t, handles, key, data(n, round), revisions[n])
		}
	}
	for n, key := range keys {
		if n%2 == 0 {
			if err := handles[0].Delete(t.Context(), key, revisions[n]); err != nil {
				t.Fatalf("Delete: %v", err)
			}
		}
	}
	for n, key := range keys {
		if n%2 == 0 {
			want(t, handles, key, nil, "")
			want(t, handles, key, data(n, 2), save(t, handles[0], key, data(n, 2), ""))
		} else {
			want(t, handles, key, data(n, 1), revisions[n])
		}
	}
}

func badKeys(t *testing.T, handles []statestore.Store) {
	s := handles[0]
	bad := func(change func(*statestore.Key)) statestore.Key {
		key := newKey("state")
		change(&key)
		return key
	}
	for what, key := range map[string]statestore.Key{
		"no issuer":                      bad(func(k *statestore.Key) { k.Owner.Issuer = "" }),
		"an issuer that is not UTF-8":    bad(func(k *statestore.Key) { k.Owner.Issuer = "\xff" }),
		"an issuer that is too long":     bad(func(k *statestore.Key) { k.Owner.Issuer = strings.Repeat("x", 9<<10) }),
		"no subscription ID":             bad(func(k *statestore.Key) { k.Owner.SubscriptionID = fds.SubscriptionID{} }),
		"a client ID that is not UTF-8":  bad(func(k *statestore.Key) { k.ClientID = "\xff" }),
		"a client ID that is too long":   bad(func(k *statestore.Key) { k.ClientID = strings.Repeat("x", 9<<10) }),
		"no name":                        bad(func(k *statestore.Key) { k.Name = "" }),
		"a name that is too long":        bad(func(k *statestore.Key) { k.Name = strings.Repeat("x", 65) }),
		"a name in upper case":           bad(func(k *statestore.Key) { k.Name = "State" }),
		"a name with a slash":            bad(func(k *statestore.Key) { k.Name = "../x" }),
		"a name with a letter elsewhere": bad(func(k *statestore.Key) { k.Name = "ä" }),
		"a name with a space":            bad(func(k *statestore.Key) { k.Name = "a b" }),
	} {
		_, loadErr := s.Load(t.Context(), key)
		_, saveErr := s.Save(t.Context(), key, nil, "")
		for method, err := range map[string]error{"Load": loadErr, "Save": saveErr, "Delete": s.Delete(t.Context(), key, "")} {
			if !errors.Is(err, fds.ErrMalformed) {
				t.Errorf("%s with %s returns %v, want ErrKey", method, what, err)
			}
		}
	}
}

func ownCopies(t *testing.T, handles []statestore.Store) {
	for _, name := range names {
		for _, content := range []string{`{"a":"kept"}`, "kept"} {
			key, data := newKey(name), []byte(content)
			revision := save(t, handles[0], key, data, "")
			data[len(data)-2] = 'X'
			want(t, handles, key, []byte(content), revision)
			for _, s := range handles {
				loaded, err := s.Load(t.Context(), key)
				if err != nil {
					t.Fatalf("Load: %v", err)
				}
				clear(loaded.Data)
				_ = append(loaded.Data, "more"...)
				want(t, handles, key, []byte(content), revision)
			}
		}
	}
}

// eachEnd runs test with contexts that have ended.
func eachEnd(t *testing.T, test func(ctx context.Context, check func(method string, err error))) {
	why := errors.New("the test's own cause")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	past, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	caused, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(why)
	for name, ctx := range map[string]context.Context{"cancelled": cancelled, "past its deadline": past, "cancelled with a cause": caused} {
		test(ctx, func(method string, err error) {
			t.Helper()
			if !errors.Is(err, ctx.Err()) {
				t.Errorf("%s with a context that is %s returns %v", method, name, err)
			}
		})
	}
}

func endedContext(t *testing.T, handles []statestore.Store) {
	s := handles[0]
	for _, name := range names {
		key := newKey(name)
		revision := save(t, s, key, []byte("kept"), "")
		eachEnd(t, func(ctx context.Context, check func(string, error)) {
			_, err := s.Load(ctx, key)
			check("Load", err)
			_, err = s.Save(ctx, key, []byte("changed"), revision)
			check("Save", err)
			check("Delete", s.Delete(ctx, key, revision))
			check("Delete of what is not there", s.Delete(ctx, newKey(name), ""))
		})
		want(t, handles, key, []byte("kept"), revision)
	}
}

func quietErrors(t *testing.T, handles []statestore.Store) {
	const secret = "content-that-must-not-show"
	for _, name := range names {
		key := newKey(name)
		key.Owner.Issuer = "https://a.example/\nERROR forged\x1b[31m" + strings.Repeat("flood", 1000)
		key.ClientID = "\r\nforged" + strings.Repeat("flood", 1000)
		save(t, handles[0], key, []byte(secret), "")
		_, conflict := handles[0].Save(t.Context(), key, []byte(secret), "")
		_, large := handles[0].Save(t.Context(), key, bytes.Repeat([]byte(secret), statestore.MaxBytes/20), "")
		key.Name = strings.Repeat(name+"\nforged", 1000)
		_, bad := handles[0].Load(t.Context(), key)
		for _, err := range []error{conflict, large, bad} {
			if err == nil {
				t.Fatal("what must fail does not")
			}
			if text := err.Error(); len(text) > 1500 || strings.ContainsAny(text, "\n\r\x1b") || strings.Contains(text, secret) {
				t.Errorf("an error of %d bytes: %.200q", len(text), text)
			}
		}
	}
}

func handlesAgree(t *testing.T, handles []statestore.Store) {
	for _, name := range names {
		key, revision := newKey(name), ""
		for n := range 30 {
			data := fmt.Appendf(nil, `{"n":%d}`, n%10) // of one length
			before := revision
			revision = save(t, handles[n%len(handles)], key, data, before)
			want(t, handles, key, data, revision)
			wantConflict(t, "the revision before", handles, key, before)
		}
	}
}
