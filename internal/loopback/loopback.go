// Package loopback receives the redirect that ends an authorization in a
// browser on the same machine (RFC 8252 section 7.3): a listener on 127.0.0.1,
// else on [::1], which answers two addresses of one host name and hands
// everything else a refusal. The first is a start page, for one use, which leads
// the browser to the provider and sends it a cookie; the second is the redirect
// URI, where the browser must bring the cookie back. So nobody ends the
// authorization but the browser that began it, whoever has seen its URL.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Authorization is what a Listener waits for the end of.
type Authorization struct {
	URL      string        // the provider's, to which the start page leads
	Lifetime time.Duration // of the browser's cookie

	// Redirected judges a redirect that came with the cookie, one at a time. done
	// false means that it does not belong to the authorization: the page is shown
	// and the wait goes on.
	Redirected func(redirect *url.URL) (page Page, done bool)
	// Refused returns the page for a request that was turned away for one of the
	// Err reasons below. It is called from several goroutines.
	Refused func(why error) Page
}

// Reasons to turn a request away of which people should know.
var (
	// ErrNoCookie is about a redirect from elsewhere than the browser that opened
	// the start page.
	ErrNoCookie = errors.New("it does not come from the browser that opened the sign-in page: the page's cookie is missing")
	// ErrOpenedTwice is about the start page, opened again from elsewhere. Whoever
	// was first may not be the one it was made for: it ends Serve.
	ErrOpenedTwice = errors.New("its page was opened a second time from elsewhere: by another program or user of this machine, or in another browser")
	// ErrOtherUser is about the start page, opened by another user of this machine.
	ErrOtherUser = errors.New("the sign-in's page was opened by another user of this machine")
	// ErrTooLarge is about cookies that other programs of this machine have set:
	// browsers send them to every port.
	ErrTooLarge = errors.New("the browser sent more than 256 KiB, of cookies that other programs of this machine have set")
)

// Page is what the browser shows.
type Page struct {
	Status int
	HTML   []byte
	Style  string // the one style sheet that HTML has; "": whatever it has
}

// Listener waits for one redirect.
type Listener struct {
	net   net.Listener
	path  string
	start *start

	headerTimeout, readTimeout time.Duration // for a request's header, and for all of it
	maxHeader                  int           // bytes that are read of one at all
}

const (
	maxHeaderBytes = 512 << 10
	maxAnswered    = 256 << 10       // of a header; a larger one gets a page that says why
	readTimeout    = 5 * time.Second // also for the header
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
				return &Listener{
					net: l, path: path, start: newStart(path),
					headerTimeout: readTimeout, readTimeout: readTimeout, maxHeader: maxHeaderBytes,
				}, nil
			}
			errs = append(errs, err)
		}
	}
	return nil, fmt.Errorf("no loopback port is free: %w", errors.Join(errs...))
}

// RedirectURI is where the authorization server must send the browser.
func (l *Listener) RedirectURI() string { return "http://" + l.host() + l.path }

// StartURL is where the browser shall begin. It is a secret until it was opened.
func (l *Listener) StartURL() string { return "http://" + l.host() + l.start.path }

func (l *Listener) host() string { return l.net.Addr().String() }

// Close frees the port. Serve does so too.
func (l *Listener) Close() error { return l.net.Close() }

// Serve answers requests until a redirect is done, or ctx ends. It returns once
// the port is free: nil, ErrOpenedTwice, or the cause that ended ctx. Requests for
// another path or host, by another method, from a script or a frame are refused
// without asking anyone: any web page can make a browser send those. It serves
// one authorization.
func (l *Listener) Serve(ctx context.Context, authorization Authorization) error {
	a := &attempt{
		Authorization: authorization,
		listener:      l,
		expires:       time.Now().Add(authorization.Lifetime),
		ended:         make(chan error, 1),
		turn:          make(chan struct{}, 1),
		connections:   newConnections(),
	}
	a.turn <- struct{}{}
	server := &http.Server{
		Handler:           http.HandlerFunc(a.answer),
		ReadHeaderTimeout: l.headerTimeout,
		ReadTimeout:       l.readTimeout,
		MaxHeaderBytes:    l.maxHeader,
		ConnState:         a.connections.changed,
		ConnContext:       withConnection,
	}
	server.SetKeepAlivesEnabled(false)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l.net) }()

	var err error
	select {
	case err = <-a.ended:
		_ = l.net.Close()
		closing, cancel := context.WithTimeout(ctx, lastPageTime)
		a.connections.wait(closing)
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
