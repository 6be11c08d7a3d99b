// Command exactlyonce writes what messages do into a SQLite database, each message once, whenever
// it is killed: docs/exactly-once.md has the recipe. It is a module of its own, for its database.
// With the provider in a box, in another terminal, and an owner who has signed in:
//
//	go run ./cmd/fdsdemo provider --dir box --port-base 8400
//	go run ./cmd/fdsdemo --config box/fdsdemo.yaml login --approve
//
// it is
//
//	cd examples/exactlyonce
//	GRANTS_PASSPHRASE="$(cat ../../box/pass.txt)" go run . -issuer https://127.0.0.1:8400 \
//	    -api https://127.0.0.1:8401 -broker mqtts://127.0.0.1:8402 -ca ../../box/ca.pem \
//	    -client-id fdsdemo -grants ../../box/grants -certificates ../../box/owners \
//	    -dialect '{"TimeMember":"generic.date_time","StatusTopic":"devices/{device_id}/status"}'
//
// With -batch 100 a transaction has up to 100 messages, of whichever owners. Kill it as often as
// you like. SIGTERM has it say what there is.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func main() {
	provider := fdsclient.Provider{}
	flag.StringVar(&provider.Issuer, "issuer", "", "URL of the provider's authorization server")
	flag.StringVar(&provider.APIURL, "api", "", "URL of the provider's Web API, from which an outage's messages are read")
	flag.StringVar(&provider.BrokerURL, "broker", "", "mqtts URL of the provider's broker")
	flag.Func("dialect", "fds.Dialect, in JSON", func(text string) error { return json.Unmarshal([]byte(text), &provider.Dialect) })
	ca := flag.String("ca", "", "PEM file of an authority of the provider's that the system does not know")
	clientID := flag.String("client-id", "", "ID under which the provider registered the application")
	folder := flag.String("certificates", "owners", "folder of the owners' client certificates")
	grants := flag.String("grants", "grants", "folder of the grants; $GRANTS_PASSPHRASE or $GRANTS_IDENTITY protects it")
	state := flag.String("state", "state", "folder in which it is kept how far each owner's messages were handled")
	batch := flag.Int("batch", 0, "most messages of one transaction, of whichever owners; 0: each has its own")
	path := flag.String("database", "messages.db", "file of the database, on a local disk")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if *ca != "" {
		provider.Roots = fdsclient.RootsFile(*ca)
	}
	database, err := openDatabase(ctx, *path, provider.Dialect.WithDefaults())
	if err != nil {
		log.Fatal(err)
	}
	client, err := connect(ctx, provider, *clientID, *grants, *state, *folder, database)
	if err != nil {
		log.Fatal(err)
	}
	to := fdsclient.Delivery{Handler: database.one}
	if *batch > 0 {
		to = fdsclient.Delivery{Batch: &delivery.Batching{Handler: database.many, Most: *batch, Across: true}}
	}
	if err := client.RunWhere(ctx, fdsclient.Selection{Of: func(fds.OwnerKey) fdsclient.Delivery { return to }}); err != nil {
		log.Fatal(err)
	}
	told, err := database.told(context.Background())
	if err := errors.Join(err, client.Close(), database.db.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(told)
}

func connect(ctx context.Context, provider fdsclient.Provider, clientID, grants, state, folder string, database *database) (*fdsclient.Client, error) {
	store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{
		Path:       grants,
		Passphrase: fds.NewSecret(os.Getenv("GRANTS_PASSPHRASE")),
		Identity:   fds.NewSecret(os.Getenv("GRANTS_IDENTITY")),
	})
	if err != nil {
		return nil, err
	}
	states, err := statestore.OpenFolder(state)
	if err != nil {
		return nil, err
	}
	certificates, err := fdsclient.OpenCertificateFolder(folder, fds.Secret{})
	if err != nil {
		return nil, err
	}
	return fdsclient.New(fdsclient.Config{
		Provider:     provider,
		Application:  fdsclient.Application{Name: "fds-exactly-once-example", ClientID: clientID},
		Store:        store,
		State:        states,
		Certificates: certificates.Certificate,
		Push:         push.Settings{DeadLetter: database.dead},
	})
}
