package authority

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/replay"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	assertionType        = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 section 2.2
	maxAssertionLifetime = 5 * time.Minute
	maxClockAhead        = 5 * time.Second // of a client
	maxAssertion         = 8 << 10         // bytes
	maxJTI               = 256             // bytes
)

// assertionAlgorithms are those of client assertions.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256}

// readAssertion returns the client that an assertion speaks of. Nothing of it is
// proven yet.
func readAssertion(form parameters) (subject string, failure *protocolError) {
	text := form.get("client_assertion")
	switch {
	case text == "":
		return "", invalidRequest("client_assertion_type came without a client_assertion")
	case form.get("client_assertion_type") != assertionType:
		return "", invalidRequest("client_assertion_type must be " + assertionType)
	case len(text) > maxAssertion:
		return "", invalidRequest("the client assertion is longer than 8 KiB")
	}
	var claims jwt.Claims
	token, err := jwt.ParseSigned(text, assertionAlgorithms)
	if err != nil || len(token.Headers) != 1 || token.UnsafeClaimsWithoutVerification(&claims) != nil {
		return "", invalidClient("", "the client assertion is not a compact JWT, signed with RS256, PS256 or ES256")
	}
	if claims.Subject == "" {
		return "", invalidClient("", "the client assertion has no sub")
	}
	return claims.Subject, nil
}

// checkAssertion proves an assertion (RFC 7523 section 3) that readAssertion has
// read.
func (s *Server) checkAssertion(r *http.Request, client Client, text string) *protocolError {
	refuse := func(format string, args ...any) *protocolError {
		return invalidClient("", "the client assertion "+fmt.Sprintf(format, args...))
	}
	token, err := jwt.ParseSigned(text, assertionAlgorithms)
	if err != nil || len(token.Headers) != 1 {
		return refuse("is not a compact JWT, signed with RS256, PS256 or ES256")
	}
	kid := token.Headers[0].KeyID
	key, ok := client.Keys[kid]
	if !ok && kid != "" {
		key, ok = client.Keys[""]
	}
	if !ok && kid == "" && len(client.Keys) == 1 {
		for _, only := range client.Keys {
			key, ok = only, true
		}
	}
	if !ok {
		return refuse("names the key ID %.100q, under which the client has no key", kid)
	}
	var claims jwt.Claims
	if token.Claims(key, &claims) != nil {
		return refuse("is not signed by the client's key, or its claims are malformed")
	}
	now := time.Now()
	switch {
	case claims.Issuer != client.ID || claims.Subject != client.ID:
		return refuse("must have the client_id as iss and as sub")
	case len(claims.Audience) == 0:
		return refuse("has no aud")
	case slices.ContainsFunc(claims.Audience, func(aud string) bool { return !slices.Contains(s.assertionAudiences(r), aud) }):
		return refuse("has aud %.200q, which is not the issuer or the token endpoint", []string(claims.Audience))
	case claims.Expiry == nil:
		return refuse("has no exp")
	case !now.Before(claims.Expiry.Time()):
		return refuse("has expired")
	case claims.Expiry.Time().Sub(now) > maxAssertionLifetime+maxClockAhead:
		return refuse("expires more than 5 minutes from now")
	case claims.NotBefore != nil && claims.NotBefore.Time().Sub(now) > maxClockAhead:
		return refuse("is not valid yet: its nbf is in the future")
	case claims.IssuedAt != nil && claims.IssuedAt.Time().Sub(now) > maxClockAhead:
		return refuse("has an iat in the future")
	case claims.ID == "" || len(claims.ID) > maxJTI:
		return refuse("has no jti, or one longer than %d bytes", maxJTI)
	}
	if err := s.assertions.Use(client.ID, claims.ID, now); errors.Is(err, replay.ErrUsed) {
		return refuse("was used before: its jti is known")
	} else if err != nil {
		return refuse("does not serve: %v", err)
	}
	return nil
}

// assertionAudiences are the names of this server: its issuer, its token endpoint
// and, for a pushed authorization request, that endpoint (RFC 9126 section 2).
func (s *Server) assertionAudiences(r *http.Request) []string {
	names := []string{s.issuer, s.issuer + TokenPath}
	if s.cfg.MutualTLSURL != "" {
		names = append(names, s.cfg.MutualTLSURL+TokenPath)
	}
	if r.URL.Path == PushedRequestPath {
		names = append(names, s.issuer+PushedRequestPath)
		if s.cfg.MutualTLSURL != "" {
			names = append(names, s.cfg.MutualTLSURL+PushedRequestPath)
		}
	}
	return names
}
