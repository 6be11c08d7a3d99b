package fdstest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/fds-sdk/fds-go/fdstest"
)

// A provider with one owner, read with tokens that no person had to approve.
func Example() {
	p, err := fdstest.Start(fdstest.Options{
		Quiet:   true,
		Devices: -1,
		Owners:  []fdstest.Owner{{Name: "Northside Hospital", Spelling: "0b3f2a52-6f0d-4a7e-9c43-6d2b8f1e7a90"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	owner := p.Owners()[0]
	if err := p.AddDevice(owner, []byte(`{"device_id":"soap-1"}`)); err != nil {
		log.Fatal(err)
	}
	tokens, err := p.IssueTokens("fdsdemo", owner)
	if err != nil {
		log.Fatal(err)
	}

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	read := func() {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.APIURL()+"/fds/v2/specifications", nil)
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
		resp, err := client.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		var answer any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			log.Fatal(err)
		}
		fmt.Println(resp.StatusCode, answer)
	}
	read()
	p.Inject(fdstest.TooManyRequests(fdstest.APIEndpoint, "30").Times(1))
	read()
	// Output:
	// 200 [map[device_id:soap-1 subscription_id:0b3f2a52-6f0d-4a7e-9c43-6d2b8f1e7a90]]
	// 429 map[message:too_many_requests status:429]
}

// An application's endpoint, to which the provider sends, and somebody else too.
func ExampleProvider_SendTo() {
	p, err := fdstest.Start(fdstest.Options{
		Quiet:   true,
		Devices: -1,
		Owners:  []fdstest.Owner{{Name: "Northside Hospital", Spelling: "0b3f2a52-6f0d-4a7e-9c43-6d2b8f1e7a90"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	certificate, err := p.IssueCertificate(fdstest.CertificateRequest{
		CommonName: "localhost", Hosts: []string{"127.0.0.1"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		log.Fatal(err)
	}
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" { // yours looks at more than that
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	receiver.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate.TLS}}
	receiver.StartTLS()
	defer receiver.Close()

	ctx := context.Background()
	s, err := p.SendTo(ctx, fdstest.Webhook{URL: receiver.URL})
	if err != nil {
		log.Fatal(err)
	}
	owner := p.Owners()[0]
	fmt.Println(s.Deliver(ctx, owner, []byte(`{"generic":{"device_id":"soap-1"}}`)))
	reply, err := s.Attempt(ctx, fdstest.Attempt{Owner: owner, Fields: http.Header{"Authorization": nil}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.Status, s.Deliveries().Acknowledged)
	// Output:
	// <nil>
	// 401 1
}
