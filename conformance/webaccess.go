package conformance

import (
	"context"
	"net/http"
	"net/url"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// collections are tried in order until the owner's token reads one: a provider need not have all.
var collections = []string{"specifications", "spaces", "statuses", "events"}

// accessChecks are the Web API's part of W3, and W9.
func accessChecks() []*check {
	return []*check{
		{
			id: "W3-api-with-token", requirement: "W3", duty: OfProvider, needs: []need{needAPI, needOwner},
			rule:       "The Web API answers the owner's access token with data.",
			remedy:     "Look at the Web API's log for this request: the token was issued by the authorization server just before.",
			weaknesses: nil,
			probe:      (*run).probeAccess,
		},
		{
			id: "W3-api-without-token", requirement: "W3", duty: OfProvider, needs: []need{needAPI}, controls: []string{"W3-api-with-token"}, negative: true,
			rule:       "The Web API refuses a request without an access token.",
			remedy:     "Demand an access token of every endpoint below /fds/v2/, on every way that leads to it.",
			weaknesses: []string{"CWE-306", "API2:2023"},
			probe: func(r *run, ctx context.Context, t *trial) {
				r.askNameless(ctx, t, "without a token", r.web.collection, nil)
			},
		},
		{
			id: "W9-api-query-token", requirement: "W9", duty: OfProvider, needs: []need{needAPI, needOwner}, controls: []string{"W3-api-with-token"}, negative: true,
			rule:       "The Web API takes the access token in the header, and not in the URL, which is logged (RFC 9700 section 4.3.2).",
			remedy:     "Ignore the query parameter access_token (RFC 6750 section 2.3), and refuse the request.",
			weaknesses: []string{"CWE-598", "API2:2023"},
			probe: func(r *run, ctx context.Context, t *trial) {
				token, err := r.token(ctx, r.owner)
				if err != nil {
					t.error("%v", err)
					return
				}
				query := url.Values{"access_token": {token.Reveal()}}.Encode()
				r.secret(url.QueryEscape(token.Reveal()))
				r.askNameless(ctx, t, "with the token in the query parameter access_token alone", r.web.collection+"?"+query, nil)
			},
		},
	}
}

// probeAccess finds the collection that the other checks ask for.
func (r *run) probeAccess(ctx context.Context, t *trial) {
	for _, name := range collections {
		a := r.ask(ctx, r.owner.RoundTripper(), http.MethodGet, r.apiURL(name), nil, nil)
		tried := "ask for " + name + " with the owner's token"
		t.saw(tried, "%s", a.saw())
		if a.status == http.StatusOK && a.isJSON() && a.isData() {
			r.web.collection = name
			t.pass()
			return
		}
		if a.status == 0 {
			t.error("the Web API does not answer: %v", tlspolicy.Shown(a.err))
			return
		}
		if a.isBusy() {
			t.error("the answer was HTTP %d, which says nothing about the request", a.status)
			return
		}
		if a.status == http.StatusUnauthorized {
			t.remedy = "Look at W10-auth-renewal: if it fails too, the grant has ended, and the owner's user has to sign in again. Otherwise look at the Web API's log for this request: the token was issued by the authorization server."
			break
		}
	}
	t.fail("the Web API answers the owner's token with no data")
}

// askNameless asks the Web API without an Authorization header, and judges that it refuses.
func (r *run) askNameless(ctx context.Context, t *trial, how, path string, header http.Header) {
	way, err := r.transport(ctx)
	if err != nil {
		t.error("%v", tlspolicy.Shown(err))
		return
	}
	a := r.ask(ctx, way, http.MethodGet, r.apiURL(path), nil, header)
	judgeRefusal(t, "ask for "+r.web.collection+" "+how, &a)
	r.stillAnswers(ctx, t)
}

// stillAnswers asks once more with the owner's own token, where everything was refused: a server,
// or what stands before it, that has had enough of a client refuses it everything.
func (r *run) stillAnswers(ctx context.Context, t *trial) {
	if t.outcome != Pass {
		return
	}
	a := r.askOwner(ctx, r.web.collection)
	if !a.isData() {
		t.saw("ask for "+r.web.collection+" with the owner's token again", "%s", a.saw())
		t.error("the Web API does not answer the owner's own token any more, so that the refusal means nothing")
	}
}
