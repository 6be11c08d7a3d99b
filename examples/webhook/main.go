// Command webhook takes what a provider delivers by HTTPS, in a server that has other
// pages, too. With the provider in a box, in another terminal, and an owner who has
// signed in, once the provider is ready:
//
//	go run ./cmd/fdsdemo provider --dir box --port-base 8400 \
//	    --webhook 'https://127.0.0.1:8443/fds/{subscription_id}' --webhook-audience https://127.0.0.1:8443/fds
//	go run ./cmd/fdsdemo --config box/fdsdemo.yaml login --approve
//
// it is
//
//	GRANTS_PASSPHRASE="$(cat box/pass.txt)" go run ./examples/webhook -issuer https://127.0.0.1:8400 \
//	    -ca box/ca.pem -client-id fdsdemo -grants box/grants -audience https://127.0.0.1:8443/fds \
//	    -sender fdsbox-sender -certificate box/localhost.pem -key box/localhost.key -address 127.0.0.1:8443
//
// /health says whether deliveries can be taken. Ended and started again it goes on:
// the sender comes again with what was not taken, and what was handled before is known
// by the folder -handled. SIGTERM ends it once what is in hand is answered.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/tokenstore"
	"github.com/fds-sdk/fds-go/webhook"
)

func main() {
	issuer := flag.String("issuer", "", "URL of the provider's authorization server")
	ca := flag.String("ca", "", "PEM file of an authority of the provider's that the system does not know")
	clientID := flag.String("client-id", "", "ID under which the provider registered the application")
	grants := flag.String("grants", "grants", "folder of the grants; $GRANTS_PASSPHRASE protects it")
	audience := flag.String("audience", "", "what the senders' access tokens name: this endpoint, as the provider registered it")
	senders := flag.String("sender", "", "client IDs of those who deliver, with commas between them")
	certificate := flag.String("certificate", "server.pem", "PEM file of this server's certificate")
	key := flag.String("key", "server.key", "PEM file of its key")
	handled := flag.String("handled", "handled", "folder of what was handled, of this process alone")
	address := flag.String("address", "127.0.0.1:8443", "address to listen at")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	provider := fdsclient.Provider{Issuer: *issuer}
	if *ca != "" {
		provider.Roots = fdsclient.RootsFile(*ca)
	}
	client, err := open(ctx, provider, *clientID, *grants)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	receiver, err := client.Webhook(webhook.Settings{
		Audience:    *audience,
		Senders:     strings.Split(*senders, ","),
		Certificate: fdsclient.CertificateFiles(*certificate, *key),
		Folder:      *handled,
	}, handle)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening at https://%s/fds/<subscription-id>\n", listener.Addr())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return client.Run(ctx, nil) }) // keeps grants renewed
	group.Go(func() error { return serve(ctx, receiver, listener) })
	err = errors.Join(group.Wait(), receiver.Close())
	fmt.Printf("%d deliveries taken\n", receiver.State().Taken)
	if err != nil {
		log.Fatal(err)
	}
}

func open(ctx context.Context, provider fdsclient.Provider, clientID, grants string) (*fdsclient.Client, error) {
	store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{Path: grants, Passphrase: fds.NewSecret(os.Getenv("GRANTS_PASSPHRASE"))})
	if err != nil {
		return nil, err
	}
	return fdsclient.New(fdsclient.Config{
		Provider:    provider,
		Application: fdsclient.Application{Name: "fds-webhook-example", ClientID: clientID},
		Store:       store,
		Logger:      slog.Default(), // says why a delivery was not taken
	})
}

// handle takes one message; nil acknowledges it. Messages of one owner come one at a
// time, those of several owners at once, and any of them may come twice.
func handle(_ context.Context, m delivery.Message) error {
	item, err := m.Item()
	if err != nil { // it will never be better: take note and go on
		log.Printf("%v: %v", m, err)
		return nil
	}
	kind, _ := item.Member("generic", "device_type")
	fmt.Println(m.Owner.SubscriptionID, "sent", string(kind))
	return nil
}

// serve has the endpoint and the application's own pages in one server, until ctx ends.
func serve(ctx context.Context, receiver *webhook.Receiver, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/fds/{subscription_id}", receiver) // this name: the path is then held against the token
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { health(w, receiver.State()) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "The application's own page.") })
	server := &http.Server{
		Handler:           mux,
		TLSConfig:         receiver.TLSConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn), // a sender that does not trust the certificate shows here alone
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_ = server.Shutdown(within) // what is not answered by then comes again
	})
	err := server.ServeTLS(listener, "", "") // the certificate is TLSConfig's
	if stop() {
		return err
	}
	<-ended
	return nil
}

// health says whether deliveries can be taken: 200, or 503 and why not. Anyone can ask,
// so errors stay in the log. That nothing comes is for an alert on State.TakenAt: how long that is
// too long depends on the devices.
func health(w http.ResponseWriter, s webhook.State) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch {
	case s.KeysAt.IsZero(): // every delivery is answered 503 until they are there
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "the issuer's keys are not known yet")
	case s.KeysErr != nil:
		fmt.Fprintln(w, "ok, but the issuer's keys cannot be fetched")
	case s.MarksErr != nil:
		fmt.Fprintln(w, "ok, but what was handled cannot be written")
	default:
		fmt.Fprintln(w, "ok")
	}
}
