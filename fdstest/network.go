package fdstest

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// Network is a network in this process's memory. A provider on it can run in a bubble of
// testing/synctest, where hours pass at once: a goroutine that waits for such a connection
// is durably blocked, as one that waits for TCP never is. The zero Network is ready for
// use; several providers may share one, in one bubble. It has no delay and loses nothing,
// and it must not be copied.
type Network struct {
	mu        sync.Mutex
	listeners map[int]*memoryListener
	ports     int // that were chosen so far
	clients   int // that have dialled so far
}

// A chosen port is none that a system chooses, since an application under test may listen
// on such a one for a redirect.
const firstPort, firstClientPort = 20001, 60001

// Dial connects to a server of the network by its address, 127.0.0.1 or localhost and the
// port. It never waits. Its errors are those of net.Dialer.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(at net.Addr, err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: at, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(nil, err)
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return fail(nil, err)
	}
	if host != "127.0.0.1" && host != "localhost" {
		return fail(nil, &net.DNSError{Err: "the network in memory has 127.0.0.1 and localhost only", Name: host, IsNotFound: true})
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fail(nil, &net.AddrError{Err: "invalid port", Addr: address})
	}
	n.mu.Lock()
	l := n.listeners[int(port)]
	n.clients++
	from := loopbackAddr(firstClientPort + n.clients%5000)
	n.mu.Unlock()
	if l == nil {
		return fail(loopbackAddr(int(port)), os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	ours, theirs := memoryConns(from, l.addr)
	if !l.deliver(theirs) {
		return fail(l.addr, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return ours, nil
}

// Listen opens a port for a server beside the provider, as an application's webhook; 0 means one
// that is free. The listener's Close frees it.
func (n *Network) Listen(port int) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for chosen := port == 0; chosen; _, chosen = n.listeners[port] {
		port = firstPort + n.ports%10_000
		n.ports++
	}
	if _, taken := n.listeners[port]; taken {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: loopbackAddr(port), Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	l := &memoryListener{network: n, addr: loopbackAddr(port)}
	l.changed.L = &l.mu
	if n.listeners == nil {
		n.listeners = make(map[int]*memoryListener)
	}
	n.listeners[port] = l
	return l, nil
}

func loopbackAddr(port int) *net.TCPAddr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }

// memoryListener is a port that is open.
type memoryListener struct {
	network *Network
	addr    *net.TCPAddr

	mu      sync.Mutex
	changed sync.Cond
	arrived []net.Conn
	closed  bool
}

// deliver hands over a connection and reports whether the port is open still.
func (l *memoryListener) deliver(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.arrived = append(l.arrived, conn)
	l.changed.Signal()
	return true
}

func (l *memoryListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && len(l.arrived) == 0 {
		l.changed.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	conn := l.arrived[0]
	l.arrived = l.arrived[1:]
	return conn, nil
}

// Close frees the port and ends the connections that nobody has accepted.
func (l *memoryListener) Close() error {
	l.network.mu.Lock()
	if l.network.listeners[l.addr.Port] == l {
		delete(l.network.listeners, l.addr.Port)
	}
	l.network.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.closed = true
	l.changed.Broadcast()
	var errs []error
	for _, conn := range l.arrived {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

func (l *memoryListener) Addr() net.Addr { return l.addr }
