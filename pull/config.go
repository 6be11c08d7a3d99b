package pull

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
)

// Authorizer adds credentials to requests and judges challenges. It must be safe
// for concurrent use.
type Authorizer interface {
	// Authorize adds the credentials to the header of r, which goes to the
	// provider's own origin; it is called for every request, also for those that
	// follow a redirect. An error ends the operation, and errors.Is finds it.
	Authorize(ctx context.Context, r *http.Request) error

	// Challenged is asked when an answer was an HTTP 401. It may renew the
	// credentials; retry says that sending the request once more is worth it. Of one
	// request it is asked at most twice, for a nonce and for a renewed token, however
	// often Config.RetryFor has the request repeated; each page and part of a list is
	// a request of its own. A 401 after that is the end. The response's body holds at
	// most 64 KiB and need not be closed.
	Challenged(ctx context.Context, response *http.Response) (retry bool, err error)
}

// The defaults of Config.
const (
	defaultMaxBodyBytes = 64 << 20
	defaultMaxItemBytes = 1 << 20
	defaultTimeout      = time.Minute
	defaultRetryFor     = 30 * time.Second
	defaultMaxPages     = 10_000
	defaultMaxListBytes = 1 << 30
	defaultListTimeout  = 10 * time.Minute
)

const (
	basePath          = "/fds/v2/"
	maxErrorBodyBytes = 64 << 10
	defaultUserAgent  = "fds-go"
)

// Config says where an owner's data is and how to ask for it.
type Config struct {
	// BaseURL is the provider's URL, https only (W1); "/fds/v2/" is appended.
	BaseURL string

	// Authorizer adds the owner's credentials. It is required.
	Authorizer Authorizer

	// Transport carries the requests; share one among all owners of a provider, so
	// that they share its connections. Default: NewTransport(nil). It must verify
	// certificates, speak TLS 1.2 or newer and not follow redirects, as
	// http.Transport does; one that can be seen not to is refused.
	Transport http.RoundTripper

	Dialect fds.Dialect // the names that FDS leaves open

	// Root says whose data is wanted. Every request but for event specifications, which
	// belong to nobody, then carries its subscription ID where
	// Dialect.SubscriptionParameter names a parameter; an item of another owner, as
	// Dialect.SubscriptionMember tells, is left out; and Shared counts. The zero Root
	// stands for whatever the credentials can read.
	Root fds.Root

	// Shared reports whether the credentials are at this moment those of other owners
	// too, as those of owners who signed in together are. Then an item that names no
	// owner is an error that matches fds.ErrOwner, unless the request named one; so is a
	// list, before anything is sent, where the dialect has neither the parameter nor the
	// member, and a change that names nobody. It is asked twice for each request without
	// the parameter. Nil: they are not.
	Shared func(context.Context) (bool, error)

	UserAgent string // default "fds-go"; "fds-go" is appended to another one

	Settings

	Logger *slog.Logger // default: no logs. Each answer is logged at debug level
}

// Settings are those of a client that owners have in common. The zero value stands for the
// defaults.
type Settings struct {
	MaxBodyBytes int64 // bound of one answer, decompressed; default 64 MiB
	MaxItemBytes int64 // bound of one item; default 1 MiB
	MaxPages     int   // bound of one list's pages; default 10,000
	MaxListBytes int64 // bound of one list, all its answers together, decompressed; default 1 GiB

	// Timeout bounds the wait for one answer from the dial to its last byte, the
	// time that the loop over the list takes for itself left out. Default 1 minute.
	Timeout time.Duration

	// ListTimeout bounds what the provider takes for a whole list, all its answers together
	// and the waits before requests are repeated; the time that the loop, the Limit and the
	// Authorizer take is left out. Default 10 minutes.
	ListTimeout time.Duration

	// RetryFor is how long a request is repeated that failed for a reason that may pass
	// before its answer began, the first attempt included. The delays are random and
	// grow, the first to 1 s at most and the last ones to 10 s. Where Retry-After says
	// how long to wait (RFC 9110 section 10.2.3), the delay comes on top of that, so
	// that owners who were told the same do not come again together. A wait that would
	// end after RetryFor or after the context's deadline is not begun. What may not be
	// carried out twice is repeated only when it was not carried out. Default 30 s;
	// negative: never.
	RetryFor time.Duration

	Limit *fds.Limit // bounds the requests; share one among the owners of a provider. Default: no bound
}

// Client reads one owner's data. It is safe for concurrent use.
type Client struct {
	base       *url.URL // ends with /fds/v2/
	authorizer Authorizer
	transport  http.RoundTripper
	dialect    fds.Dialect
	root       fds.Root
	shared     func(context.Context) (bool, error)
	userAgent  string
	maxBody    int64
	maxItem    int64
	maxPages   int
	maxList    int64
	timeout    time.Duration
	forList    time.Duration
	retryFor   time.Duration
	limit      *fds.Limit
	logger     *slog.Logger

	tooLong atomic.Int64 // bytes of a query that the provider has refused; 0: none
}

// String names the Web API.
func (c *Client) String() string { return "client of " + c.base.String() }

// Format prints String whatever the verb: the Authorizer may hold tokens.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// New checks the configuration and makes a client; it asks the provider for
// nothing. The error names every fault in a sentence.
func New(config Config) (*Client, error) {
	var faults fds.ConfigError
	base, problem, remedy := parseBase(config.BaseURL)
	if problem != "" {
		faults.Add("BaseURL", remedy, "%s", problem)
	}
	if config.Authorizer == nil {
		faults.Add("Authorizer", "every request carries an access token (W9)", "is missing")
	}
	for _, bound := range []struct {
		field string
		value int64
	}{
		{"MaxBodyBytes", config.MaxBodyBytes}, {"MaxItemBytes", config.MaxItemBytes}, {"MaxPages", int64(config.MaxPages)}, {"MaxListBytes", config.MaxListBytes},
	} {
		if bound.value < 0 {
			faults.Add(bound.field, "it must be positive, or 0 for the default", "is %d", bound.value)
		}
	}
	for _, bound := range []struct {
		field string
		value time.Duration
	}{{"Timeout", config.Timeout}, {"ListTimeout", config.ListTimeout}} {
		if bound.value < 0 {
			faults.Add(bound.field, "it must be positive, or 0 for the default", "is %v", bound.value)
		}
	}
	for _, fault := range config.Dialect.Faults() {
		fault.Field = "Dialect." + fault.Field
		if fault.Other != "" {
			fault.Other = "Dialect." + fault.Other
		}
		faults.Faults = append(faults.Faults, fault)
	}
	if strings.ContainsFunc(config.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }) {
		faults.Add("UserAgent", "", "%q holds a character that a header must not", cut(config.UserAgent))
	}
	if problem := transportFault(config.Transport); problem != "" {
		faults.Add("Transport", "", "%s", problem)
	}
	if err := faults.Err(); err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	c := &Client{
		base:       base,
		authorizer: config.Authorizer,
		transport:  config.Transport,
		dialect:    config.Dialect.WithDefaults(),
		root:       config.Root,
		shared:     config.Shared,
		userAgent:  config.UserAgent,
		maxBody:    config.MaxBodyBytes,
		maxItem:    config.MaxItemBytes,
		maxPages:   config.MaxPages,
		maxList:    config.MaxListBytes,
		timeout:    config.Timeout,
		forList:    config.ListTimeout,
		retryFor:   config.RetryFor,
		limit:      config.Limit,
		logger:     config.Logger,
	}
	if c.transport == nil {
		c.transport = NewTransport(nil)
	}
	if c.userAgent = strings.TrimSpace(c.userAgent + " " + defaultUserAgent); config.UserAgent == defaultUserAgent {
		c.userAgent = defaultUserAgent
	}
	if c.maxPages == 0 {
		c.maxPages = defaultMaxPages
	}
	if c.retryFor == 0 {
		c.retryFor = defaultRetryFor
	}
	if c.maxBody == 0 {
		c.maxBody = defaultMaxBodyBytes
	}
	if c.maxItem == 0 {
		c.maxItem = defaultMaxItemBytes
	}
	if c.maxList == 0 {
		c.maxList = defaultMaxListBytes
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.forList == 0 {
		c.forList = defaultListTimeout
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// parseBase returns the URL that all requests begin with, or what is wrong with it.
func parseBase(text string) (base *url.URL, problem, remedy string) {
	base, err := url.Parse(text)
	shown := cut(netpeer.WithoutUser(text))
	switch {
	case text == "":
		return nil, "is missing", "it is the provider's URL, such as https://api.example.com"
	case err != nil: // its text could hold a password
		return nil, "is not a URL", ""
	case base.User != nil:
		return nil, "holds a user name", "credentials are the Authorizer's"
	case base.Scheme != "https":
		return nil, fmt.Sprintf("%q does not begin with https://, which FDS demands (W1)", shown), ""
	case base.Hostname() == "":
		return nil, fmt.Sprintf("%q names no host", shown), ""
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, fmt.Sprintf("of host %q has a query or a fragment", cut(base.Host)), "write it without"
	}
	path := strings.TrimRight(base.EscapedPath(), "/")
	if strings.HasSuffix(path, strings.TrimRight(basePath, "/")) {
		return nil, fmt.Sprintf("%q ends with /fds/v2, which is appended", shown), "write it without"
	}
	joined, err := url.Parse("https://" + base.Host + path + basePath)
	if err != nil {
		return nil, fmt.Sprintf("of host %q has an unusable path", cut(base.Host)), ""
	}
	return joined, "", ""
}
