package pull_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// A provider that splits lists into pages by number, and has entity tags.
func Example_dialect() {
	provider := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages := map[string]string{"1": `{"items": [{"device_id": "A"}, {"device_id": "B"}]}`, "2": `{"items": [{"device_id": "C"}]}`, "3": `{"items": []}`}
		tag := `"` + r.URL.Query().Get("page") + `"`
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("page")])
	}))
	defer provider.Close()
	roots := x509.NewCertPool() // only because this provider has a certificate of its own
	roots.AddCert(provider.Certificate())

	client, err := pull.New(pull.Config{
		BaseURL:    provider.URL,
		Authorizer: accessToken("..."),
		Transport:  pull.NewTransport(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}),
		Dialect:    fds.Dialect{ListMember: "items", Paging: fds.Paging{PageParameter: "page", FirstPage: 1}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()

	var known pull.Version
	for range 2 {
		statuses, err := pull.Collect(client.Statuses(context.Background(), pull.Query{Version: &known}))
		if errors.Is(err, fds.ErrUnchanged) {
			fmt.Println("as before")
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, status := range statuses {
			fmt.Println(status.ID())
		}
	}
	// Output:
	// A
	// B
	// C
	// as before
}

// The entities of a tag are what the provider says that they are; here a list of
// IDs.
func ExampleClient_CreateTag() {
	provider := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Printf("%s %s %s\n", r.Method, r.URL.Path, body)
		if r.Method == http.MethodPost {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"tag_id": "T1", "generic": {"name": "north wing"}}`)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer provider.Close()
	roots := x509.NewCertPool()
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

	ctx := context.Background()
	created, err := client.CreateTag(ctx, map[string]any{"generic": map[string]any{"name": "north wing"}})
	if err != nil {
		log.Fatal(err) // with fds.ErrUnknownOutcome: look in client.Tags before trying again
	}
	if err := client.SetEntities(ctx, created.ID, []string{"FORKINC_S1_1223"}); err != nil {
		log.Fatal(err)
	}
	if err := client.DeleteTag(ctx, created.ID); err != nil {
		log.Fatal(err)
	}
	// Output:
	// POST /fds/v2/tag {"generic":{"name":"north wing"}}
	// PUT /fds/v2/tag/T1/entities ["FORKINC_S1_1223"]
	// DELETE /fds/v2/tag/T1
}
