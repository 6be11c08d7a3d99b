package fdstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Sender sends to an application's webhook. Its methods may be used at once from several
// goroutines.
type Sender struct {
	provider *Provider
	webhook  Webhook
	secrets  [][]byte
	client   *http.Client
	slots    chan struct{} // holds a token for each request that is under way
	wake     chan struct{}

	mu      sync.Mutex
	lanes   map[string]*lane // by the owner's spelling
	ready   []*lane          // have messages and nobody at work
	waiting int              // messages in lanes
	tokens  map[string]senderToken
	counts  Deliveries
	answers map[int]int
	ended   bool
	begun   int
	cancels map[int]context.CancelFunc
	running sync.WaitGroup
	done    chan struct{} // closed when nothing runs any more
}

// lane holds what goes to one owner, in its order.
type lane struct {
	owner    Owner
	messages []waitingMessage
	atWork   bool
	turn     chan struct{} // holds a token while a delivery is under way
	more     chan struct{} // says that messages has grown
}

type waitingMessage struct {
	payload []byte
	held    bool // by DisorderWebhooks, once
}

type senderToken struct {
	token string
	renew time.Time
}

// Deliveries counts what a Sender has sent. A delivery is a message, or several in an array, with
// its webhook-id.
type Deliveries struct {
	Sent         int // deliveries begun
	Acknowledged int
	Failed       int // for good, or more messages than a sender keeps
	Abandoned    int // whose context, or the sender, has ended before
	InHand       int // deliveries begun that are none of these
	Waiting      int // published messages of which no delivery has begun

	Attempts  int         // requests, those of faults and of Attempt included
	Answers   map[int]int // by status; 0 stands for none
	LastError string      // what became of the last attempt that was not acknowledged

	Gone bool // 410 was answered: nothing is sent any more
}

// Deliveries says how deliveries fare.
func (s *Sender) Deliveries() Deliveries {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.counts
	d.InHand = d.Sent - d.Acknowledged - d.Failed - d.Abandoned
	d.Waiting = s.waiting
	d.Answers = maps.Clone(s.answers)
	return d
}

// Format keeps the secrets out of every verb of package fmt.
func (s *Sender) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Sender(%q)", s.webhook.URL) }

// transport returns one with a client certificate, or none.
func (s *Sender) transport(certificate *tls.Certificate) *http.Transport {
	policy := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.webhook.Roots}
	if certificate != nil && len(certificate.Certificate) > 0 {
		// Whichever authorities the server names.
		policy.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	t := &http.Transport{
		TLSClientConfig: policy, ForceAttemptHTTP2: !s.webhook.HTTP1, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: s.webhook.Concurrent, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
	if s.provider.network != nil {
		t.DialContext = s.provider.network.Dial
	}
	return t
}

// begin registers work, whose context ends when the sender does; end is called when it is over.
func (s *Sender) begin(ctx context.Context) (within context.Context, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, nil, errors.New("fdstest: this sender has ended")
	}
	within, cancel := context.WithCancel(ctx)
	number := s.begun
	s.begun++
	s.cancels[number] = cancel
	s.running.Add(1)
	return within, func() {
		cancel()
		s.mu.Lock()
		delete(s.cancels, number)
		s.mu.Unlock()
		s.running.Done()
	}, nil
}

// stop ends all work. It does not wait for it.
func (s *Sender) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, cancel := range s.cancels {
		cancel()
	}
}

// take takes a message that was published. It never waits.
func (s *Sender) take(o Owner, payload []byte) {
	if s.webhook.Granted && !s.provider.authority.Granted(o.Spelling) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended || s.counts.Gone:
		return
	case s.waiting >= maxWaiting:
		s.counts.Sent++
		s.counts.Failed++
		s.counts.LastError = fmt.Sprintf("%d messages wait already", maxWaiting)
		return
	}
	l := s.lane(o)
	l.messages = append(l.messages, waitingMessage{payload: bytes.Clone(payload)})
	s.waiting++
	signal(l.more)
	if !l.atWork {
		l.atWork = true
		s.ready = append(s.ready, l)
		signal(s.wake)
	}
}

// lane returns an owner's. The caller holds the mutex.
func (s *Sender) lane(o Owner) *lane {
	l, known := s.lanes[o.Spelling]
	if !known {
		l = &lane{owner: o, turn: make(chan struct{}, 1), more: make(chan struct{}, 1)}
		s.lanes[o.Spelling] = l
	}
	return l
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run sends what is published until ctx ends.
func (s *Sender) run(ctx context.Context) {
	var working sync.WaitGroup
	for ctx.Err() == nil {
		s.mu.Lock()
		ready := s.ready
		s.ready = nil
		s.mu.Unlock()
		for _, l := range ready {
			working.Go(func() { s.work(ctx, l) })
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	working.Wait()
}

// work sends an owner's messages while there are some.
func (s *Sender) work(ctx context.Context, l *lane) {
	for {
		s.hold(ctx, l)
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return
		}
		body, some := s.next(l)
		if some {
			_ = s.deliver(ctx, l.owner, body) // counted
		}
		<-l.turn
		if !some || ctx.Err() != nil {
			return
		}
	}
}

// next takes what the next delivery of a lane shall be.
func (s *Sender) next(l *lane) (body []byte, some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.messages) == 0 || s.counts.Gone {
		l.atWork = false
		return nil, false
	}
	n := 1
	if s.webhook.Batch > 0 && json.Valid(l.messages[0].payload) {
		for n < min(s.webhook.Batch, len(l.messages)) && json.Valid(l.messages[n].payload) {
			n++
		}
		body = append(body, '[')
		for i, m := range l.messages[:n] {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, m.payload...)
		}
		body = append(body, ']')
	} else {
		body = l.messages[0].payload
	}
	l.messages = l.messages[n:]
	s.waiting -= n
	return body, true
}

// Deliver sends a body for an owner, after what is being sent for that owner, and tries again as
// the Webhook says. It returns once the delivery is acknowledged, has failed for good, or ctx has
// ended. Webhook.Batch does not concern it.
func (s *Sender) Deliver(ctx context.Context, o Owner, body []byte) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	s.mu.Lock()
	l := s.lane(o)
	s.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("fdstest: deliver: %w", context.Cause(ctx))
	}
	defer func() { <-l.turn }()
	if err := s.deliver(ctx, o, body); err != nil {
		return fmt.Errorf("fdstest: deliver: %w", err)
	}
	return nil
}

// deliver sends until it is acknowledged. The caller has the owner's turn.
func (s *Sender) deliver(ctx context.Context, o Owner, body []byte) (err error) {
	s.mu.Lock()
	gone := s.counts.Gone
	if !gone {
		s.counts.Sent++
	}
	s.mu.Unlock()
	if gone {
		return errGone
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case err == nil:
			s.counts.Acknowledged++
		case ctx.Err() != nil:
			s.counts.Abandoned++
		default:
			s.counts.Failed++
		}
	}()
	a := Attempt{Owner: o, Body: body}
	if !s.webhook.NoID {
		a.ID = newWebhookID()
	}
	pauses := s.pauses()
	refusals := 0
	for n := 1; ; n++ {
		reply, err := s.once(ctx, a)
		if err == nil && reply.Status/100 == 2 {
			return nil
		}
		pause := pauses.NextBackOff()
		var outcome error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			outcome = err
		case reply.Status == http.StatusGone:
			s.giveUp()
			return errGone
		default:
			outcome = fmt.Errorf("the endpoint answered %d", reply.Status)
			pause = max(pause, retryAfter(reply.Header))
		}
		s.mu.Lock()
		s.counts.LastError = outcome.Error()
		s.mu.Unlock()
		switch {
		case err != nil:
		case reply.Status == http.StatusUnauthorized:
			s.forgetToken(o)
		case reply.Status/100 == 4 && reply.Status != http.StatusRequestTimeout && reply.Status != http.StatusTooManyRequests:
			refusals++
		}
		if n >= s.webhook.Attempts || refusals >= maxRefusals {
			return fmt.Errorf("%d attempts have failed: %w", n, outcome)
		}
		if !wait(ctx, pause, nil) {
			return context.Cause(ctx)
		}
	}
}

// pauses returns those between attempts.
func (s *Sender) pauses() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = s.webhook.First, s.webhook.Most, 2, 0.5
	b.Reset()
	return b
}

// retryAfter returns how long an answer asks to wait (RFC 9110 section 10.2.3), up to an hour.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}

// giveUp ends the sending for good.
func (s *Sender) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Gone = true
	s.counts.LastError = errGone.Error()
	for _, l := range s.lanes {
		l.messages = nil
	}
	s.waiting = 0
}

var errGone = errors.New("the endpoint has answered 410, which ends the sending for good")

func newWebhookID() string { return "msg_" + rand.Text() }

// token returns an access token for an owner, the one that was used before unless it is about to
// expire.
func (s *Sender) token(o Owner) (string, error) {
	owners := []string{o.Spelling}
	key := o.Spelling
	if s.webhook.OneToken {
		key, owners = "", nil
		for _, other := range s.provider.Owners() {
			owners = append(owners, other.Spelling)
		}
		if len(owners) > maxSenderOwners {
			return "", fmt.Errorf("one token names at most %d owners, and there are %d; leave OneToken out", maxSenderOwners, len(owners))
		}
	}
	s.mu.Lock()
	kept, known := s.tokens[key]
	s.mu.Unlock()
	if known && time.Now().Before(kept.renew) {
		return kept.token, nil
	}
	claims, expires := s.claims(owners)
	token, err := s.sign(Attempt{}, claims)
	if err != nil {
		return "", err
	}
	left := time.Until(expires)
	s.mu.Lock()
	s.tokens[key] = senderToken{token, time.Now().Add(left * 3 / 4)}
	s.mu.Unlock()
	return token, nil
}

func (s *Sender) forgetToken(o Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, o.Spelling)
	delete(s.tokens, "")
}

func (s *Sender) claims(owners []string) (map[string]any, time.Time) {
	var leaf *x509.Certificate
	if c := s.webhook.Certificate; c != nil && len(c.Certificate) > 0 {
		if leaf = c.Leaf; leaf == nil {
			leaf, _ = x509.ParseCertificate(c.Certificate[0]) // one that is malformed binds to nothing, and no server takes it
		}
	}
	return s.provider.authority.SenderClaims(s.webhook.ClientID, s.webhook.Audience, owners, leaf)
}
