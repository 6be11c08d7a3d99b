package push

import "time"

// Config.Hooks may implement any of the interfaces below, to count and to
// measure. They are called on the connection's own goroutines: they must be fast
// and safe for concurrent use. None is told the owner, who must not become a
// metric's label.

// AttemptHook is told of every attempt to connect: how long it took until it was
// subscribed or had failed.
type AttemptHook interface {
	ConnectAttempt(took time.Duration, err error)
}

// HandledHook is told of every call of the handler.
type HandledHook interface {
	MessageHandled(took time.Duration, err error)
}

// DiscardHook is told of every message that was not handed over: ErrQueueFull, an
// error about the topic, or one that says how its connection had ended, which is
// told for quality of service 0 alone since any other comes again.
type DiscardHook interface {
	MessageDiscarded(reason error)
}

// SlowHook is told of each call of the handler that has taken Config.SlowHandler
// and goes on.
type SlowHook interface {
	HandlerSlow(took time.Duration)
}
