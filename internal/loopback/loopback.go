// Package loopback receives the redirect that ends an authorization in a
// browser on the same machine (RFC 8252 section 7.3): a listener on 127.0.0.1,
// else on [::1], which answers one path to one host name and hands everything
// else a refusal.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Page is what the browser shows after the redirect.
type Page struct {
	Status int
	HTML   []byte
}

// Callback judges a redirect. done false means that the request does not belong
// to the pending authorization: the page is shown and the wait goes on.
type Callback func(redirect *url.URL) (page Page, done bool)

// Listener waits for one redirect.
type Listener struct {
	net  net.Listener
	path string
}

const (
	maxHeaderBytes = 32 << 10
	readTimeout    = 5 * time.Second
	lastPageTime   = 2 * time.Second // for the browser to fetch the closing page
)

// Listen takes the first free port of ports, or any when ports is empty.
func Listen(ctx context.Context, ports []int, path string) (*Listener, error) {
	if len(ports) == 0 {
		ports = []int{0}
	}
	var (
		config net.ListenConfig
		errs   []error
	)
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, port := range ports {
			l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err == nil {
				return &Listener{net: l, path: path}, nil
			}
			errs = append(errs, err)
		}
	}
	return nil, fmt.Errorf("no loopback port is free: %w", errors.Join(errs...))
}

// RedirectURI is where the authorization server must send the browser.
func (l *Listener) RedirectURI() string { return "http://" + l.host() + l.path }

func (l *Listener) host() string { return l.net.Addr().String() }

// Close frees the port. Serve does so too.
func (l *Listener) Close() error { return l.net.Close() }

// Serve answers requests until callback says done, or ctx ends. It returns once
// the port is free: nil, or the cause that ended ctx. Requests for another path
// or host, by another method, from a script or a frame are refused without
// asking callback: any web page can make a browser send those.
func (l *Listener) Serve(ctx context.Context, callback Callback) error {
	finished := make(chan struct{}, 1)
	one := make(chan struct{}, 1) // a redirect is judged alone
	one <- struct{}{}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status, ok := l.acceptable(r); !ok {
				refuse(w, status)
				return
			}
			select {
			case <-one:
			case <-r.Context().Done():
				return
			}
			page, done := callback(r.URL)
			show(w, page)
			if done {
				finished <- struct{}{} // and the judge is not given back
				return
			}
			one <- struct{}{}
		}),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	server.SetKeepAlivesEnabled(false)
	answering := newAnswering()
	server.ConnState = answering.changed
	served := make(chan error, 1)
	go func() { served <- server.Serve(l.net) }()

	var err error
	select {
	case <-finished:
		_ = l.net.Close()
		closing, cancel := context.WithTimeout(ctx, lastPageTime)
		answering.wait(closing)
		cancel()
	case <-ctx.Done():
		err = context.Cause(ctx)
	case err = <-served:
		served <- err
	}
	_ = server.Close()
	<-served
	return err
}

// answering knows the connections with a request that is not answered yet.
// Shutdown would wait for idle ones too, which browsers open ahead and never use.
type answering struct {
	mu   sync.Mutex
	busy map[net.Conn]bool
	none chan struct{} // sent to when one was answered
}

func newAnswering() *answering {
	return &answering{busy: make(map[net.Conn]bool), none: make(chan struct{}, 1)}
}

func (a *answering) changed(c net.Conn, state http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if state == http.StateActive {
		a.busy[c] = true
		return
	}
	delete(a.busy, c)
	select {
	case a.none <- struct{}{}:
	default:
	}
}

// wait waits until all are answered, or ctx ends.
func (a *answering) wait(ctx context.Context) {
	for {
		a.mu.Lock()
		left := len(a.busy)
		a.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-a.none:
		case <-ctx.Done():
			return
		}
	}
}

func (l *Listener) acceptable(r *http.Request) (status int, ok bool) {
	switch {
	case r.Host != l.host(): // DNS rebinding: a foreign name that resolves to this machine
		return http.StatusMisdirectedRequest, false
	case r.URL.Path != l.path:
		return http.StatusNotFound, false
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, false
	case r.Header.Get("Origin") != "":
		return http.StatusForbidden, false
	}
	// Browsers say how a request came about (Fetch Metadata); a redirect is a
	// top-level navigation. Older ones say nothing.
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return http.StatusForbidden, false
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return http.StatusForbidden, false
	}
	return 0, true
}

func refuse(w http.ResponseWriter, status int) {
	setHeaders(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, http.StatusText(status))
}

func show(w http.ResponseWriter, page Page) {
	setHeaders(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(page.Status)
	_, _ = w.Write(page.HTML)
}

func setHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address holds the code
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
}
