// Package netpeer makes the transports of this SDK's HTTP clients. Their
// connections find out by themselves that the peer is gone without a word, as when
// a router has forgotten them, and wait for one that is only slow to answer.
package netpeer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"
)

// bounds say when silence means that the peer is gone. HTTP/2 asks it by pings,
// which a proxy in between cannot answer in its place. Otherwise TCP asks: by
// keep-alive probes while nothing is under way, and as long as something is by how
// long it stays unacknowledged.
type bounds struct {
	ping  time.Duration // without a frame of HTTP/2 until a ping is sent
	pong  time.Duration // until its answer
	probe net.KeepAliveConfig
	unack time.Duration // of data that the peer's TCP has not acknowledged
}

// standard finds a peer that is gone within 15 s: by a ping; by probes after 14; by
// data that was sent after 13. What loses everything for less than 8 s is survived. An
// idle connection sees about ten pings until it is closed, which servers that count
// them bear; one that does not closes it a little earlier.
var standard = bounds{
	ping:  7 * time.Second,
	pong:  8 * time.Second,
	probe: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3},
	unack: 13 * time.Second,
}

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 90 * time.Second
	maxHeaderBytes   = 64 << 10
	maxIdle          = 64
	maxIdlePerHost   = 16
)

// NewTransport returns a transport that speaks HTTP/2 where the server does and uses
// the proxy that the environment names, HTTPS_PROXY or else ALL_PROXY, but not for what
// NO_PROXY names or for this machine. It takes 10 s for the dial and for the TLS
// handshake and 64 KiB of response header, and closes connections that were idle for
// 90 s. How long a live server may take to answer is for the request's context to
// say, or for the client's time-out. The configuration is the transport's from now on.
// A dial that is not nil takes the place of TCP and of all proxies.
func NewTransport(config *tls.Config, dial Dial) *http.Transport {
	transport := standard.transport(config)
	if dial != nil {
		transport.Proxy, transport.OnProxyConnectResponse, transport.DialContext = nil, nil, likeNet(dial)
	}
	return transport
}

// likeNet returns a dial that fails as net.Dialer does: in time, and with an error that says
// that nothing was sent.
func likeNet(dial Dial) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dial(ctx, network, address)
		var op *net.OpError
		if err != nil && (!errors.As(err, &op) || op.Op != "dial") {
			err = &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return conn, err
	}
}

func (b bounds) transport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  proxyOf,
		OnProxyConnectResponse: judgeConnect,
		DialContext:            Hedge(b.dialer().DialContext),
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    handshakeTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: b.ping, PingTimeout: b.pong},
	}
}

func (b bounds) dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: b.probe,
		ControlContext: func(_ context.Context, _, _ string, socket syscall.RawConn) error {
			// Where the system refuses, probes and pings have to do.
			_ = socket.Control(func(fd uintptr) { boundUnacknowledged(fd, b.unack) })
			return nil
		},
	}
}
