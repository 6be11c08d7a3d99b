package fdsclient

import (
	"crypto"
	"errors"
	"fmt"
	"slices"

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
		if fit := authserver.KeyAlgorithms(a.Key); len(fit) == 0 {
			fault("Application.Key is neither RSA of at least 2048 bits nor ECDSA on P-256")
		} else if a.KeyAlgorithm != "" && !slices.Contains(fit, a.KeyAlgorithm) {
			fault("Application.KeyAlgorithm %q does not suit the Key; %q do", a.KeyAlgorithm, fit)
		}
	}
	return faults
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
