package broker

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

func TestWhatASubscriberPublishesHasNoEffect(t *testing.T) {
	f := start(t, nil)
	id, other := newID(), newID()
	w, watcher := f.subscriber(id, nil), f.subscriber(other, nil)
	for i, topic := range []string{"fds/v2/" + id + "/x", "fds/v2/" + other + "/x", "anything"} {
		w.send(&packets.Publish{Topic: topic, QoS: 1, PacketID: uint16(i + 1), Retain: true, Payload: []byte("x"), Properties: &packets.Properties{}})
		if ack := receive[*packets.Puback](w); ack.ReasonCode != packets.PubackNotAuthorized || ack.PacketID != uint16(i+1) {
			t.Errorf("%s: PUBACK %d 0x%02X", topic, ack.PacketID, ack.ReasonCode)
		}
		w.send(&packets.Publish{Topic: topic, Retain: true, Payload: []byte("x"), Properties: &packets.Properties{}})
		w.nothingDue() // QoS 0 is dropped without a word
	}
	watcher.nothingDue()
	for client, id := range map[*wire]string{w: id, watcher: other} {
		client.subscribeAll(id) // nothing was retained
		client.nothingDue()
	}
	if s := f.Client(id); s.Forbidden != 6 {
		t.Errorf("%d forbidden, want 6", s.Forbidden)
	}
}

func TestPublishRefusesWhatNoProviderMayPublish(t *testing.T) {
	f := start(t, nil)
	id := newID()
	for _, topic := range []string{
		"", "fds/v2/" + id, "fds/v2/nobody/x", "fds/v1/" + id + "/x", "x", "/fds/v2/" + id + "/x",
		"fds/v2/" + id + "/+", "fds/v2/" + id + "/#", "fds/v2/" + id + "/\x00", "fds/v2/" + id + "/\xff", "fds/v2/" + id + "/" + strings.Repeat("x", 65_536),
	} {
		if n, err := f.Publish(topic, nil, 1, true); n != 0 || !errors.Is(err, ErrTopic) {
			t.Errorf("%q: %d, %v", shown(topic), n, err)
		}
	}
	if _, err := f.Publish("fds/v2/"+id+"/x", nil, 2, false); err == nil {
		t.Error("QoS 2 was taken")
	}
	if n, err := f.Publish("fds/v2/"+id+"/x", []byte("x"), 1, false); n != 0 || err != nil {
		t.Errorf("to an owner never seen: %d, %v", n, err)
	}
}

func TestThePayloadIsCopied(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	f.leave(w, id)
	payload := []byte("before")
	if _, err := f.Publish("fds/v2/"+id+"/x", payload, 1, false); err != nil {
		t.Fatal(err)
	}
	copy(payload, "after!")
	w = f.dial(id)
	w.connect(id, resume)
	if p := receive[*packets.Publish](w); string(p.Payload) != "before" {
		t.Errorf("received %q", p.Payload)
	}
}

func TestAProviderPublishesOverTheNetwork(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Provider = func(leaf *x509.Certificate) bool { return leaf.Subject.CommonName == "provider" }
	})
	id := newID()
	subscriber := f.subscriber(id, nil)

	stranger := f.dial("provider")
	stranger.send(connectPacket(id, nil)) // a provider is no owner
	if ack := receive[*packets.Connack](stranger); ack.ReasonCode != packets.ConnackInvalidClientID {
		t.Errorf("a provider with an owner's client ID: CONNACK 0x%02X", ack.ReasonCode)
	}

	w := f.dial("provider")
	if ack := w.connect("line-4", nil); *ack.Properties.SessionExpiryInterval != 0 {
		t.Error("a provider has a session that outlives it")
	}
	if codes := w.subscribe(packets.SubOptions{Topic: "fds/v2/" + id + "/#"}, packets.SubOptions{Topic: "fds/v2/line-4/#"}); !bytes.Equal(codes, []byte{0x87, 0x87}) {
		t.Errorf("SUBACK %x for a provider", codes)
	}
	publish := func(topic string, code byte) {
		t.Helper()
		w.send(&packets.Publish{Topic: topic, QoS: 1, PacketID: 3, Payload: []byte("{}"), Properties: &packets.Properties{
			ContentType: "application/json", MessageExpiry: new(uint32(1)), User: []packets.User{{Key: "line", Value: "4"}},
		}})
		if ack := receive[*packets.Puback](w); ack.ReasonCode != code || ack.PacketID != 3 {
			t.Errorf("%s: PUBACK %d 0x%02X, want 0x%02X", topic, ack.PacketID, ack.ReasonCode, code)
		}
	}
	publish("fds/v2/"+id+"/events", packets.PubackSuccess)
	p := receive[*packets.Publish](subscriber)
	if p.QoS != 1 || string(p.Payload) != "{}" || p.Properties.ContentType != "application/json" || len(p.Properties.User) != 1 {
		t.Errorf("received %s", p)
	}
	publish("fds/v2/"+newID()+"/events", packets.PubackNoMatchingSubscribers)
	publish("elsewhere", packets.PubackTopicNameInvalid)

	w.send(&packets.Publish{Topic: "fds/v2/" + id + "/events", Payload: []byte("at 0"), Properties: &packets.Properties{}})
	if p := receive[*packets.Publish](subscriber); string(p.Payload) != "at 0" {
		t.Errorf("received %s", p)
	}
}
