package fdstest

import (
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// DeadConnections kills the connections that the HTTP servers have at injection,
// as a firewall does that has forgotten them: they stay open, nothing comes through
// either way, and nobody is told. New connections work. When the fault is switched
// off, what was held up goes through, as it does when TCP repeats it in time.
//
// The dead connection is one of this process, whose system still acknowledges what
// a client sends: TCP keep-alive and TCP_USER_TIMEOUT find nothing wrong, and only
// a question to the other side, such as HTTP/2's PING, or a time-out does. For the
// broker, see SilentBroker. Fault.Times has no effect.
func DeadConnections() Fault {
	return Fault{name: "DeadConnections", install: func(p *Provider, _ func() bool) (func(), error) {
		return p.conns.kill(), nil
	}}
}

// connections are those of the HTTP servers that are open.
type connections struct {
	mu   sync.Mutex
	open map[*mortalConn]struct{}
}

// listener has what l accepts counted among c.
func (c *connections) listener(l net.Listener) net.Listener { return &mortalListener{l, c} }

// kill lets nothing through those that are open, until revive.
func (c *connections) kill() (revive func()) {
	killed := c.all()
	for _, conn := range killed {
		conn.die()
	}
	return func() {
		for _, conn := range killed {
			conn.revive()
		}
	}
}

// bury ends those that are dead, for there is nobody any more to revive them.
func (c *connections) bury() {
	for _, conn := range c.all() {
		conn.bury()
	}
}

func (c *connections) all() []*mortalConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.open))
}

func (c *connections) add(conn *mortalConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[*mortalConn]struct{})
	}
	c.open[conn] = struct{}{}
}

func (c *connections) remove(conn *mortalConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

type mortalListener struct {
	net.Listener
	connections *connections
}

func (l *mortalListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &mortalConn{Conn: accepted, among: l.connections}
	l.connections.add(conn)
	return conn, nil
}

// mortalConn is a server's connection that can be dead. Its user waits then at one
// end of a pipe at whose other end nobody reads or writes: it has the deadlines and
// the end of a connection.
type mortalConn struct {
	net.Conn
	among *connections

	mu            sync.Mutex
	deaths        int       // faults that are on
	tomb, far     net.Conn  // the pipe; nil: it lives
	closed        bool      // by its user; the other side learns of it when it lives
	read, written time.Time // deadlines
	arrived       []byte    // after its death, by a read that had begun before
}

func (c *mortalConn) die() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaths++; c.tomb == nil && !c.closed {
		c.tomb, c.far = net.Pipe()
		_ = c.tomb.SetReadDeadline(c.read)
		_ = c.tomb.SetWriteDeadline(c.written)
	}
}

func (c *mortalConn) revive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaths--; c.deaths == 0 && c.tomb != nil {
		c.leaveTomb()
	}
}

func (c *mortalConn) bury() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tomb != nil {
		c.closed = true
		c.leaveTomb()
	}
}

// leaveTomb lets go who waits. The caller holds the mutex.
func (c *mortalConn) leaveTomb() {
	_, _ = c.tomb.Close(), c.far.Close()
	c.tomb, c.far = nil, nil
	if c.closed {
		_ = c.end()
	}
}

// end closes the connection itself. The caller holds the mutex.
func (c *mortalConn) end() error {
	c.among.remove(c)
	return c.Conn.Close()
}

func (c *mortalConn) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tomb != nil
}

// wait waits while the connection is dead, in use of its tomb. It returns an error
// when the deadline or the end comes first.
func (c *mortalConn) wait(use func(net.Conn, []byte) (int, error), b []byte) error {
	for {
		c.mu.Lock()
		tomb, closed := c.tomb, c.closed
		c.mu.Unlock()
		switch {
		case closed:
			return net.ErrClosed
		case tomb == nil:
			return nil
		}
		if _, err := use(tomb, b); errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

func (c *mortalConn) Read(b []byte) (int, error) {
	for {
		if err := c.wait(net.Conn.Read, b); err != nil {
			return 0, err
		}
		c.mu.Lock()
		n := copy(b, c.arrived)
		c.arrived = c.arrived[n:]
		c.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		n, err := c.Conn.Read(b)
		if !c.isDead() || n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		c.mu.Lock() // it has died meanwhile: what came is kept, and an error comes again
		c.arrived = append(c.arrived, b[:n]...)
		c.mu.Unlock()
	}
}

func (c *mortalConn) Write(b []byte) (int, error) {
	if err := c.wait(net.Conn.Write, b); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Close ends the connection for its user. Of a dead one the other side learns
// nothing.
func (c *mortalConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	if c.tomb != nil {
		return c.tomb.Close()
	}
	return c.end()
}

func (c *mortalConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *mortalConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	if c.tomb != nil {
		_ = c.tomb.SetReadDeadline(t)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *mortalConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = t
	if c.tomb != nil {
		_ = c.tomb.SetWriteDeadline(t)
	}
	return c.Conn.SetWriteDeadline(t)
}
