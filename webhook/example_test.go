package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

// An endpoint in a mux of the application's own. Where there is a fdsclient.Client its method Webhook
// fills in Owner and Keys.
func ExampleReceiver() {
	id, err := fds.ParseSubscriptionID("0b1f6d4e-5c1a-4f0a-9f4e-2d1c3b5a7e90")
	if err != nil {
		fmt.Println(err)
		return
	}
	owner := fds.OwnerKey{Issuer: "https://login.provider.example", SubscriptionID: id}
	receiver, err := webhook.New(webhook.Config{
		Settings: webhook.Settings{
			Issuer:   owner.Issuer,
			Audience: "https://app.example/fds",
			Senders:  []string{"provider-sender"},
		},
		Handler: func(_ context.Context, m delivery.Message) error {
			fmt.Println(m.Source, len(m.Payload))
			return nil
		},
		Owner: func(_ context.Context, asked fds.SubscriptionID) (fds.OwnerKey, error) {
			if asked != id {
				return fds.OwnerKey{}, fds.ErrNoOwner
			}
			return owner, nil
		},
		Keys: func(context.Context) ([]byte, error) {
			return []byte(`{"keys":[]}`), nil // as fetched from the issuer's jwks_uri
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer receiver.Close()
	mux := http.NewServeMux()
	mux.Handle("/fds/{subscription_id}", receiver)

	// Whoever comes without a token learns no more than that.
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "https://app.example/fds/"+id.String(), strings.NewReader("{}")))
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// 401 The access token, or the signature, is missing or not accepted.
}
