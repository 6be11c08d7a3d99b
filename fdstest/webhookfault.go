package fdstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"time"
)

// webhookFault is something that goes wrong at the provider's Senders.
type webhookFault struct {
	take func() bool
	off  chan struct{} // closed when it is switched off

	disorders bool
	before    func(*Attempt) // makes an attempt that comes before the one that is due
	pause     time.Duration  // before each byte of the body
	loses     bool
	replays   bool
}

// atSenders makes a fault of the provider's Senders. It does not concern Sender.Attempt.
func atSenders(name string, fault webhookFault) Fault {
	return Fault{name: name, install: func(p *Provider, take func() bool) (func(), error) {
		f := fault
		f.take, f.off = take, make(chan struct{})
		p.senders.inject(&f)
		return func() {
			p.senders.eject(&f)
			close(f.off)
		}, nil
	}}
}

func (l *senders) inject(f *webhookFault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(without(l.faults, f), f)
}

func (l *senders) eject(f *webhookFault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = without(l.faults, f)
}

// on returns the faults that pick says are at work now.
func (l *senders) on(pick func(*webhookFault) bool) []*webhookFault {
	l.mu.Lock()
	all := l.faults
	l.mu.Unlock()
	var on []*webhookFault
	for _, f := range all {
		if pick(f) && f.take() {
			on = append(on, f)
		}
	}
	return on
}

// RepeatWebhooks loses the answer by which a delivery was acknowledged: it is sent again, with
// its webhook-id, until another answer comes through.
func RepeatWebhooks() Fault { return atSenders("RepeatWebhooks", webhookFault{loses: true}) }

// ReplayWebhooks has somebody who has seen a request that was acknowledged send it again, the
// same in every byte.
func ReplayWebhooks() Fault { return atSenders("ReplayWebhooks", webhookFault{replays: true}) }

// DisorderWebhooks holds each message that is published back until the one after it, of the same
// owner, was sent.
func DisorderWebhooks() Fault { return atSenders("DisorderWebhooks", webhookFault{disorders: true}) }

// ExpiredWebhooks has each delivery be attempted first with an access token that expired an hour
// ago, as by a sender that looks at no clock.
func ExpiredWebhooks() Fault {
	return atSenders("ExpiredWebhooks", webhookFault{before: func(a *Attempt) {
		now := time.Now()
		a.Claims = map[string]any{
			"exp": now.Add(-time.Hour).Unix(), "iat": now.Add(-2 * time.Hour).Unix(), "nbf": now.Add(-2 * time.Hour).Unix(),
		}
	}})
}

// ForgeWebhooks has somebody send each delivery first, with its webhook-id, by an access token
// that is right but for its signature: by another key, under the name of the provider's.
func ForgeWebhooks() Fault {
	return atSenders("ForgeWebhooks", webhookFault{before: func(a *Attempt) {
		if key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			a.Key = key
		}
	}})
}

// SlowWebhooks sends each body byte by byte, with a pause before each.
func SlowWebhooks(pause time.Duration) Fault {
	return atSenders("SlowWebhooks", webhookFault{pause: pause})
}

var errAnswerLost = errors.New("the answer was lost")

// once attempts a delivery, as the faults that are on have it.
func (s *Sender) once(ctx context.Context, a Attempt) (*Reply, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-s.slots }()
	faults := &s.provider.senders
	for _, f := range faults.on(func(f *webhookFault) bool { return f.before != nil }) {
		before := a
		f.before(&before)
		_, _ = s.attempt(ctx, before) // counted
	}
	for _, f := range faults.on(func(f *webhookFault) bool { return f.pause > 0 }) {
		a.Pause = f.pause
	}
	sealed, err := s.seal(a)
	if err != nil {
		return nil, err
	}
	reply, err := s.post(ctx, sealed)
	if err != nil || reply.Status/100 != 2 {
		return reply, err
	}
	for range faults.on(func(f *webhookFault) bool { return f.replays }) {
		_, _ = s.post(ctx, sealed) // counted
	}
	if len(faults.on(func(f *webhookFault) bool { return f.loses })) > 0 {
		return nil, errAnswerLost
	}
	return reply, nil
}

// hold waits, where messages shall be disordered, until the one that is due has another behind
// it, which is due then.
func (s *Sender) hold(ctx context.Context, l *lane) {
	s.mu.Lock()
	due := len(l.messages) > 0 && !l.messages[0].held
	s.mu.Unlock()
	if !due {
		return
	}
	on := s.provider.senders.on(func(f *webhookFault) bool { return f.disorders })
	if len(on) == 0 {
		return
	}
	for {
		s.mu.Lock()
		n := len(l.messages)
		if n > 0 {
			l.messages[0].held = true
		}
		if n > 1 {
			l.messages[0], l.messages[1] = l.messages[1], l.messages[0]
		}
		s.mu.Unlock()
		if n != 1 {
			return
		}
		select {
		case <-l.more:
		case <-on[0].off:
			return
		case <-ctx.Done():
			return
		}
	}
}
