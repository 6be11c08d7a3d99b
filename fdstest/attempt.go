package fdstest

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Attempt is one request to a webhook, of which everything may be other than a sender makes it:
// for what a receiver must refuse. The zero value of a field leaves it as it is. It prints without
// secrets.
type Attempt struct {
	Owner Owner // whom the access token and the URL name
	Body  []byte

	// Claims are set in the access token; one that is nil is taken out. Claims{"exp": past} is an
	// expired token.
	Claims map[string]any
	// JOSEHeader has members that are set in the token's header, in the same way. The token is
	// signed as the header then says: "alg": "none" not at all, "HS256" with Secret.
	JOSEHeader map[string]any
	// Key signs in place of the provider's, under its kid: an *ecdsa.PrivateKey, an
	// *rsa.PrivateKey or an ed25519.PrivateKey.
	Key crypto.Signer
	// Secret is that of HS256, HS384 and HS512; default the provider's public key in PEM, as in
	// the attack by which a receiver takes that for a secret.
	Secret []byte
	// Token stands in place of one that is made of all that.
	Token string

	ID      string    // webhook-id
	At      time.Time // of webhook-timestamp and the signature
	Secrets []string  // of the signature, in place of Webhook.Secrets; empty and not nil: none

	Method, URL string
	// Fields are set in the request's header, and those of no values taken out of it:
	// {"Authorization": nil} sends no token, and "Content-Type", "Webhook-Signature" are such
	// names too.
	Fields http.Header
	// Chunked sends no Content-Length.
	Chunked bool
	// Pause is before each byte of the body, over HTTP/1.1 and a connection of its own.
	Pause time.Duration
	// Cut ends the connection after so many bytes of the body.
	Cut int
	// Certificate is the client certificate, on a connection of its own, in place of the sender's,
	// to which the token stays bound; one that is empty means none.
	Certificate *tls.Certificate
}

// Format keeps the secrets out of every verb of package fmt.
func (a Attempt) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Attempt(%s)", a.Owner.Spelling) }

// LogValue keeps the secrets out of logs.
func (a Attempt) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// Attempt sends one request and returns the answer, of its body 64 KiB at most. It waits for no
// turn, is not tried again, and no fault of the sender concerns it.
func (s *Sender) Attempt(ctx context.Context, a Attempt) (*Reply, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	reply, err := s.attempt(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("fdstest: attempt: %w", err)
	}
	return reply, nil
}

// Token returns the access token that Attempt would send.
func (s *Sender) Token(a Attempt) (string, error) {
	token, err := s.tokenOf(a)
	if err != nil {
		return "", fmt.Errorf("fdstest: token: %w", err)
	}
	return token, nil
}

func (s *Sender) attempt(ctx context.Context, a Attempt) (*Reply, error) {
	r, err := s.seal(a)
	if err != nil {
		return nil, err
	}
	return s.post(ctx, r)
}

// sealedRequest is a request as it is sent, once or again.
type sealedRequest struct {
	method, url string
	header      http.Header
	body        []byte
	chunked     bool
	pause       time.Duration
	cut         int
	certificate *tls.Certificate
}

func (s *Sender) tokenOf(a Attempt) (string, error) {
	switch {
	case a.Token != "":
		return a.Token, nil
	case a.Claims == nil && a.JOSEHeader == nil && a.Key == nil && a.Secret == nil:
		return s.token(a.Owner)
	}
	claims, _ := s.claims([]string{a.Owner.Spelling})
	for name, value := range a.Claims {
		set(claims, name, value)
	}
	return s.sign(a, claims)
}

// sign makes an access token. One that is opaque is signed by nobody.
func (s *Sender) sign(a Attempt, claims map[string]any) (string, error) {
	if s.webhook.Opaque && a.JOSEHeader == nil && a.Key == nil && a.Secret == nil {
		return s.provider.authority.OpaqueForSender(claims), nil
	}
	return s.provider.authority.SignForSender(a.JOSEHeader, claims, a.Key, a.Secret)
}

// seal makes the request of an attempt.
func (s *Sender) seal(a Attempt) (*sealedRequest, error) {
	token, err := s.tokenOf(a)
	if err != nil {
		return nil, err
	}
	secrets := s.secrets
	if a.Secrets != nil {
		w := s.webhook
		w.Secrets = a.Secrets
		if _, secrets, err = w.check(s.provider); err != nil {
			return nil, err
		}
	}
	if a.At.IsZero() {
		a.At = time.Now()
	}
	h := http.Header{
		"Authorization":     {"Bearer " + token},
		"Content-Type":      {"application/json"},
		"User-Agent":        {"fdsbox"},
		"Webhook-Timestamp": {strconv.FormatInt(a.At.Unix(), 10)},
	}
	if a.ID == "" && !s.webhook.NoID {
		a.ID = newWebhookID()
	}
	if a.ID != "" {
		h.Set("Webhook-Id", a.ID)
		if len(secrets) > 0 {
			h.Set("Webhook-Signature", webhookSignature(secrets, a.ID, a.At, a.Body))
		}
	}
	for name, values := range a.Fields {
		if name = http.CanonicalHeaderKey(name); len(values) == 0 {
			delete(h, name)
		} else {
			h[name] = values
		}
	}
	return &sealedRequest{
		method: cmp.Or(a.Method, http.MethodPost), url: s.target(a.URL, a.Owner.Spelling), header: h, body: a.Body,
		chunked: a.Chunked, pause: a.Pause, cut: a.Cut, certificate: a.Certificate,
	}, nil
}

// target is where a request for an owner goes; address "" is the Webhook's URL.
func (s *Sender) target(address, spelling string) string {
	return strings.ReplaceAll(cmp.Or(address, s.webhook.URL), subscriptionPlaceholder, url.PathEscape(spelling))
}

// webhookSignature is the value of webhook-signature (Standard Webhooks 1.0.0), an HMAC-SHA256 by
// each secret.
func webhookSignature(secrets [][]byte, id string, at time.Time, body []byte) string {
	var all []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}

// post sends a request and counts what became of it.
func (s *Sender) post(ctx context.Context, r *sealedRequest) (*Reply, error) {
	s.mu.Lock()
	s.counts.Attempts++
	s.mu.Unlock()
	reply, err := s.exchange(ctx, r)
	status := 0
	if err == nil {
		status = reply.Status
	}
	s.mu.Lock()
	s.answers[status]++
	s.mu.Unlock()
	return reply, err
}

func (s *Sender) exchange(ctx context.Context, r *sealedRequest) (*Reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.webhook.Timeout+r.pause*time.Duration(len(r.body)), errLate)
	defer cancel()
	client := s.client
	if r.certificate != nil || r.pause > 0 || r.cut > 0 {
		certificate := s.webhook.Certificate
		if r.certificate != nil {
			certificate = r.certificate
		}
		transport := s.transport(certificate)
		if r.pause > 0 || r.cut > 0 {
			transport.ForceAttemptHTTP2 = false
		}
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}
	}
	var body io.Reader = bytes.NewReader(r.body)
	if r.pause > 0 || r.cut > 0 {
		slow := &slowBody{rest: r.body, left: -1, wait: func() error {
			wait(ctx, r.pause, nil)
			return context.Cause(ctx)
		}}
		if r.cut > 0 {
			slow.left = r.cut
		}
		body = slow
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // nothing is sent again behind our back
	req.ContentLength = int64(len(r.body))
	if r.chunked {
		req.ContentLength = -1
	}
	req.Header = r.header.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer %d breaks off: %w", resp.StatusCode, err)
	}
	return &Reply{Status: resp.StatusCode, Header: resp.Header, Body: text}, nil
}

// slowBody comes byte by byte, and may break off.
type slowBody struct {
	rest []byte
	left int // until it breaks off; negative: it does not
	wait func() error
}

func (b *slowBody) Read(p []byte) (int, error) {
	switch {
	case len(b.rest) == 0:
		return 0, io.EOF
	case b.left == 0:
		return 0, errHungUp
	case len(p) == 0:
		return 0, nil
	}
	if err := b.wait(); err != nil {
		return 0, err
	}
	p[0] = b.rest[0]
	b.rest = b.rest[1:]
	b.left--
	return 1, nil
}

var (
	errHungUp = errors.New("the sender hung up")
	errLate   = errors.New("no answer came in time")
)

const (
	dialTimeout = 5 * time.Second
	dialsAtOnce = 64
)

// Hold opens n connections to the endpoint, and sends on each the beginning of a request and no
// more. It returns when each is open, or was not within five seconds, with the number of those
// that are; release closes them.
func (s *Sender) Hold(ctx context.Context, n int) (open int, release func(), err error) {
	target, err := url.Parse(s.target("", "held"))
	if err != nil {
		return 0, nil, fmt.Errorf("fdstest: hold: %w", err)
	}
	policy := s.transport(s.webhook.Certificate).TLSClientConfig
	policy.ServerName = target.Hostname()
	dial := (&net.Dialer{}).DialContext
	if s.provider.network != nil {
		dial = s.provider.network.Dial
	}
	address := net.JoinHostPort(target.Hostname(), cmp.Or(target.Port(), "443"))
	begin := "POST " + target.RequestURI() + " HTTP/1.1\r\nHost: " + target.Host + "\r\nContent-Type:"
	var (
		mu    sync.Mutex
		held  []net.Conn
		dials errgroup.Group
	)
	dials.SetLimit(dialsAtOnce)
	for range n {
		dials.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			raw, err := dial(ctx, "tcp", address)
			if err != nil {
				return err
			}
			conn := tls.Client(raw, policy)
			if err = conn.HandshakeContext(ctx); err == nil {
				_, err = io.WriteString(conn, begin)
			}
			if err != nil {
				_ = raw.Close()
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			held = append(held, raw)
			return nil
		})
	}
	err = dials.Wait()
	if err != nil && len(held) == 0 {
		return 0, nil, fmt.Errorf("fdstest: hold: %w", err)
	}
	return len(held), func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}, nil
}
