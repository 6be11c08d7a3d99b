package authserver

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

	"github.com/fds-sdk/fds-go/fds"
)

// KindDPoP is the type of a token that is bound to a key.
const KindDPoP = "DPoP"

// Prover proves the possession of the key that a grant's tokens are bound to
// (RFC 9449).
type Prover struct {
	key    *ecdsa.PrivateKey
	nonces *nonces
}

func newProver(n *nonces) (*Prover, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Prover{key: key, nonces: n}, nil
}

// NewProver returns a new key's prover, or nil when the application wants none.
func (s *Server) NewProver() (*Prover, error) {
	if !s.settings.DPoP {
		return nil, nil
	}
	return newProver(&s.ClientCerts.nonces)
}

// ReadProver reads what Encoded gave.
func (s *Server) ReadProver(encoded fds.Secret) (*Prover, error) {
	p, err := ReadProver(encoded)
	return s.adopt(p), err
}

// adopt returns p with the nonces that this server's answers bring; p may be nil.
func (s *Server) adopt(p *Prover) *Prover {
	if p == nil {
		return nil
	}
	return &Prover{key: p.key, nonces: &s.ClientCerts.nonces}
}

// ReadProver reads what Encoded gave, for an attempt that waits for its redirect.
func ReadProver(encoded fds.Secret) (*Prover, error) {
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
	return &Prover{key: key, nonces: &nonces{}}, nil
}

// Encoded returns the key, to be stored.
func (p *Prover) Encoded() (fds.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return fds.Secret{}, err
	}
	return fds.NewSecret(base64.StdEncoding.EncodeToString(der)), nil
}

// thumbprint is the JWK thumbprint (RFC 7638) that binds an authorization code
// to the key (RFC 9449 section 10).
func (p *Prover) thumbprint() (string, error) {
	sum, err := (&jose.JSONWebKey{Key: p.key.Public()}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// Prove adds the header of RFC 9449 section 4 for one request, which may carry
// an access token.
func (p *Prover) Prove(r *http.Request, access fds.Secret) error {
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
	n.byServer[nonceServer{r.URL.Host, scheme == KindDPoP}] = nonce
}

// WantsNonce says that a refusal of the Web API asks for a nonce (RFC 9449
// section 9).
func WantsNonce(response *http.Response) bool {
	for _, challenge := range response.Header.Values("WWW-Authenticate") {
		if strings.Contains(challenge, "use_dpop_nonce") {
			return true
		}
	}
	return false
}
