package fdstest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

// inMemory makes a connection over a network and ends it with stop.
func inMemory() (client, server net.Conn, stop func(), err error) {
	n := new(Network)
	l, err := n.Listen(0)
	if err != nil {
		return nil, nil, nil, err
	}
	if client, err = n.Dial(context.Background(), "tcp", l.Addr().String()); err != nil {
		return nil, nil, nil, err
	}
	if server, err = l.Accept(); err != nil {
		return nil, nil, nil, err
	}
	return client, server, func() { client.Close(); server.Close(); l.Close() }, nil
}

func TestAConnectionInMemoryIsLikeOneOfPackageNet(t *testing.T) { nettest.TestConn(t, inMemory) }

func TestAConnectionInMemoryEndsAsTCPDoes(t *testing.T) {
	client, server, stop, err := inMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := server.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := server.(*memoryConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(client); string(text) != "last" || err != nil {
		t.Errorf("the client reads %q, %v", text, err)
	}
	if _, err := server.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after its own end the server writes: %v", err)
	}
	if _, err := client.Write([]byte("answer")); err != nil {
		t.Errorf("half of the connection is closed, and the other: %v", err)
	}
	server.Close()
	if _, err := client.Write([]byte("lost")); err != nil {
		t.Errorf("nobody can know yet: %v", err)
	}
	if _, err := client.Write([]byte("refused")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the other side is known to have gone: %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v", err)
	}
	client.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestWhoWaitsForANetworkInMemoryDoesNotStopTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, stop, err := inMemory()
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		began := time.Now()
		_ = client.SetReadDeadline(began.Add(time.Hour))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		_ = client.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := client.Write(make([]byte, 2*maxOnTheWay)); n != maxOnTheWay || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes are written: %v", n, err)
		}
		_ = client.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { io.CopyN(io.Discard, server, maxOnTheWay) })
		if n, err := client.Write(make([]byte, 1)); n != 1 || err != nil || time.Since(began) != 3*time.Hour {
			t.Errorf("once the reader has read: %d, %v", n, err)
		}
	})
}

func TestAddressesOfANetworkInMemoryAreThoseThatListen(t *testing.T) {
	var n Network
	l, err := n.Listen(8443)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen(8443); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the port is opened twice: %v", err)
	}
	dial := func(address string) error {
		conn, err := n.Dial(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	}
	var name *net.DNSError
	if err := errors.Join(dial("127.0.0.1:8443"), dial("localhost:8443")); err != nil {
		t.Error(err)
	}
	if err := dial("127.0.0.1:8444"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where nobody listens: %v", err)
	}
	if err := dial("provider.example:8443"); !errors.As(err, &name) || !name.IsNotFound {
		t.Errorf("a name of elsewhere: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Dial(ctx, "tcp", "127.0.0.1:8443"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	waits, err := n.Dial(t.Context(), "tcp", "127.0.0.1:8443")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := waits.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that nobody has accepted: %v", err)
	}
	if err := dial("127.0.0.1:8443"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port that was closed: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := n.Listen(8443); err != nil {
		t.Errorf("a port that was freed: %v", err)
	}
}
