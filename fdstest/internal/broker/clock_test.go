package broker

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A pipeListener accepts the far ends of pipes, on which a synctest bubble can
// see that everyone waits.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// A bubble is a broker inside a synctest bubble, whose time passes only when
// all wait.
type bubble struct {
	*fixture
	listener *pipeListener
}

func inBubble(t *testing.T, change func(*Config), test func(t *testing.T, b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{
			fixture: prepare(t, func(c *Config) {
				c.TLS.SessionTicketsDisabled = true // a pipe buffers nothing: a ticket and CONNECT would wait for each other
				if change != nil {
					change(c)
				}
			}),
			listener: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})},
		}
		served := make(chan error, 1)
		go func() { served <- b.Serve(b.listener) }()
		test(t, b)
		b.Close()
		if err := <-served; err != ErrClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
}

// open returns both what the client sees and the pipe under it.
func (b *bubble) open(commonName string) (*wire, net.Conn) {
	b.tb.Helper()
	client, server := net.Pipe()
	b.listener.conns <- server
	w := newWire(b.tb, tls.Client(client, b.clientTLS(commonName)))
	w.SetDeadline(time.Time{})
	return w, client
}

// present connects with a session expiry of ten minutes, leaves, and says
// whether there was a session.
func (b *bubble) present(id string) bool {
	b.tb.Helper()
	w, pipe := b.open(id)
	ack := w.connect(id, expiry(600))
	pipe.Close()
	synctest.Wait()
	return ack.SessionPresent
}

func TestASessionExpiresAsLongAfterItsConnectionAsWasGranted(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := newID()
		b.present(id)
		time.Sleep(600*time.Second - time.Nanosecond)
		if !b.present(id) {
			t.Error("the session ended early")
		}
		// The connection just made started the time again.
		time.Sleep(599 * time.Second)
		if !b.present(id) {
			t.Error("a connection did not renew the session")
		}
		time.Sleep(600 * time.Second)
		synctest.Wait()
		if b.Client(id).Session || b.present(id) {
			t.Error("the session outlived its expiry")
		}
	})
}

func TestASessionDoesNotExpireWhileItsClientIsConnected(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := newID()
		b.present(id)
		w, _ := b.open(id)
		w.connect(id, expiry(600))
		time.Sleep(time.Hour)
		w.roundTrip()
		if !b.Client(id).Session {
			t.Error("the session expired")
		}
	})
}

func TestTheKeepAliveIsEnforcedAtOneAndAHalf(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := newID()
		w, _ := b.open(id)
		w.connect(id, func(p *packets.Connect) { p.KeepAlive = 10 })
		for range 3 {
			time.Sleep(15*time.Second - time.Nanosecond)
			w.roundTrip()
		}
		begin := time.Now()
		w.receiveDisconnect(packets.DisconnectKeepAliveTimeout)
		if waited := time.Since(begin); waited != 15*time.Second {
			t.Errorf("ended after %v", waited)
		}
		if s := b.Client(id); s.Connected || !s.Session {
			t.Errorf("%+v", s)
		}
	})
}

func TestHalfAPacketDoesNotKeepAConnectionAlive(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := newID()
		w, _ := b.open(id)
		w.connect(id, func(p *packets.Connect) { p.KeepAlive = 10 })
		begin := time.Now()
		time.Sleep(14 * time.Second)
		w.sendBytes([]byte{0xc0})
		w.receiveDisconnect(packets.DisconnectKeepAliveTimeout)
		if waited := time.Since(begin); waited != 15*time.Second {
			t.Errorf("ended after %v", waited)
		}
	})
}

func TestTheServerKeepAliveReplacesTheClients(t *testing.T) {
	inBubble(t, func(c *Config) { c.ServerKeepAlive = 4 * time.Second }, func(t *testing.T, b *bubble) {
		id := newID()
		w, _ := b.open(id)
		w.connect(id, func(p *packets.Connect) { p.KeepAlive = 1000 })
		begin := time.Now()
		w.receiveDisconnect(packets.DisconnectKeepAliveTimeout)
		if waited := time.Since(begin); waited != 6*time.Second {
			t.Errorf("ended after %v", waited)
		}
	})
}

func TestNoKeepAliveMeansForEver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := newID()
		w, _ := b.open(id)
		w.connect(id, nil)
		time.Sleep(24 * time.Hour)
		w.roundTrip()
	})
}

func TestAHandshakeAndAConnectHaveATimeLimit(t *testing.T) {
	inBubble(t, func(c *Config) { c.ConnectTimeout = 7 * time.Second }, func(t *testing.T, b *bubble) {
		for name, begin := range map[string]func() net.Conn{
			"no handshake": func() net.Conn { _, pipe := b.open(newID()); return pipe },
			"no CONNECT": func() net.Conn {
				w, pipe := b.open(newID())
				if err := w.Conn.(*tls.Conn).Handshake(); err != nil {
					t.Fatal(err)
				}
				return pipe
			},
		} {
			pipe, started := begin(), time.Now()
			if _, err := pipe.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: the broker sent something", name)
			}
			if waited := time.Since(started); waited != 7*time.Second {
				t.Errorf("%s: closed after %v", name, waited)
			}
		}
	})
}

func TestConnackCanBeDelayed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := newID()
		b.SetFaults(id, Faults{ConnackDelay: 42 * time.Second})
		w, _ := b.open(id)
		begin := time.Now()
		w.connect(id, nil)
		if waited := time.Since(begin); waited != 42*time.Second {
			t.Errorf("CONNACK after %v", waited)
		}
		w.roundTrip()
		begin = time.Now()
		other, _ := b.open(newID())
		other.send(connectPacket("x", nil))
		receive[*packets.Connack](other)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("another client waited %v", waited)
		}
	})
}

func TestASilentBrokerAnswersAllWhenItWakes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id, other := newID(), newID()
		w, _ := b.open(id)
		w.connect(id, func(p *packets.Connect) { p.KeepAlive = 10 })
		w.subscribeAll(id)
		bystander, _ := b.open(other)
		bystander.connect(other, nil)

		b.SetFaults(id, Faults{Silent: true})
		b.publish(id, "x", "later", 1)
		w.send(&packets.Pingreq{})
		w.SetReadDeadline(time.Now().Add(time.Hour)) // far beyond the keep-alive
		if n, err := w.Conn.(*tls.Conn).NetConn().Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatalf("the silent broker sent %d bytes, %v", n, err)
		}
		bystander.roundTrip()
		if s := b.Client(id); !s.Connected || s.Queued != 1 {
			t.Errorf("while silent: %+v", s)
		}

		w.SetReadDeadline(time.Time{})
		b.SetFaults(id, Faults{})
		begin := time.Now()
		var ping, message bool
		for range 2 {
			control, err := packets.ReadPacket(w)
			if err != nil {
				t.Fatal(err)
			}
			ping = ping || control.Type == packets.PINGRESP
			message = message || control.Type == packets.PUBLISH
		}
		if !ping || !message || time.Since(begin) != 0 {
			t.Errorf("after %v: ping answered %v, message delivered %v", time.Since(begin), ping, message)
		}
		w.receiveDisconnect(packets.DisconnectKeepAliveTimeout)
		if waited := time.Since(begin); waited != 15*time.Second {
			t.Errorf("the keep-alive period ended %v after the silence", waited)
		}
	})
}

func TestABrokerSilentForAllLetsHandshakesHang(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		id := newID()
		b.SetFaults("", Faults{Silent: true})
		w, _ := b.open(id)
		time.AfterFunc(time.Minute, func() { b.SetFaults("", Faults{}) })
		begin := time.Now()
		w.connect(id, nil)
		if waited := time.Since(begin); waited != time.Minute {
			t.Errorf("connected after %v", waited)
		}
	})
}

func TestASilentConnectionCanBeDroppedAndClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		dropped, told, open := newID(), newID(), newID()
		var wires []*wire
		for _, id := range []string{dropped, told, open} {
			w, _ := b.open(id)
			w.connect(id, nil)
			wires = append(wires, w)
		}
		b.SetFaults("", Faults{Silent: true})
		for _, w := range wires {
			w.send(&packets.Pingreq{})
		}
		synctest.Wait()
		if n := b.DropConnections(dropped); n != 1 {
			t.Errorf("dropped %d", n)
		}
		wires[0].receiveEnd()
		if n := b.Disconnect(packets.DisconnectServerBusy, "", "", told); n != 1 {
			t.Errorf("told %d", n)
		}
		wires[1].receiveDisconnect(packets.DisconnectServerBusy)
		// The third is closed by Close, which inBubble awaits.
	})
}
