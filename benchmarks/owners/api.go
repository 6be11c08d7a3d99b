package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
)

// serveAPI serves a Web API without any items, for those who look there for what an
// outage has lost. It ends with this process.
func serveAPI() (*access, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	server, err := ca.issue("localhost", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(server.CertPEM, server.KeyPEM)
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}})
	if err != nil {
		return nil, err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[]")
	})
	api := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = api.Serve(listener) }()
	return &access{APIURL: "https://" + listener.Addr().String(), CAPEM: ca.pem}, nil
}
