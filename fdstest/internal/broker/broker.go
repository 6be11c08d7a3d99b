package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// ErrClosed is returned by Serve and Publish after Close.
var ErrClosed = errors.New("broker closed")

// A Broker serves MQTT 5.0 on any number of listeners. Its methods may be
// called from any goroutine.
type Broker struct {
	config Config
	faults atomic.Pointer[faultSet]

	done       chan struct{} // closed by Close
	goroutines sync.WaitGroup

	mu        sync.RWMutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{} // every connection, also in its handshake
	owners    map[string]*owner  // by client ID as spelt

	accepted         atomic.Int64
	handshakesFailed atomic.Int64
	refused          atomic.Int64
}

// New checks the configuration, copies it, and makes a broker that serves
// nothing yet. Its error names every fault of the configuration.
func New(config Config) (*Broker, error) {
	config, err := config.normalized()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		config:    config,
		done:      make(chan struct{}),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
		owners:    make(map[string]*owner),
	}
	b.faults.Store(newFaultSet())
	return b, nil
}

// Serve accepts TCP connections and does the TLS handshakes itself. It returns
// ErrClosed after Close, and the listener's error when the listener fails or is
// closed; the broker, its sessions and its connections then go on, and Serve
// may be called with another listener. It closes the listener.
func (b *Broker) Serve(listener net.Listener) error {
	defer listener.Close()
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	b.listeners[listener] = struct{}{}
	b.goroutines.Add(1)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.listeners, listener)
		b.mu.Unlock()
		b.goroutines.Done()
	}()

	pause := time.Duration(0)
	for {
		raw, err := listener.Accept()
		if err != nil {
			select {
			case <-b.done:
				return ErrClosed
			default:
			}
			var temporary interface{ Temporary() bool } // out of file descriptors: wait, as net/http does
			if !errors.As(err, &temporary) || !temporary.Temporary() {
				return fmt.Errorf("broker: accept: %w", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			b.config.Logger.Warn("accept failed, trying again", "error", err, "pause", pause)
			select {
			case <-b.done:
				return ErrClosed
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		b.accepted.Add(1)
		if b.faults.Load().of("").Refuse {
			raw.Close()
			continue
		}
		if c := b.track(raw); c != nil {
			go c.admit()
		}
	}
}

// track registers a connection and its first goroutine; nil after Close.
func (b *Broker) track(raw net.Conn) *conn {
	c := &conn{broker: b, raw: raw, stopped: make(chan struct{})}
	c.stream = tls.Server(raw, c.tlsConfig())
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		raw.Close()
		return nil
	}
	b.conns[c] = struct{}{}
	b.goroutines.Add(1)
	return c
}

func (b *Broker) untrack(c *conn) {
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
	b.goroutines.Done()
}

// Close ends all Serve calls, tells connected clients that the server shuts
// down (0x8B), discards all sessions, and returns when every goroutine of the
// broker has ended, after two seconds at the latest for clients that do not
// react. Further calls do nothing.
func (b *Broker) Close() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		b.goroutines.Wait()
		return
	}
	b.closed = true
	close(b.done)
	for l := range b.listeners {
		l.Close()
	}
	owners := b.snapshot(nil)
	b.mu.Unlock()

	for _, o := range owners {
		o.mu.Lock()
		if o.conn != nil {
			o.conn.end(&packets.Disconnect{ReasonCode: packets.DisconnectServerShuttingDown})
		}
		o.discardSession()
		o.mu.Unlock()
	}
	b.mu.RLock()
	for c := range b.conns {
		if c.owner.Load() == nil { // still in its handshake
			c.kill()
		}
	}
	b.mu.RUnlock()
	b.goroutines.Wait()
}

// snapshot returns the owners named, or all when none is named, in the order of
// their IDs. The caller holds b.mu.
func (b *Broker) snapshot(clientIDs []string) []*owner {
	var owners []*owner
	if len(clientIDs) == 0 {
		for _, o := range b.owners {
			owners = append(owners, o)
		}
	}
	for _, id := range clientIDs {
		if o := b.owners[id]; o != nil {
			owners = append(owners, o)
		}
	}
	slices.SortFunc(owners, func(x, y *owner) int { return strings.Compare(x.clientID, y.clientID) })
	return owners
}

// known returns the owner with this client ID, or nil.
func (b *Broker) known(clientID string) *owner {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.owners[clientID]
}

// ownerOf returns the owner with this client ID and makes it if need be. The
// caller vouches for the ID: owners are never removed.
func (b *Broker) ownerOf(clientID string) *owner {
	if o := b.known(clientID); o != nil {
		return o
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.owners[clientID]
	if o == nil {
		o = &owner{broker: b, clientID: clientID}
		b.owners[clientID] = o
	}
	return o
}
