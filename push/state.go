package push

import (
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
)

// Phase is where a connection stands.
type Phase string

// The phases of a connection.
const (
	Connecting       Phase = "connecting"        // dialling, or waiting for the shared limiter
	Connected        Phase = "connected"         // subscribed: messages flow
	BackingOff       Phase = "backing off"       // waiting to try again; RetryAt says until when
	NeedsCertificate Phase = "needs certificate" // no usable client certificate, or the broker refuses it; retried slowly, and at once when there is another one
	Denied           Phase = "denied"            // the broker refuses this client or all its filters; retried slowly, and at once with another certificate
	TakenOver        Phase = "taken over"        // another process uses this owner's connection; Run has ended, or waits for long
	Stopped          Phase = "stopped"           // Run is not running
)

// State is a connection's condition at one moment.
type State struct {
	Owner   fds.OwnerKey
	Phase   Phase
	Since   time.Time // when Phase began
	Err     error     // why it is not connected, or what is wrong though it is
	RetryAt time.Time // the next attempt, while one is waited for
	Broker  string    // host:port of the last attempt

	// While connected, and of the last connection afterwards:

	CertificateExpiry time.Time      // of the client certificate in use
	SessionPresent    bool           // the broker had kept the session of an earlier connection
	Subscriptions     []Subscription // what the broker granted
	KeepAlive         time.Duration  // as the broker granted
	SessionExpiry     time.Duration  // how long the broker keeps the session once disconnected, as it granted

	// Counters since New:

	Connects uint64 // how often Connected was reached
	Dropped  uint64 // messages of quality of service 0 that were not handed over: the handler fell behind, or the connection was ended before
	Foreign  uint64 // messages on topics that are not the owner's or are malformed; never handed over

	// At this moment, as Connection.State tells; OnState does not:

	Waiting int               // messages that wait for the handler, without the one at work
	Failing *delivery.Failing // what the handler fails on; nil: on nothing
}

// Subscribed says what Config.BeforeMessages is called for.
type Subscribed struct {
	SessionPresent bool  // the broker had kept the session of an earlier connection
	Last           error // why the connection before this one ended; nil for the first of a Run
	// Planned reports that this side ended the connection before, for a new client
	// certificate, and was back at the first attempt and within Config.ConnectTimeout.
	// Where SessionPresent holds too, the broker had to keep all that was published
	// meanwhile with quality of service 1: no outage. It is false where a filter has
	// quality of service 0. A referral to another server is not planned: which session
	// that server has kept, nobody says.
	Planned bool
}

// Subscription is one topic filter and the broker's answer to it.
type Subscription struct {
	Filter string
	QoS    byte  // granted; may be lower than asked for
	Err    error // the filter was refused, a *ReasonError
}
