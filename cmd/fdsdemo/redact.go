package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// What --trace shows of requests is what is known to be harmless, by name. All else is redacted,
// so that what a provider invents shows nothing.

const redacted = "[redacted]"

// harmless are names, in lower case where case does not matter.
type harmless map[string]bool

func wordSet(list string) harmless {
	set := make(harmless)
	for name := range strings.FieldsSeq(list) {
		set[name] = true
	}
	return set
}

var (
	// harmlessHeaders are those of requests and answers. Authorization, Location and Link are
	// looked into.
	harmlessHeaders = wordSet(`accept accept-encoding accept-language accept-ranges age allow alt-svc cache-control connection
		content-encoding content-language content-length content-type date etag expires host if-match if-modified-since if-none-match
		keep-alive last-modified pragma range ratelimit ratelimit-limit ratelimit-policy ratelimit-remaining ratelimit-reset request-id retry-after
		server strict-transport-security traceparent tracestate transfer-encoding user-agent vary via www-authenticate
		x-content-type-options x-correlation-id x-frame-options x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset x-request-id`)
	// harmlessParameters are those of the authorization server's requests, in URLs and forms.
	harmlessParameters = wordSet(`audience client_assertion_type client_id code_challenge_method error error_description grant_type iss max_age
		post_logout_redirect_uri prompt redirect_uri resource response_mode response_type scope token_type_hint ui_locales`)
	// harmlessMembers are those of its answers.
	harmlessMembers = wordSet(`active alg aud client_id crv error error_description error_uri exp expires_in iat interval iss issuer issued_token_type
		jwks_uri keys kid kty mtls_endpoint_aliases nbf refresh_expires_in refresh_token_expires_in require_pushed_authorization_requests
		scope subscription_id tls_client_certificate_bound_access_tokens token_type use verification_uri`)
	authSchemes = wordSet(`Basic Bearer DPoP`)

	aJWT        = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]*(\.[\w-]*\.[\w-]*)?`)
	aLink       = regexp.MustCompile(`<[^<>]*>`)
	shortNumber = regexp.MustCompile(`^[0-9]{1,9}$`)
)

// redactor shows what goes over HTTP to and from one provider.
type redactor struct {
	api    string // what the URLs of the Web API begin with; "": there is none
	params harmless
	claim  string // which has the subscription ID
}

func newRedactor(apiURL, claim string, d fds.Dialect) *redactor {
	r := &redactor{params: wordSet("ids"), claim: claim}
	if apiURL != "" {
		r.api = strings.TrimRight(apiURL, "/") + "/fds/v2/"
	}
	for _, name := range []string{
		d.FromParameter, d.ToParameter, d.LanguageParameter, d.SubscriptionParameter, d.TagParameter,
		d.Paging.PageParameter, d.Paging.OffsetParameter, d.Paging.CursorParameter, d.Paging.SizeParameter,
	} {
		if name != "" {
			r.params[name] = true
		}
	}
	return r
}

// isAPI reports whether a URL is one of the Web API, which holds data and no secrets.
func (r *redactor) isAPI(u *url.URL) bool {
	api, err := url.Parse(r.api)
	return r.api != "" && err == nil && strings.EqualFold(api.Host, u.Host) && api.Scheme == u.Scheme && strings.HasPrefix(u.Path, api.Path)
}

// isData reports whether a request is one of the Web API. What takes a form is the authorization
// server's, which may lie below it.
func (r *redactor) isData(request *http.Request) bool {
	return r.isAPI(request.URL) && !isForm(request)
}

// url shows a URL, without the values of parameters that are not known.
func (r *redactor) url(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	text := shown.String()
	if u.Opaque != "" {
		return u.Scheme + ":" + redacted
	}
	known := harmlessParameters
	api := r.isAPI(u)
	if api {
		known = r.params
	}
	if u.RawQuery != "" {
		text += "?" + r.form(u.RawQuery, known, api)
	}
	if u.Fragment != "" {
		text += "#" + redacted
	}
	return text
}

// link shows what should be a URL.
func (r *redactor) link(text string, base *url.URL) string {
	u, err := base.Parse(text)
	if err != nil {
		return redacted
	}
	return r.url(u)
}

// form shows parameters in the order in which they are sent; numbers: short ones are harmless
// whatever they are called.
func (r *redactor) form(query string, known harmless, numbers bool) string {
	var parts []string
	for part := range strings.SplitSeq(query, "&") {
		name, value, named := strings.Cut(part, "=")
		plainName, err := url.QueryUnescape(name)
		if err != nil || !named && !known[plainName] {
			parts = append(parts, redacted)
			continue
		}
		if plain, err := url.QueryUnescape(value); err != nil || !known[plainName] && !(numbers && shortNumber.MatchString(plain)) {
			value = redacted
		} else if strings.HasSuffix(plainName, "redirect_uri") {
			value = url.QueryEscape(r.link(plain, &url.URL{}))
		}
		parts = append(parts, name+"="+value)
	}
	return strings.Join(parts, "&")
}

// headers shows headers in the order of their names.
func (r *redactor) headers(h http.Header, of *url.URL) (lines [][2]string) {
	var all []string
	for name := range h {
		all = append(all, name)
	}
	slices.Sort(all)
	for _, name := range all {
		for _, value := range h[name] {
			lines = append(lines, [2]string{name, r.header(name, value, of)})
		}
	}
	return lines
}

func (r *redactor) header(name, value string, of *url.URL) string {
	switch name := strings.ToLower(name); {
	case name == "authorization":
		if scheme, _, _ := strings.Cut(value, " "); authSchemes[scheme] {
			return scheme + " " + redacted
		}
	case name == "location", name == "content-location":
		return r.link(value, of)
	case name == "link":
		return aLink.ReplaceAllStringFunc(value, func(link string) string { return "<" + r.link(strings.Trim(link, "<>"), of) + ">" })
	case harmlessHeaders[name]:
		return value
	}
	return redacted
}

// members shows JSON of the authorization server.
func (r *redactor) members(raw json.RawMessage, metadata bool) string {
	if !isObject(raw) {
		return strconv.Quote(redacted)
	}
	var parts []string
	for _, m := range membersOf(raw) {
		value := strconv.Quote(redacted)
		if known := harmlessMembers[m.name] || m.name == r.claim; known || metadata && (strings.HasSuffix(m.name, "_endpoint") || strings.HasSuffix(m.name, "_supported")) {
			value = r.value(m.raw, metadata)
		}
		parts = append(parts, string(quote(m.name))+":"+value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// value shows the value of a member that is known: what it has below by its own names.
func (r *redactor) value(raw json.RawMessage, metadata bool) string {
	switch {
	case isObject(raw):
		return r.members(raw, metadata)
	case len(raw) > 0 && raw[0] == '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return strconv.Quote(redacted)
		}
		var parts []string
		for _, one := range list {
			parts = append(parts, r.value(one, metadata))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	var text string
	if json.Unmarshal(raw, &text) != nil || len(raw) == 0 || raw[0] != '"' {
		return string(raw)
	}
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		text = r.url(u)
	}
	return string(quote(text))
}

// secrets are the values of a request that nothing that is shown of it and of its answer may hold.
type secrets struct {
	mu     sync.Mutex
	values []string
}

// shortestSecret is what is looked for: less would be found everywhere.
const shortestSecret = 8

func (s *secrets) add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range values {
		if len(value) < shortestSecret {
			continue
		}
		inJSON := quote(value)
		for _, spelt := range []string{value, url.QueryEscape(value), url.PathEscape(value), string(inJSON[1 : len(inJSON)-1])} {
			if !slices.Contains(s.values, spelt) {
				s.values = append(s.values, spelt)
			}
		}
	}
	// One may be the beginning of another.
	slices.SortStableFunc(s.values, func(a, b string) int { return len(b) - len(a) })
}

// of returns an error as it may be shown. What quotes the other side may have cut a secret.
func (s *secrets) of(err error) error {
	var values []string
	if s != nil {
		s.mu.Lock()
		values = slices.Clone(s.values)
		s.mu.Unlock()
	}
	return tlspolicy.Shown(tlspolicy.Without(err, values))
}

// addForm adds the values of parameters that are not known.
func (s *secrets) addForm(form string) {
	for part := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); err != nil || !harmlessParameters[name] {
			plain, _ := url.QueryUnescape(value)
			s.add(value, plain)
		}
	}
}

// without takes out what is secret in a text that is shown for another reason.
func (s *secrets) without(text string) string {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, secret := range s.values {
			text = strings.ReplaceAll(text, secret, redacted)
		}
	}
	return aJWT.ReplaceAllString(text, redacted)
}

// secretsOf returns what is secret in a request before its body: credentials, and parameters that
// are not known.
func (r *redactor) secretsOf(request *http.Request) *secrets {
	all := new(secrets)
	for name, values := range request.Header {
		for _, value := range values {
			if name == "Authorization" {
				_, value, _ = strings.Cut(value, " ")
			}
			if !harmlessHeaders[strings.ToLower(name)] {
				all.add(value)
			}
		}
	}
	if _, password, ok := request.BasicAuth(); ok {
		plain, _ := url.QueryUnescape(password)
		all.add(password, plain)
	}
	if !r.isData(request) {
		all.addForm(request.URL.RawQuery)
	}
	all.add(netpeer.ProxySecrets()...)
	return all
}

// aText is a text of JSON.
var aText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// plainTexts is JSON with texts that are escaped as little as they can be, so that what is secret
// is found in them.
func plainTexts(data []byte) []byte {
	return aText.ReplaceAllFunc(data, func(text []byte) []byte {
		var plain string
		if bytes.IndexByte(text, '\\') < 0 || json.Unmarshal(text, &plain) != nil {
			return text
		}
		return quote(plain)
	})
}

// bytesOf says how much of something is not shown.
func bytesOf(n int64, kind string) string {
	if kind == "" {
		kind = "unknown type"
	}
	return fmt.Sprintf("[%d bytes of %s]", n, kind)
}
