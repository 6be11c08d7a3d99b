package netpeer

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"runtime"
	"time"
)

// Race dials a name that may have several addresses and makes the TLS handshake: an address
// that does not take part is left for the next, also one that accepts the connection and is
// silent then. The zero value uses the system's resolver and dialer.
type Race struct {
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	tcpStagger = 300 * time.Millisecond // until the next address is tried beside one that does not accept (RFC 8305)
	tlsStagger = 5 * time.Second        // and beside one that accepts and does not answer
)

// DialTLS connects to host:port and shakes hands. It returns the TLS connection and what lies
// below it. The configuration is used for each address, so that a client certificate may be
// asked for more than once. The error is that of the first address that failed.
func (r Race) DialTLS(ctx context.Context, address string, config *tls.Config) (*tls.Conn, net.Conn, error) {
	addresses, err := r.addresses(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	if len(addresses) == 1 {
		one := r.once(ctx, addresses[0], config, func() {})
		return one.secured, one.raw, one.err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan raced, len(addresses))
	accepted := make(chan int, len(addresses)) // by the address of that number
	var failed error
	stagger := time.NewTimer(0)
	defer stagger.Stop()
	for started, ended := 0, 0; ; {
		select {
		case <-stagger.C:
			if started == len(addresses) {
				continue
			}
			go r.attempt(ctx, addresses[started], started, config, accepted, results)
			started++
			stagger.Reset(tcpStagger)
		case number := <-accepted:
			if number == started-1 {
				stagger.Reset(tlsWait(ctx, len(addresses)-started))
			}
		case result := <-results:
			ended++
			if result.panicked != nil || result.exited {
				go drop(results, started-ended)
				if result.exited {
					runtime.Goexit()
				}
				panic(result.panicked)
			}
			if result.err == nil {
				go drop(results, started-ended)
				return result.secured, result.raw, nil
			}
			if failed == nil {
				failed = result.err
			}
			if ended == len(addresses) {
				return nil, nil, failed
			}
			if started < len(addresses) {
				stagger.Reset(0)
			}
		case <-ctx.Done():
			go drop(results, started-ended)
			return nil, nil, ctx.Err()
		}
	}
}

// tlsWait is the time for a handshake until the next of so many addresses is tried beside it:
// less where the context leaves less.
func tlsWait(ctx context.Context, more int) time.Duration {
	wait := tlsStagger
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/time.Duration(more+2))
	}
	return max(wait, time.Millisecond)
}

// raced is how an attempt ended.
type raced struct {
	secured *tls.Conn
	raw     net.Conn
	err     error

	panicked any  // by the key of a client certificate, say: what the caller's own goroutine is to do
	exited   bool // runtime.Goexit
}

func (r Race) attempt(ctx context.Context, address string, number int, config *tls.Config, accepted chan<- int, results chan<- raced) {
	result := raced{exited: true}
	defer func() {
		if p := recover(); p != nil {
			result = raced{panicked: p}
		}
		results <- result
	}()
	result = r.once(ctx, address, config, func() { accepted <- number })
}

// once connects to one address and shakes hands; accepted is called in between.
func (r Race) once(ctx context.Context, address string, config *tls.Config, accepted func()) (result raced) {
	raw, err := r.dial(ctx, address)
	if err != nil {
		return raced{err: err}
	}
	defer func() {
		if result.secured == nil { // also after a panic
			_ = raw.Close()
		}
	}()
	accepted()
	secured := tls.Client(raw, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return raced{err: err}
	}
	return raced{secured: secured, raw: raw}
}

// drop closes those that come late.
func drop(results <-chan raced, n int) {
	for range n {
		if late := <-results; late.raw != nil {
			_ = late.raw.Close()
		}
	}
}

func (r Race) dial(ctx context.Context, address string) (net.Conn, error) {
	if r.Dial != nil {
		return r.Dial(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// addresses returns what the name stands for, the families in turn.
func (r Race) addresses(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{address}, nil
	}
	lookup := r.Lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	found, err := lookup(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	if len(found) == 0 {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no address", Name: host, IsNotFound: true}}
	}
	var first, other, all []string
	for _, a := range found {
		if a = a.Unmap(); a.Is4() == found[0].Unmap().Is4() {
			first = append(first, net.JoinHostPort(a.String(), port))
		} else {
			other = append(other, net.JoinHostPort(a.String(), port))
		}
	}
	for i := range max(len(first), len(other)) {
		all = append(all, first[min(i, len(first)):min(i+1, len(first))]...)
		all = append(all, other[min(i, len(other)):min(i+1, len(other))]...)
	}
	return all, nil
}
