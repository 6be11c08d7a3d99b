package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"net"
	"net/netip"
)

const (
	defaultWebhook = "https://" + defaultListen + "/"
	boxSender      = "fdsbox-sender" // the client ID of the box's sender of webhooks

	deliveriesEvery = 10 * time.Second // how they fare is told at most so often
)

// checkWebhook refuses flags that mean nothing.
func (s providerSettings) checkWebhook(wanted bool) error {
	target, err := url.Parse(s.webhook)
	switch {
	case !wanted && s.webhookAudience != "":
		return wrongUsage("--webhook-audience is about the access tokens for --webhook; add that")
	case !wanted:
		return nil
	case err != nil || target.Scheme != "https" || target.Host == "" || target.User != nil || target.Fragment != "":
		return wrongUsage("--webhook is %q; it is an https URL without a user and a fragment, as %s", s.webhook, defaultWebhook)
	case s.webhookAudience == "" && strings.Contains(target.Path, "{subscription_id}"):
		return wrongUsage("--webhook is another URL for each owner; say with --webhook-audience what access tokens for it name")
	}
	return nil
}

// audience is that of the sender's access tokens.
func (s providerSettings) audience() string {
	withoutQuery, _, _ := strings.Cut(cmp.Or(s.webhook, defaultWebhook), "?")
	return cmp.Or(s.webhookAudience, withoutQuery)
}

// listen is where fdsdemo webhook takes what is sent: the URL's own host, if that is this machine.
func (s providerSettings) listen() string {
	u, err := url.Parse(s.webhook)
	if err != nil || s.webhook == "" {
		return defaultListen
	}
	host := u.Hostname()
	if address, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !address.IsLoopback()) {
		return defaultListen
	}
	return net.JoinHostPort(host, cmp.Or(u.Port(), "443"))
}

// sendTo has the box send to the webhook until ctx ends. An endpoint that is down is waited for.
func (s providerSettings) sendTo(ctx context.Context, box *fdstest.Provider) (*fdstest.Sender, error) {
	roots, err := x509.SystemCertPool()
	if err != nil { // a system without any
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(box.CAPEM())
	return box.SendTo(ctx, fdstest.Webhook{
		URL: s.webhook, Audience: s.audience(), ClientID: boxSender, Roots: roots, Granted: true,
		Most: 5 * time.Second, Attempts: 1 << 30,
	})
}

// tellDeliveries tells how deliveries fare, when that has changed, until ctx ends.
func (p *program) tellDeliveries(ctx context.Context, s *fdstest.Sender) {
	ticker := time.NewTicker(deliveriesEvery)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if d := s.Deliveries(); d.Attempts > 0 {
				p.tell("webhook: %s", deliveriesLine(d))
			}
			return
		}
		d := s.Deliveries()
		if line := deliveriesLine(d); line != said && d.Attempts > 0 {
			said = line
			p.tell("webhook: %s", line)
		}
		if d.Gone {
			p.tell("webhook: it has answered 410, so that nothing is sent to it any more; start this anew once it takes deliveries again")
			return
		}
	}
}

// deliveriesLine says how deliveries fare. The last attempt that failed is of interest while
// something is not acknowledged.
func deliveriesLine(d fdstest.Deliveries) string {
	line := fmt.Sprintf("%d acknowledged", d.Acknowledged)
	if d.Failed > 0 {
		line += fmt.Sprintf(", %d refused for good", d.Failed)
	}
	if waiting := d.InHand + d.Waiting + d.Abandoned; waiting > 0 {
		line += fmt.Sprintf(", %d not yet", waiting)
	}
	if d.LastError != "" && (d.InHand > 0 || d.Failed > 0) {
		line += fmt.Sprintf("; the last attempt that failed: %.300s", d.LastError)
	}
	return line
}
