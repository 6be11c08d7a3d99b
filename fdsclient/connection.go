package fdsclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/push"
)

// connection makes the push connection of an owner, whose follower a has, to what d says; nil: only
// its session is to be ended.
func (c *Client) connection(o *Owner, a *connected, d *destination) (*push.Connection, error) {
	f := a.follower
	cfg := c.pushConfig(o.key, o.root, f.Filters())
	if d != nil {
		if len(d.topics) > 0 {
			cfg.Topics = d.topics
		}
		if fence := d.calling.Fence; fence != nil {
			cfg.Fence = func() error { return fence(o.key) }
		}
	}
	cfg.SaveSubscribed = f.SaveFilters
	cfg.BeforeMessages = func(ctx context.Context, s push.Subscribed) error {
		if err := a.grant.Honoured(ctx); err != nil && !c.keeps() {
			return err
		}
		return f.Subscribed(ctx, s)
	}
	cfg.OnAcknowledged = f.Acknowledged
	cfg.OnState = func(s push.State) {
		f.ConnectionIs(s.Phase)
		if wasTaken(s) {
			c.takenOver(a)
		}
		c.connectionChanged(o.key, a.state(s))
	}
	return push.New(cfg)
}

func (c *Client) pushConfig(key fds.OwnerKey, root fds.Root, filters []string) push.Config {
	// A session is its client ID's, to the letter: filters below another spelling
	// of the subscription ID are those of another session.
	own := "fds/v2/" + root.ClientID() + "/"
	return push.Config{
		Issuer:       key.Issuer,
		Root:         root,
		BrokerURL:    c.cfg.Provider.BrokerURL,
		Roots:        c.forPush.roots,
		ExactlyTLS12: c.cfg.Provider.ExactlyTLS12,
		Dial:         c.forPush.dial,
		Certificate: func(ctx context.Context) (*tls.Certificate, error) {
			return c.ownersCertificate(ctx, key)
		},
		Subscribed: slices.DeleteFunc(slices.Clone(filters), func(filter string) bool { return !strings.HasPrefix(filter, own) || filter == own }),
		Settings:   c.cfg.Push,
		Dialect:    &c.cfg.Provider.Dialect,
		Logger:     c.log,
		OnState:    func(s push.State) { c.connectionChanged(key, s) },
		Hooks:      c.forPush.hooks,
	}
}

// ownersCertificate asks the source, which may be the caller's own code.
func (c *Client) ownersCertificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	ctx = context.WithValue(ctx, warningKey{}, func(err error) { c.certificateFailed(owner, err) })
	certificate, err := contain.Call("Config.Certificates", func() (*tls.Certificate, error) { return c.cfg.Certificates(ctx, owner) })
	if err != nil {
		return nil, err
	}
	if certificate == nil || len(certificate.Certificate) == 0 {
		return nil, fmt.Errorf("fdsclient: %w: Config.Certificates gave none for %s", fds.ErrNoCertificate, owner.SubscriptionID)
	}
	return contain.Certificate(certificate), nil
}

// CertificateExpiry says until when an owner's certificate is valid: the first
// moment at which one of its chain is not.
func (c *Client) CertificateExpiry(ctx context.Context, owner fds.OwnerKey) (time.Time, error) {
	if c.cfg.Certificates == nil {
		return time.Time{}, fmt.Errorf("fdsclient: %w: Config.Certificates is missing", fds.ErrNoCertificate)
	}
	certificate, err := c.ownersCertificate(ctx, owner)
	if err != nil {
		return time.Time{}, err
	}
	var first time.Time
	for _, der := range certificate.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return time.Time{}, errors.New("fdsclient: certificate: it cannot be read")
		}
		if first.IsZero() || parsed.NotAfter.Before(first) {
			first = parsed.NotAfter
		}
	}
	return first, nil
}

// connectionChanged tells hooks; the log has it from the connection itself.
func (c *Client) connectionChanged(key fds.OwnerKey, s push.State) {
	tell(c, func(h HookConnection) { h.OnConnection(key, s) })
}

// Connection returns the state of the owner's push connection at this moment, with since
// when and why; push.Stopped when no Run has it, with the reason where there is one: another
// process has the owner, or the grant is no longer honoured. HookConnection is told every
// change.
func (o *Owner) Connection() push.State {
	if a := o.connected(); a != nil && a.connection != nil {
		return a.state(a.connection.State())
	}
	if ended := o.ended.Load(); ended != nil {
		return *ended
	}
	return push.State{Owner: o.key, Phase: push.Stopped}
}

// connected returns what a run has of the owner; nil: none has.
func (o *Owner) connected() *connected {
	for _, r := range o.client.runs() {
		if a := r.of(o.key); a != nil && a.follower != nil {
			return a
		}
	}
	return nil
}

// Wake has the owner's connection tried at once where it waits, be it for a
// certificate or for the broker, and a new certificate taken up at once where it is
// connected; where owners are polled, its lists are read at once. Without a Run it does
// nothing.
func (o *Owner) Wake() {
	switch a := o.connected(); {
	case a == nil:
	case a.connection != nil:
		a.connection.Wake()
	default:
		a.follower.ReadNow()
	}
}
