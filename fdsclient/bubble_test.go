package fdsclient_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// An application tests itself in this way, over as long a time as it wants: in a bubble, with
// the provider in a box on a network in memory, which the Client reaches by Provider.Dial.
func TestADayPassesAtOnceInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network fdstest.Network
		p := fdstest.New(t, fdstest.Options{Network: &network, Quiet: true, Devices: 3, AccessTokenLifetime: time.Hour})
		var told hooks
		client, err := fdsclient.New(fdsclient.Config{
			Provider: fdsclient.Provider{
				Issuer: p.Issuer(), APIURL: p.APIURL(), BrokerURL: p.BrokerURL(),
				Roots: p.Roots, Dial: network.Dial,
			},
			Application:  fdsclient.Application{ClientID: p.PublicApplication().ID},
			Store:        tokenstore.OpenMemory(),
			State:        &statestore.Memory{},
			Certificates: certificatesOf(p),
			Hooks:        []any{&told},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		owners, err := client.SignIn(t.Context(), fdsclient.SignInOptions{
			ShowURL:     func(string) {},
			OpenBrowser: func(ctx context.Context, url string) error { return p.Approve(ctx, url) },
		})
		if err != nil {
			t.Fatal(err)
		}

		messages := make(chan delivery.Message, 10)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- client.Run(ctx, func(_ context.Context, m delivery.Message) error { messages <- m; return nil })
		}()
		for hour := range 24 {
			time.Sleep(time.Hour)
			if err := p.Publish(ctx, p.Owners()[0], []string{"events"}, []byte(`{"event_id":"an event"}`), 1, false); err != nil {
				t.Fatal(err)
			}
			if synctest.Wait(); len(messages) != 1 {
				t.Fatalf("after %d hours %d messages arrive at once, want the one", hour+1, len(messages))
			}
			<-messages
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if renewed := told.count(func() int { return told.renewed }); renewed < 24 {
			t.Errorf("a token of an hour was renewed %d times in a day", renewed)
		}
		devices, err := pull.Collect(owners[0].Pull().Specifications(t.Context(), pull.Query{}))
		if err != nil || len(devices) != 3 {
			t.Errorf("%d devices, %v", len(devices), err)
		}
	})
}
