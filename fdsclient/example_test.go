package fdsclient_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// A whole round: an owner's user signs in, the owner's devices are read, and a
// message arrives. The provider is the one in a box, which also plays the person.
func Example() {
	provider, err := fdstest.Start(fdstest.Options{Devices: 3, LifeInterval: 50 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()

	owner := provider.Owners()[0]
	certificate, err := provider.OwnerCertificate(owner)
	if err != nil {
		log.Fatal(err)
	}
	client, err := fdsclient.New(fdsclient.Config{
		Provider: fdsclient.Provider{
			Issuer:    provider.Issuer(),
			APIURL:    provider.APIURL(),
			BrokerURL: provider.BrokerURL(),
			Roots:     provider.Roots,
		},
		Application: fdsclient.Application{Name: "fleet", ClientID: provider.PublicApplication().ID},
		Store:       tokenstore.OpenMemory(), // leave it out for the system's keyring
		State:       &statestore.Memory{},
		// fdsclient.OpenCertificateFolder reads them from files.
		Certificates: func(context.Context, fds.OwnerKey) (*tls.Certificate, error) { return &certificate.TLS, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	owners, err := client.SignIn(ctx, fdsclient.SignInOptions{
		ShowURL:     func(string) {},
		OpenBrowser: func(ctx context.Context, url string) error { return provider.Approve(ctx, url, owner) },
	})
	if err != nil {
		log.Fatal(err)
	}
	devices, err := pull.Collect(owners[0].Pull().Specifications(ctx, pull.Query{}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(devices), "devices")

	running, stop := context.WithCancel(ctx)
	err = client.Run(running, func(_ context.Context, m delivery.Message) error {
		if running.Err() == nil {
			fmt.Println("a message of quality of service", m.QoS)
		}
		stop()
		return nil // acknowledged now
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 3 devices
	// a message of quality of service 1
}
