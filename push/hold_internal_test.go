package push

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// writes counts what is written at once.
type writes struct {
	net.Conn
	all chan []byte
}

func (w *writes) Write(p []byte) (int, error) {
	w.all <- append([]byte(nil), p...)
	return len(p), nil
}

// serving returns a wire whose reader serves, and has more to read.
func serving() (*wire, *writes) {
	conn, _ := net.Pipe()
	out := &writes{conn, make(chan []byte, 100)}
	w := newWire(out, out, &settings{Config: Config{Settings: Settings{ReceiveMaximum: 32, WriteTimeout: time.Second}}})
	w.turn.Store(1)
	w.more.Store(true)
	return w, out
}

func acknowledged(t *testing.T, w *wire, ids ...uint16) {
	t.Helper()
	for _, id := range ids {
		if err := w.acknowledge(receipt{id, 1}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAcknowledgementsOfWhatCameTogetherAreOneRecord(t *testing.T) {
	for name, ended := range map[string]struct {
		by   func(w *wire)
		more string // what is written with them
	}{
		"the reader waits":         {by: func(w *wire) { w.flush() }},
		"the last one":             {by: func(w *wire) { w.more.Store(false); _ = w.acknowledge(receipt{4, 2}) }, more: "P\x02\x00\x04"},
		"another goroutine serves": {by: func(w *wire) { w.turn.Store(2); _ = w.acknowledge(receipt{4, 1}) }, more: "@\x02\x00\x04"},
		"a ping":                   {by: func(w *wire) { _ = w.write(&packets.Pingreq{}) }, more: "\xc0\x00"},
		"the end":                  {by: func(w *wire) { w.finish(errFinished, &packets.Disconnect{Properties: &packets.Properties{}}) }, more: string(encode(&packets.Disconnect{Properties: &packets.Properties{}}))},
		"time":                     {by: func(w *wire) { time.Sleep(heldFor); _ = w.acknowledge(receipt{4, 1}) }, more: "@\x02\x00\x04"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, out := serving()
				acknowledged(t, w, 1, 2, 3)
				if len(out.all) > 0 {
					t.Fatalf("%q was written though more is to come", <-out.all)
				}
				ended.by(w)
				if got, want := string(<-out.all), "@\x02\x00\x01@\x02\x00\x02@\x02\x00\x03"+ended.more; got != want {
					t.Errorf("%q, want %q", got, want)
				}
				if w.flush(); len(out.all) > 0 {
					t.Errorf("%q again", <-out.all)
				}
			})
		})
	}
}

func TestNoMoreThanSomeAcknowledgementsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := serving()
		for id := range uint16(heldAtOnce) {
			acknowledged(t, w, id+1)
		}
		if len(out.all) != 1 || len(<-out.all) != 4*heldAtOnce {
			t.Error("they were not written")
		}
		w.receiveMaximum = 1
		acknowledged(t, w, 1)
		if len(out.all) != 1 {
			t.Error("the broker sends nothing more before this one")
		}
	})
}

func TestWhatIsHeldIsWrittenWhenTheGoroutineIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := serving()
		acknowledged(t, w, 1)
		w.release()
		if got := string(<-out.all); got != "@\x02\x00\x01" {
			t.Errorf("%q", got)
		}
		w.fail(errFinished)
		<-w.untilDone()
	})
}

// The end is marked first and takes its turn to write then. Meanwhile the reader may flush.
func TestWhatIsHeldWhenTheEndComesIsWrittenWithTheDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, out := serving()
		acknowledged(t, w, 1)
		w.writing.Lock()
		goodbye := &packets.Disconnect{Properties: &packets.Properties{}}
		go w.finish(errFinished, goodbye)
		synctest.Wait() // it has ended the connection, and waits for its turn
		_ = w.send(nil) // as flush does that had its turn before
		w.writing.Unlock()
		if got, want := string(<-out.all), "@\x02\x00\x01"+string(encode(goodbye)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
