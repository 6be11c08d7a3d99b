package pull_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

var classes = []error{
	fds.ErrUnauthorized, fds.ErrInvalidParameter, fds.ErrNotImplemented, fds.ErrNotFound, fds.ErrRateLimited, fds.ErrUnavailable,
	fds.ErrAnswer, fds.ErrQuery, fds.ErrOwner,
}

// isOnly says that err is of one class, or of none when it is nil.
func isOnly(err, class error) bool {
	for _, other := range classes {
		if errors.Is(err, other) != (other == class) {
			return false
		}
	}
	return true
}

func TestEveryRefusalHasItsClass(t *testing.T) {
	for _, test := range []struct {
		http      int
		body      string
		class     error
		status    int
		message   string
		retryable bool
	}{
		{204, ``, fds.ErrNotImplemented, 0, "", false},
		{200, `{"status":204,"message":"not_implemented"}`, fds.ErrNotImplemented, 204, "not_implemented", false},
		{404, `{"status":204,"message":"not_implemented"}`, fds.ErrNotImplemented, 204, "not_implemented", false},
		{500, ` {"message":"not_implemented","status":2.04e2,"more":[1]} `, fds.ErrNotImplemented, 204, "not_implemented", false},
		{500, `{"status":500,"message":"not_implemented"}`, fds.ErrNotImplemented, 500, "not_implemented", false},
		{501, ``, fds.ErrNotImplemented, 0, "", false},
		{401, `{"status":401,"message":"unauthorized_request"}`, fds.ErrUnauthorized, 401, "unauthorized_request", false},
		{401, `<html>` + secret, fds.ErrUnauthorized, 0, "", false},
		{200, `{"status":401,"message":"unauthorized_request"}`, fds.ErrUnauthorized, 401, "unauthorized_request", false},
		{400, `{"status":400,"message":"invalid_parameter"}`, fds.ErrInvalidParameter, 400, "invalid_parameter", false},
		{400, `nonsense`, fds.ErrInvalidParameter, 0, "", false},
		{200, `{"status":400,"message":"the same parameter twice"}`, fds.ErrInvalidParameter, 400, "the same parameter twice", false},
		{404, ``, fds.ErrNotFound, 0, "", false},
		{429, ``, fds.ErrRateLimited, 0, "", true},
		{200, `{"status":429,"message":"slow down"}`, fds.ErrRateLimited, 429, "slow down", true},
		{500, ``, fds.ErrUnavailable, 0, "", true},
		{502, `<html>` + secret, fds.ErrUnavailable, 0, "", true},
		{503, `{"status":503,"message":"maintenance"}`, fds.ErrUnavailable, 503, "maintenance", true},
		{503, `{"status":999,"message":"odd"}`, fds.ErrUnavailable, 999, "odd", true},
		{408, ``, fds.ErrUnavailable, 0, "", true},
		{200, `{"status":200,"message":"ok"}`, fds.ErrAnswer, 200, "ok", false},
		{206, `[{}]`, fds.ErrAnswer, 0, "", false},
		{304, ``, fds.ErrAnswer, 0, "", false},
		{403, `<html>` + secret, nil, 0, "", false},
		{403, `{"status":403,"message":"not_yours"}`, nil, 403, "not_yours", false},
		{418, ``, nil, 0, "", false},
	} {
		name := fmt.Sprintf("HTTP %d with %s", test.http, test.body)
		a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Request-Id", "r-17")
			w.WriteHeader(test.http)
			_, _ = w.Write([]byte(test.body))
		})
		items, err := pull.Collect(a.client(t).Statistics(t.Context(), pull.Query{}))
		var failed *pull.Error
		if !errors.As(err, &failed) || len(items) != 0 {
			t.Errorf("%s: %v, %v", name, items, err)
			continue
		}
		if !isOnly(err, test.class) || pull.Retryable(err) != test.retryable {
			t.Errorf("%s: %v, retryable %v; want %v", name, err, pull.Retryable(err), test.class)
		}
		if failed.HTTPStatus != test.http || failed.Status != test.status || failed.Message != test.message || failed.RequestID != "r-17" ||
			failed.Operation != "get statistics" || failed.Path != "/fds/v2/statistics" {
			t.Errorf("%s: %#v", name, failed)
		}
		for _, want := range []string{"pull: get statistics: ", fmt.Sprintf("HTTP %d", test.http), `"r-17"`} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s in it", name, err, want)
			}
		}
		if strings.Contains(fmt.Sprintf("%+v", err), secret) {
			t.Errorf("%s: the error shows a part of the answer: %v", name, err)
		}
	}
}

func TestAttackWhatTheProviderSaysIsQuotedAndCut(t *testing.T) {
	a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Request-Id", strings.Repeat("r", 5000))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"status":400,"message":"a\nb\u001b[31m\u202e%s"}`, strings.Repeat("m", 30_000))
	})
	_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
	var failed *pull.Error
	if !errors.As(err, &failed) || len(failed.Message) != 256 || len(failed.RequestID) != 128 {
		t.Fatalf("%.500v", err)
	}
	if text := err.Error(); len(text) > 700 || strings.ContainsAny(text, "\n\x1b\u202e") || !strings.Contains(text, `a\nb\x1b[31m`) {
		t.Fatalf("%q", text)
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	const date = "Mon, 23 Nov 2026 12:00:00 GMT"
	for _, test := range []struct {
		header, date string
		least, most  time.Duration
	}{
		{"", date, 0, 0},
		{"0", date, 0, 0},
		{"120", date, 2 * time.Minute, 2 * time.Minute},
		{"86401", date, 24 * time.Hour, 24 * time.Hour},
		{strings.Repeat("9", 400), date, 24 * time.Hour, 24 * time.Hour},
		{"-5", date, 0, 0},
		{"1.5", date, 0, 0},
		{"soon", date, 0, 0},
		{"Mon, 23 Nov 2026 12:00:30 GMT", date, 30 * time.Second, 30 * time.Second}, // by the provider's clock
		{"Monday, 23-Nov-26 12:00:30 GMT", date, 30 * time.Second, 30 * time.Second},
		{"Mon, 23 Nov 2026 11:00:00 GMT", date, 0, 0},
		{"Tue, 23 Nov 2027 12:00:00 GMT", date, 24 * time.Hour, 24 * time.Hour},
		{time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "today", 58 * time.Minute, time.Hour}, // by ours
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Retry-After"] = []string{test.header}
				w.Header().Set("Date", test.date)
				w.WriteHeader(status)
			})
			_, err := pull.Collect(a.client(t).Events(t.Context(), pull.Query{}))
			var failed *pull.Error
			if !errors.As(err, &failed) || failed.RetryAfter < test.least || failed.RetryAfter > test.most || !pull.Retryable(err) {
				t.Errorf("%q: %v", test.header, err)
			}
			if wanted := test.most > 0; strings.Contains(err.Error(), "retry after") != wanted {
				t.Errorf("%q: %v", test.header, err)
			}
		}
	}
}

func TestErrorsOfNoClassAreNotRetryable(t *testing.T) {
	if pull.Retryable(nil) || pull.Retryable(errors.New("other")) || pull.Retryable(&pull.Error{}) {
		t.Fatal("retryable")
	}
}

// hostile answers all come with HTTP 200.
func TestAttackHostileAnswersAreErrorsThatShowNothingOfThem(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	deep := strings.Repeat("[", 1<<20)
	for _, test := range []struct {
		name, contentType, body string
		want                    string // in the error
		items                   int
	}{
		{"a page", "text/html; charset=utf-8", "<html>" + secret, "text/html", 0},
		{"a page that calls itself JSON", "application/json", "<html>" + secret, "not valid JSON", 0},
		{"plain text", "text/plain", " S3CR3T []", "text/plain", 0},
		{"an odd type", "a\"b;;", "[]", "not JSON", 0},
		{"a JavaScript", "application/javascript", "[]", "javascript", 0},
		{"nothing", "application/json", "", "empty", 0},
		{"white space", "application/json", " \n", "empty", 0},
		{"a string", "application/json", `"` + secret + `"`, "neither a list nor an object", 0},
		{"an object", "application/json", `{"` + secret + `":[]}`, "Dialect.ListMember", 0},
		{"an object that stops", "application/json", `{"status":401,"message"`, "cut short", 0},
		{"a status of another kind", "application/json", `{"status":"401","message":"` + secret + `"}`, "Dialect.ListMember", 0},
		{"a wrong closer", "application/json", `[{}}`, "not valid JSON", 1},
		{"no comma", "application/json", `[{} {}]`, "not valid JSON", 1},
		{"two commas", "application/json", `[{},,{}]`, "not valid JSON", 1},
		{"a list after the list", "application/json", `[{}][{"a":"` + secret + `"}]`, "follows the list", 1},
		{"text after the list", "application/json", `[{}]` + secret, "not valid JSON", 1},
		{"a key without quotes", "application/json", `[{},{` + secret + `:1}]`, "not valid JSON after byte", 1},
		{"an unescaped control", "application/json", "[{},{\"a\":\"" + secret + "\n\"}]", "not valid JSON", 1},
		{"a 10 MB string", "application/json", `[{},{"a":"` + long + `"},{}]`, "MaxItemBytes", 1},
		{"10 MB of white space", "application/json", `[{},` + strings.Repeat(" ", 10<<20) + `{}]`, "MaxItemBytes", 1},
		{"a 10 MB member beside no list", "application/json", `{"a":"` + long + `"}`, "MaxItemBytes", 0},
		{"deep nesting", "application/json", `[{},` + deep, "not valid JSON", 1},
		{"deep objects", "application/json", `[{},` + strings.Repeat(`{"a":`, 1<<20), "not valid JSON", 1},
		{"UTF-16", "application/json", "\xff\xfe[\x00]\x00", "not valid JSON", 0},
		{"two byte order marks", "application/json", "\xef\xbb\xbf\xef\xbb\xbf[]", "not valid JSON", 0},
	} {
		a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{test.contentType}
			_, _ = w.Write([]byte(test.body))
		})
		items, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}))
		class := fds.ErrAnswer
		if test.want == "cut short" {
			class = fds.ErrUnavailable
		}
		if !isOnly(err, class) || !strings.Contains(err.Error(), test.want) || len(items) != test.items {
			t.Errorf("%s: %d items, %v, want %q in it", test.name, len(items), err, test.want)
			continue
		}
		if len(err.Error()) > 500 || strings.Contains(err.Error(), secret[:3]) {
			t.Errorf("%s: the error shows a part of the answer: %.600v", test.name, err)
		}
	}
}

func TestJSONByAnyOfItsNamesIsTaken(t *testing.T) {
	for _, header := range [][]string{{"application/json"}, {"Application/JSON; charset=utf-8"}, {"application/fds+json"}, {"text/json"}, nil} {
		a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = header
			_, _ = w.Write([]byte("[{}]"))
		})
		if items, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{})); len(items) != 1 || err != nil {
			t.Errorf("%q: %q, %v", header, items, err)
		}
	}
}

func TestAListMemberMustBeOneList(t *testing.T) {
	for body, want := range map[string]string{
		`{"other":[{}]}`:       `"list"`,
		`{"list":{"a":1}}`:     "not a list",
		`{"list":[],"list":1}`: "two members",
		`{"List":[{}]}`:        `"list"`,
	} {
		a := serve(t, answer(body))
		a.config.Dialect.ListMember = "list"
		if items, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{})); len(items) != 0 || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", body, items, err)
		}
	}
	a := serve(t, answer(`{"status":204,"message":"not_implemented"}`))
	a.config.Dialect.ListMember = "list"
	if _, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{})); !isOnly(err, fds.ErrNotImplemented) {
		t.Errorf("an error object where a list member is named: %v", err)
	}
}

// An envelope that says no is an error whatever stands where the list would be; one that says yes
// is none.
func TestAttackAListBesideAnErrorObjectIsNoWholeList(t *testing.T) {
	for body, test := range map[string]struct {
		items int
		class error
		http  bool // the error is the provider's own
	}{
		`{"status":401,"message":"unauthorized_request","list":[]}`:                {0, fds.ErrUnauthorized, true},
		`{"list":[{},{}],"status":500,"message":"only half of it"}`:                {2, fds.ErrUnavailable, true},
		`{"status":503,"message":"later","list":null}`:                             {0, fds.ErrUnavailable, true},
		`{"list":{"a":[1]},"message":"slow down","status":429}`:                    {0, fds.ErrRateLimited, true},
		`{"list":"","status":200,"message":"invalid_parameter"}`:                   {0, fds.ErrInvalidParameter, true},
		`{"status":204,"message":"not_implemented","list":[]}`:                     {0, fds.ErrNotImplemented, true},
		`{"status":403,"message":"not_yours","list":[{}]}`:                         {1, fds.ErrAnswer, true},
		`{"status":200,"message":"ok","list":[{},{}]}`:                             {2, nil, false},
		`{"list":[{}],"status":0,"message":""}`:                                    {1, nil, false},
		`{"status":1,"list":[{}],"message":"well done"}`:                           {1, nil, false},
		`{"status":"500","message":"a status of another kind","list":[{}]}`:        {1, nil, false},
		`{"status":500,"list":[{}]}`:                                               {1, nil, false},
		`{"list":null,"status":200}`:                                               {0, nil, false},
		`{"list":[{}],"status":500,"message":"x"`:                                  {1, fds.ErrUnavailable, false},
		`{"list":null,"a":` + strings.Repeat("[", 20_000):                          {0, fds.ErrAnswer, false},
		`{"list":"` + strings.Repeat("x", 2<<20) + `","status":500,"message":"x"}`: {0, fds.ErrAnswer, false},
	} {
		a := serve(t, answer(body))
		a.config.Dialect.ListMember = "list"
		items, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}))
		var failed *pull.Error
		if len(items) != test.items || !isOnly(err, test.class) || (err == nil) != (test.class == nil) || errors.As(err, &failed) && (failed.Message != "") != test.http {
			t.Errorf("%.80s: %d items, %v", body, len(items), err)
		}
	}
}

func TestAnItemMayBeAsLargeAsTheBoundAndNoLarger(t *testing.T) {
	const bound = 5000
	item := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	a := serve(t, answer("[{}, \n"+item(bound)+","+item(bound)+","+item(bound+1)+"]"))
	a.config.MaxItemBytes = bound
	items, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{}))
	if !slices.Equal(items, []string{"{}", item(bound), item(bound)}) || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "5000") {
		t.Fatalf("%d items, %v", len(items), err)
	}
}

func TestAnAnswerMayBeAsLargeAsTheBoundAndNoLarger(t *testing.T) {
	body := "[" + strings.Repeat("{},", 999) + "{}]"
	a := serve(t, answer(body))
	a.config.MaxBodyBytes = int64(len(body))
	if items, err := raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{})); len(items) != 1000 || err != nil {
		t.Errorf("at the bound: %d items, %v", len(items), err)
	}
	a.config.MaxBodyBytes--
	items, err := inTime(t, func() ([]string, error) { return raws(a.client(t).Items(t.Context(), pull.Spaces, pull.Query{})) })
	if len(items) != 1000 || !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "MaxBodyBytes") {
		t.Errorf("one over the bound: %d items, %v", len(items), err)
	}
}
