package fdstest_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestTheServersSpeakTheVersionOfHTTPThatTheClientWants(t *testing.T) {
	for name, opts := range map[string]fdstest.Options{
		"default": {Quiet: true}, "asking for client certificates": {Quiet: true, CertificateBoundTokens: true},
	} {
		p := fdstest.New(t, opts)
		for server, target := range map[string]string{"Web API": p.APIURL(), "authorization server": p.Issuer()} {
			for _, test := range []struct {
				wanted []string
				got    string
			}{{[]string{"h2"}, "h2"}, {[]string{"h2", "http/1.1"}, "h2"}, {[]string{"http/1.1"}, "http/1.1"}, {nil, ""}} {
				conn, err := tls.Dial("tcp", strings.TrimPrefix(target, "https://"), &tls.Config{RootCAs: p.RootCAs(), NextProtos: test.wanted, MinVersion: tls.VersionTLS12})
				if err != nil {
					t.Fatalf("%s, %s: %v", name, server, err)
				}
				if got := conn.ConnectionState().NegotiatedProtocol; got != test.got {
					t.Errorf("%s, %s: %q of %q, want %q", name, server, got, test.wanted, test.got)
				}
				_ = conn.Close()
			}
			for _, http2 := range []bool{true, false} {
				transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: http2}
				resp, err := (&http.Client{Transport: transport}).Get(target + "/fds/v2/spaces")
				if err != nil {
					t.Fatalf("%s, %s: %v", name, server, err)
				}
				_ = resp.Body.Close()
				if (resp.ProtoMajor == 2) != http2 {
					t.Errorf("%s, %s: %s for a client that wants HTTP/2: %v", name, server, resp.Proto, http2)
				}
				transport.CloseIdleConnections()
			}
		}
	}
}
