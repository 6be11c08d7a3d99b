package push

import (
	"reflect"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Each of Config.Hooks implements one or more of the interfaces below, to count and to
// measure. They are called on the connection's own goroutines: they must be fast and safe for
// concurrent use. Each is told whose connection it is, for a log, a trace or a list of who is
// in trouble; an owner must not become a metric's label, of which there may be ten thousand.

// HookConnect is told of every attempt to connect: how long it took until it was subscribed
// or had failed.
type HookConnect interface {
	OnConnect(owner fds.OwnerKey, took time.Duration, err error)
}

// HookHandled is told of every call of the handler.
type HookHandled interface {
	OnHandled(owner fds.OwnerKey, took time.Duration, err error)
}

// HookDiscarded is told of every message that was not handed over: fds.ErrQueueFull, an error
// about the topic, or one that says how its connection had ended, which is told for quality of
// service 0 alone since any other comes again. By fdsclient it is told too of a message that
// names another owner than its topic does (fds.ErrOwner).
type HookDiscarded interface {
	OnDiscarded(owner fds.OwnerKey, reason error)
}

// HookSlowHandler is told of each call of the handler that has taken Settings.SlowHandler and
// goes on.
type HookSlowHandler interface {
	OnSlowHandler(owner fds.OwnerKey, took time.Duration)
}

var hookTypes = []reflect.Type{
	reflect.TypeFor[HookConnect](), reflect.TypeFor[HookHandled](), reflect.TypeFor[HookDiscarded](), reflect.TypeFor[HookSlowHandler](),
}
