package conformance_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to this: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between looks at the condition
	}
}

// running starts the run of all owners, as an application has it, until the test ends.
func running(t *testing.T, s *site) []*fdsclient.Owner {
	t.Helper()
	client, err := fdsclient.New(s.config.Client)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- client.Run(ctx, func(context.Context, delivery.Message) error { return nil })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = client.Close()
	})
	owners, err := client.Owners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all owners are connected", func() bool {
		return !slices.ContainsFunc(owners, func(o *fdsclient.Owner) bool { return o.Connection().Phase != push.Connected })
	})
	return owners
}

func TestWithoutLeaveNobodyIsDisturbedAndNoGrantIsLost(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	owners := running(t, s)
	s.config.SpareOwners, s.config.Intrusive, s.config.SignIn = nil, false, nil
	before := s.box.Connections()
	slices.Sort(before)
	s.config.OnResult = func(one conformance.Result) {
		now := s.box.Connections()
		slices.Sort(now)
		if !slices.Equal(now, before) {
			t.Errorf("after %s %q are connected, and %q were", one.ID, now, before)
		}
	}
	report := check(t, s.config)
	if report.Count(conformance.Fail)+report.Count(conformance.Error) > 0 {
		show(t, report)
		t.Error(report.Headline())
	}
	for _, o := range owners {
		if c := o.Connection(); c.Phase != push.Connected || c.Connects != 1 {
			t.Errorf("%s is %s after %d connects", o.Key(), c.Phase, c.Connects)
		}
		if _, err := o.Token(t.Context()); err != nil {
			t.Errorf("the grant of %s: %v", o.Key(), err)
		}
	}
	for _, one := range report.Results {
		if o := one.Outcome; o == conformance.Pass && slices.ContainsFunc([]string{"M4-", "M5-", "M6-", "M7-", "W8-signin-", "W10-auth-refresh-reuse"}, func(p string) bool { return strings.HasPrefix(one.ID, p) }) {
			t.Errorf("%s was tested without leave", one.ID)
		}
	}
}

func TestOnlySpareOwnersAreDisturbed(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	owners := running(t, s)
	report := check(t, s.config)
	if report.Count(conformance.Fail)+report.Count(conformance.Error) > 0 {
		show(t, report)
		t.Error(report.Headline())
	}
	for _, o := range owners {
		if c := o.Connection(); o.Key().SubscriptionID == s.config.Owner && (c.Phase != push.Connected || c.Connects != 1) {
			t.Errorf("the owner who is not spare is %s after %d connects", c.Phase, c.Connects)
		}
	}
}
