package push

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho/log"
)

// keepAlive begins to watch the connection. A ping goes out when nothing was
// sent or nothing received for seven eighths of the interval, and must be
// followed by any packet within half of it: a dead connection is found within one
// and a half. One timer does it, so an idle connection costs no goroutine.
func (w *wire) keepAlive(interval time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return
	}
	w.pingIdle, w.pingAnswer = interval*7/8, interval/2
	w.pingTimer = time.AfterFunc(w.pingIdle, w.watch)
}

func (w *wire) watch() {
	w.mu.Lock()
	if w.cause != nil {
		w.mu.Unlock()
		return
	}
	now := time.Since(w.began)
	sent, received := time.Duration(w.lastSent.Load()), time.Duration(w.lastReceived.Load())
	if w.paused {
		received = now // nobody reads: silence says nothing
	}
	if received >= w.pingAt {
		w.pingAt = 0
	}
	ping := false
	switch {
	case w.pingAt != 0 && now >= w.pingAt+w.pingAnswer:
		w.mu.Unlock()
		w.fail(&lostError{fmt.Errorf("%w: nothing came for %v", ErrUnresponsive, (now - received).Round(time.Millisecond))})
		return
	case w.pingAt != 0:
		w.pingTimer.Reset(w.pingAt + w.pingAnswer - now)
	case now < min(sent, received)+w.pingIdle:
		w.pingTimer.Reset(min(sent, received) + w.pingIdle - now)
	default:
		ping = true
		w.pingAt = now
		w.pingTimer.Reset(w.pingAnswer) // before the write, which may block
	}
	w.mu.Unlock()
	if ping {
		_, _ = packets.NewControlPacket(packets.PINGREQ).WriteTo(w) // an error has ended the connection
	}
}

// noPinger stands in for paho's pinger, which would cost a goroutine.
type noPinger struct{}

func (noPinger) Run(context.Context, net.Conn, uint16) error { return nil }
func (noPinger) PacketSent()                                 {}
func (noPinger) PacketReceived()                             {}
func (noPinger) PingResp()                                   {}
func (noPinger) SetDebug(log.Logger)                         {}
