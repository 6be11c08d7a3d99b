package fdsclient

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fdsclient/internal/following"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/push"
)

// connected is an owner's connection in a run.
type connected struct {
	owner      *Owner
	connection *push.Connection      // nil without push
	follower   *following.Follower   // nil without push or poll
	grant      *grants.Grant         // that the owner had when it began
	why        atomic.Pointer[error] // it was ended for; nil: it was not
	fence      atomic.Pointer[error] // why it may not go on; nil: it may
	kept       bool                  // though its owner was taken out of its grant; the run's mu
	ended      bool                  // as done says; the run's mu
	done       chan struct{}         // closed: nothing of it is at work any more

	mu        sync.Mutex
	stop      func() // ends it; nil: it has not begun
	cancelled bool
}

// begun says how it is ended.
func (a *connected) begun(stop func()) {
	a.mu.Lock()
	a.stop = stop
	cancelled := a.cancelled
	a.mu.Unlock()
	if cancelled {
		stop()
	}
}

// cancel ends it, also when it has yet to begin.
func (a *connected) cancel() {
	a.mu.Lock()
	a.cancelled = true
	stop := a.stop
	a.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// isOver reports whether it has ended though its owner is signed in, as after a
// take-over.
func (a *connected) isOver() bool {
	select {
	case <-a.done:
		return a.follower != nil
	default:
		return false
	}
}

// state is a state of its connection, with the reason for which it was ended.
func (a *connected) state(s push.State) push.State {
	if why := a.why.Load(); why != nil && (s.Phase == push.Stopped || wasTaken(s)) {
		s.Phase, s.Err = push.Stopped, *why
	}
	return s
}

// wasTaken reports whether a connection was taken over, and is not tried again.
func wasTaken(s push.State) bool { return s.Phase == push.TakenOver && s.RetryAt.IsZero() }

// end ends it for a reason, of which the first counts.
func (a *connected) end(why error) {
	a.why.CompareAndSwap(nil, &why)
	a.cancel()
}

// stop notes that nothing has the owner any more, and tells hooks.
func (o *Owner) stop(why error) {
	state := push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now(), Err: why}
	o.ended.Store(&state)
	o.client.connectionChanged(o.key, state)
}

// isIdle reports whether nothing was started of it.
func (a *connected) isIdle() bool { return a.follower == nil }

// noteEnd keeps the last state, with the reason, for Owner.Connection, and returns it.
func (a *connected) noteEnd() *push.State {
	o := a.owner
	s := push.State{Owner: o.key, Phase: push.Stopped, Since: time.Now()}
	if a.connection != nil {
		s = a.connection.State()
	}
	s = a.state(s)
	o.ended.Store(&s)
	return &s
}

// whenOver calls left when the handler cannot be at work any more, which may be
// long after everyone has ceased to wait for it. There may have been no connection.
func (a *connected) whenOver(left func()) {
	if a == nil {
		left()
		return
	}
	select {
	case <-a.done:
		left()
	default:
		go func() {
			<-a.done
			left()
		}()
	}
}
