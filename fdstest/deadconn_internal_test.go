package fdstest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// mortal returns a connection's two ends, of which the server's can be dead.
func mortal(t *testing.T, conns *connections) (server, client net.Conn) {
	t.Helper()
	l, err := new(Provider).listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = conns.listener(l).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return server, client
}

// read reads one byte, and waits d for it.
func read(conn net.Conn, d time.Duration) error {
	_ = conn.SetReadDeadline(time.Now().Add(d))
	_, err := conn.Read(make([]byte, 1))
	return err
}

func TestNobodyLearnsThatADeadConnectionWasClosedUntilItLives(t *testing.T) {
	var conns connections
	server, client := mortal(t, &conns)
	revive := conns.kill()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	for name, use := range map[string]func() error{
		"read":  func() error { return read(server, time.Minute) },
		"write": func() error { _, err := server.Write([]byte("x")); return err },
		"close": server.Close,
	} {
		if err := use(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after its end: %v", name, err)
		}
	}
	if err := read(client, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the other side: %v", err)
	}
	revive()
	if err := read(client, 10*time.Second); !errors.Is(err, io.EOF) {
		t.Errorf("the other side, afterwards: %v", err)
	}
	if len(conns.open) != 0 {
		t.Errorf("%d connections are remembered", len(conns.open))
	}
}

func TestDeadlinesOfADeadConnectionHold(t *testing.T) {
	var conns connections
	server, client := mortal(t, &conns)
	if err := server.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	revive := conns.kill()
	failed := make(chan error)
	go func() { _, err := server.Read(make([]byte, 1)); failed <- err }()
	go func() { _, err := server.Write([]byte("x")); failed <- err }()
	if err := server.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
	revive()
	if err := server.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("x")); err != nil || read(server, 10*time.Second) != nil {
		t.Errorf("revived, nothing comes through: %v", err)
	}
}

func TestABuriedConnectionLetsNothingGo(t *testing.T) {
	var conns connections
	server, client := mortal(t, &conns)
	revive := conns.kill()
	written := make(chan error)
	go func() { _, err := server.Write([]byte("x")); written <- err }()
	conns.bury()
	if err := <-written; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write that was under way: %v", err)
	}
	if err := read(client, 10*time.Second); !errors.Is(err, io.EOF) {
		t.Errorf("the other side: %v", err)
	}
	revive()
}
