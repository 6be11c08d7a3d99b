package fdsclient

import (
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/internal/certfile"
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

// checkMethod adds why the application cannot authenticate as it is told to.
func (a *Application) checkMethod(faults *fds.ConfigError) {
	const field = "Application.AuthMethod"
	switch a.AuthMethod {
	case "":
		if !a.ClientSecret.IsZero() && a.Key != nil {
			faults.Add(field, "choose one", "is missing, and there are a client secret and a key").Other = "Application.Key"
		}
	case AuthNone:
		if !a.ClientSecret.IsZero() {
			faults.Add(field, "", "none does not go with a client secret").Other = "Application.ClientSecret"
		}
	case AuthClientSecretBasic, AuthClientSecretPost:
		if a.ClientSecret.IsZero() {
			faults.Add(field, "", "%s needs a client secret", a.AuthMethod).Other = "Application.ClientSecret"
		}
	case AuthTLS, AuthSelfSignedTLS:
		if a.Certificate == nil {
			faults.Add(field, "", "%s needs a client certificate", a.AuthMethod).Other = "Application.Certificate"
		}
	case AuthPrivateKeyJWT:
		if a.Key == nil {
			faults.Add(field, "", "%s needs a private key", a.AuthMethod).Other = "Application.Key"
		}
	default:
		faults.Add(field, "it is none, client_secret_basic, client_secret_post, tls_client_auth, self_signed_tls_client_auth or private_key_jwt", "%q is not supported", a.AuthMethod)
	}
	if a.Key != nil {
		if fit := authserver.KeyAlgorithms(a.Key); len(fit) == 0 {
			faults.Add("Application.Key", "", "is neither RSA of at least 2048 bits nor ECDSA on P-256")
		} else if a.KeyAlgorithm != "" && !slices.Contains(fit, a.KeyAlgorithm) {
			faults.Add("Application.KeyAlgorithm", "", "%q does not suit the key; %q do", a.KeyAlgorithm, fit)
		}
	}
}

// ParsePrivateKey reads a private key in PEM: PKCS#8, PKCS#1 or SEC 1, not
// encrypted.
func ParsePrivateKey(data []byte) (crypto.Signer, error) {
	key, err := certfile.Key(data)
	switch {
	case errors.Is(err, certfile.ErrNoKey):
		return nil, errors.New("fdsclient: private key: there is none in PEM form")
	case errors.Is(err, certfile.ErrEncryptedKey):
		return nil, fmt.Errorf("fdsclient: private key: %w; decrypt it first, or use a crypto.Signer of your own", err)
	case err != nil:
		return nil, fmt.Errorf("fdsclient: private key: %w", err)
	}
	return key, nil
}
