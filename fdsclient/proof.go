package fdsclient

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const kindDPoP = "DPoP"

// prover proves the possession of the key that a grant's tokens are bound to
// (RFC 9449).
type prover struct {
	key    *ecdsa.PrivateKey
	nonces *nonces
}

func newProver(n *nonces) (*prover, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &prover{key: key, nonces: n}, nil
}

// newProver gives a new key's prover, or nil when the application wants none.
func (s *authServer) newProver() (*prover, error) {
	if !s.application.DPoP {
		return nil, nil
	}
	return newProver(&s.identities.nonces)
}

// readProver reads what encoded gave.
func readProver(encoded Secret, n *nonces) (*prover, error) {
	fail := errors.New("fdsclient: the stored proof key cannot be read")
	der, err := base64.StdEncoding.DecodeString(encoded.Reveal())
	if err != nil {
		return nil, fail
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, fail
	}
	return &prover{key: key, nonces: n}, nil
}

func (p *prover) encoded() (Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(base64.StdEncoding.EncodeToString(der)), nil
}

// thumbprint is the JWK thumbprint (RFC 7638) that binds an authorization code
// to the key (RFC 9449 section 10).
func (p *prover) thumbprint() (string, error) {
	sum, err := (&jose.JSONWebKey{Key: p.key.Public()}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// prove adds the header of RFC 9449 section 4 for one request, which may carry
// an access token.
func (p *prover) prove(r *http.Request, access Secret) error {
	target := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	if target.Path == "" {
		target.Path = "/" // as it is sent
	}
	claims := map[string]any{
		"jti": rand.Text(),
		"htm": r.Method,
		"htu": target.String(),
		"iat": time.Now().Unix(),
	}
	if !access.IsZero() {
		sum := sha256.Sum256([]byte(access.Reveal()))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if nonce := p.nonces.get(r.URL, !access.IsZero()); nonce != "" {
		claims["nonce"] = nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		return err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return err
	}
	proof, err := signed.CompactSerialize()
	if err != nil {
		return err
	}
	r.Header.Set("DPoP", proof)
	return nil
}

// nonces are those that servers want in the next proof (RFC 9449 section 8),
// the last one of each. There are as many servers as a provider has.
type nonces struct {
	mu       sync.Mutex
	byServer map[nonceServer]string
}

// nonceServer is an authorization server or, where a token comes with the proof,
// a resource server. Both may be one host, and take each other's nonces for wrong
// ones (RFC 9449 section 9).
type nonceServer struct {
	host     string
	resource bool
}

const maxNonceBytes = 1 << 10

func (n *nonces) get(u *url.URL, resource bool) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byServer[nonceServer{u.Host, resource}]
}

// learn keeps the nonce of an answer.
func (n *nonces) learn(response *http.Response) {
	nonce, r := response.Header.Get("DPoP-Nonce"), response.Request
	if nonce == "" || len(nonce) > maxNonceBytes || r == nil {
		return
	}
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byServer == nil {
		n.byServer = make(map[nonceServer]string)
	}
	n.byServer[nonceServer{r.URL.Host, scheme == kindDPoP}] = nonce
}

// wantsNonce says that a refusal of the Web API asks for a nonce (RFC 9449
// section 9).
func wantsNonce(response *http.Response) bool {
	for _, challenge := range response.Header.Values("WWW-Authenticate") {
		if strings.Contains(challenge, "use_dpop_nonce") {
			return true
		}
	}
	return false
}

// provingTransport adds a proof without an access token to each request.
type provingTransport struct {
	base   http.RoundTripper
	prover *prover
}

func (t provingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	proven := r.Clone(r.Context())
	if err := t.prover.prove(proven, Secret{}); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	return t.base.RoundTrip(proven)
}

// httpClient gives the client whose requests carry proofs of p, which may be nil.
func (s *authServer) httpClient(p *prover) *http.Client {
	if p == nil {
		return s.http
	}
	client := *s.http
	client.Transport = provingTransport{s.http.Transport, p}
	return &client
}
