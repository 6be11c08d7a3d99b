package conformance_test

import (
	"testing"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdstest"
)

func TestASoundProviderFailsNothing(t *testing.T) {
	report := check(t, newSite(t, fdstest.Options{}).config)
	if report.Count(conformance.Fail)+report.Count(conformance.Error) > 0 || len(report.Results) == 0 {
		show(t, report)
		t.Errorf("%s", report.Headline())
	}
}
