// Package tap lets the tools of this module see what goes over the network, to find a fault. A Tap
// is one of a configuration's Hooks, and no application can have one: what it sees is not checked
// yet, may be another owner's, and is full of secrets. Without one it costs nothing.
package tap

import (
	"crypto/tls"
	"net/http"

	"github.com/fds-sdk/fds-go/fds"
)

// Tap is what sees. Its functions are called where the thing happens, from many goroutines, and
// what happens waits for them.
type Tap struct {
	// Packet is told of every packet of MQTT: of one that is sent right before, of one that is
	// received once it has been read whole. Nil: nobody is.
	Packet func(Packet)
	// Wrap puts something around the transport of all requests over HTTP. Nil: nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Packet is a packet of MQTT as it is on the network.
type Packet struct {
	Owner  fds.OwnerKey
	Broker string // host:port
	Sent   bool   // by this side
	Data   []byte // the whole packet; valid during the call, and not to be changed

	TLS *tls.ConnectionState // of the connection, with its CONNECT; else nil
}

// Of returns the Tap among hooks, or one that sees nothing.
func Of(hooks []any) Tap {
	for _, hook := range hooks {
		if t, ok := hook.(*Tap); ok {
			return *t
		}
	}
	return Tap{}
}

// Is reports whether a hook is a Tap.
func Is(hook any) bool {
	_, ok := hook.(*Tap)
	return ok
}
