package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// key returns distinct plain keys.
func key(n int) tokenstore.Key {
	return tokenstore.Key{Issuer: "https://auth.example.com", ClientID: "fleet-app", GrantID: fmt.Sprintf("grant-%d", n)}
}

// grant returns a grant with every member set, the tokens marked with text.
func grant(k tokenstore.Key, text string) tokenstore.Grant {
	created := time.Date(2026, 3, 1, 12, 30, 15, 123456789, time.FixedZone("", 7200))
	return tokenstore.Grant{
		Key:                   k,
		Subscriptions:         []string{"9F1C2F0A-5B7E-4E0F-8F1A-0C9D3B2A1E4F", "0b5e6b0e-8f0e-4c3c-9a55-0f0e7d1c2b3a"},
		RefreshToken:          fds.NewSecret("refresh-" + text),
		AccessToken:           fds.NewSecret("access-" + text),
		TokenType:             "Bearer",
		AccessExpiry:          created.Add(time.Hour),
		RefreshExpiry:         created.AddDate(0, 1, 0),
		Scopes:                []string{"openid", "offline_access"},
		GrantType:             "client_credentials",
		ProofKey:              fds.NewSecret("cHJvb2Y"),
		CertificateThumbprint: "bDnc",
		Created:               created,
		Renewed:               created.Add(time.Minute),
	}
}

// save saves g in place of what is stored, and returns its revision.
func save(t *testing.T, s tokenstore.Store, g tokenstore.Grant) (revision string) {
	t.Helper()
	switch stored, err := s.Load(t.Context(), g.Key); {
	case err == nil:
		g.Revision = stored.Revision
	case errors.Is(err, fds.ErrNoGrant):
		g.Revision = ""
	default:
		t.Fatalf("Load: %v", err)
	}
	revision, err := s.Save(t.Context(), g)
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	return revision
}

// wantGrant checks that Load returns want.
func wantGrant(t *testing.T, s tokenstore.Store, want tokenstore.Grant) {
	t.Helper()
	got, err := s.Load(t.Context(), want.Key)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	wantEqual(t, got, want)
}

func wantEqual(t *testing.T, got, want tokenstore.Grant) {
	t.Helper()
	if got.Equal(want) {
		return
	}
	if !got.RefreshToken.Equal(want.RefreshToken) || !got.AccessToken.Equal(want.AccessToken) {
		t.Errorf("the tokens differ: lengths %d and %d, want %d and %d", len(got.RefreshToken.Reveal()), len(got.AccessToken.Reveal()),
			len(want.RefreshToken.Reveal()), len(want.AccessToken.Reveal()))
	}
	t.Fatalf("the grant is\n%+v, want\n%+v", got, want)
}

func wantNotFound(t *testing.T, s tokenstore.Store, k tokenstore.Key) {
	t.Helper()
	if g, err := s.Load(t.Context(), k); !errors.Is(err, fds.ErrNoGrant) {
		t.Fatalf("Load of a missing grant gives %+v, %v; want ErrNotFound", g, err)
	}
}

// wantList checks that List returns exactly the entries of these grants, in any order.
func wantList(t *testing.T, s tokenstore.Store, want ...tokenstore.Grant) {
	t.Helper()
	var got []tokenstore.Entry
	for entry, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		got = append(got, entry)
	}
	text := func(entries []tokenstore.Entry) []string {
		var list []string
		for _, e := range entries {
			list = append(list, fmt.Sprintf("%q %q", e.Key, e.Subscriptions))
		}
		slices.Sort(list)
		return list
	}
	var entries []tokenstore.Entry
	for _, g := range want {
		entries = append(entries, g.Entry())
	}
	if g, w := text(got), text(entries); !slices.Equal(g, w) {
		t.Fatalf("List gives\n%s\nwant\n%s", strings.Join(g, "\n"), strings.Join(w, "\n"))
	}
}

// nastyKeys are pairwise different, some only by what a careless store drops.
func nastyKeys() []tokenstore.Key {
	long := "https://auth.example.com/" + strings.Repeat("tenant/", 1000)
	keys := []tokenstore.Key{
		{Issuer: "https://a.example/b", ClientID: "c", GrantID: "d"},
		{Issuer: "https://a.example", ClientID: "b/c", GrantID: "d"},
		{Issuer: "https://a.example", ClientID: "b", GrantID: "c/d"},
		{Issuer: "https://a.example/", ClientID: "b", GrantID: "c/d"},
		{Issuer: "https://A.example", ClientID: "b", GrantID: "c/d"},
		{Issuer: "a", ClientID: "bc", GrantID: "d"},
		{Issuer: "ab", ClientID: "c", GrantID: "d"},
		{Issuer: "a", ClientID: "b", GrantID: "cd"},
		{Issuer: "1:a", ClientID: "1:b", GrantID: "1:c"},
		{Issuer: "a\x00b", ClientID: "c", GrantID: "d"},
		{Issuer: "a", ClientID: "b\x00c", GrantID: "d"},
		{Issuer: "..", ClientID: "..", GrantID: "../../../../etc/passwd"},
		{Issuer: `C:\`, ClientID: `..\..`, GrantID: `nul`},
		{Issuer: "con", ClientID: "aux.", GrantID: " "},
		{Issuer: " con", ClientID: "aux. ", GrantID: "  "},
		{Issuer: "a\nb", ClientID: "c\r\nd", GrantID: "e\tf"},
		{Issuer: `{"issuer":"x"}`, ClientID: `"`, GrantID: `\"`},
		{Issuer: "https://münchen.example", ClientID: "日本", GrantID: "🚜"},
		{Issuer: "https://mu\u0308nchen.example", ClientID: "日本", GrantID: "🚜"}, // the same letters, composed otherwise
		{Issuer: "%2F", ClientID: "%00", GrantID: "*?<>|:"},
		{Issuer: "$(id)", ClientID: "`id`", GrantID: "'; DROP TABLE grants; --"},
		{Issuer: "\u2028<&>", ClientID: "\ufeff", GrantID: "\u202e"},
		{Issuer: long, ClientID: "app", GrantID: "g"},
		{Issuer: long + "x", ClientID: "app", GrantID: "g"},
		{Issuer: long, ClientID: strings.Repeat("c", 4000), GrantID: strings.Repeat("g", 4000)},
	}
	return keys
}
