package authserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
)

// scripted is a server in memory that returns its answers in turn, the last one for good.
type scripted struct {
	answers  []scriptedAnswer
	requests []*http.Request
	forms    []url.Values
}

type scriptedAnswer struct {
	status int
	header http.Header
	body   io.Reader
	text   string // in the place of body
	err    error  // in the place of an answer
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	n := min(len(s.requests), len(s.answers)-1)
	s.requests = append(s.requests, r)
	var form url.Values
	if r.Body != nil {
		body, _ := io.ReadAll(r.Body)
		form, _ = url.ParseQuery(string(body))
	}
	s.forms = append(s.forms, form)
	a := s.answers[n]
	if a.err != nil {
		return nil, a.err
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	if a.body == nil {
		a.body = strings.NewReader(a.text)
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(a.body), Request: r}, nil
}

func typed(contentType string) http.Header { return http.Header{"Content-Type": {contentType}} }

// refresh asks such a server with the refresh token "the first refresh token".
func refresh(t *testing.T, settings Settings, answers ...scriptedAnswer) (Answer, error) {
	t.Helper()
	settings.AssumedLifetime = 5 * time.Minute
	return at(&scripted{answers: answers}, settings).Refresh(t.Context(), fds.NewSecret("the first refresh token"), nil)
}

func TestOneOddMemberCostsNoTokenAnswer(t *testing.T) {
	const tokens = `"access_token":"a","refresh_token":"r"`
	for name, c := range map[string]struct {
		body, contentType string
		lifetime          time.Duration
	}{
		"as it should be":            {`{` + tokens + `,"token_type":"Bearer","expires_in":3600}`, "application/json", time.Hour},
		"a fraction":                 {`{` + tokens + `,"expires_in":3599.97}`, "application/json", 3599970 * time.Millisecond},
		"a fraction as text":         {`{` + tokens + `,"expires_in":"3600.0"}`, "application/json", time.Hour},
		"no time":                    {`{` + tokens + `,"expires_in":""}`, "application/json", 5 * time.Minute},
		"a word for a time":          {`{` + tokens + `,"expires_in":"never"}`, "application/json", 5 * time.Minute},
		"null for a time":            {`{` + tokens + `,"expires_in":null}`, "application/json", 5 * time.Minute},
		"a negative time":            {`{` + tokens + `,"expires_in":-1}`, "application/json", 5 * time.Minute},
		"a huge time":                {`{` + tokens + `,"expires_in":1e300}`, "application/json", 5 * time.Minute},
		"an object for a time":       {`{"expires_in":{"access_token":"x"},` + tokens + `}`, "application/json", 5 * time.Minute},
		"two times":                  {`{` + tokens + `,"expires_in":1,"expires_in":3600}`, "application/json", 5 * time.Minute},
		"scopes as an array":         {`{` + tokens + `,"scope":["a","b"],"expires_in":3600}`, "application/json", time.Hour},
		"a number for a type":        {`{` + tokens + `,"token_type":7,"expires_in":3600}`, "application/json", time.Hour},
		"another case of a type":     {`{` + tokens + `,"token_type":"BEARER","expires_in":3600}`, "application/json", time.Hour},
		"no type":                    {`{` + tokens + `,"token_type":null,"expires_in":3600}`, "application/json", time.Hour},
		"error false":                {`{` + tokens + `,"error":false,"expires_in":3600}`, "application/json", time.Hour},
		"error null":                 {`{` + tokens + `,"error":null,"expires_in":3600}`, "application/json", time.Hour},
		"an empty error":             {`{` + tokens + `,"error":"","expires_in":3600}`, "application/json", time.Hour},
		"an error that is none":      {`{` + tokens + `,"error":"invalid_grant","expires_in":3600}`, "application/json", time.Hour},
		"a number for an ID token":   {`{` + tokens + `,"id_token":7,"expires_in":3600}`, "application/json", time.Hour},
		"text":                       {`{` + tokens + `,"expires_in":3600}`, "text/plain; charset=utf-8", time.Hour},
		"HTML by its type":           {`{` + tokens + `,"expires_in":3600}`, "text/html", time.Hour},
		"bytes":                      {`{` + tokens + `,"expires_in":3600}`, "application/octet-stream", time.Hour},
		"a form by its type":         {`{` + tokens + `,"expires_in":3600}`, "application/x-www-form-urlencoded", time.Hour},
		"a type that is none":        {`{` + tokens + `,"expires_in":3600}`, "\x01;;", time.Hour},
		"a byte order mark":          {"\xef\xbb\xbf{" + tokens + `,"expires_in":3600}`, "application/json", time.Hour},
		"white space":                {" \r\n{" + tokens + `,"expires_in":3600}` + "\n\n", "application/json", time.Hour},
		"a form":                     {"access_token=a&refresh_token=r&expires_in=3600&token_type=bearer", "application/x-www-form-urlencoded", time.Hour},
		"a form as text":             {"access_token=a&refresh_token=r&expires_in=3600", "text/plain", time.Hour},
		"a refresh token's odd life": {`{` + tokens + `,"refresh_expires_in":"never","refresh_token_expires_in":[1],"expires_in":3600}`, "application/json", time.Hour},
		"a page behind it":           {`{` + tokens + `,"expires_in":3600}<!-- 0.2 s -->`, "application/json", time.Hour},
		"201":                        {`{` + tokens + `,"expires_in":3600}`, "application/json", time.Hour},
	} {
		status := http.StatusOK
		if name == "201" {
			status = http.StatusCreated
		}
		a, err := refresh(t, Settings{}, scriptedAnswer{status: status, header: typed(c.contentType), text: c.body})
		if err != nil || a.Access.Reveal() != "a" || a.Refresh.Reveal() != "r" || a.Unusable != nil || a.Kind != "Bearer" || !a.RefreshExpiry.IsZero() {
			t.Errorf("%s: %+v, %v", name, a, err)
			continue
		}
		if left := time.Until(a.Expiry); left > c.lifetime || left < c.lifetime-time.Minute {
			t.Errorf("%s: %v left, want %v", name, left, c.lifetime)
		}
		if name == "scopes as an array" && !slices.Equal(a.Scopes, []string{"a", "b"}) {
			t.Errorf("%s: %q", name, a.Scopes)
		}
	}
}

func TestARefreshTokenIsFoundWhateverElseIsWrong(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for name, c := range map[string]struct {
		body string
		want string // the refresh token
	}{
		"no access token":            {`{"refresh_token":"r"}`, "r"},
		"a number for access":        {`{"access_token":7,"refresh_token":"r"}`, "r"},
		"null for access":            {`{"access_token":null,"refresh_token":"r"}`, "r"},
		"an empty access token":      {`{"access_token":"","refresh_token":"r"}`, "r"},
		"an error beside it":         {`{"error":"server_error","refresh_token":"r"}`, "r"},
		"cut behind it":              {`{"refresh_token":"r","access_token":"a`, "r"},
		"malformed behind it":        {`{"access_token":"a","refresh_token":"r" oops}`, "r"},
		"too large":                  {`{"access_token":"a","refresh_token":"r","x":"` + long + `"}`, "r"},
		"too large before it":        {`{"x":"` + long + `","access_token":"a","refresh_token":"r"}`, "r"},
		"access tokens twice":        {`{"access_token":"a","access_token":"b","refresh_token":"r"}`, "r"},
		"refresh tokens twice":       {`{"access_token":"a","refresh_token":"r","refresh_token":"s"}`, "s"},
		"the second not readable":    {`{"access_token":"a","refresh_token":"r","refresh_token":7}`, "r"},
		"types twice":                {`{"access_token":"a","refresh_token":"r","token_type":"Bearer","token_type":"DPoP"}`, "r"},
		"subscription IDs twice":     {`{"access_token":"a","refresh_token":"r","subscription_id":"x","subscription_id":"y"}`, "r"},
		"nested alone":               {`{"data":{"access_token":"a","refresh_token":"r"}}`, ""},
		"in another case":            {`{"Access_Token":"a","Refresh_Token":"r"}`, ""},
		"an answer of another shape": {`[{"access_token":"a","refresh_token":"r"}]`, ""},
		"a form without access":      {`refresh_token=r`, "r"},
		"a page":                     {`<html>Welcome to the hotel`, ""},
		"nothing":                    {``, ""},
	} {
		a, err := refresh(t, Settings{}, scriptedAnswer{text: c.body})
		if err == nil || a.Refresh.Reveal() != c.want || !a.Access.IsZero() {
			t.Errorf("%s: refresh token %q, want %q; %v", name, a.Refresh.Reveal(), c.want, err)
			continue
		}
		var refused publicRefusal
		if name != "an error beside it" && !errors.Is(err, fds.ErrUnavailable) || name == "an error beside it" && !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string]string{
		"not fit for a header": `{"access_token":"a\r\nX: y","refresh_token":"r"}`,
		"of another type":      `{"access_token":"a","refresh_token":"r","token_type":"mac"}`,
		"bound to a key":       `{"access_token":"a","refresh_token":"r","token_type":"DPoP"}`,
	} {
		if a, err := refresh(t, Settings{}, scriptedAnswer{text: body}); err != nil || a.Refresh.Reveal() != "r" || !errors.Is(a.Unusable, fds.ErrUnavailable) {
			t.Errorf("an access token %s: %+v, %v", name, a, err)
		}
	}
}

func TestAttackTokensOfAFailureDoNotCount(t *testing.T) {
	for _, status := range []int{302, 400, 401, 403, 500, 503} {
		a, err := refresh(t, Settings{}, scriptedAnswer{status: status, text: `{"access_token":"a","refresh_token":"r"}`})
		if err == nil || !a.Refresh.IsZero() || !a.Access.IsZero() {
			t.Errorf("with %d: %+v, %v", status, a, err)
		}
	}
}

// TestAttackDPoPIsNotDroppedAtARenewal: a token that anybody could use, in the place of
// one that only the holder of the grant's key can.
func TestAttackDPoPIsNotDroppedAtARenewal(t *testing.T) {
	for _, kind := range []string{`,"token_type":"Bearer"`, `,"token_type":7`, ``} {
		s := at(&scripted{answers: []scriptedAnswer{{text: `{"access_token":"a","refresh_token":"r"` + kind + `}`}}}, Settings{DPoP: true})
		proof, err := s.NewProver()
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Refresh(t.Context(), fds.NewSecret("r0"), proof)
		if err != nil || a.Unusable == nil || !strings.Contains(a.Unusable.Error(), "DPoP") || a.Refresh.Reveal() != "r" {
			t.Errorf("%s: %+v, %v", kind, a, err)
		}
	}
}

func TestAnErrorBodyCountsUnderAnyStatusAndType(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, code string // "" means unavailable
		final      bool
	}{
		"as it should be":        {400, `{"error":"invalid_grant"}`, "invalid_grant", true},
		"with white space":       {400, `{"error":" invalid_grant\n"}`, "invalid_grant", true},
		"under 500":              {500, `{"error":"invalid_grant"}`, "invalid_grant", true},
		"under 503":              {503, `{"error":"login_required"}`, "login_required", true},
		"under 200":              {200, `{"error":"bad_refresh_token"}`, "bad_refresh_token", true},
		"under 302":              {302, `{"error":"invalid_grant"}`, "invalid_grant", true},
		"with a mark":            {400, "\xef\xbb\xbf" + `{"error":"invalid_grant"}`, "invalid_grant", true},
		"in a form":              {400, `error=invalid_grant&error_description=gone`, "invalid_grant", true},
		"with a page behind it":  {400, `{"error":"invalid_grant"}<br>`, "invalid_grant", true},
		"this provider's own":    {500, `{"error":"token_revoked"}`, "token_revoked", true},
		"another one":            {400, `{"error":"custom"}`, "custom", false},
		"known, under 503":       {503, `{"error":"temporarily_unavailable"}`, "temporarily_unavailable", false},
		"known, under 429":       {429, `{"error":"slow_down"}`, "slow_down", false},
		"unknown, under 500":     {500, `{"error":"internal"}`, "", false},
		"unknown, under 429":     {429, `{"error":"rate_limited"}`, "", false},
		"an object":              {400, `{"error":{"code":"invalid_grant"}}`, "", false},
		"twice":                  {400, `{"error":"invalid_grant","error":"custom"}`, "", false},
		"nested":                 {400, `{"data":{"error":"invalid_grant"}}`, "", false},
		"a sentence with quotes": {400, `{"error":"a \"b\""}`, "", false},
		"a page":                 {403, `<h1>Forbidden</h1> error=invalid_grant`, "", false},
		"nothing":                {400, ``, "", false},
	} {
		_, err := refresh(t, Settings{FinalErrors: []string{"token_revoked"}}, scriptedAnswer{status: c.status, header: http.Header{"Content-Type": {"text/plain"}, "Retry-After": {"7"}}, text: c.body})
		var refused publicRefusal
		switch {
		case c.code == "" && (!errors.Is(err, fds.ErrUnavailable) || errors.As(err, &refused)),
			c.code != "" && (!errors.As(err, &refused) || refused.Code != c.code || refused.Final != c.final || refused.HTTPStatus != c.status || errors.Is(err, fds.ErrUnavailable)),
			RetryAfter(err) != 7*time.Second,
			LostAnswer(err):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACodeThatPassesByItselfEndsNoGrant(t *testing.T) {
	for code, ok := range map[string]bool{
		"token_revoked": true, "access_denied": true, "invalid_grant": true,
		"": false, "a\nb": false, strings.Repeat("x", 65): false, "temporarily_unavailable": false, "server_error": false, "slow_down": false, "use_dpop_nonce": false, "authorization_pending": false,
	} {
		if why := FinalErrorFault(code); (why == "") != ok {
			t.Errorf("%q: %s", code, why)
		}
	}
}

// TestAttackAServersWordsAreFitForAnError: they may hold what a terminal obeys, what we
// sent, and be without measure.
func TestAttackAServersWordsAreFitForAnError(t *testing.T) {
	body := `{"error":"invalid_request","error_description":"\u001b[2J\u009b\u202e the first refresh token ` + strings.Repeat("x", 200<<10) + `"}`
	var err error
	if n := allocated(func() { _, err = refresh(t, Settings{}, scriptedAnswer{status: 400, text: body}) }); n > 1<<20 {
		t.Errorf("it costs %d bytes", n)
	}
	text := err.Error()
	if len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(text, "the first refresh token") {
		t.Errorf("%q", text)
	}
}

func TestEveryRequestSaysWhoSendsItAndWhatItTakes(t *testing.T) {
	server := &scripted{answers: []scriptedAnswer{{text: `{"issuer":"https://auth.example"}`}}}
	settings := Settings{UserAgent: "the app fds-go", Scopes: []string{"openid"}, Refused: func(r Refusal) error { return publicRefusal{r} }}
	s := at(server, settings)
	m, err := s.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.NewAttempt(t.Context(), m, "https://app.example/callback", nil)
	_, _ = s.Refresh(t.Context(), fds.NewSecret("r"), nil)
	_, _ = s.ClientCredentials(t.Context(), nil)
	_ = s.Revoke(t.Context(), fds.NewSecret("r"), "refresh_token")
	_, _ = s.DeviceCode(t.Context(), m)
	_, _, _ = s.introspect(t.Context(), m, fds.NewSecret("a"))
	settings.Issuer, settings.Transport = "https://auth.example", server
	_, _ = New(settings).Metadata(t.Context())
	if len(server.requests) < 5 {
		t.Errorf("%d requests", len(server.requests))
	}
	for _, r := range server.requests {
		if r.UserAgent() != "the app fds-go" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%s %s: User-Agent %q, Accept %q", r.Method, r.URL, r.UserAgent(), r.Header.Get("Accept"))
		}
	}
}

func TestARevocationIsDoneByAnySuccess(t *testing.T) {
	for status, want := range map[int]bool{200: true, 204: true, 202: true, 302: false, 400: false, 503: false} {
		err := at(&scripted{answers: []scriptedAnswer{{status: status}}}, Settings{}).Revoke(t.Context(), fds.NewSecret("r"), "refresh_token")
		if (err == nil) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestADeviceAnswerIsReadAsItIsMeant(t *testing.T) {
	for name, c := range map[string]struct {
		rest     string
		lifetime time.Duration
		interval time.Duration
	}{
		"as it should be":      {`"verification_uri":"https://auth.example/d","expires_in":600,"interval":7`, 10 * time.Minute, 7 * time.Second},
		"by its older name":    {`"verification_url":"https://auth.example/d","expires_in":600,"interval":7`, 10 * time.Minute, 7 * time.Second},
		"numbers as texts":     {`"verification_uri":"https://auth.example/d","expires_in":"600","interval":"7"`, 10 * time.Minute, 7 * time.Second},
		"no numbers":           {`"verification_uri":"https://auth.example/d","expires_in":"soon","interval":[]`, maxDeviceLifetime, 5 * time.Second},
		"beyond measure":       {`"verification_uri":"https://auth.example/d","expires_in":99999999,"interval":99999999`, maxDeviceLifetime, time.Minute},
		"a complete that fits": {`"verification_uri":"https://auth.example/d","verification_uri_complete":null,"expires_in":600,"interval":7`, 10 * time.Minute, 7 * time.Second},
	} {
		s := at(&scripted{answers: []scriptedAnswer{{header: typed("text/plain"), text: "\xef\xbb\xbf" + `{"device_code":"the device code","user_code":"ABCD",` + c.rest + `}`}}}, Settings{})
		m, err := s.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		code, err := s.DeviceCode(t.Context(), m)
		if left := time.Until(code.Expires); err != nil || code.VerificationURI != "https://auth.example/d" || code.Interval != c.interval || left > c.lifetime || left < c.lifetime-time.Minute {
			t.Errorf("%s: %+v, %v", name, code, err)
		}
	}
}

// TestAttackATokenThatIsNotActiveNamesNobody: what a server calls dead says nothing of
// whose data it opens.
func TestAttackATokenThatIsNotActiveNamesNobody(t *testing.T) {
	const id = "9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"
	for active, ok := range map[string]bool{`true`: true, `false`: false, `"true"`: false, `1`: false, `null`: false} {
		s := at(&scripted{answers: []scriptedAnswer{{text: `{"active":` + active + `,"subscription_id":"` + id + `"}`}}}, Settings{})
		m, err := s.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids, found, err := s.introspect(context.Background(), m, fds.NewSecret("an access token"))
		if (err == nil && found && len(ids) == 1) != ok || !ok && len(ids) > 0 {
			t.Errorf("active %s: %v, %v, %v", active, ids, found, err)
		}
	}
}

func TestAnIntrospectionThatFailsForAMomentCostsNoSignIn(t *testing.T) {
	const id = "9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"
	good := scriptedAnswer{text: `{"active":true,"subscription_id":"` + id + `"}`}
	for name, c := range map[string]struct {
		first scriptedAnswer
		asked int
	}{
		"as it should be": {good, 1},
		"down":            {scriptedAnswer{status: 503}, 2},
		"busy":            {scriptedAnswer{status: 429, header: http.Header{"Retry-After": {"3"}}}, 2},
		"dead":            {scriptedAnswer{err: io.ErrUnexpectedEOF}, 2},
		"cut":             {scriptedAnswer{text: `{"active":tr`}, 2},
		"behind a gate":   {scriptedAnswer{status: 502}, 2},
		"busy by a code":  {scriptedAnswer{status: 503, text: `{"error":"temporarily_unavailable"}`}, 2},
		"not allowed":     {scriptedAnswer{status: 401, text: `{"error":"invalid_client"}`}, 0},
		"not active":      {scriptedAnswer{text: `{"active":false}`}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &scripted{answers: []scriptedAnswer{c.first, good}}
				s := at(server, Settings{})
				m, err := s.Metadata(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ids, err := s.SignedIn(t.Context(), m, Answer{Access: fds.NewSecret("opaque"), Kind: "Bearer"}, fds.Secret{}, nil)
				if (err == nil && len(ids) == 1 && len(server.requests) == c.asked) != (c.asked > 0) || c.asked == 0 && len(server.requests) != 1 {
					t.Errorf("%v, %v; %d requests", ids, err, len(server.requests))
				}
			})
		})
	}
}

// TestAttackTheOwnersOfOneGrantAreBounded: each becomes a connection.
func TestAttackTheOwnersOfOneGrantAreBounded(t *testing.T) {
	list := func(n int) []byte {
		var ids []string
		for range n {
			ids = append(ids, `"`+fds.NewSubscriptionID().String()+`"`)
		}
		return []byte("[" + strings.Join(ids, ",") + "]")
	}
	if ids, err := readSubscriptions(list(1000), "token response"); err != nil || len(ids) != 1000 {
		t.Errorf("1,000: %d, %v", len(ids), err)
	}
	if ids, err := readSubscriptions(list(1001), "token response"); !errors.Is(err, fds.ErrSubscriptionID) || len(ids) != 0 {
		t.Errorf("1,001: %d, %v", len(ids), err)
	}
}

// TestAttackANonceWithoutMeasureIsNotKept: it would be in every proof from then on.
func TestAttackANonceWithoutMeasureIsNotKept(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "https://auth.example/t", nil)
	if err != nil {
		t.Fatal(err)
	}
	var n nonces
	for length, kept := range map[int]bool{maxNonceBytes: true, maxNonceBytes + 1: false} {
		nonce := strings.Repeat("n", length)
		n.learn(&http.Response{Header: http.Header{"Dpop-Nonce": {nonce}}, Request: r})
		if (n.get(r.URL, false) == nonce) != kept {
			t.Errorf("%d bytes: kept %v", length, !kept)
		}
	}
}

// TestAttackAVerificationAddressIsFitToBeShown: a person opens it, and reads it on a
// terminal.
func TestAttackAVerificationAddressIsFitToBeShown(t *testing.T) {
	for _, member := range []string{"verification_uri", "verification_url", "verification_uri_complete"} {
		for _, address := range []string{`http://auth.example/`, `file:///etc/passwd`, `https://auth.example/\u009b2J`, `https://auth.example/\u202e`, `https://auth.example/ or call 555`, `https://\u0430uth.example/`, `https://auth.example@evil.example/`, `https://auth.example/` + strings.Repeat("x", maxVerificationURI)} {
			body := `{"device_code":"the device code","user_code":"ABCD","` + member + `":"` + address + `"`
			if member == "verification_uri_complete" {
				body += `,"verification_uri":"https://auth.example/d"`
			}
			s := at(&scripted{answers: []scriptedAnswer{{text: body + `}`}}}, Settings{})
			m, err := s.Metadata(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if code, err := s.DeviceCode(t.Context(), m); !errors.Is(err, fds.ErrUnavailable) || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s %s: %+v, %v", member, address, code, err)
			}
		}
	}
}
