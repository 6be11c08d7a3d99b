package authserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/backoff"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// refusal makes the error for an answer that is no success. Only a well-formed
// OAuth error with a client error's status counts as the server's word: a proxy's
// 403, a page in HTML or a 5xx says nothing about the grant.
func (s *Server) refusal(response *http.Response, endpoint, code, description string, secrets ...tokenstore.Secret) error {
	if r := response.Request; r != nil { // what authenticated the request
		_, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		secrets = append(secrets, tokenstore.NewSecret(credentials), tokenstore.NewSecret(r.Header.Get("DPoP")))
	}
	code = errorCode(code, secrets...)
	status := response.StatusCode
	switch {
	case status >= 300 && status < 400:
		return fmt.Errorf("fdsclient: %s endpoint: %w: it redirects (HTTP status %d), which is refused because it would carry secrets elsewhere; configure the endpoint's own URL", endpoint, fds.ErrUnavailable, status)
	case code == "" || status >= 500 || status == http.StatusTooManyRequests:
		return &unavailableError{endpoint: endpoint, status: status, retryAfter: backoff.Asked(response.Header, longestWait)}
	}
	return s.refused(Refusal{
		Endpoint:    endpoint,
		Code:        code,
		Description: Describe(description, secrets...),
		HTTPStatus:  status,
		RetryAfter:  backoff.Asked(response.Header, longestWait),
	})
}

// Refusal is an error answer of the server (RFC 6749 sections 4.1.2.1 and 5.2).
type Refusal struct {
	Endpoint    string
	Code        string
	Description string
	HTTPStatus  int           // 0 for the authorization endpoint
	RetryAfter  time.Duration // 0 when the server named none
}

// refusedError is the error that the settings make for a Refusal.
type refusedError struct {
	Refusal
	public error
}

func (e *refusedError) Error() string { return "fdsclient: " + e.public.Error() }

func (e *refusedError) Unwrap() error { return e.public }

func (s *Server) refused(r Refusal) error { return &refusedError{r, s.settings.Refused(r)} }

// RetryAfter gives the wait that the server asked for, or 0.
func RetryAfter(err error) time.Duration {
	var unavailable *unavailableError
	var refused *refusedError
	switch {
	case errors.As(err, &unavailable):
		return unavailable.retryAfter
	case errors.As(err, &refused):
		return refused.RetryAfter
	}
	return 0
}

// unavailableError is an HTTP status that tells nothing about a grant.
type unavailableError struct {
	endpoint   string
	status     int
	retryAfter time.Duration
}

func (e *unavailableError) Error() string {
	return fmt.Sprintf("fdsclient: %s endpoint: %v: HTTP status %d without an OAuth error; trying again later may help", e.endpoint, fds.ErrUnavailable, e.status)
}

func (e *unavailableError) Unwrap() error { return fds.ErrUnavailable }

// readRefusal reads an error answer to a form that x/oauth2 has not sent.
func (s *Server) readRefusal(response *http.Response, endpoint string, form url.Values) error {
	secrets := []tokenstore.Secret{s.settings.ClientSecret}
	for _, name := range []string{"token", "client_assertion", "state", "nonce"} {
		secrets = append(secrets, tokenstore.NewSecret(form.Get(name)))
	}
	var object struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if body, err := io.ReadAll(response.Body); err == nil {
		_ = json.Unmarshal(body, &object) // what is no JSON has no code
	}
	return s.refusal(response, endpoint, object.Error, object.Description, secrets...)
}
