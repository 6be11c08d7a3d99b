package conformance

import (
	"fmt"

	"github.com/fds-sdk/fds-go/fdsclient"
)

// needAPI: a Web API is configured.
func needAPI(r *run) (Outcome, string) {
	if r.config.Client.Provider.APIURL == "" {
		return NotApplicable, "the configuration names no Web API (Provider.APIURL)"
	}
	return "", ""
}

// needBroker: a broker is configured.
func needBroker(r *run) (Outcome, string) {
	if r.config.Client.Provider.BrokerURL == "" {
		return NotApplicable, "the configuration names no broker (Provider.BrokerURL)"
	}
	return "", ""
}

// needOwner: someone has signed in.
func needOwner(r *run) (Outcome, string) {
	if r.owner == nil {
		return NotTestable, r.ownerless
	}
	return "", ""
}

// needSpares: so many owners have signed in as spare owners, or any with Intrusive.
func needSpares(n int) need {
	return func(r *run) (Outcome, string) {
		if len(r.spares) >= n {
			return "", ""
		}
		if n == 1 {
			return NotTestable, "an owner's certificate would be used, which can end the connection that the owner has: name a spare owner (Config.SpareOwners), or allow it (Config.Intrusive)"
		}
		return NotTestable, fmt.Sprintf("it takes %d spare owners who have signed in, and there are %d: name more (Config.SpareOwners), or allow it with all owners (Config.Intrusive)", n, len(r.spares))
	}
}

// needPerson: a person is at the browser.
func needPerson(r *run) (Outcome, string) {
	if r.config.SignIn == nil {
		return NotTestable, "it takes a person who signs in at the browser (Config.SignIn)"
	}
	return "", ""
}

// needRevocable: a grant may be revoked by what is tried.
func needRevocable(r *run) (Outcome, string) {
	switch {
	case r.revocable() != nil:
		return "", ""
	case len(r.spares) > 0:
		return NotTestable, "it can make the provider revoke a grant, and those of the spare owners are other owners' too: sign a spare owner in alone (Config.SpareOwners), or allow it (Config.Intrusive)"
	default:
		return NotTestable, "it can make the provider revoke the owner's grant: name a spare owner (Config.SpareOwners), or allow it (Config.Intrusive)"
	}
}

// revocable returns an owner whose grant may be lost, another one than the run's own if there is
// one, or nil.
func (r *run) revocable() *fdsclient.Owner {
	for _, spare := range r.expendable {
		if spare != r.owner {
			return spare
		}
	}
	if len(r.expendable) > 0 {
		return r.expendable[0]
	}
	return nil
}

// needPublisher: there is a certificate of a provider's connection.
func needPublisher(r *run) (Outcome, string) {
	if r.config.Publisher == nil {
		return NotTestable, "it takes a certificate by which a message can be published (Config.Publisher)"
	}
	return "", ""
}
