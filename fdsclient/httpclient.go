package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// RoundTripper carries requests of the caller's own to the provider's Web API, with the
// owner's token, over the Client's connections: for what pull does not cover, and for
// generated API clients. A request to another origin than that of Provider.APIURL fails, also
// when a redirect leads there, so that no token leaves the provider. Where owners signed in
// together the token reads the data of all of them (GrantInfo.Owners and Others), and to tell
// whose an answer is, is the caller's work; once this owner has left the grant each request
// fails. After HTTP 401 the token is renewed once and the request sent again, if its body can
// be. How long a live provider may take to answer is for the request's context to say, or for
// http.Client.Timeout.
func (o *Owner) RoundTripper() http.RoundTripper { return ownerTransport{o} }

type ownerTransport struct{ owner *Owner }

// RoundTrip implements http.RoundTripper.
func (t ownerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	fail := func(err error) (*http.Response, error) {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	client := t.owner.client
	api, err := url.Parse(client.cfg.Provider.APIURL)
	if err != nil || api.Host == "" {
		return fail(fmt.Errorf("fdsclient: %w: Provider.APIURL is missing; it says where the owner's token may go", fds.ErrConfig))
	}
	if r.URL == nil || r.Header == nil {
		return fail(errors.New("fdsclient: a request without URL or headers cannot be sent"))
	}
	// An opaque URL could name another host in the request line.
	if r.URL.Scheme != "https" || r.URL.Opaque != "" || !strings.EqualFold(hostPort(r.URL), hostPort(api)) || (r.Host != "" && !strings.EqualFold(r.Host, r.URL.Host)) {
		return fail(fmt.Errorf("fdsclient: a request to %q is refused: the owner's token goes to %q only", authserver.Describe(r.URL.Scheme+"://"+r.URL.Host), "https://"+api.Host))
	}
	authorizer := bearer(t)
	for challenges := 0; ; challenges++ {
		sent := r.Clone(r.Context())
		if challenges > 0 && r.GetBody != nil {
			if sent.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		if err := authorizer.Authorize(r.Context(), sent); err != nil {
			if sent.Body != nil {
				sent.Body.Close()
			}
			return fail(err)
		}
		response, err := client.auth.ClientCerts.RoundTrip(sent)
		if err != nil {
			_, token, _ := strings.Cut(sent.Header.Get("Authorization"), " ")
			return nil, tlspolicy.Without(err, append(netpeer.ProxySecrets(), token, sent.Header.Get("DPoP")))
		}
		// What the caller gets to see, and perhaps dumps, holds no token.
		challenged := *response
		response.Request = r
		replayable := r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
		if response.StatusCode != http.StatusUnauthorized || challenges == maxChallenges || !replayable {
			return response, nil
		}
		again, err := authorizer.Challenged(r.Context(), &challenged)
		if err != nil || !again {
			return response, nil
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxDrained))
		response.Body.Close()
	}
}

// maxChallenges bounds how often a request is sent again: for a nonce and for a
// renewed token.
const maxChallenges = 2

// maxDrained is how much of a refusal's body is read so that its connection can be
// used again.
const maxDrained = 256 << 10

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Hostname() + ":443"
	}
	return u.Hostname() + ":" + u.Port()
}

// TokenSource returns the owner's tokens to code that wants them in that form. It
// has no way to take a context with each call, so ctx bounds them all. Whose data they read
// Token says. Tokens
// that are bound to a key or a certificate are of no use without it: use
// RoundTripper for those.
func (o *Owner) TokenSource(ctx context.Context) oauth2.TokenSource {
	return tokenSource{ctx, o}
}

type tokenSource struct {
	ctx   context.Context
	owner *Owner
}

// Token implements oauth2.TokenSource.
func (s tokenSource) Token() (*oauth2.Token, error) {
	t, err := s.owner.Token(s.ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.Reveal(), TokenType: t.Type(), Expiry: t.Expiry()}, nil
}

// Format prints the owner alone.
func (s tokenSource) Format(f fmt.State, verb rune) { s.owner.Format(f, verb) }

// Format prints the owner alone.
func (t ownerTransport) Format(f fmt.State, verb rune) { t.owner.Format(f, verb) }
