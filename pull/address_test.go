package pull_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/pull"
)

// TestASilentAddressOfTheProvidersNameIsPassedOver has localhost lead to two addresses, of
// which one at a time accepts connections and says nothing.
func TestASilentAddressOfTheProvidersNameIsPassedOver(t *testing.T) {
	if all, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", "localhost"); err != nil || len(all) < 2 {
		t.Skip("localhost has no two addresses here:", all, err)
	}
	for _, live := range []string{"127.0.0.1", "::1"} {
		a := serve(t, answer(`[{}]`))
		to := a.Listener.Addr().String()
		listeners := map[string]net.Listener{}
		port := 0
		for _, address := range []string{"127.0.0.1", "::1"} {
			l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
			if err != nil {
				t.Skip("localhost has no two addresses here:", err)
			}
			listeners[address], port = l, l.Addr().(*net.TCPAddr).Port
		}
		var serving sync.WaitGroup
		for address, l := range listeners {
			serving.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					serving.Go(func() {
						defer conn.Close()
						if address != live {
							_, _ = io.Copy(io.Discard, conn)
							return
						}
						server, err := net.Dial("tcp", to)
						if err != nil {
							return
						}
						defer server.Close()
						go func() {
							_, _ = io.Copy(server, conn)
							server.Close()
						}()
						_, _ = io.Copy(conn, server)
					})
				}
			})
		}
		config := a.config
		config.BaseURL, config.Timeout = "https://localhost:"+strconv.Itoa(port), 8*time.Second
		transport := config.Transport.(*http.Transport)
		transport.TLSClientConfig.ServerName = "example.com" // as the certificate has it
		got, err := raws(newClient(t, config).Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 1 || err != nil {
			t.Errorf("live at %s: %d items, %v", live, len(got), err)
		}
		transport.CloseIdleConnections()
		for _, l := range listeners {
			l.Close()
		}
		serving.Wait()
	}
}
