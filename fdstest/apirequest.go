package fdstest

import (
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// APIRequest is a request that reached the Web API, past the faults that answer
// in its place. It holds no token.
type APIRequest struct {
	At            time.Time
	Method        string
	Path          string
	Query         string   // as sent, without the value of an access_token
	Authorization bool     // whether there was such a header (W9)
	HeaderNames   []string // canonical, sorted
	Owners        []fds.SubscriptionID
	Status        int // 0 until the answer begins, or when the client gave up first
}

// APIRequests returns the last 10,000 requests, the oldest first.
func (p *Provider) APIRequests() []APIRequest {
	requests := p.api.Requests()
	out := make([]APIRequest, len(requests))
	for i, r := range requests {
		out[i] = APIRequest(r)
	}
	return out
}

// SetNotImplemented sets the HTTP code under which the Web API says that an
// endpoint does not exist for a device type: 204 without a body, any other with
// the error object {"status": 204, "message": "not_implemented"}; at first 200.
func (p *Provider) SetNotImplemented(code int) { p.api.SetNotImplemented(code) }
