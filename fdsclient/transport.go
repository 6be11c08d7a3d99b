package fdsclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	authTimeout    = 30 * time.Second // one request to the authorization server
	maxAuthAnswer  = 256 << 10        // bytes of one of its answers
	maxAuthHeaders = 64 << 10
)

// newTransport makes the one transport that all owners of a Client share. The
// certificate, if there is one, is the application's of the moment (RFC 8705);
// servers that ask for none do not see it.
func newTransport(p *Provider, certificate func() *tls.Certificate) *http.Transport {
	config := tlspolicy.ClientConfig(p.RootCAs, p.ExactlyTLS12)
	if certificate != nil {
		// Not Certificates: those are held back where the server names authorities
		// that did not issue them, as for a self-signed one.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate(), nil }
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  authTimeout,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: maxAuthHeaders,
	}
}

// newAuthHTTP makes the client for the authorization server: no redirects, since
// a 307 or 308 would post a refresh token to wherever it points, and answers
// with a bound.
func newAuthHTTP(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     boundedTransport{transport},
		Timeout:       authTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errAnswerTooLarge ends the reading of an answer that has no end.
var errAnswerTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxAuthAnswer)

type boundedTransport struct{ base http.RoundTripper }

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if err == nil {
		response.Body = &boundedBody{ReadCloser: response.Body, left: maxAuthAnswer}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		var one [1]byte
		if n, err := b.ReadCloser.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, errAnswerTooLarge
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}

// unavailable wraps the failure of a request with a sentence on what to do. The
// URL of a url.Error is left out: what we call is said by what.
func unavailable(what string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if hint := tlspolicy.Explain(err); hint != "" {
		return fmt.Errorf("fdsclient: %s: %w: %w; %s", what, ErrUnavailable, err, hint)
	}
	return fmt.Errorf("fdsclient: %s: %w: %w", what, ErrUnavailable, err)
}

func newFormRequest(ctx context.Context, endpoint string, form url.Values) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err == nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Accept", "application/json")
	}
	return request, err
}
