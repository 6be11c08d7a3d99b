package dpop

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fdstest/internal/replay"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	maxAge   = time.Minute     // of a proof
	maxAhead = 5 * time.Second // of a client's clock
	maxProof = 8 << 10         // bytes
	maxJTI   = 256             // bytes
)

// algorithms are those of proofs; all are asymmetric (section 4.3).
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.RS256}

// Algorithms names the signature algorithms of proofs, for metadata and
// challenges.
func Algorithms() []string {
	names := make([]string, 0, len(algorithms))
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return names
}

// The codes of a Problem.
const (
	InvalidProof = "invalid_dpop_proof" // section 5
	UseNonce     = "use_dpop_nonce"     // sections 8 and 9
)

// Problem says why a proof does not serve.
type Problem struct{ Code, Description string }

func invalid(format string, args ...any) *Problem {
	return &Problem{InvalidProof, fmt.Sprintf(format, args...)}
}

// Request is what a proof must have been made for.
type Request struct {
	Method string
	Host   string // with its port, when that is not 443
	Path   string // escaped

	AccessToken string // what ath must be of; "": no ath is asked for
	NeedsNonce  bool
}

// Checker checks the proofs that come to one server. It may be used at once from
// several goroutines.
type Checker struct {
	used   *replay.Cache
	nonces nonces
}

// NewChecker makes a Checker that replaces its nonce after each lifetime.
func NewChecker(nonceLifetime time.Duration) *Checker {
	return &Checker{used: replay.New(2 * maxAge), nonces: nonces{lifetime: nonceLifetime}}
}

type claims struct {
	JTI   string           `json:"jti"`
	HTM   string           `json:"htm"`
	HTU   string           `json:"htu"`
	IAT   *jwt.NumericDate `json:"iat"`
	ATH   string           `json:"ath"`
	Nonce string           `json:"nonce"`
}

// Check does the checks of section 4.3 on the values of a request's DPoP header
// and returns the thumbprint of the key (RFC 7638).
func (c *Checker) Check(header []string, req Request) (thumbprint string, problem *Problem) {
	if len(header) != 1 {
		return "", invalid("the request has %d DPoP headers instead of one", len(header))
	}
	key, proof, problem := verify(header[0])
	if problem != nil {
		return "", problem
	}
	now := time.Now()
	switch {
	case proof.JTI == "":
		return "", invalid("the proof has no jti")
	case len(proof.JTI) > maxJTI:
		return "", invalid("the proof's jti is longer than %d bytes", maxJTI)
	case proof.HTM != req.Method:
		return "", invalid("the proof's htm is %.20q, the request's method %s", proof.HTM, req.Method)
	case proof.IAT == nil:
		return "", invalid("the proof has no iat")
	case now.Sub(proof.IAT.Time()) > maxAge+time.Second: // iat is in whole seconds
		return "", invalid("the proof is older than a minute")
	case proof.IAT.Time().Sub(now) > maxAhead:
		return "", invalid("the proof's iat is in the future")
	}
	if problem := checkURL(proof.HTU, req); problem != nil {
		return "", problem
	}
	if req.AccessToken != "" {
		sum := sha256.Sum256([]byte(req.AccessToken))
		want := base64.RawURLEncoding.EncodeToString(sum[:])
		switch {
		case proof.ATH == "":
			return "", invalid("the proof has no ath, which goes with an access token")
		case subtle.ConstantTimeCompare([]byte(proof.ATH), []byte(want)) != 1:
			return "", invalid("the proof's ath is that of another access token")
		}
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", invalid("the proof's jwk has no thumbprint")
	}
	thumbprint = base64.RawURLEncoding.EncodeToString(sum)
	if err := c.used.Use(thumbprint, proof.JTI, now); err != nil {
		return "", invalid("the proof's jti does not serve: %v", err)
	}
	if req.NeedsNonce && !c.nonces.valid(proof.Nonce, now) {
		description := "the proof needs the nonce of the DPoP-Nonce header"
		if proof.Nonce != "" {
			description = "the proof's nonce is not, or no longer, one of this server's; use that of the DPoP-Nonce header"
		}
		return "", &Problem{UseNonce, description}
	}
	return thumbprint, nil
}

// verify checks form, header and signature.
func verify(text string) (*jose.JSONWebKey, claims, *Problem) {
	fail := func(problem *Problem) (*jose.JSONWebKey, claims, *Problem) { return nil, claims{}, problem }
	if len(text) > maxProof {
		return fail(invalid("the proof is longer than %d bytes", maxProof))
	}
	token, err := jwt.ParseSigned(text, algorithms)
	if err != nil || len(token.Headers) != 1 {
		return fail(invalid("the proof is not a compact JWT, signed with one of %s, whose jwk is a public key", strings.Join(Algorithms(), ", ")))
	}
	header := token.Headers[0]
	key := header.JSONWebKey
	switch {
	case header.ExtraHeaders[jose.HeaderType] != "dpop+jwt":
		return fail(invalid("the proof's typ is not dpop+jwt"))
	case key == nil:
		return fail(invalid("the proof's header has no jwk"))
	case !key.Valid() || !key.IsPublic():
		return fail(invalid("the proof's jwk is not a valid public key"))
	}
	if rsaKey, ok := key.Key.(*rsa.PublicKey); ok && rsaKey.N.BitLen() < 2048 {
		return fail(invalid("the proof's RSA key has fewer than 2048 bits"))
	}
	var proof claims
	if token.Claims(key.Key, &proof) != nil {
		return fail(invalid("the proof's signature does not verify, or its claims are malformed"))
	}
	return key, proof, nil
}

// checkURL compares htu with the request (section 4.3 number 9, after RFC 3986
// section 6.2.3). A query or a fragment does not belong there (section 4.2).
func checkURL(htu string, req Request) *Problem {
	u, err := url.Parse(htu)
	if err != nil || !strings.EqualFold(u.Scheme, "https") || u.User != nil {
		return invalid("the proof's htu is not an https URL")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return invalid("the proof's htu has a query or a fragment")
	}
	path := func(s string) string { return "/" + strings.TrimPrefix(s, "/") }
	host := func(s string) string { return strings.ToLower(strings.TrimSuffix(s, ":443")) }
	if host(u.Host) != host(req.Host) || path(u.EscapedPath()) != path(req.Path) {
		return invalid("the proof's htu is %.200q, the request went to https://%s%s", htu, req.Host, req.Path)
	}
	return nil
}
