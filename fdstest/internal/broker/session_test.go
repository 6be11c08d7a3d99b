package broker

import (
	"fmt"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

func resume(p *packets.Connect) { p.CleanStart = false }

func cleanStart(p *packets.Connect) { p.CleanStart = true }

func expiry(seconds uint32) func(*packets.Connect) {
	return func(p *packets.Connect) { p.Properties.SessionExpiryInterval = &seconds }
}

// leave closes without DISCONNECT and waits until the broker has noticed.
func (f *fixture) leave(w *wire, id string) {
	f.tb.Helper()
	w.Close()
	until(f.tb, "offline", func() bool { return !f.Client(id).Connected })
}

func TestASessionIsPresentUntilACleanStart(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	f.leave(w, id)

	w = f.dial(id)
	if ack := w.connect(id, resume); !ack.SessionPresent {
		t.Fatal("the session is gone")
	}
	f.publish(id, "x", "still subscribed", 1)
	if p := receive[*packets.Publish](w); string(p.Payload) != "still subscribed" {
		t.Fatalf("received %s", p)
	}
	f.leave(w, id)

	w = f.dial(id)
	if ack := w.connect(id, cleanStart); ack.SessionPresent {
		t.Error("a session is present after a clean start")
	}
	w.nothingDue()
	if s := f.Client(id); len(s.Subscriptions) != 0 || s.Unacknowledged != 0 || s.Queued != 0 {
		t.Errorf("the clean start left %+v", s)
	}
}

func TestASessionWithoutExpiryEndsWithItsConnection(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, expiry(0))
	f.leave(w, id)
	if f.Client(id).Session {
		t.Error("the session is still there")
	}
	if n, _ := f.Publish("fds/v2/"+id+"/x", nil, 1, false); n != 0 {
		t.Errorf("published to %d sessions", n)
	}
	if ack := f.dial(id).connect(id, resume); ack.SessionPresent {
		t.Error("session present")
	}
}

func TestDisconnectMayChangeTheSessionExpiry(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	w.send(&packets.Disconnect{Properties: &packets.Properties{SessionExpiryInterval: new(uint32(0))}})
	w.receiveEnd()
	until(t, "the session's end", func() bool { return !f.Client(id).Session })
}

func TestDisconnectMayNotRaiseTheSessionExpiryFromZero(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, expiry(0))
	w.send(&packets.Disconnect{Properties: &packets.Properties{SessionExpiryInterval: new(uint32(60))}})
	w.receiveDisconnect(packets.DisconnectProtocolError)
	if f.Client(id).Session {
		t.Error("there is a session")
	}
}

func TestABrokerThatKeepsNoSessionsSaysSo(t *testing.T) {
	f := start(t, func(c *Config) { c.SessionExpiryMax = -1 })
	id := newID()
	w := f.dial(id)
	if ack := w.connect(id, nil); *ack.Properties.SessionExpiryInterval != 0 {
		t.Errorf("granted %d s", *ack.Properties.SessionExpiryInterval)
	}
	f.leave(w, id)
	if f.Client(id).Session {
		t.Error("it kept the session")
	}
}

func TestANewConnectionTakesTheSessionOver(t *testing.T) {
	f := start(t, nil)
	id := newID()
	older := f.subscriber(id, nil)
	f.publish(id, "x", "unacknowledged", 1)
	receive[*packets.Publish](older)

	newer := f.dial(id)
	if ack := newer.connect(id, resume); !ack.SessionPresent {
		t.Error("the session was not taken over")
	}
	if p := receive[*packets.Publish](newer); string(p.Payload) != "unacknowledged" || !p.Duplicate {
		t.Errorf("received %s", p)
	}
	older.receiveDisconnect(packets.DisconnectSessionTakenOver)
	older.Close()
	newer.roundTrip() // the end of the older does not touch the newer
	if s := f.Client(id); !s.Connected || s.Connects != 2 {
		t.Errorf("%+v", s)
	}
}

func TestATakenOverSessionWithoutExpiryIsNotPresent(t *testing.T) {
	f := start(t, nil)
	id := newID()
	older := f.subscriber(id, expiry(0))
	newer := f.dial(id)
	if ack := newer.connect(id, resume); ack.SessionPresent {
		t.Error("session present")
	}
	older.receiveDisconnect(packets.DisconnectSessionTakenOver)
}

func TestUnacknowledgedMessagesComeAgainInOrderBeforeNewOnes(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16(5)) })
	for i := range 10 {
		f.publish(id, "x", fmt.Sprint(i), 1)
	}
	ids := make(map[string]uint16)
	for range 5 {
		p := receive[*packets.Publish](w)
		ids[string(p.Payload)] = p.PacketID
	}
	w.ack(ids["1"]) // out of order, as a client must not, and it still holds
	if p := receive[*packets.Publish](w); string(p.Payload) != "5" || p.Duplicate {
		t.Fatalf("after one acknowledgement: %s", p)
	} else {
		ids["5"] = p.PacketID
	}
	f.leave(w, id)

	// The next connection's window is smaller than what is in flight.
	w = f.dial(id)
	w.connect(id, func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16(2)) })
	var got []string
	var held []uint16
	for range 9 {
		p := receive[*packets.Publish](w)
		again, sentBefore := ids[string(p.Payload)]
		if p.Duplicate != sentBefore || sentBefore && p.PacketID != again {
			t.Errorf("%s: DUP %v and packet ID %d, before %d (%v)", p.Payload, p.Duplicate, p.PacketID, again, sentBefore)
		}
		got = append(got, string(p.Payload))
		if held = append(held, p.PacketID); len(held) == 2 {
			w.nothingDue() // the window is full
			w.ack(held[0])
			held = held[1:]
		}
	}
	if want := "[0 2 3 4 5 6 7 8 9]"; fmt.Sprint(got) != want {
		t.Errorf("received %v, want %s", got, want)
	}
	w.ack(held[0])
	w.roundTrip()
	if s := f.Client(id); s.Unacknowledged != 0 || s.Redelivered != 5 {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsAcknowledgedBeforeItCameAgainDoesNotComeAgain(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	var ids []uint16
	for i := range 3 {
		f.publish(id, "x", fmt.Sprint(i), 1)
		ids = append(ids, receive[*packets.Publish](w).PacketID)
	}
	f.leave(w, id)
	w = f.dial(id)
	w.connect(id, func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16(1)) })
	if p := receive[*packets.Publish](w); p.PacketID != ids[0] || !p.Duplicate {
		t.Errorf("received %s", p)
	}
	w.ack(ids[1])
	w.ack(ids[2])
	for i := range 2 { // the window is still one wide, and still full
		f.publish(id, "x", fmt.Sprint("new ", i), 1)
	}
	w.nothingDue()
	w.ack(ids[0])
	for i := range 2 {
		p := receive[*packets.Publish](w)
		if want := fmt.Sprint("new ", i); string(p.Payload) != want || p.Duplicate {
			t.Errorf("received %s, want %s", p, want)
		}
		w.nothingDue()
		w.ack(p.PacketID)
	}
	w.roundTrip()
	if s := f.Client(id); s.Unacknowledged != 0 || s.Redelivered != 1 || s.UnknownAcks != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnAcknowledgementOfNothingIsCountedAndHarmless(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	w.ack(4711)
	w.sendBytes([]byte{0x40, 2, 0, 0})
	w.roundTrip()
	if s := f.Client(id); s.UnknownAcks != 2 || s.Acknowledged != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPacketIDsWrapWithoutZeroOrReuse(t *testing.T) {
	s := &session{packetID: 65_530, inFlight: map[uint16]*delivery{65_533: {}, 2: {}}}
	var got []uint16
	for range 7 {
		got = append(got, s.freePacketID())
	}
	if want := "[65531 65532 65534 65535 1 3 4]"; fmt.Sprint(got) != want {
		t.Errorf("packet IDs %v, want %s", got, want)
	}
}
