package push_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/push"
)

// One owner's connection, from its client certificate to a message that is acknowledged. Package
// fdsclient does this for all owners who have signed in.
func Example() {
	provider, err := fdstest.Start(fdstest.Options{Quiet: true})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	owner := provider.Owners()[0]
	issued, err := provider.OwnerCertificate(owner) // by the broker's administrator, in earnest
	if err != nil {
		log.Fatal(err)
	}
	// What the provider publishes; the broker keeps it for whoever subscribes.
	err = provider.Publish(context.Background(), owner, []string{"devices", "soap-1", "status"},
		[]byte(`{"device_id":"soap-1","fill_level":41.2}`), 1, true)
	if err != nil {
		log.Fatal(err)
	}

	root, err := fds.ParseRoot(owner.Spelling) // from the token, as the provider spells it
	if err != nil {
		log.Fatal(err)
	}
	connection, err := push.New(push.Config{
		Issuer:    provider.Issuer(),
		Root:      root,
		BrokerURL: provider.BrokerURL(),
		Roots:     provider.Roots, // leave it out for the system's
		Certificate: func(context.Context) (*tls.Certificate, error) {
			return &issued.TLS, nil // asked for before every dial: read the file anew
		},
		Settings: push.Settings{Topics: []string{"devices/#"}}, // below the owner's root
		OnState: func(s push.State) {
			if s.Phase == push.Connected {
				fmt.Println("connected") // something may have been missed: fetch it from the Web API
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	err = connection.Run(ctx, func(_ context.Context, m delivery.Message) error {
		fmt.Println(strings.Join(m.Levels, "/"), string(m.Payload))
		stop()
		return nil // acknowledged; an error has it handed over again
	})
	if err != nil { // waiting does not help: another process has taken the owner over
		log.Fatal(err)
	}
	// Output:
	// connected
	// devices/soap-1/status {"device_id":"soap-1","fill_level":41.2}
}
