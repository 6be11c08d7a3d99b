package fdsclient

import (
	"io"
	"net/http"
	"strings"

	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// answering is a server in memory.
type answering func(*http.Request) (status int, body string)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// speakThrough has a Client that has said nothing yet reach the authorization server
// through a transport of the test's.
func speakThrough(c *Client, transport http.RoundTripper) {
	settings := c.authSettings()
	settings.Transport = transport
	c.auth = authserver.New(settings)
	c.grants.Server = c.auth
	if c.grants.Watch != nil {
		c.grants.Watch = c.auth.ClientCerts.Watch
	}
}

// keepIn has such a Client keep its grants in another store.
func keepIn(c *Client, store tokenstore.Store) { c.store, c.grants.Store = store, store }
