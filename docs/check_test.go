package docs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// What check.md shows.

func audit(ctx context.Context, client fdsclient.Config) error {
	report, err := conformance.Run(ctx, conformance.Config{Client: client})
	if err != nil {
		return err // the configuration's, or ctx's
	}
	for _, one := range report.Results {
		if one.Outcome == conformance.Fail {
			fmt.Println(one.ID, one.Why, one.Remedy)
		}
	}
	if !report.OK(false) {
		return errors.New(report.Headline())
	}
	return nil
}

func TestTheAuditOfTheCheckPageTellsASoundProviderFromOneThatIsGone(t *testing.T) {
	box := fdstest.New(t, fdstest.Options{Quiet: true, Devices: -1})
	config := fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: box.Issuer(), APIURL: box.APIURL(), BrokerURL: box.BrokerURL(), Roots: box.Roots},
		Application: fdsclient.Application{ClientID: box.ConfidentialApplication().ID},
		Store:       tokenstore.OpenMemory(),
	}
	if err := audit(t.Context(), config); err != nil && !strings.HasPrefix(err.Error(), "tested ") {
		t.Error(err)
	}
	box.Close()
	if err := audit(t.Context(), config); err == nil || !strings.Contains(err.Error(), "1 failed") {
		t.Errorf("a provider that is gone: %v", err)
	}
}

func TestTheCheckPageNamesEveryOutcome(t *testing.T) {
	page := read(t, "check.md")
	for _, o := range []conformance.Outcome{conformance.Pass, conformance.Fail, conformance.NotTestable, conformance.NotApplicable, conformance.Error} {
		if !strings.Contains(page, "| "+string(o)+" | ") {
			t.Errorf("the table of check.md has no %q", o)
		}
	}
}
