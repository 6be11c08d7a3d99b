package push

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Connection is one owner's connection to the broker. Its methods are safe for
// concurrent use.
type Connection struct {
	settings settings

	notify sync.Mutex // held while OnState runs, so that changes are told in order
	mu     sync.Mutex
	state  State
}

// New makes a connection that Run opens. A configuration that cannot work gives
// an error that matches ErrConfig and names every fault in a sentence.
func New(cfg Config) (*Connection, error) {
	s, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	return &Connection{
		settings: s,
		state:    State{Owner: s.Owner, Phase: Stopped, Since: time.Now(), Broker: s.address},
	}, nil
}

// State gives the condition at this moment.
func (c *Connection) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Run connects, keeps the connection up and hands every message to h, until ctx
// ends, which gives nil, or until waiting cannot help (ErrTakenOver). When ctx
// ends, a handler at work may finish within Config.DrainTimeout; its message is
// acknowledged before the disconnect, and the broker keeps the session. Run may
// be called again afterwards, one call at a time (ErrRunning).
func (c *Connection) Run(ctx context.Context, h Handler) error {
	return errors.ErrUnsupported
}

// Wake ends a wait for the next attempt, as when a new certificate has arrived or
// the network has come back.
func (c *Connection) Wake() {
}

// EndSession signs the owner out: the broker forgets the session and stops
// queueing messages. A running Run ends with nil. When it is not connected,
// EndSession connects briefly, once; the caller repeats it after an error.
func (c *Connection) EndSession(ctx context.Context) error {
	return errors.ErrUnsupported
}
