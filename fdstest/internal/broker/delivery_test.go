package broker

import (
	"fmt"
	"testing"

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
