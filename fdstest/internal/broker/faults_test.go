package broker

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

func TestDroppedConnectionsEndWithoutAWordAndKeepTheirSessions(t *testing.T) {
	f := start(t, nil)
	id, spared := newID(), newID()
	w, other := f.subscriber(id, nil), f.subscriber(spared, nil)
	if n := f.DropConnections(id, newID()); n != 1 {
		t.Errorf("dropped %d", n)
	}
	if n, err := w.Conn.(*tls.Conn).NetConn().Read(make([]byte, 1)); n != 0 || err == nil { // not even TLS says goodbye
		t.Errorf("read %d bytes, %v", n, err)
	}
	other.roundTrip()
	if got := f.Connections(); !slices.Equal(got, []string{spared}) {
		t.Errorf("connected: %q", got)
	}
	if n := f.DropConnections(); n != 1 {
		t.Errorf("dropped %d of all", n)
	}
	f.publish(id, "x", "kept", 1)
	w = f.dial(id)
	if ack := w.connect(id, resume); !ack.SessionPresent {
		t.Error("the session is gone")
	}
	if p := receive[*packets.Publish](w); string(p.Payload) != "kept" {
		t.Errorf("received %s", p)
	}
}

func TestLostSessionsAreNotPresent(t *testing.T) {
	f := start(t, nil)
	connected, offline, spared := newID(), newID(), newID()
	w := f.subscriber(connected, nil)
	f.leave(f.subscriber(offline, nil), offline)
	other := f.subscriber(spared, nil)
	f.publish(offline, "x", "lost", 1)

	if n := f.LoseSessions(connected, offline); n != 2 {
		t.Errorf("lost %d sessions", n)
	}
	w.receiveEnd()
	other.roundTrip()
	for _, id := range []string{connected, offline} {
		w := f.dial(id)
		if ack := w.connect(id, resume); ack.SessionPresent {
			t.Error("session present")
		}
		w.nothingDue()
	}
}

func TestSubscribeCanBeDeniedWithAnyCode(t *testing.T) {
	f := start(t, nil)
	id, spared := newID(), newID()
	w := f.dial(id)
	w.connect(id, nil)
	f.SetFaults(id, Faults{SubackCode: 0x97})
	all := packets.SubOptions{Topic: "fds/v2/" + id + "/#", QoS: 1}
	if got := w.subscribe(all, all); !bytes.Equal(got, []byte{0x97, 0x97}) {
		t.Errorf("SUBACK %x", got)
	}
	if n, _ := f.Publish("fds/v2/"+id+"/x", nil, 1, false); n != 0 {
		t.Error("a denied subscription holds")
	}
	f.subscriber(spared, nil)
	f.SetFaults(id, Faults{})
	w.subscribeAll(id)
}

func TestConnackCanRefuseWithReasonAndServerReference(t *testing.T) {
	f := start(t, nil)
	id, spared := newID(), newID()
	f.leave(f.subscriber(id, nil), id)
	f.SetFaults(id, Faults{Connack: ConnackFault{Code: packets.ConnackUseAnotherServer, Reason: "maintenance", ServerReference: "other.example:8883"}})
	w := f.dial(id)
	w.send(connectPacket(id, nil))
	ack := receive[*packets.Connack](w)
	if ack.ReasonCode != 0x9c || ack.SessionPresent || ack.Properties.ReasonString != "maintenance" || ack.Properties.ServerReference != "other.example:8883" {
		t.Errorf("received %s", ack)
	}
	w.receiveEnd()
	f.dial(spared).connect(spared, nil)
	if s := f.Client(id); s.Connects != 2 || !s.Session {
		t.Errorf("%+v", s)
	}
	f.SetFaults(id, Faults{})
	if ack := f.dial(id).connect(id, resume); !ack.SessionPresent {
		t.Error("the refusal cost the session")
	}
}

func TestConnackCanNameAnAuthMethodAndAnotherClientID(t *testing.T) {
	f := start(t, nil)
	id := newID()
	f.SetFaults("", Faults{Connack: ConnackFault{AuthMethod: "SCRAM-SHA-1", AssignedClientID: "someone-else"}})
	w := f.dial(id)
	if ack := w.connect(id, nil); ack.Properties.AuthMethod != "SCRAM-SHA-1" || ack.Properties.AssignedClientID != "someone-else" {
		t.Errorf("received %s", ack)
	}
	w.subscribeAll(id) // it goes on as if nothing had been said
}

func TestDisconnectCarriesCodeReasonAndServerReference(t *testing.T) {
	f := start(t, nil)
	id, brief := newID(), newID()
	w := f.subscriber(id, nil)
	small := f.subscriber(brief, func(p *packets.Connect) { p.Properties.MaximumPacketSize = new(uint32(100)) })
	reason := strings.Repeat("moved ", 20)
	if n := f.Disconnect(packets.DisconnectServerMoved, reason, "other.example:8883"); n != 2 {
		t.Errorf("told %d clients", n)
	}
	if d := w.receiveDisconnect(0x9d); d.Properties.ReasonString != reason || d.Properties.ServerReference != "other.example:8883" {
		t.Errorf("received %s", d)
	}
	if d := small.receiveDisconnect(0x9d); d.Properties.ReasonString != "" || d.Properties.ServerReference != "other.example:8883" {
		t.Errorf("a client whose packets are at most 100 bytes received %s", d)
	}
	if s := f.Client(id); s.Connected || !s.Session {
		t.Errorf("%+v", s)
	}
}

func TestADisconnectFitsAClientThatTakesTheSmallestPackets(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.connect(id, func(p *packets.Connect) { p.Properties.MaximumPacketSize = new(uint32(4)) })
	stranger := f.dial(id)
	stranger.connect(id, nil)
	w.receiveDisconnect(packets.DisconnectSessionTakenOver)
	f.Disconnect(packets.DisconnectServerBusy, "busy", "", id)
	stranger.receiveDisconnect(packets.DisconnectServerBusy)
}

func TestADisconnectIsReadEvenByAClientThatKeepsSending(t *testing.T) {
	f := start(t, nil)
	id := newID()
	for range 50 { // a reset would swallow it only now and then
		w := f.subscriber(id, nil)
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for {
				if _, err := w.Write([]byte("\x40\x02\x00\x01")); err != nil {
					return
				}
			}
		}()
		f.Disconnect(packets.DisconnectAdministrativeAction, "", "", id)
		if d := receive[*packets.Disconnect](w); d.ReasonCode != 0x98 {
			t.Errorf("received %s", d)
		}
		w.Close()
		<-stop
	}
}

func TestAPublishCutInHalfComesAgainWhole(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	f.publish(id, "x", "before", 1)
	w.ack(receive[*packets.Publish](w).PacketID)
	w.roundTrip()
	f.CutNextPublish(id)
	f.publish(id, "x", strings.Repeat("cut", 100), 1)
	f.publish(id, "x", "after", 1)
	got, _ := io.ReadAll(w)
	if whole := publishSize(&delivery{qos: 1, message: &message{topic: "fds/v2/" + id + "/x", payload: make([]byte, 300)}}); len(got) != whole-whole/2 {
		t.Errorf("received %d of %d bytes", len(got), whole)
	}
	w = f.dial(id)
	w.connect(id, resume)
	if p := receive[*packets.Publish](w); len(p.Payload) != 300 || !p.Duplicate {
		t.Errorf("received %s", p)
	}
	if p := receive[*packets.Publish](w); string(p.Payload) != "after" || p.Duplicate {
		t.Errorf("received %s", p)
	}
}

func TestConnectionsCanBeRefusedForAllAndForOne(t *testing.T) {
	f := start(t, nil)
	id, spared := newID(), newID()
	f.SetFaults(id, Faults{Refuse: true})
	w := f.dial(id)
	w.send(connectPacket(id, nil))
	w.receiveEnd()
	w = f.dial(spared)
	w.connect(spared, nil)

	f.SetFaults("", Faults{Refuse: true})
	raw, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	newWire(t, raw).receiveEnd()
	w.roundTrip() // those that are connected stay
	if s := f.Stats(); s.Accepted != 3 || s.HandshakesFailed != 0 || f.Client(id).Connects != 1 {
		t.Errorf("%+v", s)
	}
}

func TestAForeignTopicCanBeForcedOnAClient(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.connect(id, nil) // not even subscribed
	for i, topic := range []string{"fds/v2/" + newID() + "/events", "fds/v2/+/#", "$SYS/broker", ""} {
		if n, err := f.PublishTo(id, topic, []byte("theirs"), byte(i%2)); n != 1 || err != nil {
			t.Errorf("%q: to %d sessions, %v", topic, n, err)
		}
		if p := receive[*packets.Publish](w); p.Topic != topic || p.QoS != byte(i%2) || string(p.Payload) != "theirs" {
			t.Errorf("received %s", p)
		}
	}
	if n, err := f.PublishTo(newID(), "x", nil, 1); n != 0 || err != nil {
		t.Errorf("to a client never seen: %d, %v", n, err)
	}
	if _, err := f.PublishTo(id, strings.Repeat("x", 65_536), nil, 1); err == nil {
		t.Error("a topic that MQTT cannot frame was taken")
	}
}

func TestAClientsMaximumPacketSizeCanBeIgnored(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, func(p *packets.Connect) { p.Properties.MaximumPacketSize = new(uint32(200)) })
	f.SetFaults(id, Faults{IgnoreMaximumPacketSize: true})
	f.publish(id, "x", strings.Repeat("x", 5000), 1)
	if p := receive[*packets.Publish](w); len(p.Payload) != 5000 {
		t.Errorf("received %d bytes", len(p.Payload))
	}
}

func TestAQueueLimitDropsTheNewestWithoutASign(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16(2)) })
	f.SetFaults("", Faults{QueueLimit: 3})
	for i := range 2 { // in flight: they do not count
		f.publish(id, "x", fmt.Sprint(i), 1)
		receive[*packets.Publish](w)
	}
	for i := 2; i < 10; i++ {
		f.publish(id, "x", fmt.Sprint(i), 1)
	}
	f.leave(w, id)
	w = f.dial(id)
	if ack := w.connect(id, resume); !ack.SessionPresent {
		t.Error("the loss shows: no session present")
	}
	var got []string
	for range 5 {
		p := receive[*packets.Publish](w)
		w.ack(p.PacketID)
		got = append(got, string(p.Payload))
	}
	w.nothingDue()
	if fmt.Sprint(got) != "[0 1 2 3 4]" || f.Client(id).DroppedQueueLimit != 5 {
		t.Errorf("received %v, dropped %d", got, f.Client(id).DroppedQueueLimit)
	}
}

func TestTheFaultsOfOneClientGoOverThoseOfAll(t *testing.T) {
	f := prepare(t, nil)
	all := Faults{SubackCode: 0x80, QueueLimit: 7, Connack: ConnackFault{Code: 0x88, Reason: "all"}}
	f.SetFaults("", all)
	f.SetFaults("a", Faults{SubackCode: 0x87, IgnoreMaximumPacketSize: true, Connack: ConnackFault{Code: 0x97}})
	want := Faults{SubackCode: 0x87, IgnoreMaximumPacketSize: true, QueueLimit: 7, Connack: ConnackFault{Code: 0x97}}
	if got := f.faults.Load().of("a"); got != want {
		t.Errorf("of a: %+v", got)
	}
	if got := f.faults.Load().of("b"); got != all {
		t.Errorf("of b: %+v", got)
	}
	if f.Faults("") != all || f.Faults("b") != (Faults{}) || f.Faults("a").QueueLimit != 0 {
		t.Error("Faults does not give what was set")
	}
	f.SetFaults("a", Faults{})
	if got := f.faults.Load().of("a"); got != all {
		t.Errorf("of a, switched off: %+v", got)
	}
}
