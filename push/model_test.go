package push_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/push"
)

func TestZModel(t *testing.T) {
	for seed := range uint64(3000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { model(t, seed) })
		})
		if t.Failed() {
			return
		}
	}
}

func model(t *testing.T, seed uint64) {
	const total = 60
	rng := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) }
	var first []int
	ok := map[int]int{}
	acked, disorder := 0, 0
	var bm sync.Mutex
	current := 0
	got := map[int]bool{}
	sent := 0 // ever
	over := make(chan struct{})
	b := newScripted(t, func(p *peer) {
		p.connack(p.n > 1, packets.Properties{})
		bm.Lock()
		current = p.n
		locked := true
		lock := func() bool { bm.Lock(); locked = true; return current == p.n }
		unlock := func() { locked = false; bm.Unlock() }
		defer func() {
			if locked {
				bm.Unlock()
			}
		}()
		early := roll(2) == 0
		window := 1 + roll(8)
		next := acked
		flight := map[int]bool{}
		limit := roll(12)
		push1 := func() {
			for next < total && next < acked+window {
				dup := next < sent
				p.publish(uint16(next%7000)+1, dup, "events", fmt.Sprint(next))
				next++
				if next > sent {
					sent = next
				}
			}
		}
		unlock()
		sub := p.expect(packets.SUBSCRIBE)
		if !lock() {
			return
		}
		out := make(chan func(), 1000)
		done := make(chan struct{})
		defer close(done)
		go func() {
			defer func() { recover() }()
			for {
				select {
				case f := <-out:
					f()
				case <-done:
					return
				}
			}
		}()
		// writes are made by one goroutine; the state by the reader
		send := func() {
			for next < total && next < acked+window {
				i, dup := next, next < sent
				next++
				if got[i+1] {
					continue
				}
				flight[i+1] = true
				sent = max(sent, next)
				out <- func() {
					m := &packets.Publish{Topic: p.root.String() + "events", Payload: []byte(fmt.Sprint(i)), PacketID: uint16(i + 1), QoS: 1, Duplicate: dup, Properties: &packets.Properties{}}
					_, _ = m.WriteTo(p.conn)
				}
			}
		}
		_ = push1
		if early && p.n > 1 {
			send()
		}
		out <- func() {
			_, _ = (&packets.Suback{PacketID: sub.Content.(*packets.Subscribe).PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}}).WriteTo(p.conn)
		}
		send()
		if roll(3) == 0 {
			d := time.Duration(roll(300)) * time.Millisecond
			tm := time.AfterFunc(d, func() { p.raw.Close() })
			defer tm.Stop()
		}
		for {
			unlock()
			packet, err := packets.ReadPacket(p.conn)
			if !lock() || err != nil {
				return
			}
			switch packet.Type {
			case packets.PINGREQ:
				out <- func() { _, _ = packets.NewControlPacket(packets.PINGRESP).WriteTo(p.conn) }
			case packets.DISCONNECT:
				return
			case packets.PUBACK:
				id := int(packet.Content.(*packets.Puback).PacketID)
				mu.Lock()
				handled := ok[id-1]
				mu.Unlock()
				if handled == 0 {
					t.Errorf("PUBACK of %d, which was not handled", id)
				}
				if !flight[id] {
					t.Errorf("seed %d: PUBACK of %d, which is not in flight; acked %d", seed, id, acked)
				}
				if id != acked+1 {
					disorder++
				}
				if limit == 0 && roll(2) == 0 {
					return // lost
				}
				delete(flight, id)
				got[id] = true
				for got[acked+1] {
					acked++
				}
				if acked == total {
					close(over)
					out <- func() {}
					return
				}
				if limit--; limit < 0 {
					return
				}
				send()
			default:
				t.Errorf("got %v", packet)
			}
		}
	})
	cfg := b.config()
	cfg.Backoff = push.Backoff{Initial: time.Millisecond, Max: 10 * time.Millisecond, StableAfter: time.Millisecond, Slow: 10 * time.Millisecond}
	cfg.HandlerBackoff = push.Backoff{Initial: time.Millisecond, Max: 20 * time.Millisecond}
	cfg.TakenOverRetry = time.Minute
	if roll(2) == 0 {
		cfg.BeforeMessages = func(ctx context.Context, _ push.Subscribed) error {
			time.Sleep(time.Duration(roll(100)) * time.Millisecond)
			if roll(10) == 0 {
				return errors.New("no")
			}
			return nil
		}
	}
	cfg.ReceiveMaximum = uint16(1 + roll(8))
	busy := false
	r := start(t, cfg, func(ctx context.Context, m push.Message) error {
		mu.Lock()
		if busy {
			t.Error("two at once")
		}
		busy = true
		mu.Unlock()
		defer func() { mu.Lock(); busy = false; mu.Unlock() }()
		var n int
		fmt.Sscan(string(m.Payload), &n)
		switch k := roll(100); {
		case k < 60:
		case k < 75:
			time.Sleep(time.Duration(30+roll(170)) * time.Millisecond)
		case k < 78:
			time.Sleep(5 * time.Second)
		case k < 86:
			return errors.New("no")
		case k < 92:
			panic("x")
		case k < 96:
			time.Sleep(time.Duration(roll(100)) * time.Millisecond)
			runtime.Goexit()
		default:
			time.Sleep(time.Duration(49+roll(3)) * time.Millisecond)
		}
		mu.Lock()
		if ok[n] == 0 {
			first = append(first, n)
		}
		ok[n]++
		mu.Unlock()
		return nil
	})
	select {
	case <-over:
	case <-time.After(24 * time.Hour):
		t.Errorf("seed %d: acked %d; state %+v", seed, acked, r.State())
	}
	if disorder > 0 { t.Log("disorder", disorder) }
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	for i, n := range first {
		if i != n {
			t.Errorf("seed %d: order %v", seed, first)
			break
		}
	}
}
