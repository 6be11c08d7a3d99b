// Command webapp signs owners in from a web application: each user's browser goes
// to the provider and comes back to this server's own https address. The attempt
// stays here, in the session of the browser that began it, so that no one can
// finish a sign-in in somebody else's browser.
//
// With the provider in a box, in another terminal:
//
//	go run ./cmd/fdsdemo provider --dir box --port-base 8400 --redirect-uri https://localhost:8443/callback
//
// it is
//
//	GRANTS_PASSPHRASE="$(cat box/pass.txt)" CLIENT_SECRET="$(cat box/client_secret.txt)" \
//	    go run ./examples/webapp -issuer https://127.0.0.1:8400 -ca box/ca.pem -client-id fleet-app \
//	    -address localhost:8443 -certificate box/localhost.pem -key box/localhost.key -grants box/grants
//
// The application must be registered with the redirect URI https://ADDRESS/callback.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func main() {
	issuer := flag.String("issuer", "", "URL of the provider's authorization server")
	ca := flag.String("ca", "", "PEM file of an authority of the provider's that the system does not know")
	clientID := flag.String("client-id", "", "ID under which the provider registered the application")
	address := flag.String("address", "localhost:8443", "host:port of this server")
	certificate := flag.String("certificate", "server.pem", "this server's certificate")
	key := flag.String("key", "server.key", "its private key")
	folder := flag.String("grants", "grants", "folder of the grants; $GRANTS_PASSPHRASE protects it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	store, err := tokenstore.OpenFolder(ctx, tokenstore.FolderConfig{Path: *folder, Passphrase: fds.NewSecret(os.Getenv("GRANTS_PASSPHRASE"))})
	if err != nil {
		log.Fatal(err)
	}
	provider := fdsclient.Provider{Issuer: *issuer}
	if *ca != "" {
		provider.Roots = fdsclient.RootsFile(*ca)
	}
	client, err := fdsclient.New(fdsclient.Config{
		Provider: provider,
		Application: fdsclient.Application{
			Name:         "fds-webapp-example",
			ClientID:     *clientID,
			ClientSecret: fds.NewSecret(os.Getenv("CLIENT_SECRET")),
			RedirectURL:  "https://" + *address + "/callback",
		},
		Store: store,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	server := &http.Server{Addr: *address, Handler: newApp(client), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(closing)
	}()
	fmt.Println("open https://" + *address + "/connect")
	if err := server.ListenAndServeTLS(*certificate, *key); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// app holds the sign-ins under way, by browser session.
type app struct {
	client *fdsclient.Client

	mu       sync.Mutex
	sessions map[string][]byte // what Attempt.Encode gave; a real one lives in the app's session store
}

func newApp(client *fdsclient.Client) http.Handler {
	a := &app{client: client, sessions: make(map[string][]byte)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connect", a.connect)
	mux.HandleFunc("GET /callback", a.callback)
	return mux
}

func (a *app) connect(w http.ResponseWriter, r *http.Request) {
	attempt, err := a.client.BeginSignIn(r.Context(), fdsclient.SignInOptions{})
	if err != nil {
		log.Print(err)
		http.Error(w, "the provider cannot be reached, try again later", http.StatusBadGateway)
		return
	}
	encoded, err := attempt.Encode()
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	session := rand.Text()
	a.mu.Lock()
	a.sessions[session] = encoded
	a.mu.Unlock()
	time.AfterFunc(fdsclient.AttemptLifetime, func() { a.take(session) })
	http.SetCookie(w, &http.Cookie{Name: "__Host-session", Value: session, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, attempt.URL(), http.StatusFound)
}

// take returns a session's attempt once.
func (a *app) take(session string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	encoded := a.sessions[session]
	delete(a.sessions, session)
	return encoded
}

func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie("__Host-session")
	if err != nil {
		http.Error(w, "this browser has begun no sign-in", http.StatusForbidden)
		return
	}
	attempt, err := fdsclient.DecodeAttempt(a.take(cookie.Value))
	if err != nil {
		http.Error(w, "this browser has begun no sign-in", http.StatusForbidden)
		return
	}
	owners, err := a.client.FinishSignIn(r.Context(), attempt, r.URL.String())
	switch {
	case errors.Is(err, fds.ErrAccessDenied):
		fmt.Fprintln(w, "You gave no access.")
	case err != nil:
		log.Print(err) // holds no secret
		http.Error(w, "not connected", http.StatusForbidden)
	default:
		for _, owner := range owners { // a real app now links them to its user
			fmt.Fprintln(w, "connected", owner.Key().SubscriptionID)
		}
	}
}
