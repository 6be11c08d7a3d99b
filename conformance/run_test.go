package conformance_test

import (
	"context"
	"testing"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdstest"
	"go.uber.org/goleak"
)

func TestASoundProviderFailsNothing(t *testing.T) {
	report := check(t, newSite(t, fdstest.Options{}).config)
	if report.Count(conformance.Fail)+report.Count(conformance.Error) > 0 || len(report.Results) == 0 {
		show(t, report)
		t.Errorf("%s", report.Headline())
	}
}

func TestARunLeavesNothingBehind(t *testing.T) {
	s := newWebSite(t, fdstest.Options{})
	ignore := goleak.IgnoreCurrent()
	check(t, s.config)
	goleak.VerifyNone(t, ignore)
	if _, err := conformance.Run(contextThatEnded(t), s.config); err == nil {
		t.Error("a run in a context that has ended has no error")
	}
	goleak.VerifyNone(t, ignore)
}

func contextThatEnded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
