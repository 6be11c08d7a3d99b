package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

func TestAMessageHasItsKeyHoweverItCame(t *testing.T) {
	dialect := fds.Dialect{KindMember: "kind", StatusKind: "status", SequenceMember: "n"}
	key := func(source delivery.Source, payload string) (of struct{ Kind, Key string }) {
		line := messageLine(delivery.Message{Source: source, Payload: []byte(payload)}.In(&dialect), false)
		if err := json.Unmarshal(line, &of); err != nil {
			t.Error(err)
		}
		return of
	}
	pushed, fetched := key(delivery.FromPush, `{"device_id":"d","kind":"status","n":1}`), key(delivery.FromBackfill, `{"device_id": "d", "kind": "status", "n": 1}`)
	if pushed != fetched || pushed.Kind != "status" || len(pushed.Key) != 44 {
		t.Errorf("%+v by push, %+v fetched", pushed, fetched)
	}
	if other := key(delivery.FromPush, `{"device_id":"d","kind":"alarm","n":1}`); other.Kind != "" || other.Key != "" {
		t.Errorf("what is neither event nor status is %+v", other)
	}
}

func TestAMessageThatWasNotPushedNamesItsKind(t *testing.T) {
	id, err := fds.ParseSubscriptionID(south.Spelling)
	if err != nil {
		t.Fatal(err)
	}
	m := delivery.Message{
		Owner: fds.OwnerKey{Issuer: "https://a.example", SubscriptionID: id}, Source: delivery.FromBackfill, Kind: delivery.KindEvent, Duplicate: true,
		ReceivedAt: time.Date(2026, 3, 1, 14, 0, 0, 120e6, time.FixedZone("", 3600)), Payload: []byte(" 1.0 "),
	}
	want := `{"owner":"` + strings.ToLower(south.Spelling) + `","issuer":"https://a.example","topic":"","levels":[],"qos":0,"retained":false,"duplicate":true,` +
		`"source":"backfill","kind":"event","received_at":"2026-03-01T13:00:00.12Z","payload":1.0}` + "\n"
	if got := string(messageLine(m, false)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// FuzzMessageLine: whatever is sent, the line is one line of JSON in which the
// payload can be found again.
func FuzzMessageLine(f *testing.F) {
	for _, seed := range []string{odd, "", "\xff", "{\"a\":\"\xff\"}", "[1,\n2]", "\"\u2028\"", "nul", "\ufeff1"} {
		f.Add([]byte(seed), "level")
	}
	f.Fuzz(func(t *testing.T, payload []byte, level string) {
		line := messageLine(delivery.Message{Source: delivery.FromPush, Payload: payload, Levels: []string{level}}, false)
		checkLine(t, line, payload)
	})
}

// unescaped writes what ends a line for some readers as it is.
func unescaped(line []byte) []byte {
	return []byte(strings.NewReplacer(`\u0085`, "\u0085", `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(string(line)))
}

func checkLine(t *testing.T, line, payload []byte) {
	t.Helper()
	if n := bytes.Count(line, []byte("\n")); n != 1 || line[len(line)-1] != '\n' || !utf8.Valid(line) || bytes.ContainsAny(line, "\u0085\u2028\u2029") {
		t.Fatalf("%d line ends in %q", n, line)
	}
	var got struct {
		Payload json.RawMessage
		Base64  *[]byte `json:"payload_base64"`
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if json.Valid(payload) && utf8.Valid(payload) {
		var want bytes.Buffer
		if err := json.Compact(&want, payload); err != nil || got.Base64 != nil || !bytes.Equal(unescaped(got.Payload), unescaped(want.Bytes())) && want.String() != "null" {
			t.Fatalf("%q became %q, %v", payload, line, err)
		}
	} else if got.Base64 == nil || !bytes.Equal(*got.Base64, payload) || got.Payload != nil {
		t.Fatalf("%q became %q", payload, line)
	}
}
