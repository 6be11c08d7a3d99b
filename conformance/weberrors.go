package conformance

import (
	"context"
	"net/http"
	"net/url"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// errorObjectChecks are the pull model's rules of errors.
func errorObjectChecks() []*check {
	const requirement, control = "API", "W3-api-with-token"
	row := func(what, rule, remedy string, weaknesses []string, probe func(*run, context.Context, *trial)) *check {
		return &check{
			id: requirement + "-" + what, requirement: requirement, duty: OfProvider, needs: []need{needAPI, needOwner}, controls: []string{control},
			negative: true, rule: rule, remedy: remedy, weaknesses: weaknesses, probe: probe,
		}
	}
	return []*check{
		row("unauthorized-object", `An unauthorized request is answered with HTTP 401 and the error object with the message "unauthorized_request".`,
			`Answer HTTP 401 with {"status": 401, "message": "unauthorized_request"}.`, nil,
			func(r *run, ctx context.Context, t *trial) {
				way, err := r.transport(ctx)
				if err != nil {
					t.error("%v", tlspolicy.Shown(err))
					return
				}
				a := r.ask(ctx, way, http.MethodGet, r.apiURL(r.web.collection), nil, nil)
				judgeObject(t, "ask for "+r.web.collection+" without a token", &a, http.StatusUnauthorized, "unauthorized_request")
			}),
		row("unknown-parameter", `A query parameter that is not known is answered with HTTP 400 and the error object with the message "invalid_parameter".`,
			`Refuse parameters that the endpoint does not know: HTTP 400 with {"status": 400, "message": "invalid_parameter"}.`, []string{"CWE-20"},
			func(r *run, ctx context.Context, t *trial) {
				a := r.askOwner(ctx, r.web.collection+"?"+url.Values{"conformance_unknown": {"1"}}.Encode())
				judgeObject(t, "ask for "+r.web.collection+" with a parameter that does not exist", &a, http.StatusBadRequest, "invalid_parameter")
			}),
		row("repeated-parameter", "A query parameter that comes twice is answered with an error object.",
			"Refuse a request in which a parameter comes twice: which of the two counts is read differently by what stands before the server (parameter pollution).", []string{"CWE-235", "CWE-20"},
			func(r *run, ctx context.Context, t *trial) {
				a := r.askOwner(ctx, r.web.collection+"?"+url.Values{"ids": {"conformance-1", "conformance-2"}}.Encode())
				judgeObject(t, "ask for "+r.web.collection+" with ids twice", &a, 0, "")
			}),
		row("unknown-endpoint", "An endpoint that does not exist or is not implemented is an error, or the object with status 204 and the message \"not_implemented\", and never data.",
			`Answer HTTP 404, or {"status": 204, "message": "not_implemented"}.`, nil,
			func(r *run, ctx context.Context, t *trial) {
				a := r.askOwner(ctx, "conformance_unknown")
				tried := "ask for an endpoint that does not exist"
				status, _, is := a.errorObject()
				t.saw(tried, "%s", a.saw())
				switch {
				case a.status == 0:
					t.error("no answer came: %v", tlspolicy.Shown(a.err))
				case a.isBusy():
					t.error("the answer was HTTP %d, which says nothing about the request", a.status)
				case a.status == http.StatusNoContent, is && (status == http.StatusNoContent || status >= 400), a.status >= 400 && a.status < 500, a.status == http.StatusNotImplemented:
					t.pass()
				default:
					t.fail("an endpoint that does not exist is answered with HTTP %d and no error object", a.status)
				}
			}),
	}
}

// askOwner asks the Web API with the owner's token.
func (r *run) askOwner(ctx context.Context, path string) answer {
	return r.ask(ctx, r.owner.RoundTripper(), http.MethodGet, r.apiURL(path), nil, nil)
}

// judgeObject judges an answer that is due as an error object: with a status and a message, or,
// where these are not told, with any.
func judgeObject(t *trial, tried string, a *answer, status int, message string) {
	t.saw(tried, "%s", a.saw())
	said, text, is := a.errorObject()
	switch {
	case a.status == 0:
		t.error("no answer came: %v", tlspolicy.Shown(a.err))
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable, a.status == http.StatusBadGateway, a.status == http.StatusGatewayTimeout:
		t.error("the answer was HTTP %d, which says nothing about the request", a.status)
	case a.status < 400:
		t.fail("it was answered with HTTP %d as if nothing were wrong", a.status)
	case !is:
		t.fail("the answer of HTTP %d is not the error object of FDS, with status and message", a.status)
	case status != 0 && a.status != status:
		t.fail("it was answered with HTTP %d, where %d was due", a.status, status)
	case status != 0 && (said != status || text != message):
		t.fail("the error object says %d and %s, where %d and %q were due", said, a.quote(text), status, message)
	default:
		t.pass()
	}
}
