package push

import (
	"runtime"
	"testing"

	"github.com/fds-sdk/fds-go/delivery"
)

func TestNoOwnerIsOvertakenThatWaitsForTheBudget(t *testing.T) {
	b := NewBudget(100)
	large, waits, small := &account{budget: b}, &account{budget: b}, &account{budget: b}
	for _, a := range []struct {
		account *account
		bytes   int
	}{{large, 60}, {waits, 10}, {small, 5}} {
		if !a.account.try(a.bytes, false) {
			t.Fatalf("no room for %d bytes", a.bytes)
		}
	}
	granted := waits.reserve(50, false, func(granted <-chan struct{}) bool {
		if small.try(10, false) {
			t.Error("who came later has the room that the first one waits for")
		}
		large.release(60, true)
		select {
		case <-granted:
			return true
		default:
			return false
		}
	})
	if !granted || !small.try(10, false) {
		t.Errorf("granted %v, %d bytes are used", granted, Used(b))
	}
}

func TestAMessageInHandCountsUntilItIsDoneWithThoughItsConnectionEnds(t *testing.T) {
	for inHand, want := range map[bool]int64{true: 10, false: 0} {
		b := NewBudget(100)
		a := &account{budget: b}
		message := func(duplicate bool) *inbound {
			a.force(10, false)
			return &inbound{
				message: delivery.Message{QoS: 1, Duplicate: duplicate}, account: a, cost: 10,
				session: &session{wire: &wire{ended: make(chan struct{})}},
			}
		}
		l, first, again := &line{ctx: t.Context()}, message(false), message(true)
		if inHand {
			l.inHand = first
		} else {
			first.release()
		}
		l.offer(again)
		if used := Used(b); used != 10 || len(l.queue) != 1 {
			t.Errorf("in hand %v: %d bytes are used, %d messages wait", inHand, used, len(l.queue))
		}
		l.withdraw(again.session)
		if used := Used(b); used != want || len(l.queue) > 0 {
			t.Errorf("in hand %v, the connection has ended: %d bytes are used, %d messages wait", inHand, used, len(l.queue))
		}
	}
}

func TestAReservationEndsWithTheGoroutineThatWaits(t *testing.T) {
	b := NewBudget(100)
	a, other := &account{budget: b}, &account{budget: b}
	a.force(80, false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.reserve(50, false, func(<-chan struct{}) bool { runtime.Goexit(); return true })
	}()
	<-done
	other.force(1, false)
	if !other.try(10, false) {
		t.Error("nobody waits, and there is no room")
	}
	a.release(80, true)
	if used := Used(b); used != 11 || a.messages != 0 {
		t.Errorf("%d bytes are used, and %d messages", used, a.messages)
	}
}
