package push

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/proxy"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// dial opens the network connection and shakes hands. It returns the TLS
// connection and what lies below it, and notes in to the proxy that it goes through.
func (s *settings) dial(ctx context.Context, to *server, certificate *tls.Certificate) (conn, raw net.Conn, err error) {
	var roots *x509.CertPool
	if s.Roots != nil {
		if roots, err = s.Roots(ctx); err != nil {
			return nil, nil, passing{fmt.Errorf("push: root certificates for %s: %w", to.address, err)}
		}
	}
	alpn := s.ALPN
	if to.path != "" { // a WebSocket begins as HTTP
		alpn = nil
	}
	secured, below, err := s.secure(context.WithValue(ctx, shownKey{}, certificate), to, sharedPolicy(roots, s.ExactlyTLS12, to.host, alpn))
	if err != nil {
		return nil, nil, s.unreachable(ctx, *to, err)
	}
	if to.path == "" {
		return secured, below, nil
	}
	defer func() {
		if conn == nil {
			_ = below.Close()
		}
	}()
	if conn, err = s.upgrade(ctx, secured, *to); err != nil {
		return nil, nil, s.unreachable(ctx, *to, err)
	}
	return conn, below, nil
}

// addressSilence is after how long an address of the broker's name that accepts and is silent
// is left for the next. When thousands connect, a broker that lives may take seconds.
const addressSilence = 5 * time.Second

// direct opens a TCP connection. MQTT's own keep-alive watches it; TCP's would only wake the
// machine once more.
var direct = netpeer.HedgeAfter((&net.Dialer{KeepAlive: -1}).DialContext, addressSilence)

// secure opens the network connection and shakes hands: by Config.Dial, or through a proxy,
// or directly, with each address of the broker's name.
func (s *settings) secure(ctx context.Context, to *server, policy *policy) (*tls.Conn, net.Conn, error) {
	if s.Dial != nil {
		below, err := s.Dial(ctx, "tcp", to.address)
		if below == nil && err == nil {
			err = errors.New("the application's Dial returned neither a connection nor an error")
		}
		return shakeHands(ctx, below, err, policy)
	}
	through, err := proxy.Choose(s.Proxy, to.address)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w; check the proxy's setting, or turn it off (NO_PROXY, or push.Settings.Proxy %q)", err, proxy.None)
	case through == nil:
		below, err := direct(ctx, "tcp", to.address)
		return shakeHands(ctx, below, err, policy)
	}
	below, err := through.Dial(ctx, direct, to.address)
	if !through.Forbids(err) {
		if err == nil {
			to.via = through.String()
		}
		return shakeHands(ctx, below, err, policy)
	}
	below, alone := direct(ctx, "tcp", to.address)
	secured, below, alone := shakeHands(ctx, below, alone, policy)
	if alone != nil {
		return nil, nil, fmt.Errorf("%w; nor without it: %w", err, tlspolicy.Shown(alone))
	}
	if _, told := wentRound.LoadOrStore(through.String()+" "+to.address, true); !told {
		s.Logger.LogAttrs(ctx, slog.LevelWarn, "push: the environment's proxy forbids the broker's port; the broker is reached without it", slog.Any("owner", s.owner()), slog.Any("error", err))
	}
	return secured, below, nil
}

// wentRound has the proxies and addresses of which that was logged, for all connections.
var wentRound sync.Map

// shakeHands puts TLS on a connection, which it closes when that fails.
func shakeHands(ctx context.Context, conn net.Conn, err error, policy *policy) (secured *tls.Conn, below net.Conn, _ error) {
	if err != nil {
		return nil, nil, err
	}
	gate := &gate{Conn: conn}
	defer func() {
		if below == nil { // also when the certificate's key panics
			_ = conn.Close()
		}
	}()
	config := policy.config()
	secured = tls.Client(gate, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	policy.verified(config, secured.ConnectionState())
	gate.shookHands()
	return secured, gate, nil
}

// unreachable words an error of the time until CONNACK.
func (s *settings) unreachable(ctx context.Context, to server, err error) error {
	err = s.explained(ctx, to, err)
	if tlspolicy.IsFault(err) || errors.Is(err, fds.ErrCertificate) || errors.As(err, new(*ReasonError)) {
		return err
	}
	return passing{err}
}

// passing is an error of the network, which may pass. It matches fds.ErrUnavailable.
type passing struct{ error }

func (e passing) Unwrap() error        { return e.error }
func (e passing) Is(target error) bool { return target == fds.ErrUnavailable }

func (s *settings) explained(ctx context.Context, to server, err error) error {
	var refused *ReasonError
	var gone *lostError
	var record tls.RecordHeaderError
	var way *proxy.Error
	where := to.address
	if to.via != "" {
		where += " through proxy " + to.via
	}
	if errors.As(err, &gone) {
		err = gone.cause
	}
	switch {
	case errors.As(err, &refused):
		return err
	case errors.As(err, &way):
		return fmt.Errorf("push: connect to %s: %w", where, err)
	case isCertificateAlert(err):
		return &CertificateError{Owner: s.owner(), Reason: "the broker " + where + " refuses it: " + cmp.Or(tlspolicy.Explain(err), "its administrator must issue another"), Err: tlspolicy.Shown(err)}
	case errors.Is(err, fds.ErrConnectionClosed):
		return fmt.Errorf("push: connect to %s: %w; check that this is a port of MQTT 5.0 and that the broker's access rules let this client in", where, err)
	case errors.Is(err, errNoConnack) && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("push: connect to %s: %w; check that this is an MQTT port: %w", where, errNoConnack, ctx.Err())
	case errors.As(err, &record) && ctx.Err() == nil:
		who := cmp.Or(whoAnswers(record.RecordHeader[:]), "something else")
		if mayBeBroker(record.RecordHeader[0]) {
			who = "an MQTT broker"
		}
		return fmt.Errorf("push: connect to %s: the server does not speak TLS on this port, %s answers there; check the URL's host and port with the provider: %w", where, who, tlspolicy.Shown(err))
	case ctx.Err() != nil:
		err = ctx.Err() // what it did to the connection says less
	}
	if hint := tlspolicy.Explain(err); hint != "" {
		if tlspolicy.Alert(err) != "" && len(s.ALPN) == 0 && strings.Contains(err.Error(), "application protocol") {
			hint += "; the provider says which, for push.Settings.ALPN"
		}
		if to.via != "" && errors.As(err, new(x509.UnknownAuthorityError)) {
			hint += "; or the proxy opens TLS itself, which no client certificate survives: its administrator must let this host pass"
		}
		return fmt.Errorf("push: connect to %s: %s: %w", where, hint, tlspolicy.Shown(err))
	}
	return fmt.Errorf("push: connect to %s: %w", where, tlspolicy.Shown(err))
}

// isCertificateAlert reports whether the other side refuses our certificate, by the alerts of
// RFC 8446 section 6.2.
func isCertificateAlert(err error) bool {
	switch tlspolicy.Alert(err) {
	case "tls: bad certificate", "tls: unsupported certificate", "tls: revoked certificate", "tls: expired certificate",
		"tls: unknown certificate", "tls: unknown certificate authority", "tls: access denied", "tls: certificate required":
		return true
	}
	return false
}

// isVersionFault reports whether the two sides have no version of TLS in common, which
// stays so until a person changes one.
func isVersionFault(err error) bool {
	if alert := tlspolicy.Alert(err); alert != "" {
		return alert == "tls: protocol version not supported"
	}
	return err != nil && strings.Contains(err.Error(), "tls: server selected unsupported protocol version")
}

// usableCertificate asks the source and checks what it returns, so that the error
// is ours and clear, and no broker is bothered with a certificate that it must
// refuse. Of the one in use, if there is one, only the dates are looked at.
func (s *settings) usableCertificate(ctx context.Context, inUse *tls.Certificate) (*tls.Certificate, error) {
	fail := func(reason string, err error) (*tls.Certificate, error) {
		return nil, &CertificateError{Owner: s.owner(), Reason: reason, Err: err}
	}
	certificate, err := s.Certificate(ctx)
	switch {
	case err != nil:
		return nil, &CertificateError{Owner: s.owner(), Reason: "its source failed", Passing: !errors.Is(err, fds.ErrCertificate), Err: err}
	case certificate == nil || len(certificate.Certificate) == 0:
		return fail("its source gave none", nil)
	}
	leaf := certificate.Leaf
	same := inUse != nil && bytes.Equal(certificate.Certificate[0], inUse.Certificate[0])
	if same {
		certificate, leaf = inUse, inUse.Leaf
	}
	if leaf == nil {
		if leaf, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
			return fail("it cannot be read", tlspolicy.Shown(err))
		}
	}
	date := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	var reason string
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		reason = "it expired on " + date(leaf.NotAfter) + "; the broker's administrator must issue a new one, or this machine's clock is wrong"
	case now.Before(leaf.NotBefore):
		reason = "it is valid only from " + date(leaf.NotBefore) + "; it is used from then on, or check this machine's clock"
	case same:
		return certificate, nil
	case !forClients(leaf):
		reason = "it is not for use by a client (extended key usage); the broker's administrator must issue one that is"
	case !keyMatches(leaf, certificate.PrivateKey):
		reason = "its private key is missing or belongs to another certificate; install the two that belong together"
	default:
		if certificate.Leaf == nil {
			known := *certificate // not ours to change
			known.Leaf = leaf
			certificate = &known
		}
		return certificate, nil
	}
	return nil, &CertificateError{Owner: s.owner(), Reason: reason, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
}
