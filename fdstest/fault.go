package fdstest

import (
	"fmt"
	"net/url"
	"sync"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// Fault is something that goes wrong at the provider. The functions of this
// package that return a Fault make one; Provider.Inject switches it on.
type Fault struct {
	name    string
	times   int // 0: until switched off
	install func(p *Provider, take func() bool) (off func(), err error)
}

// String returns the name of the function that made the fault and, where that makes
// several, what is odd: "OddKeySets: a malformed key first".
func (f Fault) String() string { return f.name }

// Times returns a copy of f that happens n times and then no more. It has no
// effect on the broker's faults. A value below 1 means until switched off, as
// without Times.
func (f Fault) Times(n int) Fault {
	f.times = max(n, 0)
	return f
}

// Inject switches a fault on; off switches it off again, lets go what it holds
// up, and may be called more than once. Several faults may be on at once: of two at the same place
// the one injected last is the outer one. It panics on a Fault that was not made by this
// package's functions or names an unknown endpoint, which only a wrong test does.
func (p *Provider) Inject(f Fault) (off func()) {
	if f.install == nil {
		panic("fdstest: inject: this Fault is empty; make one with a function of this package")
	}
	var mu sync.Mutex
	left := f.times
	take := func() bool {
		if f.times == 0 {
			return true
		}
		mu.Lock()
		defer mu.Unlock()
		left--
		return left >= 0
	}
	remove, err := f.install(p, take)
	if err != nil {
		panic(fmt.Sprintf("fdstest: inject %s: %v", f.name, err))
	}
	p.log.Info("fault injected", "fault", f.name, "times", f.times)
	return sync.OnceFunc(func() {
		remove()
		p.log.Info("fault switched off", "fault", f.name)
	})
}

// atHTTP makes a fault at an endpoint.
func atHTTP(name string, at Endpoint, serve httpFaultFunc) Fault {
	return Fault{name: name, install: func(p *Provider, take func() bool) (func(), error) {
		if err := at.check(); err != nil {
			return nil, err
		}
		return p.http.add(&httpFault{at: at, take: take, serve: serve, off: make(chan struct{})}), nil
	}}
}

// inAuthority makes a fault inside the authorization server.
func inAuthority(name string, hooks func(take func() bool) authority.Hooks) Fault {
	return Fault{name: name, install: func(p *Provider, take func() bool) (func(), error) {
		return p.authority.Hook(hooks(take)), nil
	}}
}

// MetadataMember returns a member of the metadata another value; nil removes it.
// MetadataMember("issuer", "https://evil.example") is metadata of another issuer,
// MetadataMember("code_challenge_methods_supported", []string{"plain"}) of a
// server without S256, MetadataMember("token_endpoint", "http://127.0.0.1/token")
// of one that takes secrets in the clear.
func MetadataMember(name string, value any) Fault {
	return inAuthority("MetadataMember", func(take func() bool) authority.Hooks {
		return authority.Hooks{Metadata: func(m map[string]any) {
			if take() {
				set(m, name, value)
			}
		}}
	})
}

// ResponseIssuer has authorization responses name another issuer in iss, as in a
// mix-up attack (RFC 9207).
func ResponseIssuer(issuer string) Fault { return ResponseParameter("iss", issuer) }

// NoResponseIssuer leaves iss out of authorization responses, although the
// metadata promises it.
func NoResponseIssuer() Fault { return ResponseParameter("iss", "") }

// ResponseParameter returns a parameter of authorization responses another value;
// "" removes it.
func ResponseParameter(name, value string) Fault {
	return inAuthority("ResponseParameter", func(take func() bool) authority.Hooks {
		return authority.Hooks{AuthorizationResponse: func(q url.Values) {
			switch {
			case !take():
			case value == "":
				q.Del(name)
			default:
				q.Set(name, value)
			}
		}}
	})
}

// ResponseQuery has rewrite change the encoded query of authorization responses,
// of success and of error: what no encoder writes, such as error_description=100%+sure.
func ResponseQuery(rewrite func(query string) string) Fault {
	return inAuthority("ResponseQuery", func(take func() bool) authority.Hooks {
		return authority.Hooks{ResponseQuery: func(query string) string {
			if take() {
				return rewrite(query)
			}
			return query
		}}
	})
}

// TokenAnswerMember returns a member of successful token answers another value;
// nil removes it. TokenAnswerMember("expires_in", nil) leaves the lifetime out,
// TokenAnswerMember("refresh_token", nil) returns no refresh token.
func TokenAnswerMember(name string, value any) Fault {
	return inAuthority("TokenAnswerMember", func(take func() bool) authority.Hooks {
		return authority.Hooks{TokenAnswer: func(_ string, answer map[string]any) {
			if take() {
				set(answer, name, value)
			}
		}}
	})
}

// NoNewRefreshToken has renewals keep the refresh token: the answer has none,
// and the one that was sent serves again.
func NoNewRefreshToken() Fault {
	return inAuthority("NoNewRefreshToken", func(take func() bool) authority.Hooks {
		return authority.Hooks{KeepRefreshToken: take}
	})
}

// TokenSubscription has access and ID tokens carry another value where the
// subscription IDs belong (W6, W7): one that is no UUID of version 4, a number,
// an owner that was not chosen. nil leaves the claim out.
func TokenSubscription(value any) Fault { return tokenSubscription("TokenSubscription", "", value) }

// RenewalSubscription is TokenSubscription for renewals only: someone else's
// subscription ID where the application's own was.
func RenewalSubscription(value any) Fault {
	return tokenSubscription("RenewalSubscription", authority.GrantRefreshToken, value)
}

func tokenSubscription(name, onlyFor string, value any) Fault {
	return Fault{name: name, install: func(p *Provider, take func() bool) (func(), error) {
		return p.authority.Hook(authority.Hooks{Claims: func(grantType string, access, id map[string]any) {
			if onlyFor != "" && onlyFor != grantType || !take() {
				return
			}
			set(access, p.claim, value)
			set(id, p.claim, value)
		}}), nil
	}}
}

// IDTokenClaim returns a claim of ID tokens another value, before they are
// signed; nil removes it. IDTokenClaim("nonce", "other") is a replayed token.
func IDTokenClaim(name string, value any) Fault {
	return inAuthority("IDTokenClaim", func(take func() bool) authority.Hooks {
		return authority.Hooks{Claims: func(_ string, _, id map[string]any) {
			if id != nil && take() {
				set(id, name, value)
			}
		}}
	})
}

// IDTokenHeader returns a member of the header of ID tokens another value; nil
// removes it. The token is signed as the header then says:
// IDTokenHeader("alg", "none") not at all, IDTokenHeader("alg", "HS256") with the
// application's secret, or with a random one where it has none.
func IDTokenHeader(name string, value any) Fault {
	return inAuthority("IDTokenHeader", func(take func() bool) authority.Hooks {
		return authority.Hooks{IDToken: func(_ string, header, _ map[string]any) {
			if take() {
				set(header, name, value)
			}
		}}
	})
}

func set(members map[string]any, name string, value any) {
	switch {
	case members == nil:
	case value == nil:
		delete(members, name)
	default:
		members[name] = value
	}
}
