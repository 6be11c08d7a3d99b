package push_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A CONNECT that the broker reads after that of the owner's next connection would take the session
// over from it. Whoever is called off while it connects returns when the broker is done with it,
// and waits for a broker that says nothing for a second at most.
func TestAnAttemptThatIsCalledOffWaitsForTheBroker(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration // until the broker has read it
		waits time.Duration // the client
	}{{"at once", 0, 0}, {"late", 700 * time.Millisecond, 700 * time.Millisecond}, {"never", time.Hour, time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connects, goodbye := make(chan struct{}), make(chan bool, 1)
				b := newScripted(t, func(p *peer) {
					p.expect(packets.CONNECT)
					close(connects)
					time.Sleep(c.takes)
					packet := p.next()
					goodbye <- packet != nil && packet.Type == packets.DISCONNECT
				})
				r := start(t, b.config(), newCollector().handle)
				<-connects
				synctest.Wait()
				began := time.Now()
				r.cancel()
				if err := r.wait(); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited != c.waits {
					t.Errorf("it waited for %v, want %v", waited, c.waits)
				}
				if said := <-goodbye; said != (c.name != "never") {
					t.Errorf("a DISCONNECT came: %v", said)
				}
			})
		})
	}
}
