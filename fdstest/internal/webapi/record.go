package webapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// MaxRequests bounds what Requests remembers; the oldest go first.
const MaxRequests = 10_000

// Request is a request as it arrived. It holds no token.
type Request struct {
	At            time.Time // by the world's clock
	Method        string
	Path          string
	Query         string   // as sent, but for the value of an access_token
	Authorization bool     // whether there was such a header
	HeaderNames   []string // canonical, sorted
	Owners        []fds.SubscriptionID
	Status        int // 0 until the answer begins, or when the client gave up first
}

// Requests returns what has arrived so far, the oldest first.
func (a *API) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Request, len(a.requests))
	for i, r := range a.requests {
		all[i] = *r
	}
	return all
}

func (a *API) record(r *http.Request) *Request {
	record := &Request{
		At:            a.cfg.World.Now(),
		Method:        r.Method,
		Path:          r.URL.Path,
		Query:         withoutToken(r.URL.RawQuery),
		Authorization: len(r.Header.Values("Authorization")) > 0,
	}
	for name := range r.Header {
		record.HeaderNames = append(record.HeaderNames, name)
	}
	slices.Sort(record.HeaderNames)
	a.locked(func() {
		a.requests = append(a.requests, record)
		if over := len(a.requests) - MaxRequests; over > 0 {
			clear(a.requests[:over])
			a.requests = a.requests[over:]
		}
	})
	return record
}

// withoutToken removes the token of a client that sends it in the query (RFC
// 6750 section 2.3), which W9 forbids.
func withoutToken(query string) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		if name, _, _ := strings.Cut(part, "="); strings.EqualFold(name, "access_token") {
			parts[i] = name + "=removed"
		}
	}
	return strings.Join(parts, "&")
}
