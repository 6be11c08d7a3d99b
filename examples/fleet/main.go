// Command fleet receives the messages of every owner that has signed in, for as
// long as it runs, and counts what happens. With the provider in a box, in another
// terminal, and an owner who has signed in:
//
//	go run ./cmd/fdsdemo provider --dir box --port-base 8400
//	go run ./cmd/fdsdemo --config box/fdsdemo.yaml login
//
// it is
//
//	GRANTS_PASSPHRASE="$(cat box/pass.txt)" go run ./examples/fleet -issuer https://127.0.0.1:8400 \
//	    -api https://127.0.0.1:8401 -broker mqtts://127.0.0.1:8402 -ca box/ca.pem \
//	    -client-id fdsdemo -grants box/grants -certificates box/owners \
//	    -subscription-member subscription_id
//
// The folder of certificates holds <subscription-id>.pem for each owner. What an outage
// lost is read from the Web API. SIGTERM ends it: handlers finish, and what they finish
// is acknowledged.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func main() {
	issuer := flag.String("issuer", "", "URL of the provider's authorization server")
	api := flag.String("api", "", "URL of the provider's Web API, from which an outage's messages are read")
	broker := flag.String("broker", "", "mqtts URL of the provider's broker")
	member := flag.String("subscription-member", "", "member in which items of the Web API name their owner, where owners sign in together")
	ca := flag.String("ca", "", "PEM file of an authority of the provider's that the system does not know")
	clientID := flag.String("client-id", "", "ID under which the provider registered the application")
	grants := flag.String("grants", "grants", "folder of the grants; $GRANTS_PASSPHRASE protects it")
	folder := flag.String("certificates", "owners", "folder of the owners' client certificates")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	counts := &counts{}
	provider := fdsclient.Provider{Issuer: *issuer, APIURL: *api, BrokerURL: *broker, Dialect: fds.Dialect{SubscriptionMember: *member}}
	if *ca != "" {
		provider.Roots = fdsclient.RootsFile(*ca)
	}
	client, err := open(ctx, provider, *clientID, *grants, *folder, counts)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.Run(ctx, handle); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("connected %d times, %d messages handled, %d grants renewed\n", counts.connected.Load(), counts.handled.Load(), counts.renewed.Load())
}

func open(ctx context.Context, provider fdsclient.Provider, clientID, grants, folder string, counts *counts) (*fdsclient.Client, error) {
	store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{Path: grants, Passphrase: fds.NewSecret(os.Getenv("GRANTS_PASSPHRASE"))})
	if err != nil {
		return nil, err
	}
	certificates, err := fdsclient.OpenCertificateFolder(folder, fds.Secret{})
	if err != nil {
		return nil, err
	}
	return fdsclient.New(fdsclient.Config{
		Provider:     provider,
		Application:  fdsclient.Application{Name: "fds-fleet-example", ClientID: clientID},
		Store:        store,
		Certificates: certificates.Certificate,
		Hooks:        []any{counts},
	})
}

// handle takes one message; nil acknowledges it. Messages of one owner come in
// order, those of several owners at once.
func handle(_ context.Context, m delivery.Message) error {
	item, err := m.Item()
	if errors.Is(err, fds.ErrItem) { // it will never be better: take note and go on
		log.Printf("%v: %v", m, err)
		return nil
	}
	kind, _ := item.Member("generic", "device_type")
	fmt.Println(m.Owner.SubscriptionID, m.Levels, string(kind))
	return nil
}

// counts are an application's metrics. An owner is never a label: there may be
// ten thousand.
type counts struct{ connected, handled, renewed atomic.Int64 }

func (c *counts) OnRenewed(fdsclient.GrantEvent) { c.renewed.Add(1) }

func (c *counts) OnSignInNeeded(e fdsclient.GrantEvent) {
	log.Printf("sign in again: %v: %v", e.Owners, e.Err)
}

func (c *counts) OnConnect(_ fds.OwnerKey, _ time.Duration, err error) {
	if err == nil {
		c.connected.Add(1)
	}
}

func (c *counts) OnHandled(_ fds.OwnerKey, _ time.Duration, err error) {
	if err == nil {
		c.handled.Add(1)
	}
}
