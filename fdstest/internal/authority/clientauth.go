package authority

import (
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// authMethods are the ways in which a client may authenticate (RFC 8414 section
// 2, token_endpoint_auth_methods_supported).
var authMethods = []string{"none", "client_secret_basic", "client_secret_post"}

// authenticate finds out which client sent a request to the token or revocation
// endpoint (W4, RFC 6749 section 2.3). A client with a secret must prove it, one
// without must send none, and never in two ways at once.
func (s *Server) authenticate(r *http.Request, form parameters) (Client, *protocolError) {
	id, secret := form.get("client_id"), form.get("client_secret")
	challenge := ""
	if header := r.Header.Get("Authorization"); header != "" {
		challenge = `Basic realm="token endpoint"` // RFC 6749 section 5.2: when the header was used
		basicID, basicSecret, ok := s.basicCredentials(header)
		switch {
		case !ok:
			return Client{}, invalidClient(challenge, "the Authorization header is not well-formed Basic authentication")
		case secret != "":
			return Client{}, invalidRequest("the client authenticated in two ways")
		case id != "" && id != basicID:
			return Client{}, invalidRequest("client_id differs from the one in the Authorization header")
		}
		id, secret = basicID, basicSecret
	}
	if id == "" {
		return Client{}, invalidClient(challenge, "no client_id")
	}
	s.secrets.add(secret)
	client, known := s.client(id)
	// Digests have one length, so that the comparison tells nothing of the
	// secret's; an unknown client costs the same.
	given, want := digestOf(secret), digestOf(client.Secret)
	if subtle.ConstantTimeCompare(given[:], want[:]) != 1 || !known {
		return Client{}, invalidClient(challenge, "the client is unknown or its secret is missing or wrong")
	}
	return client, nil
}

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
