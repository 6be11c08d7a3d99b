package pull_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// sequence is a transport that returns one answer after the other, and the last for
// ever: an HTTP status, with a Retry-After after a blank.
type sequence struct {
	answers []string
	times   []time.Time
}

func (s *sequence) RoundTrip(request *http.Request) (*http.Response, error) {
	answer := s.answers[min(len(s.times), len(s.answers)-1)]
	s.times = append(s.times, time.Now())
	if len(s.times) > tooMany {
		answer = "400" // so that what has no end fails its test
	}
	status, after, _ := strings.Cut(answer, " ")
	header := http.Header{"Content-Type": {"application/json"}}
	if after != "" {
		header.Set("Retry-After", after)
	}
	code := map[string]int{"200": 200, "429": 429, "503": 503, "500": 500, "400": 400, "404": 404}[status]
	if code == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	body := ""
	if code == 200 {
		body = "[{}]"
	}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: request}, nil
}

func TestARequestIsRepeatedForAWhile(t *testing.T) {
	for _, test := range []struct {
		name           string
		answers        []string
		retryFor       time.Duration
		deadline       time.Duration
		least, most    time.Duration
		attempts       int // 0: some
		class          error
		ofCallersBound bool
	}{
		{"what passes", []string{"503", "lost", "500", "200"}, 0, 0, 0, 30 * time.Second, 4, nil, false},
		{"what does not pass", []string{"503"}, 0, 0, 10 * time.Second, 30 * time.Second, 0, fds.ErrUnavailable, false},
		{"what is refused", []string{"400"}, 0, 0, 0, 0, 1, fds.ErrInvalidParameter, false},
		{"never", []string{"503", "200"}, -1, 0, 0, 0, 1, fds.ErrUnavailable, false},
		{"as the provider asks", []string{"429 7", "503 5", "200"}, 0, 0, 12 * time.Second, 32 * time.Second, 3, nil, false},
		{"longer than is allowed", []string{"429 60", "200"}, 0, 0, 0, 0, 1, fds.ErrRateLimited, false},
		{"longer than the deadline", []string{"503 5", "200"}, 0, 3 * time.Second, 0, 0, 1, fds.ErrUnavailable, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := &sequence{answers: test.answers}
				client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: transport, Settings: pull.Settings{RetryFor: test.retryFor}})
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				began := time.Now()
				items, err := pull.Collect(client.Spaces(ctx, pull.Query{}))
				took := time.Since(began)
				if !isOnly(err, test.class) || (err == nil) != (len(items) == 1) || took < test.least || took > test.most {
					t.Fatalf("%d items after %v: %v", len(items), took, err)
				}
				if n := len(transport.times); test.attempts > 0 && n != test.attempts || test.attempts == 0 && n < 3 {
					t.Errorf("%d attempts", n)
				}
				var failed *pull.Error
				if errors.As(err, &failed) && failed.Attempts != len(transport.times) {
					t.Errorf("%d attempts are told of %d", failed.Attempts, len(transport.times))
				}
			})
		})
	}
}

func TestAContextThatEndsEndsTheWaitForTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: &sequence{answers: []string{"503 20"}}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := pull.Collect(client.Spaces(ctx, pull.Query{}))
		if !errors.Is(err, context.Canceled) || pull.Retryable(err) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestWhatMustNotBeDoneTwiceIsRepeatedOnlyWhenItWasNotDone(t *testing.T) {
	for _, test := range []struct {
		answers  []string
		attempts int
		class    error
	}{
		{[]string{"429", "503", "200"}, 3, nil},
		{[]string{"500", "200"}, 1, fds.ErrUnknownOutcome},
		{[]string{"lost", "200"}, 1, fds.ErrUnknownOutcome},
		{[]string{"400", "200"}, 1, fds.ErrInvalidParameter},
	} {
		synctest.Test(t, func(t *testing.T) {
			transport := &sequence{answers: test.answers}
			client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: transport})
			_, err := client.CreateTag(t.Context(), map[string]any{})
			if !errors.Is(err, test.class) || (err == nil) != (test.class == nil) || pull.Retryable(err) || len(transport.times) != test.attempts {
				t.Errorf("%q: %d attempts, %v", test.answers, len(transport.times), err)
			}
		})
	}
	for name, do := range map[string]func(context.Context, *pull.Client) error{
		"delete": func(ctx context.Context, c *pull.Client) error { return c.DeleteTag(ctx, "T") },
		"set":    func(ctx context.Context, c *pull.Client) error { return c.SetEntities(ctx, "T", []string{}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			transport := &sequence{answers: []string{"lost", "500", "200"}}
			client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: transport})
			if err := do(t.Context(), client); err != nil || len(transport.times) != 3 {
				t.Errorf("%s: %d attempts, %v", name, len(transport.times), err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: &sequence{answers: []string{"lost", "404"}}})
		if err := client.DeleteTag(t.Context(), "T"); err != nil {
			t.Errorf("deleted by the attempt whose answer was lost: %v", err)
		}
		client = newClient(t, pull.Config{BaseURL: "https://api.example.com", Authorizer: &bearer{}, Transport: &sequence{answers: []string{"404"}}})
		if err := client.DeleteTag(t.Context(), "T"); !isOnly(err, fds.ErrNotFound) {
			t.Errorf("a tag that there never was: %v", err)
		}
	})
}
