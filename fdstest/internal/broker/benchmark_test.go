package broker

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// acknowledgeAll is a subscriber that costs as little as one can: it
// acknowledges n messages and keeps nothing.
func acknowledgeAll(w *wire, n int) error {
	r := frameReader{r: w, limit: maxPacket}
	ack := []byte{packets.PUBACK << 4, 2, 0, 0}
	for range n {
		f, err := r.next()
		if err != nil {
			return err
		}
		topic := int(binary.BigEndian.Uint16(f.body))
		copy(ack[2:], f.body[2+topic:4+topic])
		if _, err := w.Write(ack); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkThroughput publishes 300-byte QoS 1 messages round robin; a message
// counts when it is acknowledged. Clients run in the same process, so that the
// figures hold their cost too.
func BenchmarkThroughput(b *testing.B) {
	for _, subscribers := range []int{1, 100} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			f := start(b, nil)
			ids, share := make([]string, subscribers), make([]int, subscribers)
			for i := range b.N {
				share[i%subscribers]++
			}
			var wg sync.WaitGroup
			for i := range ids {
				ids[i] = newID()
				w := f.subscriber(ids[i], func(p *packets.Connect) { p.Properties.ReceiveMaximum = new(uint16(64)) })
				w.SetDeadline(time.Now().Add(10 * time.Minute))
				wg.Go(func() {
					if err := acknowledgeAll(w, share[i]); err != nil {
						b.Error(err)
					}
				})
			}
			payload := make([]byte, 300)
			b.ResetTimer()
			for i := range b.N {
				if n, err := f.Publish("fds/v2/"+ids[i%subscribers]+"/devices/status", payload, 1, false); n != 1 || err != nil {
					b.Fatal(n, err)
				}
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkPublish is the publisher's side alone: the subscriber is offline.
func BenchmarkPublish(b *testing.B) {
	f := start(b, nil)
	id := newID()
	w := f.subscriber(id, nil)
	w.Close()
	until(b, "offline", func() bool { return !f.Client(id).Connected })
	topic, payload := "fds/v2/"+id+"/devices/status", make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := f.Publish(topic, payload, 1, false); n != 1 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkIdleConnections connects and subscribes 1,000 clients and reports
// what each costs. The clients are in the same process: their bare tls.Conn,
// measured at some 6 KiB of heap, is in the figure, and no goroutine of theirs.
func BenchmarkIdleConnections(b *testing.B) {
	const n = 1000
	for b.Loop() {
		b.StopTimer()
		f := start(b, nil)
		ids := make([]string, n)
		for i := range ids {
			ids[i] = newID()
		}
		before := memory()
		goroutines := runtime.NumGoroutine()
		b.StartTimer()
		wires := make([]*wire, n)
		for i, id := range ids {
			wires[i] = f.subscriber(id, func(p *packets.Connect) { p.KeepAlive = 60 })
		}
		b.StopTimer()
		after := memory()
		b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/n, "heap-B/conn")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/n, "stack-B/conn")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/n, "goroutines/conn")
		b.ReportMetric(float64(b.Elapsed().Microseconds())/n, "µs/connect")
		for _, w := range wires {
			w.Close()
		}
		f.Close()
		b.StartTimer()
	}
}

func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}
