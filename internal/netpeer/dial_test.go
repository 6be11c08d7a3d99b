package netpeer

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
)

func TestADialOfTheApplicationsTakesTheProxysPlaceAndFailsAsTCPDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("no tunnel")
		for _, want := range []error{refused, context.DeadlineExceeded} {
			transport := NewTransport(nil, func(ctx context.Context, _, _ string) (net.Conn, error) {
				if want == refused {
					return nil, want
				}
				<-ctx.Done()
				return nil, ctx.Err()
			})
			_, err := transport.DialContext(t.Context(), "tcp", "host:1")
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "dial" || !errors.Is(err, want) || transport.Proxy != nil || transport.OnProxyConnectResponse != nil {
				t.Errorf("%v, want %v; through a proxy: %t", err, want, transport.Proxy != nil)
			}
		}
	})
}
