package pull_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/pull"
)

// script is a transport that answers without a network, so that synctest has the time.
type script func(*http.Request) (*http.Response, error)

func (s script) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return s(r)
}

// offline makes a client of a provider that is only that transport.
func offline(t testing.TB, transport http.RoundTripper, change ...func(*pull.Config)) *pull.Client {
	t.Helper()
	config := pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{token: secret}, Transport: transport, Settings: pull.Settings{RetryFor: -1}}
	for _, c := range change {
		c(&config)
	}
	return newClient(t, config)
}

// reply is an answer with header fields given in pairs.
func reply(r *http.Request, status int, body string, header ...string) *http.Response {
	return stream(r, status, strings.NewReader(body), header...)
}

func stream(r *http.Request, status int, body io.Reader, header ...string) *http.Response {
	response := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body), Request: r}
	for i := 0; i < len(header); i += 2 {
		response.Header.Set(header[i], header[i+1])
	}
	return response
}

// pause waits unless the request ends before.
func pause(r *http.Request, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

// heap returns the bytes in use, garbage left out.
func heap() int64 {
	var now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&now)
	return int64(now.HeapAlloc)
}

// allocated returns the bytes that were ever allocated.
func allocated() int64 {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return int64(now.TotalAlloc)
}
