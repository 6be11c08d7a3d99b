package conformance

import (
	"context"
	"net"
	"net/url"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// brokerState is what the checks of the broker share.
type brokerState struct {
	// had is whether an owner had a session at the broker before the first check connected with
	// its certificate: what was not there is not left behind.
	had map[fds.SubscriptionID]bool
	// litter are the filters that a check has subscribed to, for each owner whose session they
	// may be in, until they are unsubscribed.
	litter map[fds.SubscriptionID][]string
}

// brokerChecks are those of M1 to M8.
func brokerChecks() []*check {
	return slices.Concat(brokerTLSChecks(), clientCertificateChecks(), ownConnectionChecks(), clientIDChecks(),
		subscribeChecks(), publishChecks(), runBrokerChecks())
}

// brokerServers are the broker's URLs.
func (r *run) brokerServers() []server {
	var list []server
	for _, text := range append([]string{r.config.Client.Provider.BrokerURL}, r.config.Client.Push.Fallbacks...) {
		if at, err := url.Parse(text); err == nil {
			list = append(list, server{"broker", at, OfBroker})
		}
	}
	return list
}

// alpn are the application protocols that are offered to the broker.
func (r *run) alpn() []string {
	if at, err := url.Parse(r.config.Client.Provider.BrokerURL); err != nil || at.Scheme == "wss" { // which begins as HTTP
		return nil
	}
	return r.config.Client.Push.ALPN
}

func brokerTLSChecks() []*check {
	return append(tlsChecks(tlsSubject{
		requirement: "M1", name: "broker", what: "broker", duty: OfBroker, needs: []need{needBroker},
		servers: (*run).brokerServers, alpn: (*run).alpn,
	}), &check{
		id: "M1-broker-plain", requirement: "M1", duty: OfBroker, needs: []need{needBroker}, negative: true,
		controls:   []string{"M1-broker-handshake"},
		rule:       "The broker takes no MQTT without TLS, neither on its port nor on the one beside it that is meant for that (1883, or 80 for WebSockets).",
		remedy:     "Have this port speak TLS only, and close every port of the broker's that does without.",
		weaknesses: []string{"CWE-319", "API8:2023"},
		probe:      (*run).probeBrokerPlain,
	})
}

// probeBrokerPlain speaks to the port in clear.
func (r *run) probeBrokerPlain(ctx context.Context, t *trial) {
	for _, one := range r.brokerServers() {
		tried := "speak to " + one.address() + " without TLS"
		answer, err := r.speakPlainly(ctx, one)
		switch {
		case answer != "":
			t.saw(tried, "%s", answer)
			t.fail("%s talks without TLS", one.address())
		case err != nil:
			t.saw(tried, "no answer: %v", tlspolicy.Shown(err))
			t.error("%s cannot be reached: %v", one.address(), tlspolicy.Shown(err))
		default:
			t.saw(tried, "no answer")
			t.pass()
		}
		if beside, is := plainBeside(one); is {
			r.probeBeside(ctx, t, beside)
		}
	}
}

// plainBeside returns where a broker at the usual port often listens without TLS.
func plainBeside(one server) (server, bool) {
	port, is := map[string]string{"8883": "1883", "443": "80"}[one.url.Port()]
	if one.url.Port() == "" {
		port, is = map[bool]string{false: "1883", true: "80"}[one.url.Scheme == "wss"], true
	}
	at := *one.url
	at.Host = net.JoinHostPort(one.url.Hostname(), port)
	return server{one.what, &at, one.duty}, is
}

// probeBeside speaks to a port in clear that need not be there.
func (r *run) probeBeside(ctx context.Context, t *trial, one server) {
	tried := "speak to " + one.address() + " without TLS"
	answer, err := r.speakPlainly(ctx, one)
	switch {
	case answer != "":
		t.saw(tried, "%s", answer)
		t.fail("%s talks without TLS", one.address())
	case err != nil:
		t.saw(tried, "it is closed: %v", tlspolicy.Shown(err))
	default:
		t.saw(tried, "no answer in MQTT")
	}
}
