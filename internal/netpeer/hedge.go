package netpeer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	silence       = time.Second // after which the next address of a name is tried
	maxAddresses  = 8           // of a name, that are tried besides the first
	maxFirstWrite = 16 << 10
)

// Dial connects, as net.Dialer.DialContext does.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Hedge returns a dial by which a host behind a name that has several addresses is found
// also when one of them accepts connections and then says nothing, as what stands before
// a dead machine does: what net.Dialer knows nothing of. When what the client first says
// has no answer within a second, or the connection breaks, it is said to the next address
// too, and so on, and who answers first has the connection. That is done for what is safe
// to say twice: the ClientHello of TLS, the CONNECT of HTTP, and the greeting of SOCKS.
func Hedge(dial Dial) Dial { return HedgeAfter(dial, silence) }

// HedgeAfter is Hedge with another time until the next address.
func HedgeAfter(dial Dial, silence time.Duration) Dial {
	return hedge(dial, func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}, silence)
}

type lookup = func(ctx context.Context, host string) ([]netip.Addr, error)

func hedge(dial Dial, lookup lookup, silence time.Duration) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		host, port, malformed := net.SplitHostPort(address)
		if err != nil || malformed != nil {
			return conn, err
		}
		if _, err := netip.ParseAddr(host); err == nil {
			return conn, nil
		}
		h := &hedged{dial: dial, lookup: lookup, silence: silence, network: network, host: host, port: port, first: conn}
		h.ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
		return h, nil
	}
}

// hedged is a connection to whichever address of a name answers.
type hedged struct {
	dial                Dial
	lookup              lookup
	silence             time.Duration
	network, host, port string
	first               net.Conn

	ctx    context.Context // of what is tried besides
	cancel context.CancelFunc
	inUse  atomic.Pointer[net.Conn] // nil: not settled

	mu                          sync.Mutex
	hello                       []byte // what was said
	waiting                     bool   // for an answer to it
	closed                      bool
	others                      []net.Conn
	readDeadline, writeDeadline time.Time
	looked                      bool
	addresses                   []netip.Addr // not tried
	tried                       int
}

var (
	errNoAddress = errors.New("netpeer: no further address")
	errSettled   = errors.New("netpeer: another address has answered")
)

// isRepeatable reports whether a connection that begins so may be begun twice.
func isRepeatable(begin []byte) bool {
	const handshake, socks5 = 0x16, 0x05
	return len(begin) > 1 && (begin[0] == handshake && begin[1] == 3 || begin[0] == socks5 || bytes.HasPrefix(begin, []byte("CONNECT ")))
}

// now returns the connection in use; before one is, the first.
func (h *hedged) now() (conn net.Conn, settled bool) {
	if c := h.inUse.Load(); c != nil {
		return *c, true
	}
	return h.first, false
}

// InUse returns the connection that conn has come to, where conn is one of Hedge's and an address
// has answered; else conn itself.
func InUse(conn net.Conn) net.Conn {
	if h, ok := conn.(*hedged); ok {
		if c, settled := h.now(); settled {
			return c
		}
	}
	return conn
}

// settle has a connection be the one in use, unless one is; it closes the others. The
// caller holds mu.
func (h *hedged) settle(conn net.Conn) {
	if !h.inUse.CompareAndSwap(nil, &conn) {
		return
	}
	h.cancel()
	for _, c := range append(h.others, h.first) {
		if c != conn {
			c.Close()
		}
	}
	h.others, h.hello = nil, nil
}

func (h *hedged) Write(p []byte) (int, error) {
	conn, settled := h.now()
	if settled {
		return conn.Write(p)
	}
	h.mu.Lock()
	if h.waiting || len(h.hello) == 0 && !isRepeatable(p) || len(h.hello)+len(p) > maxFirstWrite {
		h.settle(h.first)
	} else {
		h.hello = append(h.hello, p...)
	}
	h.mu.Unlock()
	conn, _ = h.now()
	return conn.Write(p)
}

func (h *hedged) Read(p []byte) (int, error) {
	conn, settled := h.now()
	if settled || len(p) == 0 {
		return conn.Read(p)
	}
	h.mu.Lock()
	said := len(h.hello) > 0
	h.waiting = said
	if !said { // the other end speaks first
		h.settle(h.first)
	}
	h.mu.Unlock()
	if conn, settled = h.now(); settled {
		return conn.Read(p)
	}
	return h.race(p)
}

// heard is the first that a connection says.
type heard struct {
	conn net.Conn
	data []byte
	err  error
}

// race waits for the first answer of any address.
func (h *hedged) race(p []byte) (int, error) {
	answers := make(chan heard, maxAddresses+2)
	read := func(conn net.Conn) heard {
		data := make([]byte, len(p))
		n, err := conn.Read(data)
		return heard{conn, data[:n], err}
	}
	go func() { answers <- read(h.first) }()
	another := func() {
		go func() {
			conn, err := h.another()
			if err != nil {
				answers <- heard{err: err}
				return
			}
			answers <- read(conn)
		}()
	}
	var failed error // of the first
	pending, more := 1, true
	timer := time.NewTimer(h.silence)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if more {
				pending++
				another()
				timer.Reset(h.silence)
			}
			continue
		case answer := <-answers:
			pending--
			if len(answer.data) > 0 {
				h.mu.Lock()
				h.settle(answer.conn)
				h.mu.Unlock()
				if conn, _ := h.now(); conn != answer.conn { // what was written meanwhile went to another
					return conn.Read(p)
				}
				return copy(p, answer.data), answer.err
			}
			if answer.conn == h.first {
				failed = answer.err
			}
			h.mu.Lock()
			over := h.closed || errors.Is(answer.err, os.ErrDeadlineExceeded)
			more = more && !over && !errors.Is(answer.err, errNoAddress)
			h.mu.Unlock()
			switch {
			case over:
				return 0, answer.err
			case more && answer.err != nil:
				pending++
				another()
				timer.Reset(h.silence)
			case pending == 0:
				h.mu.Lock()
				h.settle(h.first)
				h.mu.Unlock()
				return 0, failed
			}
		}
	}
}

// another connects to the next address and says there what was said to the first.
func (h *hedged) another() (net.Conn, error) {
	address, err := h.next()
	if err != nil {
		return nil, err
	}
	conn, err := h.dial(h.ctx, h.network, net.JoinHostPort(address.String(), h.port))
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, settled := h.now(); settled || h.closed {
		conn.Close()
		return nil, errSettled
	}
	h.others = append(h.others, conn)
	_ = conn.SetReadDeadline(h.readDeadline)
	_ = conn.SetWriteDeadline(h.writeDeadline)
	_, err = conn.Write(h.hello)
	return conn, err
}

// next returns an address of the name that was not tried.
func (h *hedged) next() (netip.Addr, error) {
	h.mu.Lock()
	looked := h.looked
	h.looked = true
	h.mu.Unlock()
	if !looked {
		all, err := h.lookup(h.ctx, h.host)
		if err != nil {
			return netip.Addr{}, errNoAddress
		}
		first, _ := netip.ParseAddrPort(h.first.RemoteAddr().String())
		h.mu.Lock()
		for _, address := range all {
			if address = address.Unmap(); address != first.Addr().Unmap() {
				h.addresses = append(h.addresses, address)
			}
		}
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.addresses) == 0 || h.tried == maxAddresses {
		return netip.Addr{}, errNoAddress
	}
	address := h.addresses[0]
	h.addresses = h.addresses[1:]
	h.tried++
	return address, nil
}

func (h *hedged) Close() error {
	h.mu.Lock()
	h.closed = true
	others := h.others
	h.others = nil
	h.mu.Unlock()
	h.cancel()
	for _, c := range others {
		c.Close()
	}
	conn, _ := h.now()
	return conn.Close()
}

func (h *hedged) LocalAddr() net.Addr {
	conn, _ := h.now()
	return conn.LocalAddr()
}

func (h *hedged) RemoteAddr() net.Addr {
	conn, _ := h.now()
	return conn.RemoteAddr()
}

func (h *hedged) SetDeadline(at time.Time) error {
	return errors.Join(h.SetReadDeadline(at), h.SetWriteDeadline(at))
}

func (h *hedged) SetReadDeadline(at time.Time) error {
	return h.each(func(c net.Conn) error { return c.SetReadDeadline(at) }, &h.readDeadline, at)
}

func (h *hedged) SetWriteDeadline(at time.Time) error {
	return h.each(func(c net.Conn) error { return c.SetWriteDeadline(at) }, &h.writeDeadline, at)
}

// each does something to every connection, and notes it for those to come.
func (h *hedged) each(do func(net.Conn) error, noted *time.Time, at time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	*noted = at
	for _, c := range h.others {
		_ = do(c)
	}
	conn, _ := h.now()
	return do(conn)
}
