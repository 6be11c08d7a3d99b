package fdsclient_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// A provider without a broker is polled; its messages go to the same handler.
func ExamplePoll() {
	provider, err := fdstest.Start(fdstest.Options{Devices: 3, Quiet: true})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()

	client, err := fdsclient.New(fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: provider.Issuer(), APIURL: provider.APIURL(), Roots: provider.Roots},
		Application: fdsclient.Application{Name: "example", ClientID: provider.PublicApplication().ID},
		Store:       tokenstore.OpenMemory(),
		State:       new(statestore.Memory), // a real application keeps the default, a folder
		Poll:        fdsclient.Poll{Interval: time.Minute},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if _, err := client.SignIn(ctx, approve(provider)); err != nil {
		log.Fatal(err)
	}
	seen := 0
	err = client.Run(ctx, func(_ context.Context, m delivery.Message) error {
		fmt.Println(m.Source, m.Kind)
		if seen++; seen == 3 {
			stop()
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// poll status
	// poll status
	// poll status
}
