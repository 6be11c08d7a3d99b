package tokenstore

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// marked is a grant whose renewal is known in every part.
func marked() Grant {
	return Grant{
		Key:          Key{Issuer: "i", ClientID: "c", GrantID: "g"},
		RefreshToken: fds.NewSecret("r"),
		Renewal: Renewal{
			By:      "host/42",
			Since:   time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)),
			Sent:    2,
			Refused: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC),
			Looked:  time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC),
			Lapsed:  true,
			Former:  fds.NewSecret("f"),
		},
	}
}

func TestTheEncodingOfARenewalIsThis(t *testing.T) {
	const want = `{"client_id":"c","grant_id":"g","issuer":"i","refresh_token":"r","renewal":{"by":"host/42","former":"f","lapsed":true,` +
		`"looked":"2026-01-04T00:00:00Z","refused":"2026-01-03T00:00:00Z","sent":2,"since":"2026-01-02T02:04:05.000000006Z",` +
		`"token":"RUNJ5CLwUpcZHq0T4h09tSDlq-9SBV5JZLgvshP1k6E"},"version":1}`
	data, err := marked().Encode()
	if err != nil || string(data) != want {
		t.Fatalf("Encode gives\n%s, %v; want\n%s", data, err, want)
	}
	back, err := DecodeGrant(data)
	if err != nil || !back.Equal(marked()) {
		t.Fatalf("DecodeGrant gives %+v, %v", back, err)
	}
}

func TestEqualSeesEveryPartOfARenewal(t *testing.T) {
	for name, change := range map[string]func(*Renewal){
		"By":      func(r *Renewal) { r.By = "" },
		"Since":   func(r *Renewal) { r.Since = time.Time{} },
		"Sent":    func(r *Renewal) { r.Sent++ },
		"Refused": func(r *Renewal) { r.Refused = time.Time{} },
		"Looked":  func(r *Renewal) { r.Looked = time.Time{} },
		"Lapsed":  func(r *Renewal) { r.Lapsed = false },
		"Former":  func(r *Renewal) { r.Former = fds.Secret{} },
	} {
		g := marked()
		change(&g.Renewal)
		if g.Equal(marked()) {
			t.Errorf("%s is not compared", name)
		}
		data, err := g.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeGrant(data); err != nil || !back.Equal(g) {
			t.Errorf("%s is not kept: %+v, %v", name, back.Renewal, err)
		}
	}
}

// rewritten returns what a version of this package that knows no renewals writes after a
// change: it keeps what it does not know.
func rewritten(t *testing.T, g Grant, member, value string) Grant {
	t.Helper()
	data, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	members[member] = json.RawMessage(value)
	if data, err = json.Marshal(members); err != nil {
		t.Fatal(err)
	}
	back, err := DecodeGrant(data)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestARenewalEndsWithItsRefreshToken(t *testing.T) {
	if g := rewritten(t, marked(), "refresh_token", `"r2"`); !g.Renewal.equal(Renewal{}) {
		t.Errorf("with another refresh token there is %+v", g.Renewal)
	} else if data, err := g.Encode(); err != nil || strings.Contains(string(data), "renewal") {
		t.Errorf("and it is written again: %s, %v", data, err)
	}
	if g := rewritten(t, marked(), "subscriptions", `["s"]`); !g.Renewal.equal(marked().Renewal) {
		t.Errorf("after another change there is %+v", g.Renewal)
	}
	g := marked()
	g.RefreshToken, g.Renewal = fds.NewSecret("r2"), Renewal{By: "host/43"} // one with the new token
	if data, err := g.Encode(); err != nil {
		t.Fatal(err)
	} else if back, err := DecodeGrant(data); err != nil || back.Renewal.By != "host/43" || back.Renewal.Sent != 0 {
		t.Errorf("DecodeGrant gives %+v, %v", back.Renewal, err)
	}
	without := Grant{Key: marked().Key, GrantType: "client_credentials", Renewal: Renewal{By: "host/42"}}
	if data, err := without.Encode(); err != nil {
		t.Fatal(err)
	} else if back, err := DecodeGrant(data); err != nil || !back.Equal(without) {
		t.Errorf("without a refresh token: %+v, %v", back.Renewal, err)
	}
}

func TestMembersOfANewerRenewalAreKept(t *testing.T) {
	g := rewritten(t, marked(), "renewal", `{"token":"`+tokenHash(fds.NewSecret("r"))+`","by":"host/42","broker":{"x":[1,2.50]}}`)
	g.Renewal.Sent++
	data, err := g.Encode()
	if err != nil || !strings.Contains(string(data), `"broker":{"x":[1,2.50]}`) || !strings.Contains(string(data), `"sent":1`) {
		t.Errorf("Encode gives %s, %v", data, err)
	}
	if back, err := DecodeGrant(data); err != nil || !back.Equal(g) {
		t.Errorf("DecodeGrant gives %+v, %v", back, err)
	}
}

func TestADamagedRenewalIsADamagedRecord(t *testing.T) {
	for _, renewal := range []string{`"` + hush + `"`, `[]`, `{"by":1}`, `{"sent":"` + hush + `"}`, `{"lapsed":1}`, `{"looked":"` + hush + `"}`} {
		_, err := DecodeGrant([]byte(`{"version":1,"issuer":"i","client_id":"c","grant_id":"g","renewal":` + renewal + `}`))
		if !errors.Is(err, fds.ErrCorrupt) || leaks(err.Error()) {
			t.Errorf("%s gives %v", renewal, err)
		}
	}
	g := marked()
	g.Renewal.Former = fds.NewSecret(hush + "\xff")
	if _, err := g.Encode(); !errors.Is(err, fds.ErrMalformed) || !strings.HasSuffix(err.Error(), "renewal: former: it is not valid UTF-8") || leaks(err.Error()) {
		t.Errorf("Encode of what is not UTF-8 gives %v", err)
	}
}
