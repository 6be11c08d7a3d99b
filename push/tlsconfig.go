package push

import (
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// shownKey is of the context of a handshake: the certificate that the broker gets to see.
type shownKey struct{}

// policies are the TLS configurations of connections to the same broker, which thousands of
// owners share: nothing in one is an owner's, whose certificate the handshake's context has.
var policies struct {
	mu  sync.Mutex
	all map[policyKey]*policy
}

type policyKey struct {
	roots      *x509.CertPool
	exactly12  bool
	host, alpn string
}

// mostPolicies bounds them: roots may be made anew for each dial.
const mostPolicies = 64

func sharedPolicy(roots *x509.CertPool, exactly12 bool, host string, alpn []string) *policy {
	key := policyKey{roots, exactly12, host, strings.Join(alpn, "\x00")}
	policies.mu.Lock()
	defer policies.mu.Unlock()
	if policy := policies.all[key]; policy != nil {
		return policy
	}
	whole := tlspolicy.ClientConfig(roots, exactly12)
	whole.ServerName, whole.NextProtos = host, slices.Clone(alpn)
	// Whatever authorities the broker names, it gets to see the certificate that we have:
	// its alert then says what is wrong with it.
	whole.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return request.Context().Value(shownKey{}).(*tls.Certificate), nil
	}
	if policies.all == nil || len(policies.all) >= mostPolicies {
		policies.all = make(map[policyKey]*policy)
	}
	made := &policy{whole: whole}
	policies.all[key] = made
	return made
}

// knownFor is how long a broker's certificate that was verified need not be verified up to the
// roots again.
const knownFor = time.Minute

// policy is how TLS is spoken with one broker. Of the thousands of connections that are made
// together, one verifies the signatures of the broker's certificate, and the others that it is the
// same one: they trust it besides the roots, where it cannot sign others. Name, dates and usage are
// looked at each time, and so is the signature by which the broker shows that it has the key.
type policy struct {
	whole *tls.Config

	mu      sync.Mutex
	known   *tls.Config // trusts a certificate besides; nil: none is known
	until   time.Time   // of known
	expires time.Time   // by the calendar: the first of those who signed it, or itself
}

// config returns how to shake hands now.
func (p *policy) config() *tls.Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Two times: of a machine that sleeps, the clock that counts until stands still.
	if now := time.Now(); p.known != nil && now.Before(p.until) && now.Before(p.expires) {
		return p.known
	}
	return p.whole
}

// verified takes a handshake that has succeeded under a configuration of config.
func (p *policy) verified(by *tls.Config, state tls.ConnectionState) {
	switch {
	case by != p.whole, len(state.VerifiedChains) == 0:
		return
	case by.RootCAs == nil, runtime.GOOS == "windows", runtime.GOOS == "darwin", runtime.GOOS == "ios":
		return // the system verifies in its own way, also where it lends its roots
	}
	chain := state.VerifiedChains[0]
	leaf := chain[0]
	if leaf.Version != 3 || leaf.BasicConstraintsValid && leaf.IsCA {
		return // it may sign others
	}
	expires := leaf.NotAfter
	for _, one := range chain {
		if one.NotAfter.Before(expires) {
			expires = one.NotAfter
		}
	}
	known := by.Clone()
	known.RootCAs = by.RootCAs.Clone()
	known.RootCAs.AddCert(leaf)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known, p.until, p.expires = known, time.Now().Add(knownFor), expires
}
