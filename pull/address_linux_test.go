package pull_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/fds-sdk/fds-go/pull"
)

// twoAddresses has every name lead to 127.0.0.1 and 127.0.0.2, by a server of names.
func twoAddresses(t *testing.T) {
	t.Helper()
	names, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := names.ReadFrom(packet)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if q.Type == dnsmessage.TypeA {
				for _, last := range []byte{1, 2} {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, last}},
					})
				}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = names.WriteTo(answer, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", names.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = before })
}

// TestASilentAddressOfTheProvidersNameIsPassedOver has a name lead to two addresses, of
// which one at a time accepts connections and says nothing.
func TestASilentAddressOfTheProvidersNameIsPassedOver(t *testing.T) {
	twoAddresses(t)
	for _, live := range []string{"127.0.0.1", "127.0.0.2"} {
		a := serve(t, answer(`[{}]`))
		to := a.Listener.Addr().String()
		var stops []func()
		port := 0
		for _, address := range []string{"127.0.0.1", "127.0.0.2"} {
			l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
			if err != nil {
				t.Fatal(err)
			}
			port = l.Addr().(*net.TCPAddr).Port
			stops = append(stops, speaking(l, func(conn net.Conn) {
				if address != live {
					_, _ = io.Copy(io.Discard, conn)
					return
				}
				relay(conn, conn, to)
			}))
		}
		config := a.config
		config.BaseURL, config.Timeout = "https://two.example.com:"+strconv.Itoa(port), 8*time.Second
		transport := config.Transport.(*http.Transport)
		transport.TLSClientConfig.ServerName = "example.com" // as the certificate has it
		got, err := raws(newClient(t, config).Items(t.Context(), pull.Spaces, pull.Query{}))
		if len(got) != 1 || err != nil {
			t.Errorf("live at %s: %d items, %v", live, len(got), err)
		}
		transport.CloseIdleConnections()
		for _, stop := range stops {
			stop()
		}
	}
}
