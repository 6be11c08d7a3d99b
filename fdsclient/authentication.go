package fdsclient

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

// AuthMethod is how the application authenticates itself to the authorization
// server (W4), by the names of RFC 7591 section 2.
type AuthMethod string

// The methods. The two with TLS do the same here; the provider judges the
// certificate, by its authority or by itself (RFC 8705 section 2).
const (
	AuthNone              AuthMethod = "none"
	AuthClientSecretBasic AuthMethod = "client_secret_basic"
	AuthClientSecretPost  AuthMethod = "client_secret_post"
	AuthTLS               AuthMethod = "tls_client_auth"
	AuthSelfSignedTLS     AuthMethod = "self_signed_tls_client_auth"
	AuthPrivateKeyJWT     AuthMethod = "private_key_jwt"
)

// methodFaults says why the application cannot authenticate as it is told to.
func (a *Application) methodFaults() (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	switch a.AuthMethod {
	case "":
		if !a.ClientSecret.IsZero() && a.Key != nil {
			fault("Application has a ClientSecret and a Key; choose with AuthMethod")
		}
	case AuthNone:
		if !a.ClientSecret.IsZero() {
			fault("Application.AuthMethod none does not go with a ClientSecret")
		}
	case AuthClientSecretBasic, AuthClientSecretPost:
		if a.ClientSecret.IsZero() {
			fault("Application.AuthMethod %s needs a ClientSecret", a.AuthMethod)
		}
	case AuthTLS, AuthSelfSignedTLS:
		if a.Certificate == nil {
			fault("Application.AuthMethod %s needs a Certificate", a.AuthMethod)
		}
	case AuthPrivateKeyJWT:
		if a.Key == nil {
			fault("Application.AuthMethod %s needs a Key", a.AuthMethod)
		}
	default:
		fault("Application.AuthMethod %q is not supported; it is none, client_secret_basic, client_secret_post, tls_client_auth, self_signed_tls_client_auth or private_key_jwt", a.AuthMethod)
	}
	if a.Key != nil {
		if fit := keyAlgorithms(a.Key); len(fit) == 0 {
			fault("Application.Key is neither RSA of at least 2048 bits nor ECDSA on P-256")
		} else if a.KeyAlgorithm != "" && !slices.Contains(fit, a.KeyAlgorithm) {
			fault("Application.KeyAlgorithm %q does not suit the Key; %q do", a.KeyAlgorithm, fit)
		}
	}
	return faults
}

// authMethod chooses how the application authenticates (RFC 8414: without a list
// client_secret_basic is meant).
func (m *metadata) authMethod(a *Application) AuthMethod {
	switch {
	case a.AuthMethod != "":
		return a.AuthMethod
	case a.Key != nil:
		return AuthPrivateKeyJWT
	case a.ClientSecret.IsZero() && a.Certificate != nil:
		return AuthTLS
	case a.ClientSecret.IsZero():
		return AuthNone
	case slices.Contains(m.AuthMethods, string(AuthClientSecretPost)) && !slices.Contains(m.AuthMethods, string(AuthClientSecretBasic)):
		return AuthClientSecretPost
	}
	return AuthClientSecretBasic
}

// authenticate adds to a form what proves the application, except for
// client_secret_basic, which a header carries. An assertion is new each time.
func (s *authServer) authenticate(m *metadata, form url.Values) error {
	method := m.authMethod(s.application)
	if method != AuthClientSecretBasic {
		form.Set("client_id", s.application.ClientID)
	}
	switch method {
	case AuthClientSecretPost:
		form.Set("client_secret", s.application.ClientSecret.Reveal())
	case AuthPrivateKeyJWT:
		assertion, err := s.assertion(m)
		if err != nil {
			return err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	return nil
}

// authenticateHeader sets the header of client_secret_basic, both parts
// form-encoded (RFC 6749 section 2.3.1).
func (s *authServer) authenticateHeader(m *metadata, header http.Header) {
	if m.authMethod(s.application) == AuthClientSecretBasic {
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(s.application.ClientID), url.QueryEscape(s.application.ClientSecret.Reveal()))
	}
}

const assertionLifetime = time.Minute

// assertion makes the JWT of RFC 7523 section 3. It lives a minute, so a server's
// clock may be that far ahead of ours.
func (s *authServer) assertion(m *metadata) (string, error) {
	now := time.Now()
	audience := s.application.AssertionAudience
	if audience == "" {
		audience = s.provider.Issuer
	}
	claims, err := json.Marshal(map[string]any{
		"iss": s.application.ClientID,
		"sub": s.application.ClientID,
		"aud": audience,
		"jti": rand.Text(),
		"iat": now.Unix(),
		"exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("fdsclient: client assertion: %w", err)
	}
	key := jose.SigningKey{Algorithm: s.keyAlgorithm(m), Key: cryptosigner.Opaque(s.application.Key)}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if s.application.KeyID != "" {
		options.WithHeader("kid", s.application.KeyID)
	}
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return "", fmt.Errorf("fdsclient: client assertion: %w: Application.Key: %w", ErrConfig, err)
	}
	signed, err := signer.Sign(claims)
	if err != nil { // the key may live in a device
		return "", fmt.Errorf("fdsclient: client assertion: Application.Key does not sign: %w", err)
	}
	return signed.CompactSerialize()
}

func (s *authServer) keyAlgorithm(m *metadata) jose.SignatureAlgorithm {
	if s.application.KeyAlgorithm != "" {
		return jose.SignatureAlgorithm(s.application.KeyAlgorithm)
	}
	fit := keyAlgorithms(s.application.Key)
	for _, listed := range m.AuthAlgorithms {
		if slices.Contains(fit, listed) {
			return jose.SignatureAlgorithm(listed)
		}
	}
	return jose.SignatureAlgorithm(fit[0])
}

// keyAlgorithms gives what a key can sign with, the default first.
func keyAlgorithms(key crypto.Signer) []string {
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() >= 2048 {
			return []string{"RS256", "PS256"}
		}
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			return []string{"ES256"}
		}
	}
	return nil
}

// ParsePrivateKey reads a private key in PEM: PKCS#8, PKCS#1 or SEC 1, not
// encrypted.
func ParsePrivateKey(data []byte) (crypto.Signer, error) {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("fdsclient: private key: there is none in PEM form")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("fdsclient: private key: it is encrypted; decrypt it first, or use a crypto.Signer of your own")
		default:
			continue // parameters, certificates
		}
		if signer, ok := key.(crypto.Signer); err == nil && ok {
			return signer, nil
		}
		return nil, errors.New("fdsclient: private key: it cannot be read") // the cause could hold parts of it
	}
}

// post sends a form to an endpoint of the authorization server other than the
// token endpoint. The caller closes the answer's body.
func (s *authServer) post(ctx context.Context, m *metadata, what, endpoint string, form url.Values) (*http.Response, error) {
	if err := s.authenticate(m, form); err != nil {
		return nil, err
	}
	request, err := newFormRequest(ctx, endpoint, form)
	if err != nil {
		return nil, fmt.Errorf("fdsclient: %s: %w", what, err)
	}
	s.authenticateHeader(m, request.Header)
	response, err := s.http.Do(request)
	if err != nil {
		return nil, unavailable(what, err)
	}
	return response, nil
}
