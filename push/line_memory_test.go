package push_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/push"
)

// A topic is memory too: up to 64 KiB of text, and 16 bytes for each of its levels.
func TestAttackTopicsThatWaitForTheHandlerTakeBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent = 200
		b := newScripted(t, func(p *peer) {
			p.accept(false)
			topic := p.root.String() + strings.Repeat("a/", 32_000) + "a"
			for range sent {
				p.send(&packets.Publish{Topic: topic, Payload: []byte("{}"), Properties: &packets.Properties{}})
			}
			p.stay()
		})
		finish := make(chan struct{})
		r := start(t, b.config(), func(context.Context, delivery.Message) error { <-finish; return nil })
		defer close(finish)
		r.waitPhase(push.Connected)
		time.Sleep(time.Second) // until another goroutine reads
		synctest.Wait()
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		if now.HeapAlloc > 32<<20 {
			t.Errorf("%d messages of 2 bytes each keep %d MiB", sent, now.HeapAlloc>>20)
		}
	})
}
