package broker

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

func TestThirtyThousandMessagesArriveInOrderAtReceiveMaximum64(t *testing.T) {
	f := start(t, nil)
	id := newID()
	var got inOrder
	client := f.pahoClient(id, true, 64, got.take)
	f.pahoSubscribe(client, "fds/v2/"+id+"/#")
	const n = 30_000
	for i := range n {
		f.publish(id, "devices/status", fmt.Sprint(i), 1)
	}
	got.check(t, n)
	until(t, "all acknowledged", func() bool { return f.Client(id).Acknowledged == n })
	if s := f.Client(id); s.Unacknowledged != 0 || s.Queued != 0 || s.Sent != n {
		t.Errorf("after all acknowledgements: %+v", s)
	}
}

func TestFiftyThousandMessagesWaitForAnOfflineSession(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	w.send(&packets.Disconnect{Properties: &packets.Properties{}})
	until(t, "offline", func() bool { return !f.Client(id).Connected })
	const n = 50_000
	for i := range n {
		f.publish(id, "events", fmt.Sprint(i), 1)
	}
	if s := f.Client(id); s.Queued != n {
		t.Fatalf("queued %d, want %d", s.Queued, n)
	}
	var got inOrder
	f.pahoClient(id, false, 64, got.take)
	got.check(t, n)
}

func TestBothQualitiesOfServiceArriveInTheOrderOfPublication(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16(1)) })
	for i := range 100 {
		f.publish(id, "x", fmt.Sprint(i), byte(i%2))
	}
	for i := range 100 {
		p := receive[*packets.Publish](w)
		if string(p.Payload) != fmt.Sprint(i) || int(p.QoS) != i%2 {
			t.Fatalf("message %d: received %s", i, p)
		}
		if p.QoS == 1 {
			w.ack(p.PacketID)
		}
	}
}

func TestManyPublishersLoseNothingAndKeepTheirOrder(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	const publishers, each = 8, 500
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if _, err := f.Publish(fmt.Sprintf("fds/v2/%s/%d", id, p), fmt.Append(nil, i), 1, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make(map[string]int)
	for range publishers * each {
		p := receive[*packets.Publish](w)
		if string(p.Payload) != fmt.Sprint(next[p.Topic]) {
			t.Fatalf("%s: received %s, want %d", p.Topic, p.Payload, next[p.Topic])
		}
		next[p.Topic]++
		w.ack(p.PacketID)
	}
	wg.Wait()
}

func TestQoS0IsDroppedWhileOfflineAndNotKept(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	f.leave(w, id)
	if n, err := f.Publish("fds/v2/"+id+"/x", []byte("lost"), 0, false); n != 0 || err != nil {
		t.Errorf("published to %d sessions, %v", n, err)
	}
	f.publish(id, "x", "kept", 1)
	w = f.dial(id)
	w.connect(id, resume)
	if p := receive[*packets.Publish](w); string(p.Payload) != "kept" {
		t.Errorf("received %s", p)
	}
	w.nothingDue()
	if s := f.Client(id); s.DroppedQoS0 != 1 {
		t.Errorf("%+v", s)
	}
}

func TestQoS0BehindAFullWindowIsDroppedWithItsConnection(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16(1)) })
	f.publish(id, "x", "held", 1)
	held := receive[*packets.Publish](w)
	f.publish(id, "x", "kept", 1)
	f.publish(id, "x", "lost", 0)
	w.nothingDue()
	f.leave(w, id)
	w = f.dial(id)
	w.connect(id, resume)
	for _, want := range []string{"held", "kept"} {
		p := receive[*packets.Publish](w)
		if string(p.Payload) != want || want == "held" && p.PacketID != held.PacketID {
			t.Errorf("received %s, want %s", p, want)
		}
		w.ack(p.PacketID)
	}
	w.nothingDue()
	if s := f.Client(id); s.DroppedQoS0 != 1 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAClientThatDoesNotReadHoldsUpNobody(t *testing.T) {
	const buffer = 50
	f := start(t, func(c *Config) { c.QoS0Buffer = buffer })
	slow, quick := newID(), newID()
	stuck := f.subscriber(slow, nil)
	reader := f.subscriber(quick, nil)

	// Far more than the socket takes; none of it is ever read.
	payload := strings.Repeat("x", 64<<10)
	const n = 400
	for range n {
		f.publish(slow, "x", payload, 0)
		f.publish(slow, "y", payload, 1)
	}
	s := f.Client(slow)
	if s.DroppedQoS0 == 0 || s.DroppedQoS0+s.Queued+s.Sent != 2*n {
		t.Fatalf("queued %d + sent %d + dropped %d, published %d", s.Queued, s.Sent, s.DroppedQoS0, 2*n)
	}
	if qos1 := s.Queued + s.Sent - (n - s.DroppedQoS0); qos1 != n {
		t.Errorf("%d QoS 1 messages kept, want all %d", qos1, n)
	}
	f.publish(quick, "x", "at once", 1)
	if p := receive[*packets.Publish](reader); string(p.Payload) != "at once" {
		t.Errorf("received %s", p)
	}

	// A take-over does not wait for the stuck connection either.
	w := f.dial(slow)
	if ack := w.connect(slow, resume); !ack.SessionPresent {
		t.Error("the session is gone")
	}
	for got := 0; got < n; {
		if p := receive[*packets.Publish](w); p.QoS == 1 {
			w.ack(p.PacketID)
			got++
		}
	}
	stuck.Close()
}

func TestAWriteThatTakesTooLongEndsTheConnectionAndKeepsTheSession(t *testing.T) {
	f := start(t, func(c *Config) { c.WriteTimeout = 50 * time.Millisecond })
	id := newID()
	f.subscriber(id, nil)
	payload := strings.Repeat("x", 64<<10)
	const n = 400
	for range n {
		f.publish(id, "x", payload, 1)
	}
	until(t, "closed", func() bool { return !f.Client(id).Connected })
	if s := f.Client(id); !s.Session || s.Queued+s.Unacknowledged != n {
		t.Errorf("%+v", s)
	}
}

func TestNoPublishIsLargerThanTheClientAllows(t *testing.T) {
	f := start(t, nil)
	id := newID()
	const limit = 200
	limited := func(p *packets.Connect) { p.Properties.MaximumPacketSize = new(uint32(limit)) }
	w := f.subscriber(id, limited)
	overhead := publishSize(&delivery{qos: 1, message: &message{topic: "fds/v2/" + id + "/x", payload: make([]byte, 130)}}) - 130
	f.publish(id, "x", strings.Repeat("a", limit-overhead), 1)
	f.publish(id, "x", strings.Repeat("b", limit-overhead+1), 1)
	f.publish(id, "x", strings.Repeat("c", 100_000), 0)
	f.publish(id, "x", "d", 1)
	first := receive[*packets.Publish](w)
	if len(first.Payload) != limit-overhead {
		t.Errorf("received %d bytes first", len(first.Payload))
	}
	second := receive[*packets.Publish](w)
	if string(second.Payload) != "d" {
		t.Errorf("received %d bytes second", len(second.Payload))
	}
	w.ack(first.PacketID)
	w.ack(second.PacketID)
	w.roundTrip()
	if s := f.Client(id); s.DroppedTooLarge != 2 || s.Unacknowledged != 0 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAKeptMessageThatTheNextConnectionCannotTakeDoesNotBlockIt(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.subscriber(id, nil)
	f.publish(id, "x", strings.Repeat("a", 1000), 1)
	receive[*packets.Publish](w)
	f.leave(w, id)
	w = f.dial(id)
	w.connect(id, func(p *packets.Connect) {
		p.Properties.MaximumPacketSize, p.Properties.ReceiveMaximum = new(uint32(500)), new(uint16(1))
	})
	f.publish(id, "x", "small", 1)
	if p := receive[*packets.Publish](w); string(p.Payload) != "small" || p.Duplicate {
		t.Errorf("received %s", p)
	}
	if s := f.Client(id); s.DroppedTooLarge != 1 || s.Unacknowledged != 1 {
		t.Errorf("%+v", s)
	}
}

func TestAClientThatDoesNotReadItsAnswersIsEnded(t *testing.T) {
	f := start(t, nil)
	id := newID()
	w := f.dial(id)
	w.connect(id, nil)
	pings := []byte(strings.Repeat("\xc0\x00", 8<<10))
	for { // until the broker has had enough
		if _, err := w.Write(pings); err != nil {
			break
		}
	}
	until(t, "closed", func() bool { return !f.Client(id).Connected })
	if !strings.Contains(f.log.String(), "does not read its answers") {
		t.Error("the log does not say why")
	}
}
