package fdstest

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// subscriptionPlaceholder stands in a Webhook's URL for the owner's subscription ID.
const subscriptionPlaceholder = "{subscription_id}"

// Webhook is an application's endpoint, to which the provider sends what it publishes: by POST,
// with an access token for that endpoint in the Authorization header (RFC 9068), and with the
// headers of Standard Webhooks 1.0.0. It prints without secrets.
type Webhook struct {
	// URL is the endpoint's, https. "{subscription_id}" in it stands for that of the owner whose
	// message is sent, as the owner spells it.
	URL string
	// Audience is that of the access tokens; default the URL without its query, which has to be
	// that of all owners.
	Audience string
	// ClientID is the sender's, which its tokens name as client_id and sub; default
	// "fdsbox-sender".
	ClientID string
	// Roots are the authorities of the endpoint's certificate; nil: the provider's own, whose
	// IssueCertificate issues one for a server.
	Roots *x509.CertPool
	// Certificate is the sender's client certificate, to which its tokens are bound (RFC 8705
	// section 3); nil: none.
	Certificate *tls.Certificate
	// Opaque has the access tokens be random strings, which introspection knows; for that
	// Options.Introspection must be set.
	Opaque bool
	// Granted sends only what is of owners whose data some application has a grant to read, as a
	// real provider does; otherwise what is of all.
	Granted bool
	// OneToken has one access token name all owners, at most 64; otherwise each has its own.
	OneToken bool
	// Secrets are those of the signatures, each as whsec_ and base64: webhook-signature has one
	// by each, so that an application can replace its secret. None: there is no such header.
	Secrets []string
	// NoID leaves out webhook-id, so that a message that is sent twice cannot be told by it.
	NoID bool
	// Batch sends up to so many messages of an owner in one array, as many as wait; 0: each by
	// itself, as it is. A message that is no JSON is never in an array.
	Batch int

	// First is the mean time before the second attempt; each time is twice as long as the one
	// before, with a jitter of half of it, and Most is the most. Default a second and a minute. A
	// Retry-After that asks for more, up to an hour, is honoured.
	First, Most time.Duration
	// Attempts is how often a message is sent until it fails for good; default 12. An answer
	// between 400 and 499 other than 401, 408 and 429 does so at the third.
	Attempts int
	// Timeout is for one attempt, the answer included; default 30 seconds.
	Timeout time.Duration
	// Concurrent is how many requests are under way at once, each of another owner; default 64.
	Concurrent int
	// HTTP1 leaves HTTP/2 alone, so that each request that is under way has a connection of its
	// own.
	HTTP1 bool
}

// Format keeps the secrets out of every verb of package fmt.
func (w Webhook) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Webhook(%q)", w.URL) }

// LogValue keeps the secrets out of logs.
func (w Webhook) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(w)) }

const (
	maxSenderOwners = 64      // in one token
	maxWaiting      = 1 << 16 // messages of one sender
	maxAnswer       = 64 << 10
	maxRetryAfter   = time.Hour
	maxRefusals     = 3
)

// check returns w with its defaults, and the bytes of its secrets.
func (w Webhook) check(p *Provider) (Webhook, [][]byte, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	target, err := url.Parse(w.URL)
	if err != nil || target.Scheme != "https" || target.Host == "" || target.User != nil || target.Fragment != "" {
		fault("URL %.200q is not an https URL without a user and a fragment", w.URL)
	}
	if w.Audience == "" {
		w.Audience, _, _ = strings.Cut(w.URL, "?")
		if strings.Contains(w.Audience, subscriptionPlaceholder) {
			fault("Audience is missing; the URL is another one for each owner")
		}
	}
	w.ClientID = cmp.Or(w.ClientID, "fdsbox-sender")
	var secrets [][]byte
	for i, secret := range w.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) == 0 {
			fault("secret %d is not whsec_ and base64", i+1)
		}
		secrets = append(secrets, key)
	}
	switch {
	case w.NoID && len(secrets) > 0:
		fault("NoID and Secrets are both set; a signature is of the ID too")
	case w.Opaque && !p.authority.Introspects():
		fault("Opaque is set, and the provider was started without Options.Introspection")
	case w.First < 0 || w.Most < 0 || w.Attempts < 0 || w.Timeout < 0 || w.Concurrent < 0 || w.Batch < 0:
		fault("First, Most, Attempts, Timeout, Concurrent or Batch is negative; 0 is the default")
	}
	w.First = cmp.Or(w.First, time.Second)
	w.Most = max(w.First, cmp.Or(w.Most, time.Minute))
	w.Attempts = cmp.Or(w.Attempts, 12)
	w.Timeout = cmp.Or(w.Timeout, 30*time.Second)
	w.Concurrent = cmp.Or(w.Concurrent, 64)
	if w.Roots == nil {
		w.Roots = p.RootCAs()
	}
	return w, secrets, errors.Join(faults...)
}

// SendTo sends to an endpoint, from now on and until ctx ends or the provider is closed, what is
// published for its owners by their sites and by Publish: an owner's messages in their order, one
// at a time, each until it is acknowledged by a status between 200 and 299. Redirects are not
// followed. 410 ends it for good.
func (p *Provider) SendTo(ctx context.Context, w Webhook) (*Sender, error) {
	w, secrets, err := w.check(p)
	if err != nil {
		return nil, fmt.Errorf("fdstest: send to a webhook: %w", err)
	}
	p.authority.AddSecrets(w.Secrets...)
	s := &Sender{
		provider: p, webhook: w, secrets: secrets, slots: make(chan struct{}, w.Concurrent), wake: make(chan struct{}, 1),
		lanes: make(map[string]*lane), tokens: make(map[string]senderToken), answers: make(map[int]int),
		cancels: make(map[int]context.CancelFunc), done: make(chan struct{}),
	}
	s.client = &http.Client{
		Transport:     s.transport(w.Certificate),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	if !p.senders.add(s) {
		end()
		return nil, errors.New("fdstest: send to a webhook: the provider is closed")
	}
	go func() {
		defer close(s.done)
		s.run(ctx)
		s.stop()
		end()
		s.running.Wait()
		s.client.CloseIdleConnections()
		p.senders.remove(s)
	}()
	p.log.Info("sends to a webhook", "url", w.URL)
	return s, nil
}

// RotateKeys has the authorization server sign by a new key from now on. The one before it stays
// in its key set for so long; 0: it leaves at once, and then what it signed is refused.
func (p *Provider) RotateKeys(stays time.Duration) error {
	if err := p.authority.RotateKeys(stays); err != nil {
		return fmt.Errorf("fdstest: rotate keys: %w", err)
	}
	return nil
}

// senders are those of a provider.
type senders struct {
	mu     sync.Mutex
	all    []*Sender
	faults []*webhookFault
	closed bool
}

func (l *senders) add(s *Sender) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.all = append(l.all, s)
	}
	return !l.closed
}

func (l *senders) remove(s *Sender) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = without(l.all, s)
}

// without returns another list, since one that was handed out is being read.
func without[T comparable](list []T, one T) []T {
	var rest []T
	for _, other := range list {
		if other != one {
			rest = append(rest, other)
		}
	}
	return rest
}

func (l *senders) list() []*Sender {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:len(l.all):len(l.all)]
}

// published hands a message to all senders. It never waits.
func (l *senders) published(o Owner, payload []byte) {
	for _, s := range l.list() {
		s.take(o, payload)
	}
}

// close ends all senders, and returns when nothing of them runs any more.
func (l *senders) close() {
	l.mu.Lock()
	l.closed = true
	all := l.all
	l.mu.Unlock()
	for _, s := range all {
		s.stop()
	}
	for _, s := range all {
		<-s.done
	}
}
