package statestore

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
)

// FuzzAFile: nothing that a file may hold is taken for what it is not.
func FuzzAFile(f *testing.F) {
	key := Key{"app", newOwner(), stateName}
	for _, name := range []string{stateName, "other"} {
		key.Name = name
		for _, data := range []string{`{"a":1}`, "text", ""} {
			file, _, err := encode(key, []byte(data))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(bytes.Join(file, nil), name == stateName)
		}
	}
	f.Add([]byte(`{"version":1,"owner":{"issuer":"https://auth.example.com","subscription_id":"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"},"state":{}}`), true)
	f.Fuzz(func(t *testing.T, file []byte, shared bool) {
		got, err := decode(key, file, shared)
		if got.Revision == "" || err != nil && (!errors.Is(err, fds.ErrCorrupt) || got.Data != nil) || err == nil && got.Data == nil {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

// FuzzARecord: all data of all keys comes back as it was.
func FuzzARecord(f *testing.F) {
	f.Add("app", "https://a.example", []byte(`{"a":1}`), true)
	f.Add(`","state":`, `{"owner":`, []byte(`{},"state":{}`), true)
	f.Add("", "\n", []byte("\n"), false)
	f.Fuzz(func(t *testing.T, client, issuer string, data []byte, state bool) {
		key := Key{client, newOwner(), "other"}
		if state {
			key.Name = stateName
		}
		if key.Owner.Issuer = issuer; !utf8.ValidString(issuer) || !utf8.ValidString(client) {
			t.Skip()
		}
		parts, revision, err := encode(key, data)
		if err != nil {
			t.Fatal(err)
		}
		file := bytes.Join(parts, nil)
		got, err := decode(key, file, false)
		if err != nil || !bytes.Equal(got.Data, data) || got.Revision != revision || *got.clientID != client {
			t.Fatalf("%q of %q is read as %+v, %v", file, data, got, err)
		}
		key.Owner = newOwner()
		if _, err := decode(key, file, true); !errors.Is(err, fds.ErrCorrupt) {
			t.Fatalf("another owner's file: %v", err)
		}
	})
}
