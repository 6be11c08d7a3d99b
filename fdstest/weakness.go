package fdstest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// weaknesses are the faults by which the HTTPS servers leave out what they must demand.
type weaknesses struct {
	mu     sync.Mutex
	admits []*admission
	tls    []*tlsFault
	plain  []*plainFault
}

type admission struct {
	take   func() bool
	decide func(*http.Request) []Owner
}

type tlsFault struct {
	atAPI  bool
	take   func() bool
	change func(*tls.Config)
}

type plainFault struct {
	atAPI bool
	take  func() bool
}

// inject adds an entry to a list of weaknesses.
func inject[T any](w *weaknesses, list *[]*T, entry *T) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, entry)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		*list = slices.DeleteFunc(*list, func(other *T) bool { return other == entry })
	}
}

// listed returns the entries of a list of weaknesses.
func listed[T any](w *weaknesses, list *[]*T) []*T {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(*list)
}

// LooseAuthorization has the Web API answer a request with the items of the owners that decide
// returns, whatever access token it has, if any. Where decide returns none the access token
// counts. It is called from several goroutines, and may change the request: a Web API that takes
// tokens in the query takes that parameter out.
func LooseAuthorization(decide func(*http.Request) []Owner) Fault {
	return Fault{name: "LooseAuthorization", install: func(p *Provider, take func() bool) (func(), error) {
		return inject(&p.weak, &p.weak.admits, &admission{take, decide}), nil
	}}
}

func (w *weaknesses) admit(r *http.Request) []fds.SubscriptionID {
	for _, a := range listed(w, &w.admits) {
		var ids []fds.SubscriptionID
		for _, o := range a.decide(r) {
			ids = append(ids, o.SubscriptionID)
		}
		if len(ids) > 0 && a.take() {
			return ids
		}
	}
	return nil
}

// ServerTLS has the server of an endpoint, the Web API's or the authorization server's, speak TLS
// as change makes it: in older versions, with another certificate. Connections that are open go
// on.
func ServerTLS(at Endpoint, change func(*tls.Config)) Fault {
	return Fault{name: "ServerTLS", install: func(p *Provider, take func() bool) (func(), error) {
		if err := at.check(); err != nil {
			return nil, err
		}
		return inject(&p.weak, &p.weak.tls, &tlsFault{at.isAPI(), take, change}), nil
	}}
}

// isAPI reports whether an endpoint is one of the Web API's.
func (at Endpoint) isAPI() bool {
	return at == APIEndpoint || strings.HasPrefix(string(at), string(APIEndpoint)+"/")
}

// policy returns how a server speaks TLS, with the faults that are on at each connection.
func (w *weaknesses) policy(sound *tls.Config, atAPI bool) *tls.Config {
	policy := sound.Clone()
	policy.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		var changed *tls.Config // nil: as it is
		for _, f := range listed(w, &w.tls) {
			if f.atAPI != atAPI || !f.take() {
				continue
			}
			if changed == nil {
				changed = sound.Clone()
				changed.NextProtos = []string{"h2", "http/1.1"}
			}
			f.change(changed)
		}
		return changed, nil
	}
	return policy
}

// PlainHTTP has the server of an endpoint, the Web API's or the authorization server's, answer
// plain HTTP at its port too, as it answers HTTPS.
func PlainHTTP(at Endpoint) Fault {
	return Fault{name: "PlainHTTP", install: func(p *Provider, take func() bool) (func(), error) {
		if err := at.check(); err != nil {
			return nil, err
		}
		return inject(&p.weak, &p.weak.plain, &plainFault{at.isAPI(), take}), nil
	}}
}

// listener returns one for a server of HTTPS, which hands on what is plain HTTP.
func (w *weaknesses) listener(l net.Listener, atAPI bool) *eitherListener {
	return &eitherListener{
		Listener: l,
		plain:    &handedListener{address: l.Addr(), handed: make(chan net.Conn), closed: make(chan struct{})},
		takesPlain: func() bool {
			return slices.ContainsFunc(listed(w, &w.plain), func(f *plainFault) bool { return f.atAPI == atAPI && f.take() })
		},
	}
}

// eitherListener accepts for a server of HTTPS.
type eitherListener struct {
	net.Listener
	plain      *handedListener
	takesPlain func() bool
}

func (l *eitherListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &eitherConn{Conn: conn, listener: l}, nil
}

const recordHandshake = 22 // the first byte of TLS (RFC 8446 section 5.1)

// eitherConn looks at the first byte that comes. It ends for the server of HTTPS when it is handed
// to that of plain HTTP.
type eitherConn struct {
	net.Conn
	listener *eitherListener
	known    bool
	handed   atomic.Bool
}

func (c *eitherConn) Read(p []byte) (int, error) {
	if c.handed.Load() {
		return 0, io.EOF
	}
	if c.known || len(p) == 0 {
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	c.known = true
	if p[0] == recordHandshake || !c.listener.takesPlain() {
		return n, err
	}
	c.handed.Store(true)
	c.listener.plain.hand(&begunConn{c.Conn, slices.Clone(p[:n])})
	return 0, io.EOF
}

func (c *eitherConn) Close() error {
	if c.handed.Load() {
		return nil
	}
	return c.Conn.Close()
}

// begunConn is a connection of which something was read.
type begunConn struct {
	net.Conn
	begun []byte
}

func (c *begunConn) Read(p []byte) (int, error) {
	if len(c.begun) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.begun)
	c.begun = c.begun[n:]
	return n, nil
}

// handedListener accepts what hand hands to it.
type handedListener struct {
	address net.Addr
	handed  chan net.Conn
	closed  chan struct{}
	close   sync.Once
}

func (l *handedListener) hand(conn net.Conn) {
	select {
	case l.handed <- conn:
	case <-l.closed:
		_ = conn.Close()
	}
}

func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.handed:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *handedListener) Addr() net.Addr { return l.address }

func (l *handedListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

// AnyCredentials has the authorization server take a known application for itself, whatever
// secret, key or certificate it brings, and without.
func AnyCredentials() Fault {
	return inAuthority("AnyCredentials", func(take func() bool) authority.Hooks { return authority.Hooks{AnyCredentials: take} })
}

// WithoutPKCE has the authorization server take authorization requests without a code_challenge,
// and their codes without a code_verifier. One that has a challenge is held to it.
func WithoutPKCE() Fault {
	return inAuthority("WithoutPKCE", func(take func() bool) authority.Hooks { return authority.Hooks{NoChallenge: take} })
}

// AnyVerifier has the authorization server demand a code_challenge, and not look at whether the
// code_verifier is the one that it was made from.
func AnyVerifier() Fault {
	return inAuthority("AnyVerifier", func(take func() bool) authority.Hooks { return authority.Hooks{AnyVerifier: take} })
}

// AnyRedirectURI has the authorization server send the browser to whatever redirect_uri says.
func AnyRedirectURI() Fault {
	return inAuthority("AnyRedirectURI", func(take func() bool) authority.Hooks { return authority.Hooks{AnyRedirect: take} })
}

// CodesServeTwice has the authorization server take an authorization code more than once.
func CodesServeTwice() Fault {
	return inAuthority("CodesServeTwice", func(take func() bool) authority.Hooks { return authority.Hooks{ReuseCode: take} })
}

// SpentRefreshTokensServe has the authorization server take a refresh token that was replaced,
// each time, and issue new tokens for it.
func SpentRefreshTokensServe() Fault {
	return inAuthority("SpentRefreshTokensServe", func(take func() bool) authority.Hooks { return authority.Hooks{ReuseRefreshToken: take} })
}
