package conformance_test

import (
	"context"
	"fmt"
	"log"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// A provider is checked with the configuration with which it is used. Nobody has signed in, so that
// much stays untested; the report says what to supply.
func ExampleRun() {
	provider, err := fdstest.Start(fdstest.Options{Quiet: true})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	report, err := conformance.Run(context.Background(), conformance.Config{Client: fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: provider.Issuer(), APIURL: provider.APIURL(), Roots: provider.Roots},
		Application: fdsclient.Application{ClientID: provider.PublicApplication().ID},
		Store:       tokenstore.OpenMemory(),
	}})
	if err != nil {
		log.Fatal(err)
	}
	for _, one := range report.Results {
		if one.ID == "setup-ports" || one.ID == "setup-grant" {
			fmt.Println(one.ID, one.Outcome)
		}
	}
	// Output:
	// setup-ports pass
	// setup-grant not testable
}
