package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
)

// later is an error after which nobody is asked before a time.
type later struct{ at time.Time }

func (e *later) Error() string             { return "the provider refused the grant" }
func (e *later) Is(target error) bool      { return target == fds.ErrUnavailable }
func (e *later) RetryAfter() time.Duration { return max(0, time.Until(e.at)) }

// tried runs attempts that give those errors, one after the other, and returns what do
// returns, what was told, and how long it took.
func tried(ctx context.Context, errs ...func() error) (told []string, took time.Duration, err error) {
	a := &attempts{
		retrying: func(error, time.Duration) { told = append(told, "retrying") },
		waiting:  func(err error, wait time.Duration) { told = append(told, fmt.Sprint("waiting ", wait)) },
	}
	began := time.Now()
	n := 0
	err = a.do(ctx, nil, func(context.Context, func()) error {
		n++
		return errs[min(n, len(errs))-1]()
	})
	return told, time.Since(began), err
}

func TestASecondLookAtARefusedGrantIsWaitedForBeyondAllPatience(t *testing.T) {
	in := func(d time.Duration) func() error {
		return func() error { return fmt.Errorf("renewal: %w", &later{time.Now().Add(d)}) }
	}
	fail := func(err error) func() error { return func() error { return err } }
	down := fmt.Errorf("%w: the line is cut", fds.ErrUnavailable)
	lapsed := fmt.Errorf("%w: refused twice", fds.ErrSignInRequired)
	for name, c := range map[string]struct {
		errs        []func() error
		want        error
		told        []string
		least, most time.Duration
	}{
		"refused twice":                {[]func() error{in(30 * time.Second), fail(lapsed)}, lapsed, []string{"waiting 30s"}, 30 * time.Second, 31 * time.Second},
		"refused once":                 {[]func() error{in(30 * time.Second), fail(nil)}, nil, []string{"waiting 30s"}, 30 * time.Second, 31 * time.Second},
		"after the line was cut":       {[]func() error{fail(down), in(30 * time.Second), fail(lapsed)}, lapsed, []string{"retrying", "waiting 30s"}, 30 * time.Second, 33 * time.Second},
		"after a lost answer":          {[]func() error{in(time.Minute), in(30 * time.Second), fail(lapsed)}, lapsed, []string{"waiting 1m0s", "waiting 30s"}, 90 * time.Second, 93 * time.Second},
		"never to an end":              {[]func() error{in(50 * time.Second)}, fds.ErrUnavailable, []string{"waiting 50s", "waiting 50s"}, 100 * time.Second, 104 * time.Second},
		"a time that is far off":       {[]func() error{in(time.Hour)}, fds.ErrUnavailable, nil, 0, 0},
		"a time that has come already": {[]func() error{in(0), in(0), in(0), fail(nil)}, nil, nil, time.Millisecond, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told, took, err := tried(t.Context(), c.errs...)
				if !errors.Is(err, c.want) || !slices.Equal(told, c.told) || took < c.least || took > c.most {
					t.Errorf("after %v: %v; told %q", took, err, told)
				}
			})
		})
	}
}

func TestASignalEndsTheWaitForASecondLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(7*time.Second, cancel)
		_, took, err := tried(ctx, func() error { return &later{time.Now().Add(30 * time.Second)} })
		if !errors.Is(err, context.Canceled) || took != 7*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestARefusalsRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		_, took, err := tried(t.Context(), func() error {
			if n++; n > 1 {
				return nil
			}
			return fmt.Errorf("renewal: %w", &fdsclient.OAuthError{Code: "temporarily_unavailable", RetryAfter: 9 * time.Second})
		})
		if err != nil || took < 9*time.Second || took > 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

func TestARefusedGrantIsAskedAboutOnceMoreBeforeItIsASignIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code             string
		refusals, status int
	}{
		"refused once":                      {"invalid_grant", 1, statusDone},
		"refused twice":                     {"invalid_grant", 2, statusSignIn},
		"refused in the words of one's own": {"session_gone", 2, statusSignIn},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.expire(func() { s.signIn(s.north) })
			s.configure("  ca_file:", "  final_errors: [session_gone]\n  ca_file:")
			s.box.Inject(fdstest.RefuseRefresh(c.code, "busy").Times(c.refusals))
			r := s.run("get", "statuses").expect(c.status)
			first, rest, _ := strings.Cut(r.err, "\n")
			says := regexp.MustCompile(`^fdsdemo: asking the provider again in \d+s, before you have to sign in again: .*` + c.code + `.*` + north.Spelling)
			if !says.MatchString(first) || strings.Contains(first, "login") || strings.Contains(rest, "again in") || strings.Contains(rest, "for up to") {
				t.Errorf("stderr %s", r.err)
			}
			if sends := strings.Contains(rest, "sign in again: fdsdemo login"); sends != (c.status == statusSignIn) {
				t.Errorf("it sends to a sign-in: %v; stderr %s", sends, r.err)
			}
		})
	}
}
