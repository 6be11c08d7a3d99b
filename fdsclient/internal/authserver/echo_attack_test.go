package authserver

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// A server, or what stands before it, that repeats a request in what is no HTTP: net/http quotes
// that in its errors.
func TestAttackAnAnswerThatIsNoHTTPBringsNoSecretIntoAnError(t *testing.T) {
	const secret, refresh = "the client's own secret", "a refresh token of the owner's"
	basic := base64.StdEncoding.EncodeToString([]byte("app:" + url.QueryEscape(secret)))
	for name, answer := range map[string]string{
		"the form in the place of a status line": "%[1]s\r\n\r\n",
		"the form as the status":                 "HTTP/1.1 %[1]s\r\n\r\n",
		"the form as a header":                   "HTTP/1.1 400 No\r\n%[1]s\r\n\r\n",
		"the credentials as a status":            "HTTP/1.1 %[2]s no\r\n\r\n",
		"the credentials as a header":            "HTTP/1.1 400 No\r\n%[2]s\r\n\r\n",
		"the form as the body's length":          "HTTP/1.1 400 No\r\nContent-Length: %[1]s\r\n\r\n",
		"the form as the body's coding":          "HTTP/1.1 400 No\r\nTransfer-Encoding: %[1]s\r\n\r\n",
		"the form behind the body":               "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n%[1]s\r\n\r\n",
		"the form as a piece of the body":        "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n%[1]s\r\n",
		"the form where it sends to":             "HTTP/1.1 307 No\r\nLocation: https://\x7f%[1]s\r\n\r\n",
		"much, and then the form":                strings.Repeat("x", 280) + "%[1]s\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				form, _ := io.ReadAll(r.Body)
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprintf(conn, answer, form, strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "))
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			trusted := x509.NewCertPool()
			trusted.AddCert(server.Certificate())
			s := New(Settings{
				Issuer: server.URL, Endpoints: Endpoints{Authorization: server.URL, Token: server.URL}, ClientID: "app", ClientSecret: fds.NewSecret(secret),
				Roots: realtest.Trusting(trusted), Refused: func(r Refusal) error { return publicRefusal{r} },
			})
			_, err := s.Refresh(t.Context(), fds.NewSecret(refresh), nil)
			if !errors.Is(err, fds.ErrUnavailable) {
				t.Fatalf("error %v", err)
			}
			showsNone(t, err, secret, url.QueryEscape(secret), refresh, url.QueryEscape(refresh), basic)
		})
	}
}

// showsNone fails the test where an error, or one that it wraps, has a secret or its beginning.
func showsNone(t *testing.T, err error, secrets ...string) {
	t.Helper()
	for each := []error{err}; len(each) > 0; each = each[1:] {
		for _, secret := range secrets {
			if strings.Contains(each[0].Error(), secret[:min(len(secret), 12)]) {
				t.Errorf("%T shows %q: %s", each[0], secret, each[0])
			}
		}
		switch wrapping := each[0].(type) {
		case interface{ Unwrap() error }:
			if cause := wrapping.Unwrap(); cause != nil {
				each = append(each, cause)
			}
		case interface{ Unwrap() []error }:
			each = append(each, wrapping.Unwrap()...)
		}
	}
}

func TestAttackAProxyThatRepeatsItsCredentialsGetsThemIntoNoError(t *testing.T) {
	const password = "the-proxy's-own"
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", r.Header.Get("Proxy-Authorization"))
	}))
	proxy.Start()
	defer proxy.Close()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("ALL_PROXY", "http://"+url.UserPassword("user", password).String()+"@"+proxy.Listener.Addr().String())
	s := New(Settings{Issuer: "https://auth.example", ClientID: "app", Refused: func(r Refusal) error { return publicRefusal{r} }})
	_, err := s.Metadata(t.Context())
	if !errors.Is(err, fds.ErrUnavailable) || !strings.Contains(err.Error(), "[redacted]") {
		t.Fatalf("error %v", err)
	}
	showsNone(t, err, password, base64.StdEncoding.EncodeToString([]byte("user:"+password)))
}
