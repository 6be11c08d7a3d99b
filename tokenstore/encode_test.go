package tokenstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestTheEncodingOfAGrantIsThis(t *testing.T) {
	g := Grant{
		Key:                   Key{Issuer: "https://auth.example.com", ClientID: "app", GrantID: "g1"},
		Subscriptions:         []string{"9F1C2F0A-5B7E-4E0F-8F1A-0C9D3B2A1E4F"},
		RefreshToken:          fds.NewSecret("r&<>"),
		AccessToken:           fds.NewSecret("a"),
		TokenType:             "Bearer",
		AccessExpiry:          time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)),
		Scopes:                []string{"openid"},
		GrantType:             "client_credentials",
		ProofKey:              fds.NewSecret("cHJvb2Y"),
		CertificateThumbprint: "bDnc",
		Created:               time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	const want = `{"access_expiry":"2026-01-02T02:04:05.000000006Z","access_token":"a","certificate_thumbprint":"bDnc","client_id":"app","created":"2026-01-01T00:00:00Z","grant_id":"g1",` +
		`"grant_type":"client_credentials","issuer":"https://auth.example.com","proof_key":"cHJvb2Y","refresh_token":"r&<>","scopes":["openid"],"subscriptions":["9F1C2F0A-5B7E-4E0F-8F1A-0C9D3B2A1E4F"],"token_type":"Bearer","version":1}`
	data, err := g.Encode()
	if err != nil || string(data) != want {
		t.Fatalf("Encode gives\n%s, %v; want\n%s", data, err, want)
	}
	back, err := DecodeGrant([]byte(want))
	if err != nil || !back.Equal(g) {
		t.Fatalf("DecodeGrant gives %+v, %v", back, err)
	}
}

func TestMembersOfANewerVersionAreKept(t *testing.T) {
	const record = `{"version":1,"issuer":"i","client_id":"c","grant_id":"g","Issuer":"other","dpop":{"key":[1,2.50,"x"]},"renewed":"2026-01-01T00:00:00Z"}`
	g, err := DecodeGrant([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	if g.Issuer != "i" {
		t.Errorf("the issuer is %q: a member of another spelling was taken for it", g.Issuer)
	}
	g.AccessToken = fds.NewSecret("a")
	g.Renewed = time.Time{}
	data, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	if string(members["dpop"]) != `{"key":[1,2.50,"x"]}` || string(members["Issuer"]) != `"other"` || string(members["access_token"]) != `"a"` || members["renewed"] != nil {
		t.Errorf("Encode gives %s", data)
	}
	if other, err := DecodeGrant([]byte(strings.Replace(record, "2.50", "2.51", 1))); err != nil || other.Equal(g) {
		t.Errorf("Equal does not see the members of a newer version (%v)", err)
	}
}

func TestAttackADamagedRecordIsNoGrant(t *testing.T) {
	for _, c := range []struct {
		name, record string
		class        error
	}{
		{"nothing", ``, fds.ErrCorrupt},
		{"no object", `[]`, fds.ErrCorrupt},
		{"null", `null`, fds.ErrCorrupt},
		{"cut", `{"version":1,"issuer":"i","client_id":"c","grant_id":"g","refresh_token":"` + hush, fds.ErrCorrupt},
		{"more behind it", `{"version":1,"issuer":"i","client_id":"c","grant_id":"g"} {}`, fds.ErrCorrupt},
		{"no version", `{"issuer":"i","client_id":"c","grant_id":"g"}`, fds.ErrCorrupt},
		{"version 0", `{"version":0,"issuer":"i","client_id":"c","grant_id":"g"}`, fds.ErrCorrupt},
		{"a version that is a text", `{"version":"` + hush + `","issuer":"i","client_id":"c","grant_id":"g"}`, fds.ErrCorrupt},
		{"a newer version", `{"version":2}`, fds.ErrNewerFormat},
		{"no key", `{"version":1}`, fds.ErrCorrupt},
		{"no grant ID", `{"version":1,"issuer":"i","client_id":"c"}`, fds.ErrCorrupt},
		{"a token that is a number", `{"version":1,"issuer":"i","client_id":"c","grant_id":"g","refresh_token":1}`, fds.ErrCorrupt},
		{"a list that is a text", `{"version":1,"issuer":"i","client_id":"c","grant_id":"g","scopes":"` + hush + `"}`, fds.ErrCorrupt},
		{"no time", `{"version":1,"issuer":"i","client_id":"c","grant_id":"g","created":"` + hush + `"}`, fds.ErrCorrupt},
		{"no UTF-8", "{\"version\":1,\"issuer\":\"i\",\"client_id\":\"c\",\"grant_id\":\"g\",\"refresh_token\":\"\xff\"}", fds.ErrCorrupt},
		{"too large", `{"version":1,"issuer":"i","client_id":"c","grant_id":"g","refresh_token":"` + strings.Repeat("x", MaxGrantSize) + `"}`, fds.ErrTooLarge},
	} {
		g, err := DecodeGrant([]byte(c.record))
		if !errors.Is(err, c.class) {
			t.Errorf("%s: got %+v, %v; want %q", c.name, g, err, c.class)
		}
		if err != nil && leaks(err.Error()) {
			t.Errorf("%s: the error shows the record: %v", c.name, err)
		}
	}
}

func TestErrorsNameTheGrantAndTheRemedy(t *testing.T) {
	cause := errors.New("the cause")
	err := error(&Error{Op: "save grant", Key: Key{"https://i", "c\n", strings.Repeat("g", 500)}, Class: fds.ErrStoreUnavailable, Err: cause, Hint: "do this"})
	want := `tokenstore: save grant "` + strings.Repeat("g", 80) + `"... of client "c\n" at "https://i": store not available: the cause; do this`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	var e *Error
	if !errors.Is(err, cause) || !errors.Is(err, fds.ErrStoreUnavailable) || errors.Is(err, fds.ErrCorrupt) || !errors.As(err, &e) {
		t.Error("the error does not match its class and cause")
	}
}

func FuzzDecodeGrant(f *testing.F) {
	full := crashGrant(1, "x", 10)
	full.AccessExpiry, full.Scopes, full.TokenType = time.Unix(1e9, 5), []string{"a"}, "Bearer"
	data, err := full.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(bytes.Replace(data, []byte("{"), []byte(`{"x":{"y":[1,null]},`), 1))
	f.Add([]byte(`{"version":1,"issuer":"\u0000","client_id":"\ud800","grant_id":"<","created":null,"scopes":[]}`))
	f.Add([]byte(`{"version":99}`))
	if data, err = marked().Encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(bytes.Replace(data, []byte(`"renewal":{`), []byte(`"renewal":{"x":{"y":1},`), 1))
	f.Add(bytes.Replace(data, []byte(`"refresh_token":"r"`), []byte(`"refresh_token":"r2"`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := DecodeGrant(data)
		if err != nil {
			if !errors.Is(err, fds.ErrCorrupt) && !errors.Is(err, fds.ErrNewerFormat) && !errors.Is(err, fds.ErrTooLarge) {
				t.Fatalf("an error of no class: %v", err)
			}
			return
		}
		again, err := g.Encode()
		if errors.Is(err, fds.ErrTooLarge) && len(data) > MaxGrantSize/8 {
			return // escapes may lengthen it
		}
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		back, err := DecodeGrant(again)
		if err != nil || !back.Equal(g) {
			t.Fatalf("decode, encode, decode is not decode (%v)", err)
		}
		once, err := back.Encode()
		if err != nil || !bytes.Equal(once, again) {
			t.Fatalf("the encoding is not stable (%v)", err)
		}
	})
}

func FuzzDecodeIndex(f *testing.F) {
	f.Add([]byte(`{"version":1,"grants":[{"issuer":"i","client_id":"c","grant_id":"g","subscriptions":["s"],"unsettled":true}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := decodeIndex(data)
		if err != nil {
			return
		}
		again, err := i.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeIndex(again)
		if err != nil || len(back.entries) != len(i.entries) {
			t.Fatalf("what was decoded and encoded is not an index: %v", err)
		}
	})
}

func FuzzFolderFile(f *testing.F) {
	identity, err := parseIdentity(NewIdentity(f))
	if err != nil {
		f.Fatal(err)
	}
	header, _, err := encodeEntry(crashGrant(1, "", 0).Entry())
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := seal(grantPrefix, header, []byte("content"), identity.Recipient())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte(grantPrefix + "{}\n"))
	f.Add([]byte(folderPrefix + `{"version":1}` + "\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		line, err := readHeader(grantPrefix, bytes.NewReader(file))
		if err == nil {
			if e, _, err := decodeEntry(line); err == nil {
				again, class, err := encodeEntry(e)
				if err != nil && class != fds.ErrTooLarge {
					t.Fatalf("what was decoded does not encode: %v", err)
				}
				if back, _, err2 := decodeEntry(again); err == nil && (err2 != nil || back.Key != e.Key) {
					t.Fatalf("decode, encode, decode is not decode: %v", err2)
				}
			}
		}
		if _, err := readKeyHeader("x", file); err != nil && !errors.Is(err, fds.ErrCorrupt) && !errors.Is(err, fds.ErrNewerFormat) {
			t.Fatalf("an error of no class: %v", err)
		}
		got, content, err := unseal(grantPrefix, file, identity)
		if err == nil && !bytes.Equal(file, sealed) {
			t.Fatalf("a file that is not ours passes: header %q, %d bytes", got, len(content))
		}
	})
}

func TestAGrantThatCannotBeWrittenSaysWhere(t *testing.T) {
	for _, c := range []struct {
		spoil func(*Grant)
		want  string
	}{
		{func(g *Grant) { g.TokenType = hush + "\xff" }, "token_type: it is not valid UTF-8"},
		{func(g *Grant) { g.RefreshToken = fds.NewSecret(hush + "\xff") }, "refresh_token: it is not valid UTF-8"},
		{func(g *Grant) { g.Scopes = []string{"a", hush + "\xff"} }, "scopes: it is not valid UTF-8"},
		{func(g *Grant) { g.Created = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }, "created: json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]"},
	} {
		g := crashGrant(1, "", 0)
		c.spoil(&g)
		data, err := g.Encode()
		if !errors.Is(err, fds.ErrMalformed) || !strings.HasSuffix(err.Error(), c.want) || data != nil || leaks(err.Error()) {
			t.Errorf("Encode gives %q, %v; want %s", data, err, c.want)
		}
	}
}

func TestARecordOfANewerVersionIsNotTakenForDamaged(t *testing.T) {
	if _, err := DecodeGrant([]byte(`{"version":2,"issuer":{"of":"another type"}}`)); !errors.Is(err, fds.ErrNewerFormat) {
		t.Errorf("got %v", err)
	}
}
