package authority

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The ways in which a client may authenticate (RFC 8414 section 2,
// token_endpoint_auth_methods_supported).
const (
	MethodNone          = "none"
	MethodBasic         = "client_secret_basic"
	MethodPost          = "client_secret_post"
	MethodPrivateKeyJWT = "private_key_jwt"
	MethodTLS           = "tls_client_auth"
	MethodSelfSignedTLS = "self_signed_tls_client_auth"
)

var defaultAuthMethods = []string{MethodNone, MethodBasic, MethodPost}

// clientRequest reads a request in which a client speaks for itself, and finds
// out which one did.
func (s *Server) clientRequest(r *http.Request) (Client, parameters, *protocolError) {
	form, failure := readForm(r)
	if failure != nil {
		return Client{}, parameters{}, failure
	}
	for _, name := range secretParameters {
		s.secrets.add(form.get(name))
	}
	s.secrets.add(r.Header.Values("DPoP")...)
	if len(form.repeated) > 0 {
		return Client{}, parameters{}, invalidRequest("a parameter came more than once")
	}
	client, failure := s.authenticate(r, form)
	return client, form, failure
}

// credentials are what a request brought to authenticate its client.
type credentials struct {
	clientID  string
	method    string // as far as the request shows it: a certificate is below HTTP
	secret    string
	challenge string // for the answer, when the Authorization header was used (RFC 6749 section 5.2)
}

// authenticate finds out which client sent a request (W4, RFC 6749 section 2.3).
// A client must prove itself in the way it is registered for, one without
// a secret must send none, and never in two ways at once.
func (s *Server) authenticate(r *http.Request, form parameters) (Client, *protocolError) {
	given, failure := s.readCredentials(r, form)
	if failure != nil {
		return Client{}, failure
	}
	s.secrets.add(given.secret)
	client, known := s.client(given.clientID)
	method := client.Method
	switch {
	case known && s.hooks.any(func(h *Hooks) func() bool { return h.AnyCredentials }):
		return client, nil
	case method == MethodTLS || method == MethodSelfSignedTLS:
		if given.method != MethodNone {
			return Client{}, invalidClient(given.challenge, wrongMethod(client, given.method))
		}
		if failure := s.checkCertificate(r, client); failure != nil {
			return Client{}, failure
		}
	case known && method != "" && method != given.method:
		return Client{}, invalidClient(given.challenge, wrongMethod(client, given.method))
	case given.method == MethodPrivateKeyJWT:
		if !known || method != MethodPrivateKeyJWT {
			return Client{}, invalidClient("", "the client is unknown, or not registered for private_key_jwt")
		}
		if failure := s.checkAssertion(r, client, form.get("client_assertion")); failure != nil {
			return Client{}, failure
		}
	default:
		// Digests have one length, so that the comparison tells nothing of the
		// secret's; an unknown client costs the same.
		got, want := digestOf(given.secret), digestOf(client.Secret)
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !known {
			return Client{}, invalidClient(given.challenge, "the client is unknown or its secret is missing or wrong")
		}
		method = given.method
	}
	if !slices.Contains(s.cfg.AuthMethods, method) {
		return Client{}, invalidClient(given.challenge, "this server does not offer authentication by "+method)
	}
	return client, nil
}

func wrongMethod(c Client, method string) string {
	return fmt.Sprintf("the client is registered for %s and came with %s", c.Method, method)
}

// readCredentials finds the one way in which a request authenticates.
func (s *Server) readCredentials(r *http.Request, form parameters) (credentials, *protocolError) {
	given := credentials{clientID: form.get("client_id"), method: MethodNone}
	if secret := form.get("client_secret"); secret != "" {
		given.method, given.secret = MethodPost, secret
	}
	if form.get("client_assertion") != "" || form.get("client_assertion_type") != "" {
		if given.method != MethodNone {
			return credentials{}, twoWays()
		}
		subject, failure := readAssertion(form)
		if failure != nil {
			return credentials{}, failure
		}
		if given.clientID != "" && given.clientID != subject {
			return credentials{}, invalidClient("", "client_id differs from the sub of the client assertion")
		}
		given.method, given.clientID = MethodPrivateKeyJWT, subject
	}
	if headers := r.Header.Values("Authorization"); len(headers) > 0 {
		given.challenge = `Basic realm="token endpoint"`
		id, secret, ok := s.basicCredentials(headers[0])
		switch {
		case !ok || len(headers) > 1:
			return credentials{}, invalidClient(given.challenge, "the Authorization header is not well-formed Basic authentication")
		case given.method != MethodNone:
			return credentials{}, twoWays()
		case given.clientID != "" && given.clientID != id:
			return credentials{}, invalidRequest("client_id differs from the one in the Authorization header")
		}
		given.method, given.clientID, given.secret = MethodBasic, id, secret
	}
	if given.clientID == "" {
		return credentials{}, invalidClient(given.challenge, "no client_id")
	}
	return given, nil
}

func twoWays() *protocolError { return invalidRequest("the client authenticated in two ways") }

// basicCredentials reads the header as RFC 6749 section 2.3.1 writes it: both
// parts are form-encoded before they are joined.
func (s *Server) basicCredentials(header string) (id, secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	s.secrets.add(strings.TrimSpace(encoded))
	joined, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	rawID, rawSecret, found := strings.Cut(string(joined), ":")
	id, errID := url.QueryUnescape(rawID)
	secret, errSecret := url.QueryUnescape(rawSecret)
	return id, secret, found && errID == nil && errSecret == nil
}

func invalidClient(challenge, description string) *protocolError {
	return &protocolError{status: http.StatusUnauthorized, code: "invalid_client", description: description, challenge: challenge}
}
