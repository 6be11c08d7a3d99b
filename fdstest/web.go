package fdstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// writeTimeout bounds an answer, from the end of the request's header. Faults
// that take longer extend it.
const writeTimeout = time.Minute

// listen opens a port on 127.0.0.1; 0 means one that is free.
func (p *Provider) listen(port int) (net.Listener, error) {
	if p.network != nil {
		return p.network.Listen(port)
	}
	return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// ErrPort is the class of errors about a port that cannot be opened.
var ErrPort = errors.New("a port cannot be opened")

// portFault says what to do about a port that is taken, most often.
func portFault(whose string, port int, err error) error {
	if port == 0 {
		return fmt.Errorf("%w: the port of %s: %w", ErrPort, whose, err)
	}
	return fmt.Errorf("%w: the port of %s: %w; end the program that listens on 127.0.0.1:%d, perhaps this provider started before,"+
		" or choose another port, with which the provider's addresses change", ErrPort, whose, err, port)
}

// webServer serves HTTPS on one listener, with the faults that are switched on
// in front of its handler.
type webServer struct {
	server      http.Server
	plain       http.Server // what comes without TLS, where that is allowed
	next        http.Handler
	endpointsOf func(path string) []Endpoint
	faults      *httpFaults

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // requests
	served  sync.WaitGroup
}

// serveWeb starts to serve on listener, which it closes at the end. The context
// of every request ends with ctx.
func serveWeb(ctx context.Context, listener *eitherListener, policy *tls.Config, faults *httpFaults, log *slog.Logger, endpointsOf func(string) []Endpoint, next http.Handler) *webServer {
	s := &webServer{next: next, endpointsOf: endpointsOf, faults: faults}
	s.server = http.Server{
		Handler:           s,
		TLSConfig:         policy.Clone(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.plain.Handler, s.plain.ReadHeaderTimeout, s.plain.ReadTimeout, s.plain.WriteTimeout = s, s.server.ReadHeaderTimeout, s.server.ReadTimeout, writeTimeout
	s.plain.MaxHeaderBytes, s.plain.ErrorLog, s.plain.BaseContext = s.server.MaxHeaderBytes, s.server.ErrorLog, s.server.BaseContext
	s.served.Go(func() { _ = s.plain.Serve(listener.plain) }) // it ends when s is closed
	s.served.Go(func() {
		if err := s.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Error("web server ended", "address", listener.Addr().String(), "error", err)
		}
	})
	return s
}

func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.running.Done()
	next := s.next
	for _, fault := range s.faults.meet(s.endpointsOf(r.URL.Path)) {
		inner := next
		next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault.serve(w, r, inner, fault.off) })
	}
	next.ServeHTTP(w, r)
}

// begin counts a request that close waits for, unless the server is closed.
func (s *webServer) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// close ends all connections and returns when no request is being served. The
// context given to serveWeb must have ended.
func (s *webServer) close() {
	_, _ = s.server.Close(), s.plain.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	s.served.Wait()
}

// httpFaults are the faults that are switched on for HTTP, and the counts of
// requests, of both servers.
type httpFaults struct {
	mu     sync.Mutex
	active []*httpFault
	counts map[Endpoint]int
}

type httpFault struct {
	at    Endpoint
	take  func() bool
	serve httpFaultFunc
	off   chan struct{} // closed when it is switched off, so that what it holds up goes on
}

// httpFaultFunc answers in place of next, or around it.
type httpFaultFunc func(w http.ResponseWriter, r *http.Request, next http.Handler, off <-chan struct{})

func (f *httpFaults) add(fault *httpFault) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, fault)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.active = slices.DeleteFunc(f.active, func(other *httpFault) bool { return other == fault })
		close(fault.off)
	}
}

// meet counts a request and returns the faults that it meets, the innermost,
// which was injected first, in front.
func (f *httpFaults) meet(endpoints []Endpoint) []*httpFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var met []*httpFault
	for _, e := range endpoints {
		if f.counts == nil {
			f.counts = make(map[Endpoint]int)
		}
		if _, known := f.counts[e]; known || len(f.counts) < 1024 {
			f.counts[e]++
		}
	}
	for _, fault := range f.active {
		if slices.Contains(endpoints, fault.at) && fault.take() {
			met = append(met, fault)
		}
	}
	return met
}

// Requests says how many requests have reached an endpoint since the start,
// those that met a fault included.
func (p *Provider) Requests(at Endpoint) int {
	p.http.mu.Lock()
	defer p.http.mu.Unlock()
	return p.http.counts[at]
}

func (at Endpoint) check() error {
	switch at {
	case AuthorizationEndpoint, ConsentEndpoint, TokenEndpoint, RevocationEndpoint, IntrospectionEndpoint, PushedRequestEndpoint,
		DeviceAuthorizationEndpoint, DevicePageEndpoint, MetadataEndpoint, OAuthMetadataEndpoint, OpenIDDiscoveryEndpoint, KeysEndpoint, APIEndpoint:
		return nil
	}
	if len(at) > len(APIEndpoint)+1 && at[:len(APIEndpoint)+1] == APIEndpoint+"/" {
		return nil
	}
	return fmt.Errorf("no endpoint is called %.100q", string(at))
}
