package delivery_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

var (
	anOwner = fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: fds.NewSubscriptionID()}
	telling = fds.Dialect{KindMember: "generic.kind", EventKind: "event", StatusKind: "status", TimeMember: "generic.at", SequenceMember: "generic.n"}
	keyForm = regexp.MustCompile(`^1[A-Za-z0-9_-]{43}$`)
)

func keyOf(t *testing.T, owner fds.OwnerKey, d *fds.Dialect, payload string) string {
	t.Helper()
	key, ok := delivery.Message{Owner: owner, Payload: []byte(payload)}.In(d).Key()
	if ok != (key != "") || ok && !keyForm.MatchString(key) {
		t.Fatalf("%.200s: key %q, %v", payload, key, ok)
	}
	return key
}

// Every line is a set of payloads with one key, and no two lines have the same.
var known = [][]string{
	{`{"message_id":"a"}`, `{ "message_id" : "\u0061", "more": [1] }`, `{"message_id":"b","message_id":"a"}`, `{"message_id":"a","generic":{"kind":"event","n":3}}`, `{"message_id":"a","device_id":"d"}`},
	{`{"message_id":"b"}`},
	{`{"message_id":7}`, `{"message_id":"7"}`},
	{`{"message_id":"7.0"}`, `{"message_id":7.0}`},
	{`{"message_id":"a\u0000"}`},
	{`{"message_id":"a\u0000b"}`},
	{`{"message_id":"d","generic":{"kind":"event"}}`},
	{`{"device_id":"d","generic":{"kind":"status","n":1}}`, `{"device_id":"d","generic":{"kind":"status","n":"1","at":"2026-11-25T13:00:00Z"}}`, `{"message_id":"a","device_id":"d","generic":{"kind":"status","n":1}}`},
	{`{"device_id":"d","generic":{"kind":"event","n":1}}`},
	{`{"device_id":"d","generic":{"kind":"status","n":11}}`},
	{`{"device_id":"d1","generic":{"kind":"status","n":1}}`},
	{`{"device_id":"d","generic":{"kind":"status","n":"statusx"}}`},
	{`{"device_id":"dstatus","generic":{"kind":"status","n":"x"}}`},
	{`{"device_id":"e","generic":{"kind":"status","n":"d"}}`},
	{`{"device_id":"d","generic":{"kind":"status","n":"e"}}`},
	{`{"device_id":"d","generic":{"kind":"status","at":"2026-11-25T13:00:00Z"}}`, `{"device_id":"d","generic":{"kind":"status","at":"2026-11-25T14:00:00.000+01:00"}}`, `{"device_id":"d","generic":{"kind":"status","at":"20261125T1300Z"}}`,
		`{"device_id":"d","generic":{"at":1795611600,"kind":"status"}}`, `{"device_id":"d","generic":{"at":1795611600000,"kind":"status","n":""}}`, `{"device_id":"d","generic":{"at":1795611600000,"kind":"status","n":null}}`},
	{`{"device_id":"d","generic":{"kind":"status","at":"2026-11-25T13:00:00.000000001Z"}}`},
	{`{"device_id":"d","generic":{"kind":"status","n":"2026-11-25T13:00:00Z"}}`},
	{`{"device_id":"d","generic":{"kind":"event","at":"2026-11-25T13:00:00Z"}}`},
	{`{"device_id":"d","generic":{"kind":"status","at":"0001-01-01T00:00:00Z"}}`},
	{`{"message_id":"` + strings.Repeat("a", 1<<20) + `"}`},
	{`{"message_id":"` + strings.Repeat("a", 1<<20) + `a"}`},
}

func TestTheSameItemHasOneKeyAndAnotherHasAnother(t *testing.T) {
	keys := map[string]string{}
	for _, same := range known {
		first := keyOf(t, anOwner, &telling, same[0])
		if before, taken := keys[first]; first == "" || taken {
			t.Errorf("%.200s has the key %q of %.200s", same[0], first, before)
		}
		keys[first] = same[0]
		for _, payload := range same[1:] {
			if key := keyOf(t, anOwner, &telling, payload); key != first {
				t.Errorf("%.200s has not the key of %.200s", payload, same[0])
			}
		}
	}
}

func TestAttackWhatDoesNotSayWhichItIsHasNoKey(t *testing.T) {
	dated := `"at":"2026-11-25T13:00:00Z"`
	for _, payload := range []string{
		``, `7`, `{`, `[{"message_id":"a"}]`, "{\"message_id\":\"\xff\"}", `{}`,
		`{"message_id":""}`, `{"message_id":null}`, `{"message_id":true}`, `{"message_id":["a"]}`, `{"message_id":{"a":1}}`, `{"generic":{"message_id":"a"}}`, `{"message_ID":"a"}`,
		`{"message_id":"a","message_id":null}`,
		`{"message_id":"\ud800"}`, `{"message_id":"a\ufffd"}`,
		`{"device_id":"d","generic":{` + dated + `}}`,                                      // of no kind
		`{"message_id":"a","device_id":"d","generic":{"kind":"diagnostic",` + dated + `}}`, // of another
		`{"message_id":"a","generic":{"kind":"status",` + dated + `}}`,                     // of no device
		`{"device_id":"\udfff","generic":{"kind":"status",` + dated + `}}`,
		`{"device_id":"d","generic":{"kind":"status","at":"yesterday"}}`,
		`{"device_id":"d","generic":{"kind":"status","n":{"n":1}}}`,
		`{"device_id":"d","generic":[{"kind":"status",` + dated + `}]}`,
		`{"device_id":"d","generic":{"kind":"status"},"generic":{` + dated + `}}`, // the last one counts
	} {
		if key := keyOf(t, anOwner, &telling, payload); key != "" {
			t.Errorf("%q has a key", payload)
		}
	}
	status := `{"device_id":"d","generic":{"kind":"status","n":1,` + dated + `}}`
	for name, d := range map[string]*fds.Dialect{
		"no dialect": nil, "no kind": {TimeMember: "generic.at", SequenceMember: "generic.n"},
		"no date and no number": {KindMember: "generic.kind", StatusKind: "status"}, "another device": {KindMember: "generic.kind", StatusKind: "status", SequenceMember: "generic.n", DeviceID: "id"},
	} {
		if key := keyOf(t, anOwner, d, status); key != "" {
			t.Errorf("%s: a status has a key", name)
		}
	}
	if key := keyOf(t, anOwner, nil, `{"message_id":"a"}`); key != "" {
		t.Error("without a dialect an event has a key")
	}
	if key := keyOf(t, anOwner, &fds.Dialect{MessageID: "id", DeviceID: "id"}, `{"id":"a"}`); key != "" {
		t.Error("what may be a device's ID is taken for an event's")
	}
}

func TestAttackTwoOwnersNeverShareAKey(t *testing.T) {
	upper := fds.SubscriptionID{}
	if err := upper.UnmarshalText([]byte(strings.ToUpper(anOwner.SubscriptionID.String()))); err != nil {
		t.Fatal(err)
	}
	item := `{"message_id":"a"}`
	key := keyOf(t, anOwner, &telling, item)
	if same := keyOf(t, fds.OwnerKey{Issuer: anOwner.Issuer, SubscriptionID: upper}, &telling, item); same != key {
		t.Error("an owner is another one in upper case")
	}
	for _, other := range []fds.OwnerKey{
		{Issuer: anOwner.Issuer, SubscriptionID: fds.NewSubscriptionID()},
		{Issuer: anOwner.Issuer + "/", SubscriptionID: anOwner.SubscriptionID},
		{Issuer: strings.ToUpper(anOwner.Issuer), SubscriptionID: anOwner.SubscriptionID},
		{SubscriptionID: anOwner.SubscriptionID}, {Issuer: anOwner.Issuer},
	} {
		if keyOf(t, other, &telling, item) == key {
			t.Errorf("%v has the key of %v", other, anOwner)
		}
	}
}

// TestAKeyIsTheSameInEveryRelease: it stands in an application's index.
func TestAKeyIsTheSameInEveryRelease(t *testing.T) {
	id, err := fds.ParseSubscriptionID("9f1c6f0e-4a51-4f0b-9d3a-2f8f5f0c1a77")
	if err != nil {
		t.Fatal(err)
	}
	owner := fds.OwnerKey{Issuer: "https://auth.example.com", SubscriptionID: id}
	for payload, want := range map[string]string{
		`{"message_id":"a"}`: "1gYhIBQHEGV-jtT_FdKKMk98Yz9C9CMyzjn7jAwo5OuM",
		`{"device_id":"d","generic":{"kind":"status","n":1}}`:                       "1po10wbbq3Od0v_GGkxbsQyDpuCLmyzWIX1sI_4cqElk",
		`{"device_id":"d","generic":{"kind":"status","at":"2026-11-25T13:00:00Z"}}`: "1OXwkL9BttlShy3atjSNmIBkKDuYuogCYWWG3M79y0tw",
	} {
		if key := keyOf(t, owner, &telling, payload); key != want {
			t.Errorf("%s has the key %s, it was %s", payload, key, want)
		}
	}
}

func TestTheWayChangesNoKey(t *testing.T) {
	for _, same := range known {
		want := keyOf(t, anOwner, &telling, same[0])
		for _, m := range []delivery.Message{
			{Topic: "fds/v2/x/y", Levels: []string{"y"}, QoS: 1, Source: delivery.FromPush, Kind: delivery.KindStatus},
			{Source: delivery.FromPush, Duplicate: true, Retained: true, Kind: delivery.KindEvent, ReceivedAt: time.Now()},
			{Source: delivery.FromWebhook}, {Source: delivery.FromPoll, Kind: delivery.KindEvent}, {Source: delivery.FromBackfill, Kind: delivery.KindStatus},
		} {
			m.Owner, m.Payload = anOwner, []byte(same[0])
			if key, _ := m.In(&telling).Key(); key != want {
				t.Errorf("%v of %.100s has the key %q, not %q", m, same[0], key, want)
			}
		}
	}
}

func TestTheKindIsWhatTheItemSaysElseWhatItsTopicDoes(t *testing.T) {
	topics := fds.Dialect{EventTopic: "devices/{generic.device_id}/events", StatusTopic: "devices/{device_id}/status"}
	one := fds.Dialect{EventTopic: "all", StatusTopic: "all"}
	both := topics
	both.KindMember, both.StatusKind = "kind", "status"
	for _, test := range []struct {
		dialect *fds.Dialect
		topic   string
		payload string
		before  delivery.Kind
		want    delivery.Kind
	}{
		{&telling, "a", `{"generic":{"kind":"event"}}`, "", delivery.KindEvent},
		{&telling, "a", `{"message_id":"a","generic":{"kind":"status"}}`, "", delivery.KindStatus},
		{&telling, "a", `{"message_id":"a","generic":{"kind":"other"}}`, "", ""},
		{&telling, "a", `{"message_id":"a"}`, "", delivery.KindEvent},
		{&telling, "a", `{"generic":{"kind":"status"}}`, delivery.KindEvent, delivery.KindEvent}, // its list says so
		{&topics, "devices/d/events", `{"generic":{"device_id":"d"}}`, "", delivery.KindEvent},
		{&topics, "devices/d/status", `{"device_id":"d"}`, "", delivery.KindStatus},
		{&topics, "devices/d/status", `{"device_id":"d","message_id":"a"}`, "", delivery.KindEvent},
		{&topics, "devices/e/status", `{"device_id":"d"}`, "", ""},
		{&topics, "", `{"device_id":"d"}`, "", ""},
		{&topics, "devices/d/status", `no item`, "", ""},
		{&both, "devices/d/status", `{"device_id":"d","kind":"alarm"}`, "", ""}, // which it says itself
		{&both, "devices/d/status", `{"device_id":"d","kind":null}`, "", delivery.KindStatus},
		{&one, "all", `{"device_id":"d"}`, "", ""},
		{nil, "devices/d/status", `{"device_id":"d","message_id":"a"}`, "", ""},
	} {
		m := delivery.Message{Payload: []byte(test.payload), Kind: test.before}
		if test.topic != "" {
			m.Levels = strings.Split(test.topic, "/")
		}
		if got := m.In(test.dialect).Kind; got != test.want {
			t.Errorf("%s on %q is of kind %q, want %q", test.payload, test.topic, got, test.want)
		}
	}
}

// FuzzKey: whatever comes, a key has its form, is the same each time, and is not another owner's; and
// the payload is left as it is.
func FuzzKey(f *testing.F) {
	for _, same := range known {
		for _, payload := range same[:min(len(same), 2)] {
			if len(payload) < 1<<10 {
				f.Add([]byte(payload), "generic.kind", "generic.n", "generic.at", "device_id", "message_id")
			}
		}
	}
	f.Add([]byte(`{"":{"":{"":"event"}}}`), "..", "..", "", "", "")
	other := fds.OwnerKey{Issuer: anOwner.Issuer, SubscriptionID: fds.NewSubscriptionID()}
	f.Fuzz(func(t *testing.T, payload []byte, kind, number, at, device, id string) {
		d := &fds.Dialect{KindMember: kind, EventKind: "event", StatusKind: "status", SequenceMember: number, TimeMember: at, DeviceID: device, MessageID: id}
		m := delivery.Message{Owner: anOwner, Payload: slices.Clone(payload), Levels: []string{"a"}}
		key, ok := m.In(d).Key()
		if ok != (key != "") || ok && !keyForm.MatchString(key) {
			t.Fatalf("%q, %v", key, ok)
		}
		if again, _ := m.In(d).Key(); again != key || string(m.Payload) != string(payload) {
			t.Fatalf("%q, then %q, of %q", key, again, m.Payload)
		}
		m.Owner = other
		if others, also := m.In(d).Key(); also != ok || ok && others == key {
			t.Fatalf("%q is that of two owners", key)
		}
	})
}

func TestAPayloadThatIsReplacedIsParsedAnew(t *testing.T) {
	m := delivery.Message{Payload: []byte(`{"message_id":"1"}`)}.In(&fds.Dialect{})
	for _, payload := range []string{`{"message_id":"2"}`, `{"message_id":"22"}`, ``, `[]`} {
		m.Payload = []byte(payload)
		item, err := m.Item()
		if (err == nil) != (len(payload) > 2) || err == nil && string(item.Raw()) != payload {
			t.Errorf("%q: %q, %v", payload, item.Raw(), err)
		}
	}
}
