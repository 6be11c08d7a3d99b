package fdstest

import (
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// RefuseRefresh refuses renewals with an error of RFC 6749 section 5.2 although
// the refresh token is good, and costs it nothing: with Times(1) the next one
// succeeds. description "" leaves error_description out. OddRefusals has the error
// in other forms, and OAuthError refuses every token request.
func RefuseRefresh(code, description string) Fault {
	return inAuthority("RefuseRefresh", func(take func() bool) authority.Hooks {
		return authority.Hooks{RefuseRenewal: func() (string, string, bool) { return code, description, take() }}
	})
}

// ReplayRefresh answers a refresh token that was spent less than d ago, while the
// fault was on, with the same answer again: the tokens of the first are valid and
// the grant goes on. A token that was spent earlier ends the grant, as it always
// does. With Options.RefreshGrace new tokens are issued instead.
func ReplayRefresh(d time.Duration) Fault {
	return inAuthority("ReplayRefresh", func(take func() bool) authority.Hooks {
		return authority.Hooks{ReplayRenewal: func(ago time.Duration) bool { return ago < d && take() }}
	})
}

// RenewalWithoutDPoP returns bearer tokens in renewals that came with a DPoP proof:
// what binds the access token to a key is dropped, and token_type says so. The
// refresh tokens stay bound.
func RenewalWithoutDPoP() Fault {
	return inAuthority("RenewalWithoutDPoP", func(take func() bool) authority.Hooks {
		return authority.Hooks{UnbindRenewal: take}
	})
}

// YoungTokensRefused has the Web API answer 401 to access tokens that were issued
// less than d ago, as one does that learns of them late. The tokens are good.
func YoungTokensRefused(d time.Duration) Fault {
	return inAuthority("YoungTokensRefused", func(take func() bool) authority.Hooks {
		return authority.Hooks{RefuseAccessToken: func(age time.Duration) bool { return age < d && take() }}
	})
}
