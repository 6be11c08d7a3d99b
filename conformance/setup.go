package conformance

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/proxy"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// mostSkew is by how much the clocks of this machine and of a server may differ: tokens and
// certificates are dated.
const mostSkew = time.Minute

// endsSoon reports whether a certificate is to be replaced by now: two weeks before its end, and
// one that lives for less than six weeks in the last third of its life.
func endsSoon(leaf *x509.Certificate, now time.Time) bool {
	return leaf.NotAfter.Sub(now) < min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/3)
}

// setupChecks are about this side: what has to work before anything is learnt of the provider.
func setupChecks() []*check {
	const requirement = "setup"
	return []*check{
		{
			id: "setup-names", requirement: requirement, duty: OfApplication,
			rule:   "The names of the provider's servers can be resolved.",
			remedy: "Compare the URLs of the configuration with what the provider told, and look at this machine's DNS.",
			probe:  (*run).probeNames,
		},
		{
			id: "setup-ports", requirement: requirement, duty: OfApplication,
			rule:   "The provider's servers take connections, directly or through the proxy.",
			remedy: "Have the firewall, or the proxy, let this machine through to that port.",
			probe:  (*run).probePorts,
		},
		{
			id: "setup-clock", requirement: requirement, duty: OfApplication,
			rule:   "This machine's clock agrees with the servers' to a minute.",
			remedy: "Have this machine's clock set by NTP; if it is right, tell the provider.",
			probe:  (*run).probeClock,
		},
		{
			id: "setup-store", requirement: requirement, duty: OfApplication,
			rule:   "Grants can be stored.",
			remedy: "Unlock the keyring, or make the folder writable for this user; docs/troubleshooting.md has the errors.",
			probe:  (*run).probeStore,
		},
		{
			id: "setup-grant", requirement: requirement, duty: OfApplication,
			rule:   "An owner has signed in, and its grant works.",
			remedy: "Have the owner's user sign in again.",
			probe:  (*run).probeGrant,
		},
		{
			id: "setup-certificate", requirement: requirement, duty: OfBroker,
			rule:   "The owner's certificate for the broker can be read, is the key's, is meant for clients, and does not end soon.",
			remedy: "Ask the broker's administrator for a new certificate of the owner.",
			needs:  []need{needBroker, needOwner},
			probe:  (*run).probeCertificate,
		},
	}
}

// server is one that the configuration names.
type server struct {
	what string // for people
	url  *url.URL
	duty Duty
}

// address returns host:port.
func (s server) address() string {
	port := s.url.Port()
	if port == "" {
		port = map[string]string{"mqtts": "8883", "ssl": "8883", "tls": "8883", "http": "80"}[s.url.Scheme]
	}
	return net.JoinHostPort(s.url.Hostname(), cmp.Or(port, "443"))
}

// servers returns those that the configuration names.
func (r *run) servers() []server {
	p := r.config.Client.Provider
	var list []server
	for _, one := range []struct {
		what, address string
		duty          Duty
	}{{"authorization server", p.Issuer, OfAuthorizationServer}, {"Web API", p.APIURL, OfProvider}, {"broker", p.BrokerURL, OfBroker}} {
		if parsed, err := url.Parse(one.address); err == nil && one.address != "" {
			list = append(list, server{one.what, parsed, one.duty})
		}
	}
	return list
}

func (r *run) probeNames(ctx context.Context, t *trial) {
	if r.config.Client.Provider.Dial != nil {
		t.notApplicable("the configuration has a Dial of its own")
		return
	}
	asked, works := make(map[string]bool), false
	for _, s := range r.servers() {
		host := s.url.Hostname()
		if through, err := r.proxyTo(s.address()); err == nil && through != nil {
			t.saw("resolve "+host, "left to the proxy %s", through)
			works = true
			t.pass()
			continue
		}
		if asked[host] {
			continue
		}
		asked[host] = true
		addresses, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			t.saw("resolve "+host, "%v", err)
			t.fail("the name of the %s, %s, cannot be resolved", s.what, host)
			continue
		}
		t.saw("resolve "+host, "%s", addresses)
		works = true
		t.pass()
	}
	if !works {
		t.stop("%s", t.why)
	}
}

func (r *run) probePorts(ctx context.Context, t *trial) {
	reached := 0
	for _, s := range r.servers() {
		tried := fmt.Sprintf("connect to the %s at %s", s.what, s.address())
		through, err := r.proxyTo(s.address())
		if err == nil && through != nil && r.config.Client.Provider.Dial == nil {
			tried += " through the proxy " + through.String()
		}
		conn, err := r.dial(ctx, s.address())
		if err != nil {
			t.saw(tried, "%v", tlspolicy.Shown(err))
			if errors.As(err, new(*proxy.Error)) {
				t.remedy = "Set the proxy right, or take it out of the way: HTTPS_PROXY, ALL_PROXY and NO_PROXY in the environment, and for the broker push.Settings.Proxy."
				t.fail("the %s cannot be reached at %s, by the %v", s.what, s.address(), tlspolicy.Shown(err))
				continue
			}
			t.fail("the %s cannot be reached at %s: %s", s.what, s.address(), tlspolicy.Explain(err))
			continue
		}
		_ = conn.Close() // nothing was sent
		reached++
		t.saw(tried, "connected")
		t.pass()
	}
	if reached == 0 {
		t.stop("no server can be reached: %s", t.why)
	}
}

// probeClock reads the Date of the servers' answers.
func (r *run) probeClock(ctx context.Context, t *trial) {
	for _, s := range r.servers() {
		if s.url.Scheme != "https" {
			continue
		}
		config, err := r.tlsConfig(ctx, s.url.Hostname())
		if err != nil {
			t.error("%v", err)
			return
		}
		transport := netpeer.NewTransport(config, r.config.Client.Provider.Dial)
		request, err := http.NewRequestWithContext(ctx, http.MethodHead, s.url.String(), nil)
		if err != nil {
			t.error("%v", err)
			return
		}
		began := time.Now()
		answer, err := r.tapped(transport).RoundTrip(request)
		took := time.Since(began)
		transport.CloseIdleConnections()
		if err != nil {
			t.saw("ask the "+s.what+" for the time", "%v", tlspolicy.Shown(err))
			continue
		}
		_ = answer.Body.Close()
		date, err := http.ParseTime(answer.Header.Get("Date"))
		if err != nil {
			t.saw("ask the "+s.what+" for the time", "it does not tell it")
			continue
		}
		skew := date.Sub(began.Add(took / 2)).Round(time.Second)
		t.saw("ask the "+s.what+" for the time", "its clock is %v from this machine's", skew)
		if skew.Abs() > mostSkew+took/2 {
			t.fail("the clocks of this machine and of the %s differ by %v", s.what, skew.Abs())
			continue
		}
		t.pass()
	}
	if t.outcome == "" {
		t.error("no server told the time")
	}
}

func (r *run) probeStore(ctx context.Context, t *trial) {
	if err := r.config.Client.Store.Probe(ctx); err != nil {
		t.saw("store a record and read it", "%v", err)
		t.fail("%v", err)
		return
	}
	t.saw("store a record and read it", "it is there")
	t.pass()
}

// probeGrant chooses the owners whom the checks use.
func (r *run) probeGrant(ctx context.Context, t *trial) {
	r.ownerless = "nobody has signed in: sign in first"
	owners, err := r.client.Owners(ctx)
	if err != nil {
		r.ownerless = "the stored owners cannot be read: " + err.Error()
		t.fail("%s", r.ownerless)
		return
	}
	t.saw("list the stored owners", "%d", len(owners))
	for _, id := range r.config.SpareOwners {
		i := slices.IndexFunc(owners, func(o *fdsclient.Owner) bool { return o.Key().SubscriptionID == id })
		if i < 0 {
			t.fail("the spare owner %s has not signed in", id)
			continue
		}
		if !slices.Contains(r.spares, owners[i]) { // named twice it is still one
			r.spares = append(r.spares, owners[i])
		}
	}
	for _, o := range owners {
		id := o.Key().SubscriptionID
		spare := slices.Contains(r.config.SpareOwners, id)
		if r.config.Owner != (fds.SubscriptionID{}) && r.config.Owner == id || r.config.Owner == (fds.SubscriptionID{}) && r.owner == nil && !spare {
			r.owner = o
		}
		if r.config.Intrusive && !spare {
			r.spares = append(r.spares, o)
		}
	}
	for _, spare := range r.spares {
		info, err := spare.Grant(ctx)
		others := slices.ContainsFunc(info.Owners, func(id fds.SubscriptionID) bool {
			return !slices.ContainsFunc(r.spares, func(o *fdsclient.Owner) bool { return o.Key().SubscriptionID == id })
		})
		if err == nil && !others {
			r.expendable = append(r.expendable, spare)
		}
	}
	if r.owner == nil && r.config.Owner == (fds.SubscriptionID{}) && len(r.spares) > 0 {
		r.owner = r.spares[0]
	}
	if r.owner == nil {
		if r.config.Owner != (fds.SubscriptionID{}) {
			r.ownerless = fmt.Sprintf("%s has not signed in", r.config.Owner)
		}
		if r.config.Owner != (fds.SubscriptionID{}) {
			t.fail("%s", r.ownerless)
			return
		}
		t.untestable("%s", r.ownerless)
		return
	}
	token, err := r.token(ctx, r.owner)
	if err != nil {
		t.saw("take the access token of "+r.owner.Key().SubscriptionID.String(), "%v", err)
		t.fail("%v", err)
		if !fdsclient.SignInNeeded(err) {
			t.remedy = "Look at the checks of the authorization server below."
		}
		r.ownerless = "the owner's grant does not work: " + err.Error()
		r.owner = nil
		return
	}
	t.saw("take the access token of "+r.owner.Key().SubscriptionID.String(), "it serves until %s", token.Expiry().UTC().Format(time.RFC3339))
	t.pass()
}

func (r *run) probeCertificate(ctx context.Context, t *trial) {
	for _, o := range slices.Compact(append([]*fdsclient.Owner{r.owner}, r.spares...)) {
		id := o.Key().SubscriptionID
		tried := "read the certificate of " + id.String()
		certificate, err := r.certificate(ctx, o.Key())
		if errors.Is(err, fds.ErrNoCertificate) {
			t.saw(tried, "%v", err)
			t.untestable("there is no certificate of %s; ask the broker's administrator", id)
			continue
		}
		if err != nil {
			t.saw(tried, "%v", err)
			t.fail("the certificate of %s cannot be used: %v", id, err)
			continue
		}
		leaf, err := leafOf(certificate)
		if err != nil {
			t.fail("the certificate of %s cannot be read: %v", id, tlspolicy.Shown(err))
			continue
		}
		now := time.Now()
		t.saw(tried, "subject %s, of %s, until %s", leaf.Subject, leaf.Issuer, leaf.NotAfter.UTC().Format(time.RFC3339))
		switch {
		case now.Before(leaf.NotBefore):
			t.fail("the certificate of %s is not valid before %s", id, leaf.NotBefore.UTC().Format(time.RFC3339))
		case now.After(leaf.NotAfter):
			t.fail("the certificate of %s was valid until %s", id, leaf.NotAfter.UTC().Format(time.RFC3339))
		case endsSoon(leaf, now):
			t.fail("the certificate of %s is valid for %v more", id, leaf.NotAfter.Sub(now).Round(time.Hour))
		case len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
			t.fail("the certificate of %s is not meant for clients (its extended key usage)", id)
		default:
			t.pass()
		}
	}
}
