// Command desktop signs one owner in through the browser, once ever, keeps the
// grant in the system's keyring or in a folder, and lists the owner's devices. With the
// provider in a box, in another terminal:
//
//	go run ./cmd/fdsdemo provider --dir box --port-base 8400
//
// it is
//
//	GRANTS_PASSPHRASE="$(cat box/pass.txt)" go run ./examples/desktop -issuer https://127.0.0.1:8400 \
//	    -api https://127.0.0.1:8401 -ca box/ca.pem -client-id fdsdemo -grants box/grants
//
// Without -grants the keyring is used, and no passphrase is needed. The application must
// be registered with the redirect URI http://127.0.0.1, for any port, and the path that
// fdsclient.RedirectPath returns for the issuer, as fdsdemo is with the box. Run again, it
// asks nobody.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func main() {
	issuer := flag.String("issuer", "", "URL of the provider's authorization server")
	api := flag.String("api", "", "URL of the provider's Web API")
	ca := flag.String("ca", "", "PEM file of an authority of the provider's that the system does not know")
	clientID := flag.String("client-id", "", "ID under which the provider registered the application")
	folder := flag.String("grants", "", "keep grants in this folder, where there is no keyring; $GRANTS_PASSPHRASE protects it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *issuer, *api, *ca, *clientID, *folder); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, issuer, api, ca, clientID, folder string) error {
	config := fdsclient.Config{
		Provider:    fdsclient.Provider{Issuer: issuer, APIURL: api},
		Application: fdsclient.Application{Name: "fds-desktop-example", ClientID: clientID},
	}
	if ca != "" {
		config.Provider.Roots = fdsclient.RootsFile(ca)
	}
	if folder != "" { // without a Store the keyring is used
		passphrase := fds.NewSecret(os.Getenv("GRANTS_PASSPHRASE"))
		store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{Path: folder, Passphrase: passphrase})
		if err != nil {
			return err
		}
		config.Store = store
	}
	client, err := fdsclient.New(config)
	if err != nil {
		return err
	}
	defer client.Close()

	owners, err := client.Owners(ctx)
	if err != nil {
		return err
	}
	if len(owners) == 0 {
		signIn, cancel := context.WithTimeout(ctx, 5*time.Minute) // a person's time
		defer cancel()
		owners, err = client.SignIn(signIn, fdsclient.SignInOptions{
			ShowURL: func(url string) { fmt.Fprintln(os.Stderr, "If no browser opens, open", url) },
		})
		if err != nil {
			return err
		}
	}
	for _, owner := range owners {
		for device, err := range owner.Pull().Specifications(ctx, pull.Query{}) {
			if err != nil {
				return err
			}
			fmt.Println(owner.Key().SubscriptionID, device.Type(), device.ID())
		}
	}
	return nil
}
