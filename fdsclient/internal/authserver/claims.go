package authserver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// maxSubscriptions bounds the owners of one grant.
const maxSubscriptions = 1000

// SignedIn reads whose grant an answer that begins one is, as the provider spells
// their subscription IDs. The tokens must be bound to proof, if there is one, and an
// ID token must have the nonce.
func (s *Server) SignedIn(ctx context.Context, m *Metadata, a Answer, nonce tokenstore.Secret, proof *Prover) ([]string, error) {
	if proof != nil && a.Kind != KindDPoP {
		return nil, fmt.Errorf("fdsclient: sign-in: %w: the provider issued a token that is bound to no key; turn Application.DPoP off if that will do (RFC 9449 section 5)", fds.ErrConfig)
	}
	if a.Unusable != nil {
		return nil, a.Unusable
	}
	var idClaims map[string]json.RawMessage
	var err error
	if !a.ID.IsZero() {
		if idClaims, err = s.verifyIDToken(ctx, m, a.ID, nonce); err != nil {
			return nil, err
		}
	}
	claim := s.settings.SubscriptionClaim
	ids, found, err := subscriptions(claim, a, idClaims)
	if err == nil && !found && m.IntrospectionEndpoint != "" {
		ids, found, err = s.introspect(ctx, m, a.Access)
	}
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("fdsclient: sign-in: %w: none of token response, access token, ID token and introspection has the claim %q; ask the provider for its name and set Application.SubscriptionClaim", fds.ErrNoSubscription, claim)
	}
	return ids, nil
}

// Subscriptions reads which owners the answer to a renewal is for; found is false
// when it names none.
func (s *Server) Subscriptions(a Answer) (ids []string, found bool, err error) {
	return subscriptions(s.settings.SubscriptionClaim, a, nil)
}

// subscriptions reads which owners an answer is for (W7), from the first of the
// token response, the access token where it is a JWT, and the ID token that has
// the claim; each must be a UUID of version 4 (W6). They are given as the
// provider spelt them. found is false when no source has the claim.
func subscriptions(claim string, a Answer, idClaims map[string]json.RawMessage) (ids []string, found bool, err error) {
	if a.subscriptions != nil {
		ids, err = readSubscriptions(a.subscriptions, "token response")
		return ids, true, err
	}
	for _, source := range []struct {
		name   string
		claims map[string]json.RawMessage
	}{
		{"access token", jwtClaims(a.Access)},
		{"ID token", idClaims},
	} {
		if raw, ok := source.claims[claim]; ok {
			ids, err = readSubscriptions(raw, source.name)
			return ids, true, err
		}
	}
	return nil, false, nil
}

// introspect asks the server about a token that says nothing itself (RFC 7662).
func (s *Server) introspect(ctx context.Context, m *Metadata, access tokenstore.Secret) (ids []string, found bool, err error) {
	const what = "introspection"
	claim := s.settings.SubscriptionClaim
	form := url.Values{"token": {access.Reveal()}, "token_type_hint": {"access_token"}}
	r, err := s.send(ctx, m, &call{
		what: what, endpoint: what, name: "introspection_endpoint", address: m.IntrospectionEndpoint, form: form,
		names: []string{"active", claim},
	})
	if err != nil {
		return nil, false, err
	}
	if !r.ok() {
		return nil, false, s.refusal(&r)
	}
	if twice := r.twice("active", claim); r.fault != nil || twice != "" || r.raw("active") == nil {
		return nil, false, s.unfit(&r, twice, "RFC 7662 section 2.2")
	}
	if string(r.raw("active")) != "true" {
		return nil, false, fmt.Errorf("fdsclient: %s: %w: the provider calls the token that it has just issued inactive; ask it", what, fds.ErrUnavailable)
	}
	raw := r.raw(claim)
	if raw == nil {
		return nil, false, nil
	}
	ids, err = readSubscriptions(raw, what)
	return ids, true, err
}

// readSubscriptions takes a string or an array of strings.
func readSubscriptions(raw json.RawMessage, where string) ([]string, error) {
	var one string
	var all []string
	if json.Unmarshal(raw, &one) == nil {
		all = []string{one}
	} else if json.Unmarshal(raw, &all) != nil {
		return nil, fmt.Errorf("fdsclient: subscription ID in the %s: %w: it is neither a string nor an array of strings", where, fds.ErrSubscriptionID)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("fdsclient: %w: the claim in the %s is empty", fds.ErrNoSubscription, where)
	}
	if len(all) > maxSubscriptions {
		return nil, fmt.Errorf("fdsclient: subscription IDs in the %s: %w: %d of them, the bound is %d", where, fds.ErrSubscriptionID, len(all), maxSubscriptions)
	}
	seen := make(map[fds.SubscriptionID]bool)
	var ids []string
	for _, spelling := range all {
		id, err := fds.ParseSubscriptionID(spelling)
		if err != nil {
			return nil, fmt.Errorf("fdsclient: subscription ID in the %s: %w", where, err)
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, spelling)
		}
	}
	return ids, nil
}

// jwtClaims reads the claims of an access token that is a JWT, and gives nil for
// an opaque one. The signature is not checked, since the token came straight
// from the token endpoint over TLS and its check is the API's (RFC 9068 section
// 4); of the claims only the subscription ID is read.
func jwtClaims(token tokenstore.Secret) map[string]json.RawMessage {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return claims
}

// verifyIDToken checks an ID token by OpenID Connect Core section 3.1.3.7:
// signature, issuer, audience, expiry, nonce.
func (s *Server) verifyIDToken(ctx context.Context, m *Metadata, token, nonce tokenstore.Secret) (map[string]json.RawMessage, error) {
	fail := func(why string) (map[string]json.RawMessage, error) {
		return nil, fmt.Errorf("fdsclient: sign-in: the ID token is refused: %s", why)
	}
	ctx = oidc.ClientContext(ctx, s.http)
	config := &oidc.Config{ClientID: s.settings.ClientID, SupportedSigningAlgs: asymmetric(m.IDTokenAlgorithms)}
	keys := &remoteKeys{}
	if m.JWKSURI != "" {
		keys.set = oidc.NewRemoteKeySet(ctx, m.JWKSURI)
	} else {
		// Endpoints given by hand, without keys: section 3.1.3.7 point 6 lets
		// the TLS connection to the token endpoint stand in for the signature.
		config.InsecureSkipSignatureCheck = true
	}
	idToken, err := oidc.NewVerifier(m.Issuer, keys, config).Verify(ctx, token.Reveal())
	if err != nil {
		var expired *oidc.TokenExpiredError
		if errors.As(err, &expired) {
			return fail("it expired at " + expired.Expiry.UTC().Format("15:04:05") + "; check this machine's clock")
		}
		if keys.err != nil {
			return nil, keys.err
		}
		return fail(Describe(err.Error(), token, nonce))
	}
	if !tokenstore.NewSecret(idToken.Nonce).Equal(nonce) {
		return fail("its nonce is not that of this sign-in, so it was made for another one")
	}
	var claims map[string]json.RawMessage
	if err := idToken.Claims(&claims); err != nil {
		return fail("its claims are not a JSON object")
	}
	return claims, nil
}

// remoteKeys verifies with the keys at the server's jwks_uri and keeps apart that
// they could not be had. go-oidc's text about that holds the answer's body.
type remoteKeys struct {
	set oidc.KeySet
	err error // matches fds.ErrUnavailable
}

func (k *remoteKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.set.VerifySignature(ctx, jwt)
	if err != nil && strings.HasPrefix(err.Error(), "fetching keys") {
		var transport *url.Error
		switch {
		case ctx.Err() != nil:
			k.err = fmt.Errorf("fdsclient: sign-in: %w", context.Cause(ctx))
		case errors.As(err, &transport):
			k.err = unavailable("sign-in: the keys of ID tokens", err)
		default:
			k.err = fmt.Errorf("fdsclient: sign-in: the keys of ID tokens: %w: the answer at jwks_uri is not a set of keys (RFC 7517)", fds.ErrUnavailable)
		}
	}
	return payload, err
}

// asymmetric keeps the algorithms that a public key verifies; where the server
// lists none, as with endpoints given by hand, all of them.
func asymmetric(listed []string) []string {
	known := []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
	kept := slices.DeleteFunc(slices.Clone(listed), func(a string) bool { return !slices.Contains(known, a) })
	if len(kept) == 0 {
		return known
	}
	return kept
}
