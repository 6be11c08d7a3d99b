package push

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// bounded is a connection that notes the deadline of its writes.
type bounded struct {
	net.Conn
	deadline time.Time
	sets     int
	onSet    func() // after a deadline is set; nil: nothing
	over     int    // writes that came after their deadline
}

func (b *bounded) SetWriteDeadline(t time.Time) error {
	b.deadline = t
	b.sets++
	if b.onSet != nil {
		b.onSet()
	}
	return nil
}

func (b *bounded) Write(p []byte) (int, error) {
	if !b.deadline.After(time.Now()) {
		b.over++
	}
	return len(p), nil
}

func TestAWriteIsBoundedAlsoAfterLongRestAndNotOftenWhileManyGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := new(bounded)
		g := &gate{Conn: conn, writeFor: 8 * time.Second}
		for range 1000 {
			g.Write([]byte("x"))
			if left := time.Until(conn.deadline); left < 7*time.Second || left > 8*time.Second {
				t.Fatalf("a write has %v", left)
			}
			time.Sleep(time.Millisecond)
		}
		if conn.sets > 2 {
			t.Errorf("%d deadlines for writes within a second", conn.sets)
		}
		time.Sleep(time.Hour)
		g.Write([]byte("x"))
		if conn.over != 0 || time.Until(conn.deadline) != 8*time.Second {
			t.Errorf("%d writes came too late; after a rest a write has %v", conn.over, time.Until(conn.deadline))
		}
	})
}

func TestTheLastWritesHaveLittleTimeAlsoBesideOneThatBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := new(bounded)
		g := &gate{Conn: conn, writeFor: 8 * time.Second}
		conn.onSet = func() { // the end comes while the deadline of a write is set, which comes last
			conn.onSet = nil
			g.lastWrites()
			conn.deadline = time.Now().Add(g.writeFor)
		}
		g.Write([]byte("x"))
		if left := time.Until(conn.deadline); left != lingerTime {
			t.Errorf("a write beside the end has %v", left)
		}
		time.Sleep(time.Hour)
		g.lastWrites()
		g.Write([]byte("x"))
		if left := time.Until(conn.deadline); left != lingerTime || conn.over != 0 {
			t.Errorf("the last write has %v", left)
		}
	})
}
