package fdsclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/webhook"
)

// An endpoint of the application, to which the provider in a box delivers a message.
func ExampleClient_Webhook() {
	provider, err := fdstest.Start(fdstest.Options{Quiet: true})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	client, err := fdsclient.New(fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: provider.Issuer(), Roots: provider.Roots},
		Application: fdsclient.Application{Name: "fleet", ClientID: provider.PublicApplication().ID},
		Store:       tokenstore.OpenMemory(), // leave it out for the system's keyring
		State:       &statestore.Memory{},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	owner := provider.Owners()[0]
	if _, err := client.SignIn(ctx, fdsclient.SignInOptions{
		ShowURL:     func(string) {},
		OpenBrowser: func(ctx context.Context, url string) error { return provider.Approve(ctx, url, owner) },
	}); err != nil {
		log.Fatal(err)
	}

	certificate, err := provider.IssueCertificate(fdstest.CertificateRequest{
		CommonName: "localhost", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		log.Fatal(err)
	}
	receiver, err := client.Webhook(webhook.Settings{
		Audience: "https://app.example.com/fds",
		Senders:  []string{"fdsbox-sender"},
		// fdsclient.CertificateFiles reads it from files, and again when they change.
		Certificate: func(context.Context) (*tls.Certificate, error) { return &certificate.TLS, nil },
		Path:        "/fds/{subscription_id}",
		// With a Folder a repetition is known after a restart too.
	}, func(_ context.Context, m delivery.Message) error {
		fmt.Println(m.Source, m.Owner.SubscriptionID == owner.SubscriptionID, string(m.Payload))
		return nil // answered with success now; an error: the sender comes again
	})
	if err != nil {
		log.Fatal(err)
	}
	defer receiver.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error { return client.Run(serving, nil) }) // keeps grants renewed
	group.Go(func() error { return receiver.Serve(serving, listener) })

	sender, err := provider.SendTo(serving, fdstest.Webhook{
		URL: "https://" + listener.Addr().String() + "/fds/{subscription_id}", Audience: "https://app.example.com/fds",
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := sender.Deliver(serving, owner, []byte(`{"device_id":"soap-1","fill_level":41}`)); err != nil {
		log.Fatal(err)
	}
	stop()
	if err := group.Wait(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// webhook true {"device_id":"soap-1","fill_level":41}
}
