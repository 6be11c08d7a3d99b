package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func emptyStore(t *testing.T, s tokenstore.Store, _ Options) {
	for range 2 {
		if err := s.Probe(t.Context()); err != nil {
			t.Fatalf("Probe: %v", err)
		}
		wantList(t, s) // a probe leaves nothing in the list
	}
}

func roundTrip(t *testing.T, s tokenstore.Store, _ Options) {
	full := grant(key(1), "1")
	bare := tokenstore.Grant{Key: key(2)}
	odd := grant(key(3), "<&>\"\\\u2028 日本 🚜 \t\n\x01\x7f")
	odd.TokenType = "bEaReR <&>"
	odd.Scopes = []string{"", "a b", "ü"}
	odd.Subscriptions = []string{"not-a-uuid", "", "not-a-uuid"} // the store does not judge
	for _, g := range []tokenstore.Grant{full, bare, odd} {
		save(t, s, g)
		wantGrant(t, s, g)
	}
	for _, g := range []tokenstore.Grant{full, bare, odd} {
		wantGrant(t, s, g)
	}
	wantList(t, s, full, bare, odd)
}

func largeGrant(t *testing.T, s tokenstore.Store, options Options) {
	for n, size := range []int{options.LargeToken, options.LargeToken - 1, 1000, 3000, options.LargeToken / 2} {
		g := grant(key(n), "large")
		g.RefreshToken = fds.NewSecret(text(size))
		g.AccessToken = fds.NewSecret(text(size))
		save(t, s, g)
		wantGrant(t, s, g)
	}
}

// text returns size bytes that do not repeat.
func text(size int) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(rand.Text())
	}
	return b.String()[:size]
}

func newerMembers(t *testing.T, s tokenstore.Store, _ Options) {
	data, err := grant(key(1), "1").Encode()
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(data, []byte("{"), []byte(`{"zz_dpop_key":{"kty":"EC","d":"only here"},`), 1)
	g, err := tokenstore.DecodeGrant(newer)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, g)
	loaded, err := s.Load(t.Context(), g.Key)
	if err != nil {
		t.Fatal(err)
	}
	loaded.AccessToken = fds.NewSecret("renewed")
	save(t, s, loaded)
	loaded, err = s.Load(t.Context(), g.Key)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = loaded.Encode(); err != nil || !bytes.Contains(data, []byte(`"only here"`)) || !bytes.Contains(data, []byte(`"renewed"`)) {
		t.Fatalf("after a rewrite the member of a newer version or the change is gone (%v)", err)
	}
}

func overwrite(t *testing.T, s tokenstore.Store, _ Options) {
	first, other := grant(key(1), "first"), grant(key(2), "other")
	save(t, s, first)
	save(t, s, other)
	second := tokenstore.Grant{Key: key(1), RefreshToken: fds.NewSecret("second"), Subscriptions: []string{"one more"}}
	save(t, s, second)
	wantGrant(t, s, second)
	wantGrant(t, s, other)
	wantList(t, s, second, other)
}

func ownCopies(t *testing.T, s tokenstore.Store, _ Options) {
	saved := grant(key(1), "1")
	save(t, s, saved)
	saved.Subscriptions[0], saved.Scopes[0] = "changed", "changed"
	wantGrant(t, s, grant(key(1), "1"))
	loaded, err := s.Load(t.Context(), key(1))
	if err != nil {
		t.Fatal(err)
	}
	loaded.Subscriptions[0], loaded.Scopes[0] = "changed", "changed"
	wantGrant(t, s, grant(key(1), "1"))
	for e, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		e.Subscriptions[0] = "changed"
	}
	wantGrant(t, s, grant(key(1), "1"))
	wantList(t, s, grant(key(1), "1"))
}

func growAndShrink(t *testing.T, s tokenstore.Store, options Options) {
	large := options.LargeToken
	for _, size := range []int{10, large, 10, large / 2, large, large / 3, 3000, 10, large} {
		g := grant(key(1), "")
		g.RefreshToken = fds.NewSecret(text(size))
		save(t, s, g)
		wantGrant(t, s, g)
		wantList(t, s, g)
	}
}

func notFound(t *testing.T, s tokenstore.Store, _ Options) {
	wantNotFound(t, s, key(1))
	save(t, s, grant(key(2), "2"))
	wantNotFound(t, s, key(1))
}

func deletion(t *testing.T, s tokenstore.Store, options Options) {
	if err := s.Delete(t.Context(), key(1)); err != nil {
		t.Fatalf("Delete of nothing: %v", err)
	}
	gone, kept := grant(key(1), "gone"), grant(key(2), "kept")
	gone.RefreshToken = fds.NewSecret(text(options.LargeToken))
	for range 2 {
		save(t, s, gone)
		save(t, s, kept)
		for range 2 {
			if err := s.Delete(t.Context(), gone.Key); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			wantNotFound(t, s, gone.Key)
			wantGrant(t, s, kept)
			wantList(t, s, kept)
		}
	}
	if err := s.Delete(t.Context(), kept.Key); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantList(t, s)
}

func isolation(t *testing.T, s tokenstore.Store, _ Options) {
	var grants []tokenstore.Grant
	for n, k := range nastyKeys() {
		g := grant(k, fmt.Sprint(n))
		save(t, s, g)
		grants = append(grants, g)
	}
	for _, g := range grants {
		wantGrant(t, s, g)
	}
	wantList(t, s, grants...)
	for len(grants) > 0 {
		if err := s.Delete(t.Context(), grants[0].Key); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantNotFound(t, s, grants[0].Key)
		grants = grants[1:]
	}
	wantList(t, s)
}

func refusals(t *testing.T, s tokenstore.Store, _ Options) {
	kept := grant(key(1), "kept")
	save(t, s, kept)
	tooLarge := grant(key(1), "")
	tooLarge.RefreshToken = fds.NewSecret(strings.Repeat("x", tokenstore.MaxGrantSize))
	notText := grant(key(1), "")
	notText.RefreshToken = fds.NewSecret("\xff")
	farAway := grant(key(1), "")
	farAway.Created = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
	badKey := func(change func(*tokenstore.Key)) tokenstore.Grant {
		g := grant(key(1), "")
		change(&g.Key)
		return g
	}
	for _, c := range []struct {
		what  string
		grant tokenstore.Grant
		class error
	}{
		{"a grant beyond MaxGrantSize", tooLarge, fds.ErrTooLarge},
		{"a token that is not UTF-8", notText, fds.ErrMalformed},
		{"a year beyond 9999", farAway, fds.ErrMalformed},
		{"a key without issuer", badKey(func(k *tokenstore.Key) { k.Issuer = "" }), fds.ErrMalformed},
		{"a key without client ID", badKey(func(k *tokenstore.Key) { k.ClientID = "" }), fds.ErrMalformed},
		{"a key without grant ID", badKey(func(k *tokenstore.Key) { k.GrantID = "" }), fds.ErrMalformed},
		{"a key that is not UTF-8", badKey(func(k *tokenstore.Key) { k.GrantID = "\xff" }), fds.ErrMalformed},
	} {
		if _, err := s.Save(t.Context(), c.grant); !errors.Is(err, c.class) {
			t.Errorf("Save of %s gives %v, want %q", c.what, err, c.class)
		}
	}
	wantGrant(t, s, kept)
	wantList(t, s, kept)
}

func leaveList(t *testing.T, s tokenstore.Store, _ Options) {
	for n := range 3 {
		save(t, s, grant(key(n), ""))
	}
	for entry, err := range s.List(t.Context()) {
		if err != nil || entry.Key.GrantID == "" {
			t.Fatalf("List: %+v, %v", entry, err)
		}
		break // a store that calls on after this panics
	}
	save(t, s, grant(key(4), "")) // a store that keeps a lock for the listing hangs
}

func durability(t *testing.T, s tokenstore.Store, options Options) {
	kept, changed, gone := grant(key(1), "1"), grant(key(2), "2"), grant(key(3), "3")
	for _, g := range []tokenstore.Grant{kept, changed, gone} {
		save(t, s, g)
	}
	other := options.Reopen(t, s)
	wantGrant(t, other, kept)
	changed.AccessToken = fds.NewSecret("changed")
	save(t, other, changed)
	if err := other.Delete(t.Context(), gone.Key); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	for _, handle := range []tokenstore.Store{s, other, options.Reopen(t, s)} {
		wantGrant(t, handle, changed)
		wantNotFound(t, handle, gone.Key)
		wantList(t, handle, kept, changed)
	}
}

func endedContext(t *testing.T, s tokenstore.Store, _ Options) {
	g := grant(key(1), "1")
	save(t, s, g)
	why := errors.New("the test's own cause")
	for _, ended := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want error
	}{
		{"cancelled", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, cancel
		}, context.Canceled},
		{"past its deadline", func() (context.Context, context.CancelFunc) {
			return context.WithDeadline(t.Context(), time.Unix(0, 0))
		}, context.DeadlineExceeded},
		{"cancelled with a cause", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(why)
			return ctx, func() {}
		}, context.Canceled},
	} {
		ctx, cancel := ended.ctx()
		defer cancel()
		check := func(method string, err error) {
			if !errors.Is(err, ended.want) {
				t.Errorf("%s with a context that is %s gives %v", method, ended.name, err)
			}
		}
		changed := g
		changed.AccessToken = fds.NewSecret("changed")
		check("Probe", s.Probe(ctx))
		_, err := s.Load(ctx, g.Key)
		check("Load", err)
		_, err = s.Save(ctx, changed)
		check("Save", err)
		_, err = s.Reserve(ctx, changed)
		check("Reserve", err)
		check("Delete", s.Delete(ctx, g.Key))
		_, err = s.Lock(ctx, g.Key)
		check("Lock", err)
		err = nil
		for _, err = range s.List(ctx) {
			if err != nil {
				break
			}
		}
		check("List", err)
	}
	wantGrant(t, s, g)
	lease, err := s.Lock(t.Context(), g.Key)
	if err != nil {
		t.Fatalf("Lock after a Lock that was cancelled: %v", err)
	}
	lease.Release()
}

func quietErrors(t *testing.T, s tokenstore.Store, _ Options) {
	const secret = "s3cr3t-that-must-not-show"
	g := grant(key(1), secret)
	g.GrantID = ""
	notText := grant(key(1), secret+"\xff")
	large := grant(key(1), secret)
	large.AccessToken = fds.NewSecret(strings.Repeat(secret, tokenstore.MaxGrantSize/len(secret)+1))
	for _, g := range []tokenstore.Grant{g, notText, large} {
		_, err := s.Save(t.Context(), g)
		if err == nil {
			t.Fatal("Save took what cannot be stored")
		}
		for _, form := range []string{"%v", "%+v", "%#v", "%q"} {
			if shown := fmt.Sprintf(form, err); strings.Contains(shown, secret) {
				t.Errorf("the error printed with %s shows a token", form)
			}
		}
	}
}
