package pull_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/fds-sdk/fds-go/pull"
)

// accessToken is the simplest Authorizer: a token that cannot be renewed.
type accessToken string

func (t accessToken) Authorize(_ context.Context, r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+string(t))
	return nil
}

func (t accessToken) Challenged(context.Context, *http.Response) (bool, error) { return false, nil }

func Example() {
	provider := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `[{"device_id": "FORKINC_S1_1223", "generic": {"device_type": "dispenser"}}]`)
	}))
	defer provider.Close()
	roots := x509.NewCertPool() // only because this provider has a certificate of its own
	roots.AddCert(provider.Certificate())

	client, err := pull.New(pull.Config{
		BaseURL:    provider.URL,
		Authorizer: accessToken("..."),
		Transport:  pull.NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for device, err := range client.Specifications(context.Background(), pull.Query{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(device.ID(), device.Type())
	}
	// Output: FORKINC_S1_1223 dispenser
}
