package fds_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

const (
	lower = "9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f"
	other = "11111111-2222-4333-8444-555555555555"
)

func mustID(t testing.TB, s string) fds.SubscriptionID {
	t.Helper()
	id, err := fds.ParseSubscriptionID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOnlyTheHyphenatedFormOfAVersion4UUIDIsASubscriptionID(t *testing.T) {
	for _, test := range []struct{ text, wrong string }{
		{lower, ""},
		{strings.ToUpper(lower), ""},
		{"9F1c6b0A-4D2e-4c8B-9a37-0E5d1c2B3a4F", ""},
		{"00000000-0000-4000-8000-000000000000", ""},
		{"ffffffff-ffff-4fff-bfff-ffffffffffff", ""},
		{"", "it is empty"},
		{"urn:uuid:" + lower, "without urn:uuid:"},
		{"URN:UUID:" + lower, "without urn:uuid:"},
		{"{" + lower + "}", "without braces"},
		{strings.ReplaceAll(lower, "-", ""), "has 32"},
		{lower + " ", "has 37"},
		{" " + lower, "has 37"},
		{lower[:35], "has 35"},
		{lower + "\x00", "has 37"},
		{"9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4g", "not a UUID"},
		{"9f1c6b0a_4d2e_4c8b_9a37_0e5d1c2b3a4f", "not a UUID"},
		{"9f1c6b0a4-d2e-4c8b-9a37-0e5d1c2b3a4f", "not a UUID"},
		{"９" + lower[3:], "not a UUID"}, // a full-width digit, three bytes
		{strings.Repeat("-", 36), "not a UUID"},
		{"00000000-0000-0000-0000-000000000000", "variant"},
		{"9f1c6b0a-4d2e-4c8b-7a37-0e5d1c2b3a4f", "variant"},
		{"9f1c6b0a-4d2e-4c8b-ca37-0e5d1c2b3a4f", "variant"},
		{"9f1c6b0a-4d2e-1c8b-9a37-0e5d1c2b3a4f", "version 1"},
		{"9f1c6b0a-4d2e-5c8b-9a37-0e5d1c2b3a4f", "version 5"},
		{"9f1c6b0a-4d2e-7c8b-9a37-0e5d1c2b3a4f", "version 7"},
	} {
		id, err := fds.ParseSubscriptionID(test.text)
		switch {
		case test.wrong == "" && err != nil:
			t.Errorf("%q: %v", test.text, err)
		case test.wrong == "" && id.String() != strings.ToLower(test.text):
			t.Errorf("%q is spelt %q", test.text, id)
		case test.wrong != "" && (!errors.Is(err, fds.ErrSubscriptionID) || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("%q: error %v, want one that says %q", test.text, err, test.wrong)
		case test.wrong != "" && !id.IsZero():
			t.Errorf("%q: an ID came with the error", test.text)
		}
	}
}

func TestTwoSpellingsAreOneOwner(t *testing.T) {
	a, b := mustID(t, lower), mustID(t, strings.ToUpper(lower))
	if a != b {
		t.Fatalf("%v and %v differ", a, b)
	}
	owners := map[fds.OwnerKey]int{}
	owners[fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: a}]++
	owners[fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: b}]++
	owners[fds.OwnerKey{Issuer: "https://b.example", SubscriptionID: b}]++
	if len(owners) != 2 {
		t.Fatalf("%d owners, want one at each of two issuers: %v", len(owners), owners)
	}
}

func TestTheZeroSubscriptionIDIsNoID(t *testing.T) {
	var zero fds.SubscriptionID
	if !zero.IsZero() || zero.String() != "" || mustID(t, lower).IsZero() {
		t.Fatalf("zero value: IsZero %v, String %q", zero.IsZero(), zero)
	}
	if _, err := zero.Root().Topic("a"); !errors.Is(err, fds.ErrSubscriptionID) {
		t.Errorf("topic of no one: %v", err)
	}
	if _, err := zero.Root().Filter("#"); !errors.Is(err, fds.ErrSubscriptionID) {
		t.Errorf("filter of no one: %v", err)
	}
	if _, err := (fds.Root{}).Levels("fds/v2/" + lower + "/a"); !errors.Is(err, fds.ErrForeignTopic) {
		t.Errorf("a topic below the root of no one: %v", err)
	}
}

func TestNewSubscriptionIDsAreValidAndDiffer(t *testing.T) {
	seen := map[fds.SubscriptionID]bool{}
	for range 100 {
		id := fds.NewSubscriptionID()
		if mustID(t, id.String()) != id || seen[id] {
			t.Fatalf("%v is malformed or came twice", id)
		}
		seen[id] = true
	}
}

func TestAnOwnerKeySurvivesJSONInLowerCase(t *testing.T) {
	key := fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: mustID(t, strings.ToUpper(lower))}
	data, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"issuer":"https://a.example","subscription_id":"` + lower + `"}`; string(data) != want {
		t.Fatalf("JSON is %s, want %s", data, want)
	}
	var back fds.OwnerKey
	if err := json.Unmarshal(data, &back); err != nil || back != key {
		t.Fatalf("read back %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"subscription_id":"{`+lower+`}"}`), &back); !errors.Is(err, fds.ErrSubscriptionID) {
		t.Fatalf("a braced ID in JSON: %v", err)
	}
	if back != key {
		t.Fatal("a failed read changed the key")
	}
	if got, want := key.String(), lower+" at https://a.example"; got != want {
		t.Fatalf("String is %q, want %q", got, want)
	}
}

func TestAttackErrorsAboutIDsAreEscapedAndCut(t *testing.T) {
	_, err := fds.ParseSubscriptionID("\n\x1b[31m" + strings.Repeat("x", 1<<20))
	if err == nil || len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Fatalf("error of %d bytes: %.300q", len(err.Error()), err)
	}
}

func FuzzParseSubscriptionID(f *testing.F) {
	for _, seed := range []string{lower, strings.ToUpper(lower), "urn:uuid:" + lower, "{" + lower + "}", "", "9f1c6b0a-4d2e-1c8b-9a37-0e5d1c2b3a4f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// The reference: lower-case the ASCII letters and compare with the pattern.
		want := len(s) == 36
		for i := 0; want && i < len(s); i++ {
			c := s[i] | 0x20
			digit := s[i] >= '0' && s[i] <= '9'
			switch i {
			case 8, 13, 18, 23:
				want = s[i] == '-'
			case 14:
				want = s[i] == '4'
			case 19:
				want = s[i] == '8' || s[i] == '9' || c == 'a' || c == 'b'
			default:
				want = digit || (c >= 'a' && c <= 'f')
			}
		}
		id, err := fds.ParseSubscriptionID(s)
		if (err == nil) != want {
			t.Fatalf("%q: error %v, accepted by the pattern: %v", s, err, want)
		}
		if want && id.String() != strings.ToLower(s) {
			t.Fatalf("%q is spelt %q", s, id)
		}
		if !want && !errors.Is(err, fds.ErrSubscriptionID) {
			t.Fatalf("%q: %v is not of the class", s, err)
		}
	})
}
