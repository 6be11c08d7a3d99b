package push_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/push"
)

// flood is a broker that sends each owner as many messages as it is let.
type flood struct {
	t           *testing.T
	server      tls.Config
	cfg         push.Config
	topic       string // below the root
	payload     []byte
	qos         byte
	count       int           // of messages to each
	begin       chan struct{} // closed: send
	beforeAck   bool          // send before the SUBACK
	window      int           // as many as that before an acknowledgement; 0: any number
	connections sync.WaitGroup
	acked       atomic.Int64
}

func newFlood(t *testing.T) *flood {
	ca := realtest.NewCA(t)
	client := ca.IssueCertificate("client", realtest.CertificateOptions{}).TLS
	f := &flood{t: t, begin: make(chan struct{}), qos: 1}
	f.server = tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{ca.IssueCertificate("broker.test", realtest.CertificateOptions{Hosts: []string{"broker.test"}}).TLS},
		ClientAuth:   tls.RequireAnyClientCert,
	}
	f.cfg = push.Config{BrokerURL: "mqtts://broker.test", Roots: realtest.Trusting(ca.Pool()), Certificate: source(&client)}
	return f
}

// start makes an owner's connection.
func (f *flood) start(h delivery.Handler) *running {
	cfg := f.cfg
	var owner fds.OwnerKey
	owner, cfg.Root = newOwner()
	cfg.Issuer = owner.Issuer
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		f.connections.Go(func() { f.serve(tls.Server(theirs, &f.server), theirs, cfg.Root.String()) })
		return ours, nil
	}
	return start(f.t, cfg, h)
}

func (f *flood) serve(conn *tls.Conn, raw net.Conn, root string) {
	defer raw.Close()
	if conn.Handshake() != nil {
		return
	}
	var sending sync.WaitGroup
	gone := make(chan struct{})
	defer sending.Wait()
	defer close(gone)
	defer raw.Close()
	writing := make(chan struct{}, 1) // a mutex that synctest knows
	write := func(packet interface {
		WriteTo(io.Writer) (int64, error)
	}) error {
		writing <- struct{}{}
		defer func() { <-writing }()
		_, err := packet.WriteTo(conn)
		return err
	}
	window := make(chan struct{}, f.window)
	send := func(then func()) {
		sending.Go(func() {
			<-f.begin
			m := &packets.Publish{Topic: root + f.topic, Payload: f.payload, QoS: f.qos, Properties: &packets.Properties{}}
			for i := range f.count {
				if f.qos > 0 {
					m.PacketID = uint16(i + 1)
				}
				if f.window > 0 {
					select {
					case window <- struct{}{}:
					default:
						if then != nil {
							then()
							then = nil
						}
						select {
						case window <- struct{}{}:
						case <-gone:
							return
						}
					}
				}
				if write(m) != nil {
					return
				}
			}
			if then != nil {
				then()
			}
		})
	}
	for {
		packet, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		switch p := packet.Content.(type) {
		case *packets.Connect:
			if f.window > 0 {
				window = make(chan struct{}, *p.Properties.ReceiveMaximum)
			}
			_ = write(&packets.Connack{SessionPresent: true, Properties: &packets.Properties{}})
		case *packets.Subscribe:
			suback := func() {
				_ = write(&packets.Suback{PacketID: p.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}})
			}
			if f.beforeAck {
				send(suback)
			} else {
				suback()
				send(nil)
			}
		case *packets.Pingreq:
			sending.Go(func() { _ = write(packets.NewControlPacket(packets.PINGRESP)) })
		case *packets.Puback:
			f.acked.Add(1)
			if f.window > 0 {
				<-window
			}
		case *packets.Disconnect:
			return
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A thousand owners whose handlers block, and a broker that sends each of them all it has:
// without a common budget that would be all ten messages of each owner.
func TestAttackAThousandOwnersWhoseHandlersBlockShareOneBudget(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	for name, c := range map[string]struct {
		owners, budget, each int // each: what one message may take
		prepare              func(f *flood)
	}{
		"messages": {1000, 64 * mib, 66 * kib, func(f *flood) { f.payload = make([]byte, 64*kib) }},
		"messages of quality of service 0": {200, 16 * mib, 66 * kib, func(f *flood) {
			f.payload, f.qos = make([]byte, 64*kib), 0
		}},
		"topics of slashes": {40, 16 * mib, 1200 * kib, func(f *flood) {
			f.topic, f.payload = strings.Repeat("/", 60_000), []byte("{}")
		}},
		"messages before the SUBACK": {200, 16 * mib, (66 + 256) * kib, func(f *flood) {
			f.payload, f.beforeAck = make([]byte, 64*kib), true
			f.cfg.ConnectTimeout = 24 * time.Hour
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlood(t)
				f.count, f.cfg.Budget, f.cfg.SlowHandler = 10, push.NewBudget(c.budget), 24*time.Hour
				c.prepare(f)
				release := make(chan struct{})
				var handled atomic.Int64
				running := make([]*running, c.owners)
				for i := range running {
					running[i] = f.start(func(context.Context, delivery.Message) error { <-release; handled.Add(1); return nil })
				}
				synctest.Wait()
				before := heap()
				close(f.begin)
				synctest.Wait()
				took := heap() - before
				bound := int64(c.budget + c.owners*c.each)
				t.Logf("%d owners took %d MiB; the bound is %d MiB", c.owners, took/mib, bound/mib)
				if took > bound+bound/8 {
					t.Errorf("%d MiB were taken; the bound is %d MiB", took/mib, bound/mib)
				}
				if took < int64(c.budget)/2 {
					t.Errorf("only %d MiB were taken: is anything sent?", took/mib)
				}
				if f.beforeAck { // they wait for each other's until they are ended
					for _, r := range running {
						r.cancel()
					}
					close(release)
					return
				}
				time.Sleep(10 * time.Minute) // many keep-alives
				close(release)
				time.Sleep(10 * time.Minute)
				for _, r := range running {
					if s := r.State(); s.Phase != push.Connected || s.Connects != 1 {
						t.Fatalf("a connection did not survive the pause: %+v", s)
					}
				}
				if want := int64(c.owners * f.count); f.qos > 0 && handled.Load() != want || f.acked.Load() != handled.Load()*int64(f.qos) {
					t.Errorf("%d messages handled and %d acknowledged, of %d", handled.Load(), f.acked.Load(), want)
				}
				if kept := heap() - before; kept > int64(c.budget/4+c.owners*40*kib) { // TLS has grown its buffers, on both sides
					t.Errorf("%d MiB are kept when all is done", kept/mib)
				}
				for _, r := range running {
					r.cancel()
				}
				for _, r := range running {
					r.wait()
				}
				f.connections.Wait()
				if used := push.Used(f.cfg.Budget); used != 0 {
					t.Errorf("%d bytes of the budget are never given back", used)
				}
			})
		})
	}
}

// One owner's blocked handler holds up nobody else, though it has the whole budget.
func TestAttackAnOwnerWhoseHandlerBlocksLeavesTheOthersTheirMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlood(t)
		f.count, f.payload, f.cfg.Budget, f.cfg.SlowHandler = 50, make([]byte, 1<<10), push.NewBudget(8<<10), 24*time.Hour
		release := make(chan struct{})
		blocked := f.start(func(context.Context, delivery.Message) error { <-release; return nil })
		close(f.begin)
		synctest.Wait()
		var handled atomic.Int64
		var others []*running
		for range 10 {
			others = append(others, f.start(func(context.Context, delivery.Message) error { handled.Add(1); return nil }))
		}
		time.Sleep(time.Minute)
		if handled.Load() != 10*int64(f.count) {
			t.Errorf("%d messages of the others were handled, of %d", handled.Load(), 10*f.count)
		}
		close(release)
		for _, r := range append(others, blocked) {
			r.stop()
		}
		f.connections.Wait()
		if used := push.Used(f.cfg.Budget); used != 0 {
			t.Errorf("%d bytes of the budget are never given back", used)
		}
	})
}
