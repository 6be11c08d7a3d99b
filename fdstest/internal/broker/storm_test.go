package broker

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// keepConnecting connects again and again, taking over whoever else is connected, and
// acknowledges what it receives, until stop is closed.
func (f *fixture) keepConnecting(config *tls.Config, id string, stop chan struct{}, seen func(payload []byte)) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		raw, err := net.Dial("tcp", f.address)
		if err != nil {
			return
		}
		c := tls.Client(raw, config)
		c.SetDeadline(time.Now().Add(time.Duration(1+rand.IntN(100)) * time.Millisecond)) // a client that gives up at any point
		_, _ = c.Write(appendPacket(nil, connectPacket(id, resume)))
		for {
			control, err := packets.ReadPacket(c)
			if err != nil {
				break
			}
			if p, ok := control.Content.(*packets.Publish); ok {
				seen(p.Payload)
				_, _ = c.Write(appendPacket(nil, &packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}}))
			}
		}
		raw.Close()
	}
}

func TestNothingIsLostInAStormOfTakeOversDropsAndFaults(t *testing.T) {
	f := start(t, nil)
	const owners, rivals, n = 4, 3, 1000
	stop := make(chan struct{})
	var clients, publishers sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[string]map[int]bool)
	for range owners {
		id := newID()
		got := make(map[int]bool) // guarded by mu
		mu.Lock()
		seen[id] = got
		mu.Unlock()
		f.leave(f.subscriber(id, nil), id)
		config := f.clientTLS(id)
		for range rivals {
			clients.Go(func() {
				f.keepConnecting(config, id, stop, func(payload []byte) {
					i, err := strconv.Atoi(string(payload))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					got[i] = true
					mu.Unlock()
				})
			})
		}
		publishers.Go(func() {
			connects := 0
			for i := range n {
				if i%20 == 0 { // wait for one more connection, so that all this happens to connections
					until(t, "a connection", func() bool { return f.Client(id).Connects > connects })
					connects = f.Client(id).Connects
				}
				if _, err := f.Publish("fds/v2/"+id+"/x", fmt.Append(nil, i), 1, false); err != nil {
					t.Error(err)
				}
				switch i % 100 {
				case 10:
					f.DropConnections(id)
				case 30:
					f.SetFaults(id, Faults{Silent: true})
				case 40:
					f.SetFaults(id, Faults{})
				case 60:
					f.CutNextPublish(id)
				case 80:
					f.Disconnect(packets.DisconnectServerBusy, "", "", id)
				case 90:
					f.Stats()
				}
			}
		})
	}
	publishers.Wait()
	close(stop)
	clients.Wait()

	for id := range seen { // one client in peace gets whatever is left
		f.SetFaults(id, Faults{})
		f.mu.RLock()
		owners := f.snapshot([]string{id})
		f.mu.RUnlock()
		for _, o := range owners { // the last cut may not have found a message yet
			o.mu.Lock()
			o.cutNext = false
			o.mu.Unlock()
		}
		w := f.dial(id)
		w.connect(id, resume)
		for {
			if s := f.Client(id); s.Queued+s.Unacknowledged == 0 {
				break
			}
			acknowledged := f.Client(id).Acknowledged
			p := receive[*packets.Publish](w)
			i, _ := strconv.Atoi(string(p.Payload))
			seen[id][i] = true
			w.ack(p.PacketID)
			until(t, "the acknowledgement", func() bool { return f.Client(id).Acknowledged > acknowledged })
		}
		s := f.Client(id)
		t.Logf("%d connects, %d sent, %d redelivered", s.Connects, s.Sent, s.Redelivered)
		if len(seen[id]) != n || s.Redelivered == 0 {
			t.Errorf("%d of %d messages arrived, %d were redelivered", len(seen[id]), n, s.Redelivered)
		}
	}
}
