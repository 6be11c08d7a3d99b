package broker

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

func TestAClientSubscribesOnlyBelowItsOwnRoot(t *testing.T) {
	f := start(t, nil)
	id, other := newID(), newID()
	root := "fds/v2/" + id + "/"
	tests := []struct {
		filter string
		code   byte
	}{
		{root + "#", 1}, {root + "devices/+/status", 1}, {root + "+", 1}, {root, 1}, {root + "a//b", 1},
		{"#", 0x87}, {"+/#", 0x87}, {"fds/#", 0x87}, {"fds/v2/#", 0x87}, {"fds/v2/+/#", 0x87}, {"fds/+/" + id + "/#", 0x87},
		{"fds/v2/" + other + "/#", 0x87}, {"fds/v2/" + id, 0x87}, {"fds/v2/" + strings.ToUpper(id) + "/#", 0x87}, {"$SYS/#", 0x87},
		{"/" + root + "#", 0x87}, {"fds/v2/" + id + "x/#", 0x87},
		{"$share/group/" + root + "#", 0x9e}, {"$share/#", 0x9e},
		{root + "#/more", 0x8f}, {root + "a#", 0x8f}, {root + "+a", 0x8f}, {"", 0x8f},
	}
	w := f.dial(id)
	w.connect(id, nil)
	var options []packets.SubOptions
	var want []byte
	for _, test := range tests {
		options = append(options, packets.SubOptions{Topic: test.filter, QoS: 1})
		want = append(want, test.code)
	}
	got := w.subscribe(options...)
	if len(got) != len(want) {
		t.Fatalf("%d codes for %d filters", len(got), len(want))
	}
	for i, test := range tests {
		if got[i] != test.code {
			t.Errorf("%q: 0x%02X, want 0x%02X", test.filter, got[i], test.code)
		}
	}
	if s := f.Client(id).Subscriptions; len(s) != 5 {
		t.Errorf("subscriptions %q, want the first five", s)
	}
}

func TestNothingForeignIsDelivered(t *testing.T) {
	f := start(t, nil)
	id, other := newID(), newID()
	w := f.subscriber(id, nil)
	w.subscribe(packets.SubOptions{Topic: "#", QoS: 1}, packets.SubOptions{Topic: "fds/v2/" + other + "/#", QoS: 1})
	f.subscriber(other, nil)
	if n, err := f.Publish("fds/v2/"+other+"/events", []byte("theirs"), 1, true); n != 1 || err != nil {
		t.Fatalf("published to %d sessions, %v", n, err)
	}
	f.publish(strings.ToUpper(id), "events", "another spelling", 1)
	f.publish(id, "events", "ours", 1)
	if p := receive[*packets.Publish](w); string(p.Payload) != "ours" {
		t.Errorf("received %q on %s", p.Payload, p.Topic)
	}
}

func TestTheGrantedQoSIsTheLower(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.connect(id, nil)
	root := "fds/v2/" + id + "/"
	if got := w.subscribe(packets.SubOptions{Topic: root + "0"}, packets.SubOptions{Topic: root + "1", QoS: 1}, packets.SubOptions{Topic: root + "2", QoS: 2}); !bytes.Equal(got, []byte{0, 1, 1}) {
		t.Fatalf("granted %v", got)
	}
	for _, test := range []struct {
		below          string
		published, got byte
	}{{"0", 0, 0}, {"0", 1, 0}, {"1", 0, 0}, {"1", 1, 1}, {"2", 1, 1}} {
		f.publish(id, test.below, "", test.published)
		if p := receive[*packets.Publish](w); p.QoS != test.got || p.Topic != root+test.below {
			t.Errorf("published at %d on %s, received at %d on %s", test.published, test.below, p.QoS, p.Topic)
		}
	}
}

func TestOverlappingFiltersDeliverOnceWithAllTheirIdentifiers(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.connect(id, nil)
	root := "fds/v2/" + id + "/"
	for i, s := range []packets.SubOptions{{Topic: root + "#"}, {Topic: root + "+/status", QoS: 1}, {Topic: root + "spaces/#", QoS: 1}} {
		w.send(&packets.Subscribe{PacketID: 1, Properties: &packets.Properties{SubscriptionIdentifier: new(100 * (i + 2))}, Subscriptions: []packets.SubOptions{s}})
		receive[*packets.Suback](w)
	}
	f.publish(id, "devices/status", "x", 1)
	f.publish(id, "spaces", "y", 0)
	first, err := (&frameReader{r: w, limit: maxPacket}).next()
	if err != nil {
		t.Fatal(err)
	}
	// Two identifiers, 200 and 300, each a property 0x0B with two bytes; the
	// packet ID before them says that the higher QoS counts.
	if want := "\x06\x0b\xc8\x01\x0b\xac\x02x"; first.flags != 1<<1 || !bytes.HasSuffix(first.body, []byte(want)) {
		t.Errorf("flags %04b, body %q, want QoS 1 and the end %q", first.flags, first.body, want)
	}
	if p := receive[*packets.Publish](w); string(p.Payload) != "y" || *p.Properties.SubscriptionIdentifier != 400 {
		t.Errorf("received %s, want y with identifiers 200 and 400: a/# matches a", p)
	}
}

func TestUnsubscribeAnswersPerFilterAndStopsDelivery(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	root := "fds/v2/" + id + "/"
	w.send(&packets.Unsubscribe{PacketID: 9, Properties: &packets.Properties{}, Topics: []string{root + "#", root + "never"}})
	if ack := receive[*packets.Unsuback](w); ack.PacketID != 9 || !bytes.Equal(ack.Reasons, []byte{0, 0x11}) {
		t.Errorf("UNSUBACK %d %v", ack.PacketID, ack.Reasons)
	}
	if n, err := f.Publish(root+"x", nil, 1, false); n != 0 || err != nil {
		t.Errorf("published to %d sessions, %v", n, err)
	}
}

func TestRetainedMessagesComeByRetainHandling(t *testing.T) {
	f := start(t, nil)
	id := newID()
	root := "fds/v2/" + id + "/"
	retain := func(below, payload string) {
		if _, err := f.Publish(root+below, []byte(payload), 1, true); err != nil {
			t.Fatal(err)
		}
	}
	retain("b", "old")
	retain("removed", "x")
	retain("a", "second")
	retain("b", "third")
	retain("removed", "")

	w := f.dial(id)
	w.connect(id, nil)
	for _, test := range []struct {
		name     string
		handling byte
		want     []string
	}{
		{"never", 2, nil},
		{"if new, and it is not", 1, nil},
		{"always", 0, []string{"second", "third"}},
		{"always, again", 0, []string{"second", "third"}},
	} {
		w.subscribe(packets.SubOptions{Topic: root + "#", QoS: 1, RetainHandling: test.handling})
		var got []string
		for range test.want {
			p := receive[*packets.Publish](w)
			w.ack(p.PacketID)
			if got = append(got, string(p.Payload)); !p.Retain || p.QoS != 1 {
				t.Errorf("%s: received with retain %v at QoS %d", test.name, p.Retain, p.QoS)
			}
		}
		w.nothingDue()
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: received %q, want %q", test.name, got, test.want)
		}
	}
	w.send(&packets.Subscribe{PacketID: 1, Properties: &packets.Properties{SubscriptionIdentifier: new(5)}, Subscriptions: []packets.SubOptions{{Topic: root + "a", RetainHandling: 1}}})
	receive[*packets.Suback](w)
	if p := receive[*packets.Publish](w); string(p.Payload) != "second" || p.QoS != 0 || *p.Properties.SubscriptionIdentifier != 5 {
		t.Errorf("a new filter with retain handling 1: received %s", p)
	}
}

func TestRetainAsPublishedKeepsTheFlag(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.connect(id, nil)
	root := "fds/v2/" + id + "/"
	w.subscribe(packets.SubOptions{Topic: root + "kept", RetainAsPublished: true}, packets.SubOptions{Topic: root + "cleared"})
	for _, below := range []string{"kept", "cleared"} {
		for _, retain := range []bool{true, false} {
			if _, err := f.Publish(root+below, []byte("x"), 0, retain); err != nil {
				t.Fatal(err)
			}
			if p := receive[*packets.Publish](w); p.Retain != (retain && below == "kept") {
				t.Errorf("published on %s with retain %v, received with %v", below, retain, p.Retain)
			}
		}
	}
}

func TestASessionHasABoundedNumberOfFilters(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.connect(id, nil)
	var options []packets.SubOptions
	for i := range maxSubscriptions + 1 {
		options = append(options, packets.SubOptions{Topic: fmt.Sprintf("fds/v2/%s/%d", id, i)})
	}
	codes := w.subscribe(options...)
	if codes[maxSubscriptions-1] != 0 || codes[maxSubscriptions] != 0x97 {
		t.Errorf("codes 0x%02X and 0x%02X at the bound", codes[maxSubscriptions-1], codes[maxSubscriptions])
	}
	if codes := w.subscribe(options[0]); codes[0] != 0 {
		t.Errorf("0x%02X for a filter that stands already", codes[0])
	}
}

func TestMatchingFollowsSection47(t *testing.T) {
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/#", "a/b/c", true}, {"a/#", "a", true}, {"a/#", "ab", false}, {"a/+", "a/b", true}, {"a/+", "a/", true}, {"a/+", "a", false},
		{"a/+", "a/b/c", false}, {"a/+/c", "a/b/c", true}, {"a/+/c", "a/b/d", false}, {"a/b", "a/b", true}, {"a/b", "a/b/", false},
		{"a/b/", "a/b/", true}, {"a/b/", "a/b", false}, {"a/b/c", "a/b", false}, {"a/+/#", "a/b", true}, {"a/+/#", "a", false},
		{"a/b/#", "a", false}, {"a/B", "a/b", false}, {"a//b", "a//b", true}, {"a/+/b", "a//b", true}, {"a/b/+", "a/b", false},
	} {
		if got := matches(test.filter, test.topic); got != test.want {
			t.Errorf("matches(%q, %q) = %v", test.filter, test.topic, got)
		}
	}
}
