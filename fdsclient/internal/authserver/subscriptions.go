package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
)

// maxSubscriptions bounds the owners of one grant.
const maxSubscriptions = 1000

// SignedIn reads whose grant an answer that begins one is, as the provider spells
// their subscription IDs. The tokens must be bound to proof, if there is one. The nonce
// is that of a sign-in that asked for an ID token; zero: it asked for none.
//
// An ID token is judged where one is needed, and only there: by a sign-in that asked for
// it, unless the answer says that openid was not granted, and by another one that asked
// for openid where nothing else names the subscription.
func (s *Server) SignedIn(ctx context.Context, m *Metadata, a Answer, nonce fds.Secret, proof *Prover) ([]string, error) {
	if proof != nil && a.Kind != KindDPoP {
		return nil, fmt.Errorf("fdsclient: sign-in: %w: the provider issued a token that is bound to no key; turn Application.DPoP off if that will do (RFC 9449 section 5)", fds.ErrConfig)
	}
	if a.Unusable != nil {
		return nil, a.Unusable
	}
	granted := a.Scopes == nil || slices.Contains(a.Scopes, "openid")
	needed := granted && !nonce.IsZero()
	var claims object
	var err error
	if needed {
		if claims, err = s.verifyIDToken(ctx, m, a, nonce); err != nil {
			return nil, err
		}
	}
	ids, found, err := s.Subscriptions(a)
	if err == nil && !found {
		if !needed && !a.ID.IsZero() && slices.Contains(s.settings.Scopes, "openid") {
			claims, err = s.verifyIDToken(ctx, m, a, nonce)
		}
		if err == nil {
			ids, found, err = s.claimed(&claims, "ID token")
		} else if m.IntrospectionEndpoint != "" {
			err = nil // there is one more to ask
		}
	}
	if err == nil && !found && m.IntrospectionEndpoint != "" {
		err = persist(ctx, func() (err error) {
			ids, found, err = s.introspect(ctx, m, a.Access)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("fdsclient: sign-in: %w: none of token response, access token, ID token and introspection has the claim %q; ask the provider for its name and set Application.SubscriptionClaim", fds.ErrNoSubscription, s.settings.SubscriptionClaim)
	}
	return ids, nil
}

// Subscriptions reads which owners an answer is for (W7), from the token response or
// else the access token where it is a JWT; each must be a UUID of version 4 (W6). They
// are given as the provider spelt them. found is false when neither has the claim.
//
// The access token's signature is not checked, since it came straight from the token
// endpoint over TLS and its check is the API's (RFC 9068 section 4); of its claims no
// other is read.
func (s *Server) Subscriptions(a Answer) (ids []string, found bool, err error) {
	if a.subscriptions != nil {
		ids, err = readSubscriptions(a.subscriptions, "token response")
		return ids, true, err
	}
	_, claims, _ := readJWT(a.Access, s.settings.SubscriptionClaim)
	return s.claimed(&claims, "access token")
}

// Renewed reads which owners the answer to a renewal is for, as Subscriptions does, but
// takes of the claim what can be read: one odd entry does not hide the others. Without any
// that can be, and in any other form than a text or an array, it is an error; an empty
// array names nobody.
func (s *Server) Renewed(a Answer) (ids []string, found bool, err error) {
	ids, found, err = s.Subscriptions(a)
	if err == nil {
		return ids, found, nil
	}
	raw := a.subscriptions
	if raw == nil {
		_, claims, _ := readJWT(a.Access, s.settings.SubscriptionClaim)
		raw = claims.raw(s.settings.SubscriptionClaim)
	}
	var all []any
	if json.Unmarshal(raw, &all) != nil || len(all) > maxSubscriptions {
		return nil, true, err
	}
	for _, entry := range all {
		if spelling, ok := entry.(string); ok {
			if _, err := fds.ParseSubscriptionID(spelling); err == nil {
				ids = append(ids, spelling)
			}
		}
	}
	if len(ids) == 0 && len(all) > 0 {
		return nil, true, err
	}
	return ids, true, nil
}

// Named returns the owners whom an access token itself names, where it can be read: also
// those of whom the answer that it came with says nothing.
func (s *Server) Named(access fds.Secret) (ids []string) {
	_, claims, _ := readJWT(access, s.settings.SubscriptionClaim)
	raw := claims.raw(s.settings.SubscriptionClaim)
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var all []any
	_ = json.Unmarshal(raw, &all)
	for _, entry := range all[:min(len(all), maxSubscriptions)] {
		if spelling, ok := entry.(string); ok {
			ids = append(ids, spelling)
		}
	}
	return ids
}

// Introspected asks the server which owners a renewed access token is for that does not
// say so itself (RFC 7662). found is false where the server has no introspection, does not
// let this application ask, or returns no answer.
func (s *Server) Introspected(ctx context.Context, a Answer) (ids []string, found bool, err error) {
	m, err := s.discovery.get(ctx)
	if err != nil || !s.Introspects(ctx) {
		return nil, false, nil
	}
	ids, found, err = s.introspect(ctx, m, a.Access)
	switch {
	case errors.Is(err, fds.ErrSubscriptionID), errors.Is(err, fds.ErrNoSubscription):
		return nil, false, err
	case err != nil:
		var refused *refusedError
		if errors.As(err, &refused) {
			s.noIntrospection.Store(true) // and it will not be any other time
		}
		return nil, false, nil
	}
	return ids, found, nil
}

// Introspects reports whether Introspected would ask.
func (s *Server) Introspects(ctx context.Context) bool {
	m, err := s.discovery.get(ctx)
	return err == nil && m.IntrospectionEndpoint != "" && !s.noIntrospection.Load()
}

// claimed reads the claim.
func (s *Server) claimed(claims *object, where string) (ids []string, found bool, err error) {
	name := s.settings.SubscriptionClaim
	claim := claims.members[name]
	switch {
	case claim == nil:
		return nil, false, nil
	case claim.times > 1:
		return nil, true, fmt.Errorf("fdsclient: subscription ID in the %s: %w: the claim %q is there more than once", where, fds.ErrSubscriptionID, name)
	}
	ids, err = readSubscriptions(claim.raw, where)
	return ids, true, err
}

// introspect asks the server about a token that says nothing itself (RFC 7662).
func (s *Server) introspect(ctx context.Context, m *Metadata, access fds.Secret) (ids []string, found bool, err error) {
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
